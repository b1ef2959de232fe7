/* Steps and the queue that runs them; see owner.h. */
#include "base/owner.h"

#include "base/buf.h"
#include "base/span.h"

void owner_return_lent(struct buf *lent)
{
    while (lent) {
        struct buf *next = lent->next;
        lent->next = NULL;
        buf_unref(lent);
        lent = next;
    }
}

void owner_retire(struct owner *o)
{
    list_remove(&o->queued);
    if (o->queue && o->queue->running == o)
        o->queue->running = NULL;
    owner_return_lent(o->lent);
    o->lent = NULL;
}

/* The step may free its owner, so what is needed afterwards is taken first. */
static void owner_run(struct owner_queue *q, struct owner *o)
{
    if (o->turn != q->turn) {
        o->turn = q->turn;
        o->runs = 0;
    }
    o->runs++;
    struct buf *lent = o->lent;
    o->lent = NULL;
    q->running = o;
    o->step(o);
    q->running = NULL;
    owner_return_lent(lent);
}

void owner_queue_run(struct owner_queue *q)
{
    struct link_node *node;

    while ((node = list_pop(&q->now)))
        owner_run(q, container_of(node, struct owner, queued));
}

bool owner_queue_begin(struct owner_queue *q)
{
    q->turn++;
    list_splice(&q->now, &q->later);
    return !list_empty(&q->now);
}
