/* A connection that has not said yet for whom it was made: the PROXY protocol.
 *
 * A kind of its own, which lasts until the header is there; the handshake or a
 * request follow it.  Only trusted peers may send one, and must: where such
 * headers are expected nobody else has any business.
 */
#include "gate/client.h"
#include "gate/conn_own.h"

static void refused(struct conn *c, enum cause cause)
{
    worker_counted(&conn_worker(c)->stats.causes[cause]);
    conn_close(c);
}

static bool is_trusted(struct conn *c)
{
    struct address peer;

    conn_peer(c, &peer);
    return nets_contain(&c->listener->conf->trusted, &peer);
}

static void introduced(struct conn *c, const struct proxy_header *h)
{
    if (!h->local) {
        struct address source = h->source;
        address_unmap(&source);
        conn_set_peer(c, &source);
    }
    conn_secure(c);
    if (c->state != CONN_OPEN)
        return;
    if (c->speaks == CONN_H1) {
        c->since = conn_now(c); /* header_timeout begins */
        if (c->draining)
            conn_kind(c)->drain(c);
    }
    conn_kind(c)->serve(c);
}

static void proxy_serve(struct conn *c)
{
    struct proxy_header h;

    if (!is_trusted(c)) {
        refused(c, CAUSE_proxy_untrusted);
        return;
    }
    int n = proxy_parse(&h, c->listener->conf->proxy_protocol, wire_in(&c->wire));
    if (n > 0) {
        wire_take(&c->wire, (size_t)n);
        introduced(c, &h);
    } else if (n == 0 && c->wire.eof && wire_in(&c->wire).len == 0) {
        conn_linger(c); /* it only looked whether somebody is here */
    } else if (n < 0 || c->wire.eof) {
        refused(c, CAUSE_bad_proxy_header);
    }
}

const struct conn_kind conn_proxy_kind = {
    .serve = proxy_serve,
    .room = conn_early_room,
    .deadline = conn_early_deadline,
    .late = conn_early_late,
    .drain = conn_early_drain,
    .busy = conn_early_busy,
    .blame = conn_early_blame,
    .reloaded = conn_early_reloaded,
    .closing = conn_early_end,
    .end = conn_early_end,
};
