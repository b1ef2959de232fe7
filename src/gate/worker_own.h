/* The inside of a worker, for files of src/gate only. */
#ifndef HEADGATE_GATE_WORKER_OWN_H
#define HEADGATE_GATE_WORKER_OWN_H

#include "base/slab.h"
#include "gate/exchange.h"
#include "gate/worker.h"
#include "net/wire.h"

struct gate;
struct listener;
struct access_log;
struct pools;
struct checkers;

/* Counts what is normal but worth knowing; read by anyone. */
struct worker_stats {
    _Atomic uint64_t connections, connections_open, requests, accept_paused;
    _Atomic uint64_t responses[6]; /* by status class; 0: none was sent */
    _Atomic uint64_t causes[CAUSE_COUNT];
    _Atomic uint64_t log_dropped;
    _Atomic uint64_t checks, checks_failed;
    _Atomic uint64_t mirrored, mirror_dropped, mirror_failed;
};

/* A configuration and how many of this worker's exchanges still use it. */
struct generation {
    struct link_node node;
    struct config *config;
    uint32_t users;            /* exchanges, listeners, and 1 while it is the current one */
    uint64_t replaced;         /* when the next one came; TIME_NEVER: it is the current one */
    bool over;                 /* its reload_timeout is: what began under it was told to end */
    struct pool_view **pools;  /* by index in config->upstreams */
    struct checkers *checkers; /* this worker's share; at work while it is the current one */
};

enum { HEAD_LINES_MAX = SERVER_HEADER_MAX + 64 };

struct worker {
    struct gate *gate;
    struct io *io;
    unsigned index;
    struct owner owner; /* timers and orders from main */
    struct generation *current;
    struct link_node generations;
    struct link_node listeners; /* struct listener */
    struct wires wires;
    struct slab conns, exchanges_slab;
    struct link_node inners; /* struct inner: exchanges without a client */
    unsigned mirrors;        /* of those */
    struct io_timer drain_timer, reload_timer;
    struct access_log *log;
    struct pools *pools;
    void **module_states;             /* by index in config->modules */
    char common[HEAD_LINES_MAX];      /* "Server: …\r\nDate: …\r\n", for this second */
    uint32_t common_len, common_date; /* where the Date line begins */
    uint64_t common_until;            /* ns of io_wall() */
    bool draining;                    /* SIGTERM */
    bool stopping;                    /* drain_timeout is over: everything is cut */
    bool done;                        /* everything is closed; the thread may end */
    bool standing;                    /* it never will be: the process ends as it is */
    struct worker_stats stats;
};

static inline void worker_counted(_Atomic uint64_t *counter)
{
    io_count(counter, 1);
}

static inline uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The end of a timeout, which may be off. */
static inline uint64_t after(uint64_t since, uint64_t ns)
{
    return ns == VALUE_OFF ? TIME_NEVER : since + ns;
}

/* Opens the engine and module state.  On the worker's own thread. */
MUST_USE int worker_open(struct worker *w, const char **why);
bool worker_turn(struct worker *w); /* false: done */
void worker_close(struct worker *w);
void worker_modules_stop(struct worker *w); /* part of worker_close() */

/* Orders from main; to be called on the worker's thread (by messages). */
void worker_adopt(struct worker *w, struct config *config);
void worker_drain(struct worker *w, uint64_t timeout_ns);
void worker_stop(struct worker *w);
void worker_tls_changed(struct worker *w); /* listeners have other contexts */
void worker_steered(struct worker *w);     /* servers have other states */
void worker_placed(struct worker *w);      /* slots have other addresses */

/* A generation has one user more; and one less. */
struct generation *generation_use(struct generation *g);
void generation_done(struct worker *w, struct generation *g);

/* An exchange that reload_timeout ends, and that was not told so before. */
static inline bool generation_overstayed(const struct exchange *x)
{
    return x->generation->over && x->cause != CAUSE_reloaded;
}

/* "Server: …\r\nDate: …\r\n", or the latter alone. */
struct span worker_common_lines(struct worker *w, bool server);

/* A connection or listener has gone: is the drain complete? */
void worker_check_done(struct worker *w);

/* Frees kept exchanges with their arenas. */
void exchanges_drain(struct worker *w);

#endif
