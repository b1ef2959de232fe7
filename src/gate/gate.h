/* The process: what main owns, what workers share.
 *
 * main reads configuration, binds addresses, starts a thread per worker and
 * then only gives orders: adopt this generation, drain, reopen logs.  The
 * simulator does the same without threads.
 */
#ifndef HEADGATE_GATE_GATE_H
#define HEADGATE_GATE_GATE_H

#include "gate/module.h"
#include "gate/worker_own.h"
#include "io/descriptor.h"

struct names;

/* A listening address; its sockets, one a worker, outlive generations. */
struct port {
    struct link_node node;
    struct listen_address at;     /* text is its own copy */
    int *fds;                     /* by worker; -1 once handed over and closed */
    bool left;                    /* the newest generation does not want it: its listeners drain */
    _Atomic uint64_t connections; /* of all workers */
    struct descriptor_mark file;  /* of a unix socket: what we made */
};

struct gate {
    const struct io_backend *backend;
    void *world; /* the simulator's */
    struct worker *workers;
    unsigned worker_count;
    struct config *config; /* the newest generation */
    struct link_node ports;
    struct names *names;                 /* of origins, followed; NULL: nobody does */
    struct link_node groups;             /* struct group_state: origins, as all workers know them */
    const struct module *const *modules; /* NULL-terminated; as config->modules */
    unsigned module_count;
    void **module_processes;          /* by that index */
    _Atomic uint64_t connections_max; /* main writes it, workers read it */
    char apart[CACHE_LINE];       /* what every worker writes does not slow down what all read */
    _Atomic uint64_t connections; /* of all workers */
    char from_here[CACHE_LINE];
    uint64_t buffer_memory;     /* bytes, of all workers */
    unsigned descriptors_spare; /* that modules may keep, of all workers */
    unsigned disable;
    _Atomic unsigned orders;            /* given and not yet carried out */
    void (*changed)(struct gate *gate); /* a worker wants main to look; from any thread; or NULL */
};

struct gate_options {
    const struct io_backend *backend;
    void *world;
    const struct module *const *modules;
    unsigned workers;
    uint64_t connections_max;
    uint64_t buffer_memory; /* bytes, of all workers */
    unsigned descriptors_spare;
};

/* Sets up for a checked configuration, which it takes over: binds every
 * address, starts the modules' process state. Problems are said in d; then nothing is left. */
MUST_USE int gate_open(struct gate *gate, struct config *config, const struct gate_options *options,
                       struct diagnostics *d);

/* Are orders under way?  The next may be given when not. */
bool gate_busy(struct gate *gate);

/* Does any listener of it have this address? */
bool gate_wants(const struct config *config, const struct listen_address *at);

/* Binds what is new, then hands the generation to every worker.  When an
 * address cannot be bound nothing changes, and the config stays the caller's. */
MUST_USE int gate_adopt(struct gate *gate, struct config *config, struct diagnostics *d);

/* A section's files have changed: connections from now on are spoken to by this
 * context, which it takes over whatever happens. Not while orders are under way. */
MUST_USE int gate_tls_change(struct gate *gate, struct tls_conf *conf, struct tls_context *context);

/* Slots have other addresses (gate/upstream.h). */
MUST_USE int gate_placed(struct gate *gate);

void gate_drain(struct gate *gate);
void gate_stop(struct gate *gate); /* cuts everything now */
void gate_reopen_logs(struct gate *gate);

/* Servers were steered by hand (upstream.h): workers close what is idle of those
 * that are down, and who waits for a place tries again. */
MUST_USE int gate_steer(struct gate *gate);

/* Has workers count their connections to the newest generation's servers: see
 * server_state.seen_*.  Not while orders are under way. */
MUST_USE int gate_look(struct gate *gate);

/* Each worker's next turn is its last: its thread is to call worker_modules_stop()
 * and to touch nothing more. */
void gate_stand(struct gate *gate);

/* What modules keep is written down: no worker runs any more.  Part of gate_close().
 * 0, or the failure of one that could not. */
int gate_modules_stop(struct gate *gate);

/* Frees generations that no worker uses any more. */
void gate_sweep(struct gate *gate);

/* All workers are closed.  As gate_modules_stop(). */
int gate_close(struct gate *gate);

#endif
