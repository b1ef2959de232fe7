/* Everything a module may use, and nothing else.  See headgate-module(7).
 *
 * A module offers handlers; a route names one.  A handler's answer() runs
 * when the request head has arrived, and again whenever the exchange can make
 * progress, until the response has ended.  Each time it does what it can and
 * returns; it never waits, and never calls itself back.
 */
#ifndef HEADGATE_GATE_MODULE_H
#define HEADGATE_GATE_MODULE_H

#include "base/arena.h"
#include "base/fail.h"
#include "base/flow.h"
#include "base/log.h"
#include "base/mem.h"
#include "conf/setting.h"
#include "gate/edit.h"
#include "gate/exchange.h"
#include "gate/leg.h"
#include "gate/mirror.h"
#include "gate/worker.h"

struct loading;

struct foresight {
    struct spans upstreams; /* the names that may be chosen */
    struct span target;     /* path and query */
};

struct handler {
    const char *name; /* as routes write it: "respond", "1mrc.event" */
    const char *summary;
    const struct setting *settings;
    size_t conf_size;  /* zeroed, filled from settings; one per route */
    size_t state_size; /* zeroed; one per exchange */

    /* After the settings are filled: checks what a table cannot, opens files,
     * compiles.  Problems are said with loading_say().  May be NULL. */
    void (*load)(struct loading *l, void *conf);
    void (*unload)(void *conf); /* closes what load opened; may be NULL */

    void (*answer)(struct exchange *x);
    /* The exchange is going away, however it ended; may be NULL. */
    void (*ended)(struct exchange *x);

    /* It can switch protocols: extended CONNECTs of HTTP/2 (request.protocol) are for it. */
    bool switches;

    /* For [test] sections.  answer() needs neither worker nor I/O and ends at
     * the first call: a test may run it. */
    bool pure;
    /* What an origin would get; from x's arena; may be NULL. */
    void (*foresee)(struct exchange *x, struct foresight *f);
};

struct module {
    const char *name; /* as in modules.list and [module NAME] */
    const char *summary;
    const struct handler *const *handlers; /* NULL-terminated */

    /* [module NAME]: filled even when the section is absent.  May all be NULL and 0. */
    const struct setting *settings;
    size_t conf_size;
    void (*load)(struct loading *l, void *conf); /* may add routes: loading_route() */
    /* Bytes that all its state may come to, for headgate -t. */
    uint64_t (*memory_max)(const void *conf, unsigned workers);

    /* For headgate -t: says what process_start() and worker_start() would refuse, as who
     * starts, then once more for the latter, as the user who serves.  May be NULL. */
    void (*rehearse)(struct loading *l, const void *conf, bool serving);
    /* Before a reload: says what worker_adopt() could not do; any error refuses the reload.
     * On main, with the state of the process, while no worker adopts.  May be NULL. */
    void (*rehearse_reload)(struct loading *l, const void *conf, const void *process);

    /* State of one worker, and of the process.  Started in this order before
     * the first connection: process_start on main, worker_start on each
     * worker's thread.  At the end: worker_stop on each thread, then
     * process_stop on main with all workers' states; a failure of it, which it has
     * logged, is the process's. */
    size_t process_size, worker_size; /* zeroed */
    int (*process_start)(void *process, const void *conf, unsigned workers);
    int (*worker_start)(struct worker *w, void *state, void *process, const void *conf);
    /* A reload: the state stays, the settings changed. */
    void (*worker_adopt)(struct worker *w, void *state, const void *conf);
    void (*worker_stop)(struct worker *w, void *state);
    int (*process_stop)(void *process, void *const *worker_states, unsigned workers);
};

/* --- while a configuration is being read ----------------------------------- */

struct config *loading_config(struct loading *l);
struct arena *loading_arena(struct loading *l); /* lives as long as the generation */

/* At the value of key, or at the section when key is NULL or absent. */
void loading_say(struct loading *l, enum severity severity, const char *key, const char *format,
                 ...) PRINTF_LIKE(4, 5);
/* The same of one word of a line, at its place.  Always false, to return it at once. */
bool loading_say_word(struct loading *l, const struct line *line, unsigned word, const char *key,
                      const char *why);

/* The name of the section that is being loaded. */
struct span loading_name(const struct loading *l);

/* Reads a file with the configuration; says so when it cannot. False then. */
bool loading_read(struct loading *l, const char *key, struct span path, size_t max,
                  struct span *content);

/* The settings of the module whose handler the route names: what all its routes
 * come to can be kept there.  For a handler's load(). */
void *loading_module_conf(const struct loading *l);

/* The paths of the route being loaded (for strip_prefix). */
const struct spans *loading_paths(const struct loading *l);

/* Whole segments at the start of every path of the route; says so where not. */
bool loading_check_prefix(struct loading *l, const char *key, struct span prefix);

/* A folder that may still come, or be made: a warning if there is none. */
void loading_check_folder(struct loading *l, const char *key, struct span path);

/* Finds an upstream; NULL, said with a suggestion at `at`, when there is none. */
const struct upstream_conf *loading_upstream(struct loading *l, struct span name,
                                             struct position at);

/* The items of retry_on, as an upstream and a route may have it. */
void loading_retry_on(struct loading *l, const struct lines *lines, struct retry_on *on);

/* A module's own route, of ordinary rank. */
struct default_route {
    const char *handler;
    struct span path;
    struct span method;
    struct spans listeners, hosts;
};
void loading_route(struct loading *l, const struct default_route *route);

#endif
