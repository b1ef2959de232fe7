/* What a start would refuse, tried without one: for headgate -t, and before a reload. */
#ifndef HEADGATE_REHEARSAL_H
#define HEADGATE_REHEARSAL_H

#include "gate/gate.h"

/* Says it at the settings it is about.  Makes no file, opens no pipe and takes no port that
 * anybody could want.  Before any thread exists. */
void rehearse(struct config *config, struct diagnostics *d);

/* The same of what a configuration has new for a gate that serves, as who serves: also of what
 * waits for a restart, which is to be one.  Addresses are gate_adopt()'s.  On main; no orders are
 * under way. */
void rehearse_reload(const struct gate *gate, struct config *config, struct diagnostics *d);

#endif
