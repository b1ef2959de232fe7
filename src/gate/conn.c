/* A connection to a client: what is the same whatever it speaks.
 *
 * It is opened, read into, drained, and ended here; requests and responses are
 * its kind's affair (conn_own.h).
 */
#include "gate/conn_own.h"

#include "gate/gate.h"

#include <assert.h>

#define LINGER_NS       (2 * NS_PER_S)
#define DRAIN_LINGER_NS NS_PER_S
#define STARVED_NS      (10 * NS_PER_MS)

static_assert(sizeof(struct conn) <= 248, "idle connections are cheap");

const struct conn_kind *const conn_kinds[] = {
    [CONN_H1] = &conn_h1_kind,
    [CONN_H2] = &conn_h2_kind,
    [CONN_TLS] = &conn_tls_kind,
    [CONN_PROXY] = &conn_proxy_kind,
};

/* --- ending ------------------------------------------------------------------------ */

void conn_close(struct conn *c)
{
    if (c->state == CONN_CLOSING)
        return;
    c->state = CONN_CLOSING;
    conn_kind(c)->closing(c);
    wire_cancel(&c->wire);
    owner_wake(&c->owner);
}

void conn_linger(struct conn *c)
{
    if (c->state != CONN_OPEN)
        return;
    c->state = CONN_LINGER;
    c->since = 0; /* until FIN is sent */
    c->discarded = 0;
    wire_finish(&c->wire);
}

void conn_leave(struct conn *c)
{
    if (c->state != CONN_OPEN)
        return;
    c->state = CONN_LINGER;
    c->since = 0;
    c->discarded = DISCARD_MAX;
    wire_leave(&c->wire);
}

static void conn_lingering(struct conn *c)
{
    size_t n = wire_in(&c->wire).len;

    wire_take(&c->wire, n);
    if (n > DISCARD_MAX - c->discarded)
        c->discarded = DISCARD_MAX;
    else
        c->discarded += (uint32_t)n;
    if (!c->wire.finished) /* the last answer is still on its way: write_timeout's affair */
        return;
    if (c->since == 0)
        c->since = conn_now(c);
    if (c->wire.eof || c->discarded >= DISCARD_MAX)
        conn_close(c);
}

/* Frees the connection once nothing is in flight. */
static void conn_gone(struct conn *c)
{
    struct listener *l = c->listener;
    struct worker *w = l->worker;

    if (wire_busy(&c->wire)) {
        wire_cancel(&c->wire);
        return;
    }
    conn_kind(c)->end(c);
    wire_close(&c->wire, c->reset);
    io_timer_clear(w->io, &c->timer);
    owner_retire(&c->owner);
    slab_put(&w->conns, c, NULL);
    listener_conn_closed(l);
}

/* --- time --------------------------------------------------------------------------- */

static uint64_t conn_wait_deadline(struct conn *c)
{
    if (c->state == CONN_OPEN)
        return conn_kind(c)->deadline(c);
    if (c->since == 0)
        return TIME_NEVER;
    return c->since + (c->draining ? DRAIN_LINGER_NS : LINGER_NS);
}

static uint64_t conn_write_deadline(struct conn *c)
{
    return wire_patience(&c->wire, c->listener->conf->write_timeout);
}

static void conn_blame(struct conn *c, enum cause cause)
{
    if (!conn_kind(c)->blame(c, cause))
        worker_counted(&conn_worker(c)->stats.causes[cause]);
}

/* Which of the deadlines has passed is derived, not remembered. */
static void conn_timer_fired(struct conn *c)
{
    uint64_t now = conn_now(c);

    if (conn_write_deadline(c) <= now && wire_stuck(&c->wire)) {
        conn_blame(c, CAUSE_write_timeout);
        c->reset = true;
        conn_close(c);
    } else if (conn_wait_deadline(c) > now) {
        return;
    } else if (c->state == CONN_LINGER) {
        conn_close(c);
    } else {
        conn_kind(c)->late(c);
    }
}

/* --- the step -------------------------------------------------------------------------- */

static void conn_read_on(struct conn *c)
{
    uint32_t room = IO_ROOM_SMALL;

    if (c->state == CONN_OPEN)
        room = conn_kind(c)->room(c);
    else if (c->discarded >= DISCARD_MAX) /* it only waits for its last bytes to go */
        room = 0;
    if (room > 0 && !c->starved)
        wire_want(&c->wire, room);
}

static void conn_wait(struct conn *c)
{
    uint64_t deadline = earlier(conn_wait_deadline(c), conn_write_deadline(c));

    if (c->starved)
        deadline = earlier(deadline, conn_now(c) + STARVED_NS);
    io_timer_set(conn_worker(c)->io, &c->timer, deadline);
}

/* Between two requests, with nothing to do until the next one comes. */
static bool conn_rests(struct conn *c)
{
    return c->state == CONN_OPEN && c->speaks == CONN_H1 && !c->h1.x &&
           wire_in(&c->wire).len == 0 && conn_wait_deadline(c) != TIME_NEVER;
}

static void conn_step(struct owner *owner)
{
    struct conn *c = conn_of(owner);

    c->starved = false;
    wire_progress(&c->wire);
    if (c->state != CONN_CLOSING && c->wire.fail)
        conn_close(c);
    if (c->state != CONN_CLOSING && io_timer_take(&c->timer))
        conn_timer_fired(c);
    if (c->state == CONN_OPEN)
        conn_kind(c)->serve(c);
    if (c->state == CONN_LINGER)
        conn_lingering(c);
    if (c->state != CONN_CLOSING && (wire_settle(&c->wire) < 0 || c->wire.fail))
        conn_close(c);
    if (c->state == CONN_CLOSING) {
        conn_gone(c);
        return;
    }
    conn_read_on(c);
    conn_wait(c);
    c->wire.quiet = conn_rests(c);
}

/* --- from outside ------------------------------------------------------------------------ */

void conn_set_peer(struct conn *c, const struct address *peer)
{
    c->peer_family = peer->family;
    c->peer_port = peer->port;
    c->peer_scope = peer->scope;
    if (peer->family != ADDRESS_UNIX)
        memcpy(c->peer_ip, peer->ip, sizeof c->peer_ip);
}

void conn_peer(const struct conn *c, struct address *peer)
{
    peer->family = c->peer_family;
    peer->path_len = 0;
    peer->port = c->peer_port;
    peer->scope = c->peer_scope;
    memcpy(peer->ip, c->peer_ip, sizeof c->peer_ip);
}

void conn_local(const struct conn *c, struct address *a)
{
    io_local(conn_worker(c)->io, &c->wire.sock, a);
    address_unmap(a);
}

void conn_exchange_init(struct conn *c, struct exchange *x, const struct carrier *carrier)
{
    x->owner = &c->owner;
    x->carrier = carrier;
    x->tls = wire_tls(&c->wire);
    x->tls_set = c->listener->tls_set;
    conn_peer(c, &x->peer);
}

void conn_secure(struct conn *c)
{
    c->speaks = CONN_H1;
    if (!c->listener->tls_set)
        return;
    c->speaks = CONN_TLS;
    if (wire_accept_tls(&c->wire, c->listener->tls_set) < 0) {
        worker_counted(&conn_worker(c)->stats.causes[CAUSE_out_of_memory]);
        conn_close(c);
    }
}

void conn_open(struct listener *l, int fd, const struct address *peer)
{
    struct worker *w = l->worker;
    struct conn *c = slab_get(&w->conns, NULL);

    if (!c) {
        worker_counted(&w->stats.causes[CAUSE_out_of_memory]);
        io_discard(w->io, fd);
        listener_conn_closed(l);
        return;
    }
    *c = (struct conn){.listener = l, .speaks = CONN_H1};
    owner_init(&c->owner, &w->io->owners, conn_step);
    conn_set_peer(c, peer);
    c->timer.owner = &c->owner;
    c->timer.at = TIME_NEVER;
    c->since = io_now(w->io);
    c->draining = l->leaving;
    wire_open(&c->wire, &w->wires, &c->owner, fd);
    if (l->conf->proxy_protocol)
        c->speaks = CONN_PROXY;
    else
        conn_secure(c);
    owner_wake(&c->owner);
}

void conn_drain(struct conn *c)
{
    c->draining = true;
    if (c->state == CONN_OPEN)
        conn_kind(c)->drain(c);
    owner_wake(&c->owner);
}

void conn_cut(struct conn *c, enum cause cause)
{
    if (c->state == CONN_CLOSING)
        return;
    c->reset = conn_kind(c)->busy(c);
    conn_blame(c, cause);
    conn_close(c);
}

void conn_reloaded(struct conn *c)
{
    if (c->state == CONN_OPEN)
        conn_kind(c)->reloaded(c);
}

const struct listener *conn_listener(const struct conn *c)
{
    return c->listener;
}

size_t conn_size(void)
{
    return sizeof(struct conn);
}
