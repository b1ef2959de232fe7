/* How long links and legs wait, and for what.
 *
 * Only waits for the origin count: not those for the client to send or take.
 */
#include "gate/link.h"

#include "gate/idle.h"

#define STARVED_NS (10 * NS_PER_MS)

enum {
    LOOKS = 4,
    BULK = 64 * 1024, /* what a system takes at once, whoever is behind it */
};

/* --- legs ---------------------------------------------------------------------------------- */

static bool leg_waits_for_origin(const struct leg *leg)
{
    const struct link *l = leg->link;

    if (wire_waiting(&l->wire) > 0)
        return true;
    if (l->starved)
        return false;
    if (leg->state == LEG_WAITING)
        return leg->request_done;
    return leg->state == LEG_HEAD && flow_room(&leg->x->response_content) > 0;
}

/* So much content lies in the kernel for long when the origin is slow to take it: it is no
 * sign of life that the kernel took it, nor of death that it takes no more.  So the origin's
 * system is asked, a few times before the time is up, what it has.  One stream's share of an
 * HTTP/2 connection nobody can tell; it has a window instead. */
static bool is_bulk(const struct leg *leg)
{
    return leg->x->request_content.total > BULK && !leg->link->protocol->spare;
}

static uint64_t first_look(const struct leg *leg, uint64_t timeout_ns)
{
    unsigned looks = leg->looked_since == leg->since ? leg->looks : 0;

    return timeout_ns == VALUE_OFF ? TIME_NEVER : leg->since + timeout_ns / LOOKS * (looks + 1);
}

/* Has it taken something since the last look, or may it still? */
static bool leg_moves(struct leg *leg)
{
    struct io *io = link_io(leg->link);
    uint64_t taken = io_taken(io, &leg->link->wire.sock);

    if (leg->looked_since != leg->since)
        leg->looks = 0;
    if (taken != leg->taken) {
        leg->since = io_now(io);
        leg->looks = 0;
    } else {
        leg->looks++;
    }
    leg->taken = taken;
    leg->looked_since = leg->since;
    return leg->looks < LOOKS;
}

uint64_t leg_deadline(struct leg *leg)
{
    return leg_deadline_if(leg, leg_waits_for_origin(leg));
}

uint64_t leg_deadline_if(struct leg *leg, bool waits)
{
    if (leg->x->tunnel)
        return after(leg->since, leg->stream_ns);
    if (!waits) {
        leg->since = io_now(link_io(leg->link));
        return TIME_NEVER;
    }
    bool head = leg->state == LEG_WAITING && leg->request_done;
    uint64_t timeout_ns = head ? leg->first_byte_ns : leg->idle_ns;
    return is_bulk(leg) ? first_look(leg, timeout_ns) : after(leg->since, timeout_ns);
}

void leg_timed_out(struct leg *leg)
{
    if (!leg->x->tunnel && is_bulk(leg) && leg_moves(leg))
        return;
    leg_fail(leg,
             leg->state == LEG_WAITING ? CAUSE_upstream_head_timeout : CAUSE_upstream_idle_timeout);
}

/* --- links --------------------------------------------------------------------------------- */

void link_idles(struct link *l)
{
    const struct pool_server *s = l->server;
    uint64_t now = io_now(link_io(l)), most = s->keepalive_ns;

    l->since = now;
    if (s->learns) {
        uint64_t known = idle_most(s->state, now);
        most = earlier(most, earlier(known, l->said_ns));
    }
    l->idle_until = after(now, most);
}

static uint64_t link_wait_deadline(struct link *l)
{
    switch (l->state) {
    case LINK_CONNECTING:
        return after(l->since, l->connect_ns);
    case LINK_IDLE:
        return l->idle_until;
    case LINK_BUSY:
        return l->protocol->deadline(l);
    default:
        return TIME_NEVER;
    }
}

uint64_t link_deadline(struct link *l)
{
    uint64_t deadline = link_wait_deadline(l), again = io_now(link_io(l)) + STARVED_NS;

    return l->starved && again < deadline ? again : deadline;
}

void link_timed_out(struct link *l)
{
    if (link_wait_deadline(l) > io_now(link_io(l)))
        return;
    if (l->state == LINK_IDLE)
        link_close(l);
    else if (l->state == LINK_CONNECTING)
        l->protocol->fail(l, CAUSE_upstream_connect_timeout, true);
    else
        l->protocol->timed_out(l);
}
