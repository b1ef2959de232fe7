/* A connection that has not agreed on anything yet: the TLS handshake.
 *
 * A kind of its own, which lasts until both sides are done; what they agreed
 * on (ALPN) decides which kind follows it.
 */
#include "gate/conn_own.h"

#include "base/log.h"

static void agreed(struct conn *c)
{
    const struct tls *t = wire_tls(&c->wire);
    bool h2 = span_equal(t->layer->alpn(t), SPAN("h2"));

    c->since = conn_now(c); /* header_timeout begins */
    c->speaks = CONN_H1;
    if (h2 && !conn_h2_begin(c))
        return;
    if (c->draining && !h2)
        conn_kind(c)->drain(c);
    conn_kind(c)->serve(c);
}

static void failed(struct conn *c)
{
    struct worker *w = conn_worker(c);
    struct tls *t = wire_tls(&c->wire);
    char room[TLS_FACT_MAX];

    if (wire_silent(&c->wire)) { /* it only looked whether somebody is here */
        conn_linger(c);
        return;
    }
    worker_counted(&w->stats.causes[CAUSE_tls_failed]);
    if (log_is(LOG_DEBUG)) {
        char peer[ADDRESS_TEXT_MAX];
        struct address a = {0};
        conn_peer(c, &a);
        size_t len = address_print(&a, peer), n = t->layer->why(t, room);
        log_say(LOG_DEBUG, "tls_failed: %.*s: %.*s", (int)len, peer, (int)n, room);
    }
    conn_linger(c);
}

/* Whoever speaks plainly can only be answered so. */
static void plain(struct conn *c)
{
    wire_turn_plain(&c->wire);
    c->speaks = CONN_H1;
    c->since = conn_now(c);
    conn_h1_refuse(c, CAUSE_plain_on_tls);
    if (c->state == CONN_OPEN)
        conn_kind(c)->serve(c);
}

static void tls_serve(struct conn *c)
{
    if (wire_ready(&c->wire))
        agreed(c);
    else if (wire_spoke_plain(&c->wire))
        plain(c);
    else if (c->wire.eof)
        failed(c);
}

uint32_t conn_early_room(struct conn *c)
{
    (void)c;
    return IO_ROOM_SMALL;
}

uint64_t conn_early_deadline(struct conn *c)
{
    uint64_t at = c->since + c->listener->conf->handshake_timeout;

    return c->draining ? earlier(at, c->since + DRAIN_IDLE_NS) : at;
}

void conn_early_late(struct conn *c)
{
    worker_counted(&conn_worker(c)->stats.causes[CAUSE_handshake_timeout]);
    conn_close(c);
}

void conn_early_drain(struct conn *c)
{
    c->since = conn_now(c);
}

bool conn_early_busy(const struct conn *c)
{
    (void)c;
    return false;
}

bool conn_early_blame(struct conn *c, enum cause cause)
{
    (void)c;
    (void)cause;
    return false;
}

void conn_early_reloaded(struct conn *c)
{
    (void)c;
}

void conn_early_end(struct conn *c)
{
    (void)c;
}

const struct conn_kind conn_tls_kind = {
    .serve = tls_serve,
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
