/* Connections to origins, kept per worker and server; see link.h. */
#ifndef HEADGATE_GATE_POOL_H
#define HEADGATE_GATE_POOL_H

#include "gate/worker_own.h"

MUST_USE int pools_open(struct worker *w);
void pools_adopt(struct worker *w, struct config *config);

/* Closes what is idle; true once nothing is left, else worker_check_done() is
 * called when the last one has gone. */
bool pools_close(struct worker *w);

#endif
