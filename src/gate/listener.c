/* Accepting: one per address and worker; see listener.h.
 *
 * Several accepts are posted at once, each with room for its own client's
 * address.  When a limit is reached they are cancelled, and posted again when a
 * tenth of it is free, of fewer than ten one.  Those posted still, here and by
 * other workers, may bring more clients: they are held, unserved, until there is
 * room, so that the limits of connections are exact and a worker keeps
 * LISTENER_ACCEPTS more descriptors for each address at most.  Who came first is
 * served first.
 *
 * Accepts are cancelled all together or not at all.  For a client the kernel
 * wakes one of them; when that is the one which is being cancelled no other
 * hears of the client, and only an accept that is posted anew finds it.
 */
#include "gate/listener.h"

#include "gate/conn.h"
#include "gate/gate.h"

enum { DRAINS = 2, DRAINS_MAX = 10 };
#define DRAIN_PAUSE_NS      (10 * NS_PER_MS)
#define DESCRIPTOR_PAUSE_NS (100 * NS_PER_MS)
#define FULL_PAUSE_NS       (20 * NS_PER_MS)

static void listener_step(struct owner *owner);

static struct listener *listener_of(struct owner *owner)
{
    return container_of(owner, struct listener, owner);
}

int listener_open(struct worker *w, struct port *port, int fd, struct generation *g,
                  const struct listener_conf *conf)
{
    struct listener *l = mem_zalloc(sizeof *l);

    if (!l)
        return FAIL_MEMORY;
    l->worker = w;
    l->port = port;
    l->sock.fd = -1;
    owner_init(&l->owner, &w->io->owners, listener_step);
    l->timer.owner = &l->owner;
    l->timer.at = TIME_NEVER;
    for (unsigned i = 0; i < LISTENER_ACCEPTS; i++)
        l->accepts[i] = (struct io_accept){.op.owner = &l->owner, .fd = -1};
    g->users++;
    l->generation = g;
    l->conf = conf;
    listener_tls_changed(l);
    io_adopt(w->io, &l->sock, fd);
    list_append(&w->listeners, &l->node);
    owner_wake(&l->owner);
    return 0;
}

void listener_tls_changed(struct listener *l)
{
    struct tls_set *old = l->tls_set;

    l->tls_set = l->conf->tls_set ? tls_set_use(l->conf->tls_set) : NULL;
    tls_set_done(old);
}

void listener_adopt(struct listener *l, struct generation *g, const struct listener_conf *conf)
{
    struct generation *old = l->generation;

    g->users++;
    l->generation = g;
    l->conf = conf;
    listener_tls_changed(l);
    generation_done(l->worker, old);
    owner_wake(&l->owner);
}

/* --- limits --------------------------------------------------------------------- */

static bool below(uint64_t n, uint64_t max, bool paused)
{
    uint64_t tenth = max / 10;

    if (paused && tenth > 0)
        max -= tenth - 1; /* the place that makes it a tenth is one to accept for */
    return n < max;
}

/* Whether somebody may be accepted now. */
static bool listener_has_room(const struct listener *l)
{
    struct gate *gate = l->worker->gate;
    uint64_t all = atomic_load_explicit(&gate->connections, memory_order_relaxed);
    uint64_t own = atomic_load_explicit(&l->port->connections, memory_order_relaxed);
    uint64_t all_max = atomic_load_explicit(&gate->connections_max, memory_order_relaxed);

    return below(all, all_max, l->paused) && below(own, l->conf->max_connections, l->paused);
}

static bool count_up(_Atomic uint64_t *count, uint64_t max)
{
    uint64_t n = atomic_load_explicit(count, memory_order_relaxed);

    do
        if (n >= max)
            return false;
    while (!atomic_compare_exchange_weak_explicit(count, &n, n + 1, memory_order_relaxed,
                                                  memory_order_relaxed));
    return true;
}

static void count_down(_Atomic uint64_t *count)
{
    atomic_fetch_sub_explicit(count, 1, memory_order_relaxed);
}

/* One connection more, if no limit forbids it.  Who leaves serves those who came before. */
static bool listener_claim(struct listener *l)
{
    struct gate *gate = l->worker->gate;
    uint64_t all_max = atomic_load_explicit(&gate->connections_max, memory_order_relaxed);

    if (!count_up(&gate->connections, l->leaving ? UINT64_MAX : all_max))
        return false;
    if (count_up(&l->port->connections, l->leaving ? UINT64_MAX : l->conf->max_connections))
        return true;
    count_down(&gate->connections);
    return false;
}

/* Clients can make it pause as often as they come and go: once a second is said. */
static bool listener_may_say(struct listener *l)
{
    uint64_t now = io_now(l->worker->io);

    if (l->said || now < l->say_at)
        return false;
    l->say_at = now + NS_PER_S;
    l->said = true;
    return true;
}

static void listener_pause(struct listener *l)
{
    if (l->paused)
        return;
    l->paused = true;
    worker_counted(&l->worker->stats.accept_paused);
    if (listener_may_say(l))
        log_say(LOG_WARNING, "listen %.*s: max_connections reached, accepting pauses",
                SPAN_ARG(l->port->at.text));
}

void listener_conn_closed(struct listener *l)
{
    struct worker *w = l->worker;

    l->conns--;
    count_down(&w->gate->connections);
    count_down(&l->port->connections);
    io_count(&w->stats.connections_open, (uint64_t)-1);
    if (l->paused || l->leaving)
        owner_wake(&l->owner);
}

/* --- accepting -------------------------------------------------------------------- */

static void listener_take(struct listener *l, struct io_accept *a)
{
    struct worker *w = l->worker;

    if (a->op.fail == FAIL_DESCRIPTORS) {
        if (!l->paused && listener_may_say(l))
            log_say(LOG_WARNING, "listen %.*s: no descriptors left, accepting pauses",
                    SPAN_ARG(l->port->at.text));
        l->paused = l->starved = true;
        worker_counted(&w->stats.accept_paused);
        io_timer_set(w->io, &l->timer, io_now(w->io) + DESCRIPTOR_PAUSE_NS);
        return;
    }
    if (a->op.fail)
        a->fd = -1;
}

/* Of the clients that wait to be served, who came first. */
static struct io_accept *accept_next(struct listener *l)
{
    struct io_accept *first = NULL;

    for (unsigned i = 0; i < LISTENER_ACCEPTS; i++) {
        struct io_accept *a = &l->accepts[i];
        if (!io_busy(&a->op) && a->fd >= 0 &&
            (!first || (int32_t)(a->op.count - first->op.count) < 0))
            first = a;
    }
    return first;
}

/* Serves who was accepted; false if there is no room for somebody, who waits
 * in the io_accept that brought them. */
static bool listener_serve(struct listener *l)
{
    struct worker *w = l->worker;

    for (struct io_accept *a; (a = accept_next(l));) {
        bool late = w->stopping; /* all that there was has been cut: nobody would end it */
        if (!late && !listener_claim(l))
            return false;
        int fd = a->fd;
        a->fd = -1;
        if (late) {
            worker_counted(&w->stats.causes[CAUSE_draining]);
            io_discard(w->io, fd);
            continue;
        }
        l->conns++;
        worker_counted(&w->stats.connections);
        worker_counted(&w->stats.connections_open);
        address_unmap(&a->peer);
        conn_open(l, fd, &a->peer);
    }
    return true;
}

static bool listener_busy(const struct listener *l)
{
    for (unsigned i = 0; i < LISTENER_ACCEPTS; i++)
        if (io_busy(&l->accepts[i].op))
            return true;
    return false;
}

static void accepts_cancel(struct listener *l)
{
    for (unsigned i = 0; i < LISTENER_ACCEPTS; i++)
        if (io_busy(&l->accepts[i].op) && !l->accepts[i].op.cancelled)
            io_cancel(l->worker->io, &l->accepts[i].op);
}

static void listener_post(struct listener *l, bool all_served)
{
    struct io *io = l->worker->io;

    if (l->starved && l->timer.at != TIME_NEVER) /* waiting for descriptors */
        return;
    l->starved = false;
    if (!all_served || !listener_has_room(l)) {
        accepts_cancel(l);
        listener_pause(l);
        /* Room that another worker makes is told to nobody. */
        if (l->timer.at == TIME_NEVER)
            io_timer_set(io, &l->timer, io_now(io) + FULL_PAUSE_NS);
        return;
    }
    io_timer_clear(io, &l->timer);
    if (l->paused && l->said) {
        l->said = false;
        log_say(LOG_NOTICE, "listen %.*s: accepting again", SPAN_ARG(l->port->at.text));
    }
    l->paused = false;
    for (unsigned i = 0; i < LISTENER_ACCEPTS; i++)
        if (!io_busy(&l->accepts[i].op))
            io_accept(io, &l->accepts[i], &l->sock);
}

/* --- leaving ----------------------------------------------------------------------- */

static void listener_gone(struct listener *l)
{
    struct worker *w = l->worker;

    io_timer_clear(w->io, &l->timer);
    list_remove(&l->node);
    owner_retire(&l->owner);
    generation_done(w, l->generation);
    tls_set_done(l->tls_set);
    mem_free(l);
    worker_check_done(w);
}

/* What the kernel has accepted for us already is served: the socket is closed
 * only when there was a little time to take all of it, twice.  Clients that
 * keep coming must not keep it open, so that is not asked for ever. */
static bool listener_drained(const struct listener *l, unsigned taken)
{
    return l->drains >= DRAINS_MAX || (l->drains >= DRAINS && taken < LISTENER_ACCEPTS) ||
           (l->drains > 0 && l->worker->stopping);
}

static void listener_leaving(struct listener *l, unsigned taken)
{
    struct io *io = l->worker->io;

    if (l->sock.fd >= 0) {
        if (io_timer_take(&l->timer) || l->worker->stopping)
            l->drains++;
        if (l->closing || listener_drained(l, taken)) {
            l->closing = true;
            accepts_cancel(l);
            if (!listener_busy(l))
                io_close(io, &l->sock);
        } else {
            for (unsigned i = 0; i < LISTENER_ACCEPTS; i++)
                if (!io_busy(&l->accepts[i].op))
                    io_accept(io, &l->accepts[i], &l->sock);
            if (l->timer.at == TIME_NEVER)
                io_timer_set(io, &l->timer, io_now(io) + DRAIN_PAUSE_NS);
        }
    }
    if (l->sock.fd < 0 && l->conns == 0)
        listener_gone(l);
}

static void drain_ours(void *conn, void *listener)
{
    if (conn_listener(conn) == listener)
        conn_drain(conn);
}

void listener_leave(struct listener *l)
{
    if (!l->leaving) {
        l->leaving = true;
        l->drains = 0;
        slab_each(&l->worker->conns, drain_ours, l);
    }
    owner_wake(&l->owner);
}

static void listener_step(struct owner *owner)
{
    struct listener *l = listener_of(owner);
    unsigned taken = 0;

    for (unsigned i = 0; i < LISTENER_ACCEPTS; i++)
        if (io_take(&l->accepts[i].op)) {
            listener_take(l, &l->accepts[i]);
            taken++;
        }
    bool all_served = listener_serve(l);
    if (l->leaving) {
        listener_leaving(l, taken);
        return;
    }
    if (io_timer_take(&l->timer))
        l->timer.at = TIME_NEVER;
    listener_post(l, all_served);
}
