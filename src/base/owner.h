/* Steps and the queue that runs them.
 *
 * An owner is anything that decides: a connection, a link to an origin, a
 * listener.  Whatever happens to it is recorded somewhere, then owner_wake()
 * puts it into the worker's queue, once, however often it is called.  When
 * its turn comes its step looks at the whole state and does what is possible.
 * A step may run at any time, is safe to run twice, and may free its owner
 * after owner_retire().
 *
 * Within one turn of the engine an owner runs at most OWNER_RUNS_MAX times;
 * a wake beyond that waits for the next turn, which then does not sleep.
 * No wake is lost and none waits for more than two turns.
 */
#ifndef HEADGATE_BASE_OWNER_H
#define HEADGATE_BASE_OWNER_H

#include "base/list.h"

#include <stdint.h>

enum { OWNER_RUNS_MAX = 4 };

struct buf;
struct owner;
typedef void owner_step_fn(struct owner *owner);

struct owner_queue {
    struct link_node now;      /* to run in this turn */
    struct link_node later;    /* to run in the next turn */
    struct owner *running;     /* whose step is on the stack, or NULL */
    uint32_t turn;             /* counts turns, to know whose runs are old */
    uint64_t wakes, deferred;  /* statistics */
};

struct owner {
    struct link_node queued; /* linked while waiting to run */
    struct owner_queue *queue;
    owner_step_fn *step;
    struct buf *lent; /* buffers given back when the step returns; the engine's */
    uint32_t turn;    /* the turn that `runs` counts */
    uint32_t runs;
};

static inline void owner_queue_init(struct owner_queue *q)
{
    *q = (struct owner_queue){0};
    list_init(&q->now);
    list_init(&q->later);
}

static inline void owner_init(struct owner *o, struct owner_queue *q, owner_step_fn *step)
{
    *o = (struct owner){.queue = q, .step = step};
}

/* Has the step run once more, soon.  Cheap, and idempotent until it runs. */
static inline void owner_wake(struct owner *o)
{
    struct owner_queue *q = o->queue;

    if (link_linked(&o->queued))
        return;
    q->wakes++;
    if (o->turn == q->turn && o->runs >= OWNER_RUNS_MAX) {
        q->deferred++;
        list_append(&q->later, &o->queued);
    } else {
        list_append(&q->now, &o->queued);
    }
}

/* Has the step run in the next turn: how a step that used up its budget lets
 * the others go first. */
static inline void owner_wake_later(struct owner *o)
{
    if (link_linked(&o->queued))
        return;
    o->queue->deferred++;
    list_append(&o->queue->later, &o->queued);
}

/* Gives back the buffers lent to an owner; what the queue calls after a step. */
void owner_return_lent(struct buf *lent);

/* Before the memory goes.  Its operations must all be idle.  When called from
 * the owner's own step, lent buffers are still given back. */
void owner_retire(struct owner *o);

/* Runs the queue until `now` is empty.  For the engine. */
void owner_queue_run(struct owner_queue *q);

/* Begins a turn: what was put off is due.  True if anything is. For the engine. */
bool owner_queue_begin(struct owner_queue *q);

#endif
