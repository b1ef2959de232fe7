/* Limits of what is in flight, and waiting for a place below them.
 *
 * A group's queue belongs to the process.  Whoever finds no place stands at
 * its end; each place that is given back calls the first who was not called
 * yet, by a message to its worker, which tries again and keeps its turn if that
 * fails.  Who leaves the queue, served or not, calls the next: there may be
 * more places than were given back, when a server has recovered or a reload
 * has raised a limit.  Nobody who comes later tries while somebody waits, not
 * even while a call is on its way: first come, first served, whatever the worker.
 * Who waits takes only what it can make use of, as it seems, so that what turns
 * out otherwise, and is given back, does not call the same leg for ever.
 * Only other settings, of another generation, are not waited for: what is too
 * much for theirs may be little for ours.
 */
#ifndef HEADGATE_GATE_QUEUE_H
#define HEADGATE_GATE_QUEUE_H

#include "gate/leg_own.h"

/* A place for leg->server; false: it, or the group, is at its limit. */
bool place_take(struct leg *leg);

/* Does there seem to be one? */
bool place_is_there(const struct leg *leg);

/* Gives it back, if there is one, and has the first who waits try: also what was not made use of,
 * for somebody may have found none meanwhile. */
void place_give(struct leg *leg);

/* There may be a place that nobody gave back, or a server that could not be had: the first who
 * waits and was not called yet, if anybody does, is to try.  Any thread. */
void queue_call(struct group_state *g);

/* Do others wait already? */
bool queue_others_wait(const struct leg *leg);

/* FAIL_FULL, FAIL_MEMORY. */
MUST_USE int queue_join(struct leg *leg);
void queue_leave(struct leg *leg); /* idempotent */

/* To be asked once, after joining: does nobody with the same settings stand before it? */
bool queue_may_try(const struct leg *leg);

/* It was called and found no place: somebody with other settings may. */
void queue_pass(const struct leg *leg);

#endif
