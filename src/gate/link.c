/* A connection to an origin, whatever is spoken on it; see link.h. */
#include "gate/link.h"

#include "gate/idle.h"
#include "gate/link_proxy.h"
#include "gate/link_tls.h"
#include "gate/room.h"

#include <assert.h>

static void link_step(struct owner *owner);

/* --- coming and going ------------------------------------------------------------------- */

static void link_attach(struct link *l, struct leg *leg)
{
    leg_begin(leg, l);
    leg->x->request_content.consumer = &l->owner;
    leg->x->response_content.producer = &l->owner;
    leg->x->response_content.consumer = leg->x->owner;
    l->protocol->attach(l, leg);
    link_spare(l);
    owner_wake(&l->owner);
}

bool link_fits(const struct link *l, const struct upstream_conf *u, const struct server_entry *e,
               const struct exchange *x)
{
    return l->tenure == l->server->tenure &&
           (u->either || (l->protocol == server_protocol(e) && !l->undecided)) &&
           link_tls_fits(l, u, e, x);
}

void link_spare(struct link *l)
{
    bool could = l->protocol->spare && !l->single && l->state <= LINK_BUSY && l->protocol->spare(l);

    if (could == link_linked(&l->spare))
        return;
    if (could)
        list_append(&l->server->spare, &l->spare);
    else
        list_remove(&l->spare);
}

struct link *link_new(struct pool_server *server, struct leg *leg)
{
    struct worker *w = server->pool->worker;
    const struct link_protocol *protocol = leg_protocol(leg);
    struct slab *slab = &w->pools->links[protocol->number];
    struct link *l = slab_get(slab, NULL);

    if (!l)
        return NULL;
    *l = (struct link){.protocol = protocol,
                       .server = server,
                       .slab = slab,
                       .undecided = leg->upstream->either && !leg->bare,
                       .state = LINK_CONNECTING,
                       .to = server->at,
                       .tenure = server->tenure,
                       .single = leg->alone,
                       .said_ns = UINT64_MAX};
    if (leg->port)
        l->to.port = leg->port;
    if (!link_tls_admit(l, leg) || !link_proxy_admit(l, leg) ||
        (protocol->open && !protocol->open(l, leg))) {
        link_tls_end(l);
        link_proxy_end(l);
        slab_put(slab, l, NULL);
        return NULL;
    }
    room_belongs(l, leg);
    owner_init(&l->owner, &w->io->owners, link_step);
    l->dial.owner = &l->owner;
    l->timer.owner = &l->owner;
    l->timer.at = TIME_NEVER;
    l->since = io_now(w->io);
    l->connect_ns = leg->upstream->connect_timeout;
    wire_open(&l->wire, &w->wires, &l->owner, -1);
    list_append(&server->busy, &l->node);
    link_attach(l, leg);
    io_connect(w->io, &l->dial, &l->wire.sock, &l->to);
    return l;
}

bool link_usable(const struct link *l)
{
    if (l->state != LINK_IDLE || l->wire.eof || l->wire.fail || l->idle_until <= io_now(link_io(l)))
        return false;
    if (l->protocol->spare)
        return l->protocol->spare(l);
    return wire_in(&l->wire).len == 0 && !l->wire.recv.done;
}

void link_serve(struct link *l, struct leg *leg)
{
    assert(l->state == LINK_IDLE || link_linked(&l->spare));
    pool_forget(l);
    if (l->state == LINK_IDLE)
        l->state = LINK_BUSY;
    leg->reused = l->state == LINK_BUSY;
    if (leg->reused)
        leg->x->times.connected = io_now(link_io(l));
    link_attach(l, leg);
}

void link_close(struct link *l)
{
    if (l->state == LINK_CLOSING)
        return;
    pool_forget(l);
    l->state = LINK_CLOSING;
    link_spare(l);
    wire_cancel(&l->wire);
    if (io_busy(&l->dial) && !l->dial.cancelled)
        io_cancel(link_io(l), &l->dial);
    owner_wake(&l->owner);
}

static void link_gone(struct link *l)
{
    struct pool_server *server = l->server;

    if (io_busy(&l->dial) || wire_busy(&l->wire)) {
        wire_cancel(&l->wire);
        return;
    }
    /* Where connections are counted: FIN may leave with the turn only. */
    if (!l->closed && l->server->limited) {
        wire_close(&l->wire, false);
        l->closed = true;
        owner_wake_later(&l->owner);
        return;
    }
    if (!l->closed)
        wire_close(&l->wire, false);
    room_give(l);
    link_tls_end(l);
    link_proxy_end(l);
    io_timer_clear(link_io(l), &l->timer);
    list_remove(&l->node);
    owner_retire(&l->owner);
    if (l->protocol->close)
        l->protocol->close(l);
    slab_put(l->slab, l, NULL);
    pool_link_gone(server);
}

/* --- the step ------------------------------------------------------------------------------ */

static enum cause dial_cause(int fail)
{
    switch (fail) {
    case FAIL_REFUSED:
    case FAIL_RESET:
    case FAIL_NOT_FOUND: /* a unix socket that is not there */
        return CAUSE_upstream_connect_refused;
    case FAIL_TIMEOUT:
        return CAUSE_upstream_connect_timeout;
    case FAIL_DESCRIPTORS:
        return CAUSE_upstream_no_descriptors;
    case FAIL_MEMORY:
        return CAUSE_out_of_memory;
    default:
        return CAUSE_upstream_unreachable;
    }
}

static void link_dialled(struct link *l)
{
    if (l->state != LINK_CONNECTING)
        return;
    if (l->dial.fail) {
        l->protocol->fail(l, dial_cause(l->dial.fail), true);
        return;
    }
    if (!link_proxy_say(l)) {
        l->protocol->fail(l, CAUSE_out_of_memory, true);
    } else if (!l->context) {
        l->state = LINK_BUSY;
        l->protocol->connected(l);
    } else {
        l->introducing = true;
    }
}

/* Records follow when what precedes them has gone, which is nothing but for a PROXY header. */
static void link_introduced(struct link *l)
{
    if (wire_waiting(&l->wire) > 0 && !l->wire.fail)
        return;
    l->introducing = false;
    enum cause cause = l->wire.fail            ? CAUSE_upstream_tls_failed
                       : link_tls_begin(l) < 0 ? CAUSE_out_of_memory
                                               : CAUSE_NONE;
    if (!cause)
        return;
    l->tls_failed = true;
    l->protocol->fail(l, cause, true);
}

/* What a leg on its link is woken by, and wakes. */
static void link_forget(struct leg *leg)
{
    struct exchange *x = leg->x;

    x->request_content.consumer = NULL;
    x->response_content.producer = NULL;
    x->response_content.consumer = NULL;
}

/* Another link to the same server for a leg of which nothing was said. */
static void link_find(struct link *l, struct leg *leg)
{
    struct link *other;

    leg->link = NULL;
    leg->reused = false;
    if (leg->tenure != l->server->tenure) { /* its address is not the server's any more */
        leg_let_go(leg);
        leg_fail_fresh(leg, CAUSE_upstream_unprocessed);
    } else if ((other = pool_link(l->server, leg))) {
        link_serve(other, leg);
    } else if (!room_take(leg)) {
        leg_let_go(leg);
        leg_fail_fresh(leg, CAUSE_upstream_unprocessed);
    } else if (!link_new(l->server, leg)) {
        room_return(leg);
        leg_let_go(leg);
        leg_fail(leg, CAUSE_out_of_memory);
    }
}

/* The same for one that waited with others; some may have failed while they did. */
static void link_send_on(struct link *l, struct leg *leg)
{
    link_forget(leg);
    if (leg->state == LEG_FAILED)
        leg_let_go(leg);
    else
        link_find(l, leg);
}

/* The origin has chosen HTTP/1, which serves one leg at a time.  Nothing was said yet. */
static void link_become_h1(struct link *l)
{
    const struct link_protocol *before = l->protocol;

    l->protocol = &link_h1;
    link_spare(l);
    struct leg *first = before->resign(l, link_send_on);
    if (first)
        link_attach(l, first);
    else
        link_close(l);
}

static void link_decided(struct link *l)
{
    bool h1 = !link_tls_is_h2(l);

    l->undecided = false;
    l->server->chose_h1 = h1;
    if (h1)
        link_become_h1(l);
}

static void link_secured(struct link *l)
{
    int done = l->tls_failed ? 0 : link_tls_go_on(l);

    if (done > 0 && l->undecided)
        link_decided(l);
    if (l->state == LINK_CLOSING) /* nobody was left to serve */
        return;
    if (done > 0) {
        l->state = LINK_BUSY;
        l->protocol->connected(l);
    } else if (done < 0) {
        l->tls_failed = true;
        l->protocol->fail(l, CAUSE_upstream_tls_failed, true);
    }
}

static uint32_t link_room(struct link *l, bool *piped)
{
    if (l->state == LINK_CONNECTING)
        return wire_tls(&l->wire) ? IO_ROOM_SMALL : 0;
    if (l->starved)
        return 0;
    if (l->state == LINK_IDLE && !l->protocol->spare)
        return wire_in(&l->wire).len == 0 ? IO_ROOM_SMALL : 0;
    return l->protocol->room(l, piped);
}

/* The last part of a step: asks for what may come, until when. */
static void link_rest(struct link *l)
{
    bool piped = false;
    uint32_t room = link_room(l, &piped);

    if (room > 0 && piped)
        wire_want_piped(&l->wire, room);
    else if (room > 0)
        wire_want(&l->wire, room);
    io_timer_set(link_io(l), &l->timer, link_deadline(l));
}

static void link_step(struct owner *owner)
{
    struct link *l = container_of(owner, struct link, owner);

    l->starved = false;
    if (io_take(&l->dial))
        link_dialled(l);
    wire_progress(&l->wire);
    if (l->state == LINK_CONNECTING && l->introducing)
        link_introduced(l);
    if (l->state == LINK_CONNECTING && wire_tls(&l->wire))
        link_secured(l);
    if (l->state == LINK_IDLE && l->wire.eof)
        idle_ended(l->server->state, io_now(link_io(l)), io_now(link_io(l)) - l->since);
    if (io_timer_take(&l->timer))
        link_timed_out(l);
    if (l->state == LINK_BUSY || (l->state == LINK_IDLE && l->protocol->spare))
        l->protocol->work(l);
    if (l->state == LINK_IDLE && !link_usable(l)) {
        pool_spoiled(l);
        link_close(l);
    }
    if (l->state != LINK_CLOSING && wire_settle(&l->wire) < 0)
        l->protocol->fail(l, CAUSE_out_of_memory, false);
    if (l->state == LINK_CLOSING) {
        link_gone(l);
        return;
    }
    link_spare(l);
    link_rest(l);
}

/* --- the leg lets go ----------------------------------------------------------------------- */

/* What is to become of it, now that a leg has gone. */
static void link_left(struct link *l, enum link_left left)
{
    if (left == LINK_SHARED) {
        link_spare(l);
        if (l->server->limited)
            room_idles(l);
        return;
    }
    if (left == LINK_SPOILT || l->single || l->state != LINK_BUSY) {
        link_close(l);
        return;
    }
    if (l->context)
        link_tls_keep(l);
    l->state = LINK_IDLE;
    link_spare(l);
    link_idles(l);
    pool_keep(l);
    if (l->state == LINK_IDLE) /* no step of its own is needed for that */
        link_rest(l);
}

static enum link_left link_detach(struct link *l, struct leg *leg)
{
    enum link_left left = l->protocol->release(l, leg);

    link_forget(leg);
    return left;
}

void link_release(struct link *l, struct leg *leg)
{
    enum link_left left = link_detach(l, leg);

    leg_let_go(leg);
    link_left(l, left);
}

void link_move(struct link *l, struct leg *leg)
{
    link_left(l, link_detach(l, leg));
    link_find(l, leg);
}
