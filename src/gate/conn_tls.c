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

static uint32_t tls_room(struct conn *c)
{
    (void)c;
    return IO_ROOM_SMALL;
}

static uint64_t tls_deadline(struct conn *c)
{
    uint64_t at = c->since + c->listener->conf->handshake_timeout;

    return c->draining ? earlier(at, c->since + DRAIN_IDLE_NS) : at;
}

static void tls_late(struct conn *c)
{
    worker_counted(&conn_worker(c)->stats.causes[CAUSE_handshake_timeout]);
    conn_close(c);
}

static void tls_drain(struct conn *c)
{
    c->since = conn_now(c);
}

static bool tls_busy(const struct conn *c)
{
    (void)c;
    return false;
}

static bool tls_blame(struct conn *c, enum cause cause)
{
    (void)c;
    (void)cause;
    return false;
}

static void tls_reloaded(struct conn *c, const struct generation *current)
{
    (void)c;
    (void)current;
}

static void tls_nothing(struct conn *c)
{
    (void)c;
}

const struct conn_kind conn_tls_kind = {
    .serve = tls_serve,
    .room = tls_room,
    .deadline = tls_deadline,
    .late = tls_late,
    .drain = tls_drain,
    .busy = tls_busy,
    .blame = tls_blame,
    .reloaded = tls_reloaded,
    .closing = tls_nothing,
    .end = tls_nothing,
};
