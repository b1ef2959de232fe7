/* How long a peer may take nothing of what waits for it; see wire.h.
 *
 * There is room in the kernel again only when much has left, and an operation
 * that sends much completes only then.  So when the time is up, and a few
 * times before, the kernel is asked what the peer's system has taken.
 */
#include "net/wire_own.h"

enum { LOOKS = 4 };

static void goes_on(struct wire *w)
{
    w->hold->out->since = io_now(w->all->io);
    w->hold->out->looks = 0;
}

uint64_t wire_patience(struct wire *w, uint64_t timeout_ns)
{
    struct wire_out *out = w->hold->out;

    if (!out)
        return TIME_NEVER;
    if (wire_waiting(w) == 0) {
        out->since = 0;
        return TIME_NEVER;
    }
    if (wire_moved(w) || out->since == 0)
        goes_on(w);
    if (timeout_ns == UINT64_MAX)
        return TIME_NEVER;
    return out->since + timeout_ns / LOOKS * (out->looks + 1U);
}

bool wire_stuck(struct wire *w)
{
    struct wire_out *out = w->hold->out;
    uint32_t taken = (uint32_t)io_taken(w->all->io, &w->sock);

    if (taken != out->taken) {
        out->taken = taken;
        goes_on(w);
        return false;
    }
    if (out->looks == LOOKS - 1)
        return true;
    out->looks++;
    return false;
}
