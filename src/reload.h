/* Reading the configuration again while serving.
 *
 * It is read at once, but becomes the newest only when the names in it were
 * answered, or resolver_timeout is over, and the workers have carried out what
 * else they were told.  main goes on with its work meanwhile and looks again
 * when it is woken.
 */
#ifndef HEADGATE_RELOAD_H
#define HEADGATE_RELOAD_H

#include "gate/gate.h"

struct diagnostics;

/* Asks for what a configuration names, and waits for the first answers, but for no longer than
 * resolver_timeout: before there is anybody to serve.  FAIL_MEMORY. */
MUST_USE int names_await(struct names *names, const struct config *config);

enum reload_state {
    RELOAD_WAITS,
    RELOAD_REFUSED, /* nothing has changed, and the diagnostics say why */
    RELOAD_DONE,    /* there is a new generation, and the workers have been told */
};

struct reload {
    struct gate *gate;
    struct diagnostics *d; /* the caller's, until it has ended */
    struct config *config; /* what was read; NULL: it will be refused */
    char later[NEEDS_RESTART_TEXT]; /* what needs a restart, or "" */
    uint64_t names_until;           /* from then on names are not waited for, and ... */
    uint64_t give_up;               /* ... from then on nothing is */
};

/* Reads it.  Then reload_step() until it has ended, or reload_drop(). */
void reload_begin(struct reload *r, struct gate *gate, struct diagnostics *d);

/* How it ended is logged, too. */
enum reload_state reload_step(struct reload *r);

/* When it is to be looked at even if nobody has woken main. */
uint64_t reload_due(const struct reload *r);

/* It is not wanted any more: for this reason, which is no failure. */
void reload_drop(struct reload *r, const char *why);

#endif
