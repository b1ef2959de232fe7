/* An HTTP/2 session on a wire; see h2_wire.h.
 *
 * A flow is a ring of slices, so small pieces are copied together once half
 * the ring is used.
 */
#include "gate/h2_wire.h"

enum { SLICES_LENT = FLOW_SLICES / 2 - 2 };

bool h2_wire_flush(struct h2_session *s, struct wire *w)
{
    for (;;) {
        struct span out = span_first(h2_out(s), IO_BUF_SIZE);
        if (out.len == 0)
            return true;
        if (!wire_has_room(w) || !wire_say(w, out))
            return false;
        h2_sent(s, out.len);
    }
}

bool h2_wire_data(struct h2_session *s, struct wire *w, struct h2_stream *stream, uint32_t n,
                  bool end)
{
    h2_data(s, stream, n, end);
    struct span out = h2_out(s);
    if (out.len == 0 || !wire_say(w, out))
        return false;
    h2_sent(s, out.len);
    return true;
}

uint32_t h2_wire_take(struct h2_session *s, struct wire *w, struct h2_stream *stream,
                      struct flow *f, uint32_t n)
{
    if (f->count < SLICES_LENT) {
        n = wire_take_to(w, f, n);
    } else {
        n = flow_write(f, span_first(wire_in(w), n));
        wire_take(w, n);
    }
    h2_took(s, n);
    /* To be told when there is room again, although there is some. */
    if (stream->receive_window < (int32_t)(f->limit / 2))
        f->starved = true;
    return n;
}
