/* Reading the configuration again while serving. */
#ifndef HEADGATE_RELOAD_H
#define HEADGATE_RELOAD_H

#include "gate/gate.h"

struct diagnostics;

/* Asks for what a configuration names, and waits for the first answers, but for no longer than
 * resolver_timeout.  FAIL_MEMORY. */
MUST_USE int names_await(struct names *names, const struct config *config);

/* True when there is a new generation, and the workers have been told; else
 * nothing has changed, and d says why.  The log says both.  later: the settings
 * that need a restart, or "".  Not while orders are under way. */
bool reload(struct gate *gate, struct diagnostics *d, char later[NEEDS_RESTART_TEXT]);

#endif
