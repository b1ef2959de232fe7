/* The process: addresses, generations and orders; see gate.h. */
#include "gate/gate.h"

#include "gate/access_log.h"
#include "gate/names.h"
#include "gate/queue.h"
#include "gate/pool.h"
#include "gate/tls_build.h"
#include "gate/upstream.h"
#include "io/descriptor.h"

#include <assert.h>

#define BIND_RETRY_NS (2 * NS_PER_S)
#define BIND_PAUSE_NS (50 * NS_PER_MS)

/* --- addresses ------------------------------------------------------------------- */

static struct port *port_find(struct gate *gate, const struct listen_address *at)
{
    for (struct link_node *n = gate->ports.next; n != &gate->ports; n = n->next) {
        struct port *p = container_of(n, struct port, node);
        if (!p->left && p->at.any == at->any && address_equal(&p->at.address, &at->address))
            return p;
    }
    return NULL;
}

/* The name of a unix socket's file; false: it is none, or has none. */
static bool port_path(const struct port *port, char path[ADDRESS_PATH_MAX + 1])
{
    const struct address *a = &port->at.address;

    if (a->family != ADDRESS_UNIX || a->path_len == 0 || a->path[0] == '\0')
        return false;
    memcpy(path, a->path, a->path_len);
    path[a->path_len] = '\0';
    return true;
}

static void port_close(struct gate *gate, struct port *port)
{
    for (unsigned i = 0; i < gate->worker_count; i++)
        if (port->fds[i] >= 0) {
            io_listen_close(gate->backend, gate->world, port->fds[i]);
            port->fds[i] = -1;
        }
}

/* A program that waited for the name may have put its own there. */
static void port_unlink(struct port *port)
{
    char path[ADDRESS_PATH_MAX + 1];

    if (port_path(port, path))
        descriptor_remove(path, &port->file);
}

static void port_free(struct gate *gate, struct port *port)
{
    port_close(gate, port);
    if (!gate->world)
        port_unlink(port);
    list_remove(&port->node);
    mem_free((char *)(uintptr_t)port->at.text.ptr);
    mem_free(port->fds);
    mem_free(port);
}

static struct port *port_new(struct gate *gate, const struct listen_address *at)
{
    struct port *port = mem_zalloc(sizeof *port);

    if (!port)
        return NULL;
    port->at = *at;
    port->at.at = (struct position){0};
    char *text = mem_alloc(at->text.len);
    port->at.text.ptr = text;
    port->fds = mem_alloc(gate->worker_count * sizeof *port->fds);
    if (!text || !port->fds) {
        mem_free(text);
        mem_free(port->fds);
        mem_free(port);
        return NULL;
    }
    memcpy(text, at->text.ptr, at->text.len);
    for (unsigned i = 0; i < gate->worker_count; i++)
        port->fds[i] = -1;
    list_append(&gate->ports, &port->node);
    return port;
}

/* SO_REUSEPORT lets another program of ours share the address by accident, so
 * it is bound once without.  A ring that is still being torn down may hold it
 * for a moment. */
static int port_probe(struct gate *gate, const struct io_listen *spec)
{
    struct io_listen probe = *spec;
    int fd, err;

    probe.reuse_port = false;
    for (uint64_t waited = 0;; waited += BIND_PAUSE_NS) {
        err = io_listen(gate->backend, gate->world, &probe, &fd);
        if (err != FAIL_IN_USE || waited >= BIND_RETRY_NS || gate->world)
            break;
        descriptor_pause(BIND_PAUSE_NS);
    }
    if (err == 0)
        io_listen_close(gate->backend, gate->world, fd);
    return err;
}

/* A unix socket is one for all workers; each has its own descriptor of it. */
static int port_bind_unix(struct gate *gate, struct port *port, struct io_listen *spec)
{
    int err = io_listen(gate->backend, gate->world, spec, &port->fds[0]);
    char path[ADDRESS_PATH_MAX + 1];

    if (err == 0 && !gate->world && port_path(port, path))
        descriptor_mark(path, &port->file);
    for (unsigned i = 1; err == 0 && i < gate->worker_count; i++)
        err = io_listen_copy(gate->backend, gate->world, port->fds[0], &port->fds[i]);
    return err;
}

static int port_bind(struct gate *gate, struct port *port, const struct listener_conf *conf,
                     bool share)
{
    struct io_listen spec = {
        .at = port->at.address,
        .backlog = (int)conf->backlog,
        .unix_mode = (unsigned)conf->socket_mode,
    };
    int err;

    if (spec.at.family == ADDRESS_UNIX)
        return port_bind_unix(gate, port, &spec);
    if (port->at.any)
        spec.at.family = ADDRESS_IPV6;
    if (!share && (err = port_probe(gate, &spec)) < 0) {
        if (err != FAIL_UNSUPPORTED || !port->at.any)
            return err;
        log_say(LOG_NOTICE, "listen %.*s: no IPv6 here, IPv4 alone", SPAN_ARG(port->at.text));
        spec.at = (struct address){.family = ADDRESS_IPV4, .port = spec.at.port};
        if ((err = port_probe(gate, &spec)) < 0)
            return err;
    }
    spec.reuse_port = true;
    for (unsigned i = 0; i < gate->worker_count; i++)
        if ((err = io_listen(gate->backend, gate->world, &spec, &port->fds[i])) < 0)
            return err;
    return 0;
}

/* Binds what a configuration wants and is not bound yet. */
static int ports_bind(struct gate *gate, const struct config *config, struct diagnostics *d)
{
    int worst = 0;

    for (unsigned i = 0; i < config->listener_count; i++) {
        const struct listener_conf *l = &config->listeners[i];
        for (unsigned j = 0; j < l->listen.count; j++) {
            const struct listen_address *at = &l->listen.list[j];
            if (port_find(gate, at))
                continue;
            struct port *port = port_new(gate, at);
            int err = port ? port_bind(gate, port, l, config->server.share_ports) : FAIL_MEMORY;
            if (err == 0)
                continue;
            diagnostics_say(d, SEVERITY_ERROR, (struct position){0}, "listen %.*s: %s",
                            SPAN_ARG(at->text), fail_text(err));
            worst = err;
            if (port)
                port_free(gate, port);
        }
    }
    return worst;
}

/* No worker has been given its socket.  One that had no memory for a listener
 * left it here, while others have theirs. */
static bool port_is_new(const struct gate *gate, const struct port *p)
{
    for (unsigned i = 0; i < gate->worker_count; i++)
        if (p->fds[i] < 0)
            return false;
    return true;
}

/* Takes back what was bound for a generation that is not to be. */
static void ports_unbind_new(struct gate *gate)
{
    struct link_node *next;

    for (struct link_node *n = gate->ports.next; n != &gate->ports; n = next) {
        struct port *p = container_of(n, struct port, node);
        next = n->next;
        if (port_is_new(gate, p))
            port_free(gate, p);
    }
}

/* --- orders --------------------------------------------------------------------------- */

enum order_kind {
    ORDER_ADOPT,
    ORDER_DRAIN,
    ORDER_STOP,
    ORDER_LOGS,
    ORDER_STAND,
    ORDER_TLS,
    ORDER_STEER,
    ORDER_LOOK,
    ORDER_PLACED
};

struct order {
    struct io_message message;
    struct worker *worker;
    enum order_kind kind;
    struct config *config;
};

static void order_arrived(struct io_message *m, struct io *io)
{
    struct order *o = container_of(m, struct order, message);
    struct worker *w = o->worker;
    struct gate *gate = w->gate;

    (void)io;
    switch (o->kind) {
    case ORDER_ADOPT:
        worker_adopt(w, o->config);
        break;
    case ORDER_DRAIN:
        worker_drain(w, w->current->config->server.drain_timeout);
        break;
    case ORDER_STOP:
        worker_stop(w);
        break;
    case ORDER_LOGS:
        access_log_reopen(w);
        break;
    case ORDER_TLS:
        worker_tls_changed(w);
        break;
    case ORDER_STEER:
        worker_steered(w);
        break;
    case ORDER_LOOK:
        pools_look(w);
        break;
    case ORDER_PLACED:
        worker_placed(w);
        break;
    case ORDER_STAND:
        w->standing = true;
        break;
    }
    mem_free(o);
    if (atomic_fetch_sub_explicit(&gate->orders, 1, memory_order_acq_rel) == 1 && gate->changed)
        gate->changed(gate);
}

static int orders_give(struct gate *gate, enum order_kind kind, struct config *config)
{
    struct order **orders = mem_zalloc(gate->worker_count * sizeof(struct order *));
    bool all = orders != NULL;

    for (unsigned i = 0; all && i < gate->worker_count; i++)
        all = (orders[i] = mem_zalloc(sizeof **orders)) != NULL;
    for (unsigned i = 0; orders && i < gate->worker_count; i++) {
        if (!all) {
            mem_free(orders[i]);
            continue;
        }
        *orders[i] = (struct order){.message = {.arrive = order_arrived},
                                    .worker = &gate->workers[i],
                                    .kind = kind,
                                    .config = config};
        atomic_fetch_add_explicit(&gate->orders, 1, memory_order_relaxed);
    }
    for (unsigned i = 0; all && i < gate->worker_count; i++)
        io_post(gate->workers[i].io, &orders[i]->message);
    mem_free(orders);
    return all ? 0 : FAIL_MEMORY;
}

bool gate_busy(struct gate *gate)
{
    return atomic_load_explicit(&gate->orders, memory_order_acquire) > 0;
}

int gate_adopt(struct gate *gate, struct config *config, struct diagnostics *d)
{
    int err = ports_bind(gate, config, d);

    assert(!gate_busy(gate));
    if (err == 0)
        err = upstreams_adopt(&gate->groups, config);
    if (err == 0) {
        if (gate->names)
            names_place(gate->names, config);
        atomic_store(&config->users, gate->worker_count + 1);
        err = orders_give(gate, ORDER_ADOPT, config);
    }
    if (err < 0) {
        upstreams_leave(config);
        ports_unbind_new(gate);
        return err;
    }
    struct config *old = gate->config;
    config->generation = old->generation + 1;
    config->before = old;
    gate->config = config;
    for (struct link_node *n = gate->ports.next; n != &gate->ports; n = n->next) {
        struct port *p = container_of(n, struct port, node);
        p->left = p->left || !gate_wants(config, &p->at);
    }
    atomic_fetch_sub_explicit(&old->users, 1, memory_order_acq_rel);
    upstreams_limit(config);
    for (unsigned i = 0; i < config->upstream_count; i++)
        queue_call(config->upstreams[i].state);
    return 0;
}

int gate_tls_change(struct gate *gate, struct tls_conf *conf, struct tls_context *context)
{
    struct config *config = gate->config;

    assert(!gate_busy(gate));
    tls_context_done(conf->context);
    conf->context = context;
    for (unsigned i = 0; i < config->listener_count; i++) {
        struct listener_conf *l = &config->listeners[i];
        struct tls_set *set = NULL;
        bool has = false;
        for (unsigned j = 0; j < l->tls_count; j++)
            has = has || l->tls[j] == conf->index;
        if (!has)
            continue;
        if (listener_set_new(config, l, &set) < 0)
            return FAIL_MEMORY;
        tls_set_done(l->tls_set);
        l->tls_set = set;
    }
    return orders_give(gate, ORDER_TLS, NULL);
}

void gate_drain(struct gate *gate)
{
    if (orders_give(gate, ORDER_DRAIN, NULL) < 0)
        log_say(LOG_ERROR, "no memory to drain: try again");
}

void gate_stop(struct gate *gate)
{
    if (orders_give(gate, ORDER_STOP, NULL) < 0)
        log_say(LOG_ERROR, "no memory to stop: try again");
}

void gate_reopen_logs(struct gate *gate)
{
    if (orders_give(gate, ORDER_LOGS, NULL) < 0)
        log_say(LOG_ERROR, "no memory to reopen the logs: try again");
}

int gate_placed(struct gate *gate)
{
    return orders_give(gate, ORDER_PLACED, NULL);
}

int gate_steer(struct gate *gate)
{
    return orders_give(gate, ORDER_STEER, NULL);
}

int gate_look(struct gate *gate)
{
    const struct config *config = gate->config;

    for (unsigned i = 0; i < config->upstream_count; i++)
        for (unsigned j = 0; j < config->upstreams[i].server_count; j++)
            server_seen_clear(config->upstreams[i].servers[j].state);
    return orders_give(gate, ORDER_LOOK, NULL);
}

void gate_stand(struct gate *gate)
{
    if (orders_give(gate, ORDER_STAND, NULL) < 0)
        log_say(LOG_ERROR, "no memory to stand still");
}

void gate_sweep(struct gate *gate)
{
    if (gate_busy(gate))
        return;
    for (struct config **at = &gate->config->before; *at;) {
        struct config *old = *at;
        if (atomic_load_explicit(&old->users, memory_order_acquire) > 0) {
            at = &old->before;
            continue;
        }
        *at = old->before;
        log_say(LOG_INFO, "generation %llu has ended", (unsigned long long)old->generation);
        upstreams_leave(old);
        config_free(old);
    }
    /* Addresses that no listener has any more may be bound again later. */
    struct link_node *next;
    for (struct link_node *n = gate->ports.next; n != &gate->ports; n = next) {
        struct port *p = container_of(n, struct port, node);
        next = n->next;
        if (!gate->config->before && p->left)
            port_free(gate, p);
    }
}

/* --- coming and going ---------------------------------------------------------------------- */

bool gate_wants(const struct config *config, const struct listen_address *at)
{
    for (unsigned i = 0; i < config->listener_count; i++) {
        const struct addresses *listen = &config->listeners[i].listen;
        for (unsigned j = 0; j < listen->count; j++)
            if (listen->list[j].any == at->any &&
                address_equal(&listen->list[j].address, &at->address))
                return true;
    }
    return false;
}

static int gate_modules_start(struct gate *gate, struct diagnostics *d)
{
    struct config *config = gate->config;

    gate->module_count = config->module_count;
    if (!(gate->module_processes = mem_zalloc((config->module_count + 1) * sizeof(void *))))
        return FAIL_MEMORY;
    for (unsigned i = 0; i < config->module_count; i++) {
        const struct module *m = config->modules[i].module;
        if (m->process_size && !(gate->module_processes[i] = mem_zalloc(m->process_size)))
            return FAIL_MEMORY;
        int err = m->process_start ? m->process_start(gate->module_processes[i],
                                                      config->modules[i].conf, gate->worker_count)
                                   : 0;
        if (err < 0) {
            diagnostics_say(d, SEVERITY_ERROR, (struct position){0}, "module %s: %s", m->name,
                            fail_text(err));
            return err;
        }
    }
    return 0;
}

int gate_open(struct gate *gate, struct config *config, const struct gate_options *options,
              struct diagnostics *d)
{
    int err;

    *gate = (struct gate){
        .backend = options->backend,
        .world = options->world,
        .modules = options->modules,
        .worker_count = options->workers,
        .connections_max = options->connections_max,
        .buffer_memory = options->buffer_memory,
        .descriptors_spare = options->descriptors_spare,
        .disable = (unsigned)config->server.engine_disable,
        .config = config,
    };
    list_init(&gate->ports);
    list_init(&gate->groups);
    atomic_store(&config->users, 1);
    config->generation = 1;
    if (!(gate->workers = mem_zalloc(gate->worker_count * sizeof *gate->workers))) {
        gate_close(gate);
        return FAIL_MEMORY;
    }
    for (unsigned i = 0; i < gate->worker_count; i++) {
        gate->workers[i].gate = gate;
        gate->workers[i].index = i;
    }
    if ((err = upstreams_adopt(&gate->groups, config)) < 0 ||
        (err = ports_bind(gate, config, d)) < 0 || (err = gate_modules_start(gate, d)) < 0)
        gate_close(gate);
    else
        upstreams_limit(config);
    return err;
}

int gate_modules_stop(struct gate *gate)
{
    void **states = mem_zalloc((gate->worker_count + 1) * sizeof(void *));
    int worst = states ? 0 : FAIL_MEMORY;

    for (unsigned i = 0; gate->module_processes && i < gate->module_count; i++) {
        const struct module *m = gate->modules[i];
        for (unsigned w = 0; states && w < gate->worker_count; w++)
            states[w] = gate->workers[w].module_states ? gate->workers[w].module_states[i] : NULL;
        int err = 0;
        if (m->process_stop && gate->module_processes[i] && states)
            err = m->process_stop(gate->module_processes[i], states, gate->worker_count);
        worst = err < 0 ? err : worst;
        for (unsigned w = 0; states && w < gate->worker_count; w++)
            mem_free(states[w]);
        mem_free(gate->module_processes[i]);
    }
    for (unsigned w = 0; gate->workers && w < gate->worker_count; w++)
        mem_free(gate->workers[w].module_states);
    mem_free(gate->module_processes);
    mem_free(states);
    return worst;
}

int gate_close(struct gate *gate)
{
    int err = gate_modules_stop(gate);

    names_free(gate->names);
    while (!list_empty(&gate->ports))
        port_free(gate, container_of(gate->ports.next, struct port, node));
    for (struct config *c = gate->config, *before; c; c = before) {
        before = c->before;
        upstreams_leave(c);
        config_free(c);
    }
    upstreams_sweep(&gate->groups);
    mem_free(gate->workers);
    *gate = (struct gate){0};
    list_init(&gate->ports);
    list_init(&gate->groups);
    return err;
}
