/* Asks servers whether they are well, on a clock and not because of a request.
 *
 * Each server of a group with `check` has one checker in the process: which
 * worker has it follows from the server's name, so that the next generation's
 * is on the same worker, and takes over what is known and what is under way.
 * What checks say is in server_state.check, for all workers.
 */
#ifndef HEADGATE_GATE_CHECK_H
#define HEADGATE_GATE_CHECK_H

#include "gate/upstream.h"
#include "gate/worker_own.h"

/* A generation's checkers on this worker: made, and freed when none is at work. FAIL_MEMORY. */
MUST_USE int checks_make(struct worker *w, struct generation *g);
void checks_free(struct generation *g);

/* They begin; they take over from the generation before; they end, for good. */
void checks_begin(struct generation *g);
void checks_succeed(struct generation *old, struct generation *g);
void checks_end(struct generation *g);

#endif
