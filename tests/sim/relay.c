/* The relay; see relay.h. */
#include "tests/sim/relay.h"

#include "base/mem.h"

/* One direction: at most one slice at a time is on its way. */
struct way {
    struct io_op recv, send;
    struct io_sock *from, *to;
    struct slice held; /* claimed, not yet sent */
    struct io_vec vec;
    bool ended, finished; /* heard FIN; said FIN */
};

struct pair {
    struct owner owner;
    struct link_node node;
    struct relay *relay;
    struct io_sock client, origin;
    struct io_op connect;
    struct way ways[2];
    struct io_timer idle;
    bool connected, ending, reset;
};

static void way_progress(struct pair *p, struct way *w)
{
    struct io *io = p->relay->io;

    if (io_take(&w->recv)) {
        if (w->recv.fail == FAIL_CLOSED) {
            w->ended = true;
        } else if (w->recv.fail) {
            p->ending = true;
        } else {
            w->held = w->recv.slice;
            buf_ref(w->held.buf);
            io_timer_set(io, &p->idle, io_now(io) + p->relay->idle_ns);
        }
    }
    if (io_take(&w->send)) {
        if (w->send.fail) {
            p->ending = true;
        } else {
            w->held.ptr += w->send.count;
            w->held.len -= w->send.count;
            io_timer_set(io, &p->idle, io_now(io) + p->relay->idle_ns);
        }
    }
    if (w->held.buf && w->held.len == 0 && !io_busy(&w->send)) {
        buf_unref(w->held.buf);
        w->held = (struct slice){0};
    }
}

static void way_go_on(struct pair *p, struct way *w)
{
    struct io *io = p->relay->io;

    if (io_busy(&w->recv) || io_busy(&w->send) || w->finished)
        return;
    if (w->held.buf) {
        w->vec = (struct io_vec){(void *)(uintptr_t)w->held.ptr, w->held.len};
        io_send(io, &w->send, w->to, &w->vec, 1);
    } else if (w->ended) {
        w->finished = true;
        io_shutdown(io, w->to);
    } else {
        io_recv(io, &w->recv, w->from, IO_ROOM_SMALL);
    }
}

static bool pair_busy(const struct pair *p)
{
    return io_busy(&p->connect) || io_busy(&p->ways[0].recv) || io_busy(&p->ways[0].send) ||
           io_busy(&p->ways[1].recv) || io_busy(&p->ways[1].send);
}

static void pair_end(struct pair *p)
{
    struct relay *r = p->relay;

    io_cancel(r->io, &p->connect);
    for (int i = 0; i < 2; i++) {
        io_cancel(r->io, &p->ways[i].recv);
        io_cancel(r->io, &p->ways[i].send);
    }
    if (pair_busy(p))
        return;
    for (int i = 0; i < 2; i++)
        if (p->ways[i].held.buf)
            buf_unref(p->ways[i].held.buf);
    if (p->reset)
        io_reset(r->io, &p->client);
    else
        io_close(r->io, &p->client);
    io_close(r->io, &p->origin);
    io_timer_clear(r->io, &p->idle);
    list_remove(&p->node);
    owner_retire(&p->owner);
    owner_wake(&r->owner);
    mem_free(p);
}

static void pair_step(struct owner *owner)
{
    struct pair *p = container_of(owner, struct pair, owner);

    if (io_take(&p->connect)) {
        p->connected = p->connect.fail == 0;
        p->ending |= !p->connected;
        p->relay->refused += !p->connected;
    }
    way_progress(p, &p->ways[0]);
    way_progress(p, &p->ways[1]);
    if (io_timer_take(&p->idle) && !p->ending) {
        p->relay->cut++;
        p->ending = p->reset = true;
    }
    if (p->connected && !p->ending) {
        way_go_on(p, &p->ways[0]);
        way_go_on(p, &p->ways[1]);
    }
    if (p->ending || (p->ways[0].finished && p->ways[1].finished))
        pair_end(p);
}

static void pair_new(struct relay *r, int fd)
{
    struct pair *p = mem_zalloc(sizeof *p);

    if (!p) {
        r->refused++;
        io_discard(r->io, fd);
        return;
    }
    p->relay = r;
    owner_init(&p->owner, &r->io->owners, pair_step);
    p->connect.owner = p->idle.owner = &p->owner;
    p->idle.at = TIME_NEVER;
    io_adopt(r->io, &p->client, fd);
    p->origin.fd = -1;
    p->ways[0] = (struct way){.from = &p->client, .to = &p->origin};
    p->ways[1] = (struct way){.from = &p->origin, .to = &p->client};
    for (int i = 0; i < 2; i++)
        p->ways[i].recv.owner = p->ways[i].send.owner = &p->owner;
    list_append(&r->pairs, &p->node);
    io_timer_set(r->io, &p->idle, io_now(r->io) + r->idle_ns);
    io_connect(r->io, &p->connect, &p->origin, &r->origin);
}

static void relay_step(struct owner *owner)
{
    struct relay *r = container_of(owner, struct relay, owner);
    bool busy = false;

    for (int i = 0; i < RELAY_ACCEPTS; i++) {
        struct io_accept *a = &r->accepts[i];
        if (io_take(&a->op)) {
            if (a->op.fail == FAIL_DESCRIPTORS)
                io_timer_set(r->io, &r->timer, io_now(r->io) + 10 * NS_PER_MS);
            else if (a->op.fail == 0) {
                r->served++;
                pair_new(r, a->fd);
            }
        }
        if (r->leaving)
            io_cancel(r->io, &a->op);
        busy |= io_busy(&a->op);
    }
    if (io_timer_take(&r->timer))
        r->timer.at = TIME_NEVER;
    if (r->leaving) {
        for (struct link_node *n = r->pairs.next; n != &r->pairs; n = n->next) {
            struct pair *p = container_of(n, struct pair, node);
            if (!p->ending) {
                p->ending = true;
                owner_wake(&p->owner);
            }
        }
        if (!busy && r->sock.fd >= 0) {
            io_timer_clear(r->io, &r->timer);
            io_close(r->io, &r->sock);
        }
        return;
    }
    for (int i = 0; i < RELAY_ACCEPTS && r->timer.at == TIME_NEVER; i++)
        if (!io_busy(&r->accepts[i].op))
            io_accept(r->io, &r->accepts[i], &r->sock);
}

void relay_start(struct relay *r, struct io *io, int fd, const struct address *origin,
                 uint64_t idle_ns)
{
    *r = (struct relay){.io = io, .origin = *origin, .idle_ns = idle_ns};
    owner_init(&r->owner, &io->owners, relay_step);
    list_init(&r->pairs);
    r->timer.owner = &r->owner;
    r->timer.at = TIME_NEVER;
    for (int i = 0; i < RELAY_ACCEPTS; i++)
        r->accepts[i].op.owner = &r->owner;
    io_adopt(io, &r->sock, fd);
    owner_wake(&r->owner);
}

void relay_leave(struct relay *r)
{
    r->leaving = true;
    owner_wake(&r->owner);
}

bool relay_gone(const struct relay *r)
{
    return r->leaving && r->sock.fd < 0 && list_empty(&r->pairs) && !link_linked(&r->owner.queued);
}
