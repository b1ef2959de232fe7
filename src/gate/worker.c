/* One thread: its engine, its share of everything; see worker_own.h. */
#include "gate/worker.h"

#include "gate/access_log.h"
#include "gate/check.h"
#include "gate/conn.h"
#include "gate/gate.h"
#include "gate/inner.h"
#include "gate/pool.h"
#include "gate/queue.h"
#include "gate/report.h"

#include <assert.h>
#include <stdio.h>

struct io *worker_io(const struct worker *w)
{
    return w->io;
}

unsigned worker_index(const struct worker *w)
{
    return w->index;
}

unsigned worker_count(const struct worker *w)
{
    return w->gate->worker_count;
}

unsigned worker_descriptors_spare(const struct worker *w)
{
    unsigned share = w->gate->descriptors_spare / w->gate->worker_count;

    return share ? share : 1;
}

void worker_post(struct worker *from, unsigned to, struct io_message *m)
{
    io_post(from->gate->workers[to].io, m);
}

/* --- generations ------------------------------------------------------------------ */

struct generation *generation_use(struct generation *g)
{
    g->users++;
    return g;
}

void generation_done(struct worker *w, struct generation *g)
{
    if (--g->users > 0)
        return;
    assert(g != w->current);
    struct config *config = g->config;
    checks_free(g);
    pools_leave(w, g);
    list_remove(&g->node);
    mem_free(g);
    if (atomic_fetch_sub_explicit(&config->users, 1, memory_order_acq_rel) == 1 && w->gate->changed)
        w->gate->changed(w->gate);
}

static struct generation *generation_new(struct worker *w, struct config *config)
{
    struct generation *g = mem_zalloc(sizeof *g);

    if (!g)
        return NULL;
    g->config = config;
    g->users = 1;
    g->replaced = TIME_NEVER;
    list_append(&w->generations, &g->node);
    if (checks_make(w, g) < 0 || pools_adopt(w, g) < 0) {
        checks_free(g);
        pools_leave(w, g);
        list_remove(&g->node);
        mem_free(g);
        return NULL;
    }
    return g;
}

/* --- what every response says ------------------------------------------------------ */

/* Server first, so that Date alone is the rest. */
struct span worker_common_lines(struct worker *w, bool server)
{
    uint64_t wall = io_wall(w->io);

    if (wall >= w->common_until) {
        struct span name = w->current->config->server.server_header;
        char date[CLOCK_HTTP_LEN];
        clock_http(date, (int64_t)(wall / NS_PER_S));
        w->common_until = (wall / NS_PER_S + 1) * NS_PER_S;
        int n = name.len ? snprintf(w->common, sizeof w->common, "Server: %.*s\r\n", SPAN_ARG(name))
                         : 0;
        w->common_date = (uint32_t)n;
        n += snprintf(w->common + n, sizeof w->common - (size_t)n, "Date: %.*s\r\n", CLOCK_HTTP_LEN,
                      date);
        w->common_len = (uint32_t)n; /* SERVER_HEADER_MAX leaves room */
    }
    struct span all = {w->common, w->common_len};
    return server ? all : span_after(all, w->common_date);
}

/* --- coming and going ---------------------------------------------------------------- */

static void cut_if_old(void *conn, void *data)
{
    (void)data;
    conn_reloaded(conn);
}

/* Each generation has its own time, from when it was replaced; how much is the newest's to say. */
static uint64_t generation_due(const struct worker *w, const struct generation *g)
{
    if (g->over || g->replaced == TIME_NEVER)
        return TIME_NEVER;
    return after(g->replaced, w->current->config->server.reload_timeout);
}

static void worker_await_old(struct worker *w)
{
    uint64_t due = TIME_NEVER;

    for (struct link_node *n = w->generations.next; n != &w->generations; n = n->next)
        due = earlier(due, generation_due(w, container_of(n, struct generation, node)));
    if (due == TIME_NEVER)
        io_timer_clear(w->io, &w->reload_timer);
    else
        io_timer_set(w->io, &w->reload_timer, due);
}

/* What began under a generation whose time is over ends. */
static void worker_cut_old(struct worker *w)
{
    for (struct link_node *n = w->generations.next; n != &w->generations; n = n->next) {
        struct generation *g = container_of(n, struct generation, node);
        g->over = g->over || generation_due(w, g) <= io_now(w->io);
    }
    slab_each(&w->conns, cut_if_old, NULL);
    worker_await_old(w);
}

static void worker_step(struct owner *owner)
{
    struct worker *w = container_of(owner, struct worker, owner);

    if (io_timer_take(&w->drain_timer))
        worker_stop(w);
    if (io_timer_take(&w->reload_timer))
        worker_cut_old(w);
    worker_check_done(w);
}

static const struct listener_conf *listener_conf_for(const struct config *config,
                                                     const struct port *port)
{
    for (unsigned i = 0; i < config->listener_count; i++) {
        const struct listener_conf *l = &config->listeners[i];
        for (unsigned j = 0; j < l->listen.count; j++) {
            const struct listen_address *at = &l->listen.list[j];
            if (at->any == port->at.any && address_equal(&at->address, &port->at.address))
                return l;
        }
    }
    return NULL;
}

/* Opens a listener for every port that has a socket for us. */
static int worker_listen(struct worker *w)
{
    struct gate *gate = w->gate;

    for (struct link_node *n = gate->ports.next; n != &gate->ports; n = n->next) {
        struct port *port = container_of(n, struct port, node);
        int fd = port->fds[w->index];
        const struct listener_conf *conf = listener_conf_for(w->current->config, port);
        if (fd < 0 || !conf)
            continue;
        int err = listener_open(w, port, fd, w->current, conf);
        if (err < 0)
            return err;
        port->fds[w->index] = -1;
    }
    return 0;
}

static int worker_modules_start(struct worker *w)
{
    struct config *config = w->current->config;

    if (!(w->module_states = mem_zalloc((config->module_count + 1) * sizeof(void *))))
        return FAIL_MEMORY;
    for (unsigned i = 0; i < config->module_count; i++) {
        const struct module *m = config->modules[i].module;
        if (m->worker_size && !(w->module_states[i] = mem_zalloc(m->worker_size)))
            return FAIL_MEMORY;
        int err = m->worker_start
                      ? m->worker_start(w, w->module_states[i], w->gate->module_processes[i],
                                        config->modules[i].conf)
                      : 0;
        if (err < 0)
            return err;
    }
    return 0;
}

int worker_open(struct worker *w, const char **why)
{
    struct gate *gate = w->gate;
    struct io_options options = {
        .buffer_memory = gate->buffer_memory / gate->worker_count,
        .sockets_max = (uint32_t)(gate->connections_max < UINT32_MAX / 4 ? gate->connections_max * 2
                                                                         : UINT32_MAX / 2),
        .disable = gate->disable,
        .pipes_max = config_pipes(gate->config),
        .world = gate->world,
    };
    int err;

    list_init(&w->generations);
    list_init(&w->listeners);
    list_init(&w->inners);
    if ((err = io_open(&w->io, gate->backend, &options, why)) < 0)
        return err;
    *why = "out of memory";
    owner_init(&w->owner, &w->io->owners, worker_step);
    w->drain_timer.owner = w->reload_timer.owner = &w->owner;
    w->drain_timer.at = TIME_NEVER;
    w->reload_timer.at = TIME_NEVER;
    wires_init(&w->wires, w->io);
    slab_init(&w->conns, conn_size(), 1024);
    slab_init(&w->exchanges_slab, sizeof(struct exchange), 256);
    if ((err = pools_open(w)) < 0)
        return err;
    if (!(w->current = generation_new(w, gate->config)))
        return FAIL_MEMORY;
    atomic_fetch_add_explicit(&gate->config->users, 1, memory_order_relaxed);
    *why = "access_log or a module";
    if ((err = access_log_open(w, &gate->config->server.access_log)) < 0 ||
        (err = worker_modules_start(w)) < 0)
        return err;
    if ((err = worker_listen(w)) < 0)
        return err;
    checks_begin(w->current);
    return 0;
}

bool worker_turn(struct worker *w)
{
    return io_turn(w->io, TIME_NEVER) && !w->done && !w->standing;
}

void worker_modules_stop(struct worker *w)
{
    for (unsigned i = 0; w->module_states && i < w->gate->module_count; i++) {
        const struct module *m = w->gate->modules[i];
        if (m->worker_stop && w->module_states[i])
            m->worker_stop(w, w->module_states[i]);
    }
}

void worker_close(struct worker *w)
{
    if (!w->io)
        return;
    worker_modules_stop(w);
    report_worker(w);
    io_timer_clear(w->io, &w->drain_timer);
    io_timer_clear(w->io, &w->reload_timer);
    owner_retire(&w->owner);
    if (w->current) {
        struct generation *g = w->current;
        checks_end(g);
        inners_end(w);
        w->current = NULL;
        generation_done(w, g);
    }
    pools_free(w);
    slab_free(&w->conns);
    exchanges_drain(w);
    wires_free(&w->wires);
    io_free(w->io);
    w->io = NULL;
}

/* --- orders ---------------------------------------------------------------------------- */

void worker_adopt(struct worker *w, struct config *config)
{
    struct generation *old = w->current, *g = generation_new(w, config);

    if (!g) {
        /* main counted us in before it asked. */
        log_say(LOG_ERROR, "worker %u: no memory to adopt the configuration", w->index);
        atomic_fetch_sub_explicit(&config->users, 1, memory_order_acq_rel);
        return;
    }
    w->current = g;
    w->common_until = 0;
    pools_placed(w); /* a name may have other addresses than when it was read before */
    if (!w->draining)
        checks_succeed(old, g);
    for (unsigned i = 0; i < config->module_count; i++) {
        const struct module *m = config->modules[i].module;
        if (m->worker_adopt)
            m->worker_adopt(w, w->module_states[i], config->modules[i].conf);
    }
    access_log_adopt(w, &config->server.access_log);
    struct link_node *next;
    for (struct link_node *n = w->listeners.next; n != &w->listeners; n = next) {
        struct listener *l = container_of(n, struct listener, node);
        const struct listener_conf *conf = listener_conf_for(config, l->port);
        next = n->next;
        if (l->leaving)
            continue;
        if (conf)
            listener_adopt(l, g, conf);
        else
            listener_leave(l);
    }
    old->replaced = io_now(w->io);
    worker_await_old(w);
    if (!w->draining && worker_listen(w) < 0)
        log_say(LOG_ERROR, "worker %u: no memory for a new listener", w->index);
    generation_done(w, old);
}

void worker_drain(struct worker *w, uint64_t timeout_ns)
{
    if (w->draining)
        return;
    w->draining = true;
    checks_end(w->current);
    pools_close(w); /* what is idle serves nobody any more */
    if (timeout_ns != VALUE_OFF)
        io_timer_set(w->io, &w->drain_timer, io_now(w->io) + timeout_ns);
    struct link_node *next;
    for (struct link_node *n = w->listeners.next; n != &w->listeners; n = next) {
        next = n->next;
        listener_leave(container_of(n, struct listener, node));
    }
    owner_wake(&w->owner);
}

void worker_tls_changed(struct worker *w)
{
    for (struct link_node *n = w->listeners.next; n != &w->listeners; n = n->next)
        listener_tls_changed(container_of(n, struct listener, node));
}

/* Somebody who waits may be served where there is an address now. */
void worker_placed(struct worker *w)
{
    const struct config *config = w->current->config;

    pools_placed(w);
    for (unsigned i = 0; i < config->upstream_count; i++)
        queue_call(config->upstreams[i].state);
}

void worker_steered(struct worker *w)
{
    const struct config *config = w->current->config;

    pools_steered(w);
    for (unsigned i = 0; i < config->upstream_count; i++)
        queue_call(config->upstreams[i].state);
}

static void cut_for_good(void *conn, void *data)
{
    (void)data;
    conn_cut(conn, CAUSE_draining);
}

void worker_stop(struct worker *w)
{
    struct link_node *next;

    w->draining = w->stopping = true;
    checks_end(w->current);
    slab_each(&w->conns, cut_for_good, NULL);
    for (struct link_node *n = w->listeners.next; n != &w->listeners; n = next) {
        next = n->next;
        listener_leave(container_of(n, struct listener, node));
    }
    owner_wake(&w->owner);
}

/* Connections first, then what served them: the log is written out and idle
 * links to origins are closed before the thread ends. */
void worker_check_done(struct worker *w)
{
    if (!w->draining || !list_empty(&w->listeners) || w->conns.out > 0 || w->done)
        return;
    inners_end(w); /* nobody waits for those */
    bool log_closed = access_log_close(w);
    bool pools_closed = pools_close(w);
    w->done = log_closed && pools_closed;
}
