/* The whole gateway in a world: what main does, without threads and signals. */
#ifndef HEADGATE_TESTS_SIM_GATEWAY_H
#define HEADGATE_TESTS_SIM_GATEWAY_H

#include "gate/gate.h"
#include "tests/sim/dns.h"
#include "tests/sim/story.h"

enum { GATEWAY_WORKERS_MAX = 8 };

struct gateway {
    struct sim *sim;
    bool tls; /* every fourth seed is played over toy.h */
    struct gate gate;
    uint64_t look_at; /* when main looks at its names; TIME_NEVER */
};

/* The configuration is text in the language of headgate.ini, without mistakes. */
void gateway_open(struct gateway *g, struct sim *sim, const char *config, unsigned workers);

/* The same, with somebody who knows names.  NULL: nobody. */
void gateway_open_with(struct gateway *g, struct sim *sim, const char *config, unsigned workers,
                       struct dns *dns);

/* From now on it has these modules, and not the program's.  NULL: those again. */
struct module;
void gateway_modules(const struct module *const *modules);

/* What a forward route of it may say as well: it buffers, or not. */
const char *gateway_buffers(struct sim *sim);

/* A new generation; the orders are carried out as the world goes on. */
void gateway_reload(struct gateway *g, const char *config);
bool gateway_quiet(void *gateway); /* they have been; for sim_run() */

/* SIGTERM, and SIGTERM again. */
void gateway_drain(struct gateway *g);
void gateway_stop(struct gateway *g);
bool gateway_done(void *gateway); /* all workers have ended; for sim_run() */

/* Called when one has ended; or NULL. */
extern void (*gateway_ended)(const struct gate *gate);

/* Waits for that, and closes all.  Then sim_end() shows whether anything is left. */
void gateway_close(struct gateway *g, uint64_t most_ns);

/* Drains, runs to the end, closes the world and returns its hash. */
uint64_t gateway_end(struct gateway *g);

#endif
