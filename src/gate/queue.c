/* Limits of what is in flight, and waiting for a place; see queue.h.
 *
 * A waiter outlives its leg when that leaves after it was called: the message
 * is on its way, and has to be passed on.
 */
#include "gate/queue.h"

#include "base/mem.h"
#include "gate/pool.h"
#include "gate/upstream.h"

struct waiter {
    struct link_node node;     /* of the group's queue, under its lock, as is `called` */
    struct io_message message; /* the call */
    bool called;               /* and has not heard it yet */
    struct worker *worker;
    struct generation *generation; /* holds the group */
    struct group_state *group;
    const struct upstream_conf *conf;
    struct leg *leg; /* its worker's; NULL: it has left */
};

static struct waiter *waiter_of(struct link_node *n)
{
    return container_of(n, struct waiter, node);
}

/* --- calling --------------------------------------------------------------------------------- */

/* Does nobody with the same settings stand before it? */
static bool is_first_of_its(const struct waiter *w)
{
    struct link_node *n = w->group->queue.next;

    while (waiter_of(n)->conf != w->conf)
        n = n->next;
    return n == &w->node;
}

/* Calls the first behind `from` who was not called yet; of others: whom those with his settings
 * let go first. */
static void queue_call_behind(struct group_state *g, const struct link_node *from, bool others)
{
    struct waiter *first = NULL;

    pthread_mutex_lock(&g->lock);
    for (struct link_node *n = from->next; n != &g->queue && !first; n = n->next)
        if (!waiter_of(n)->called && (!others || is_first_of_its(waiter_of(n))))
            first = waiter_of(n);
    if (first)
        first->called = true;
    pthread_mutex_unlock(&g->lock);
    if (first)
        io_post(first->worker->io, &first->message);
}

void queue_call(struct group_state *g)
{
    if (atomic_load(&g->waiting) > 0)
        queue_call_behind(g, &g->queue, false);
}

void queue_pass(const struct leg *leg)
{
    queue_call_behind(leg->upstream->state, &leg->waiter->node, true);
}

/* --- places ---------------------------------------------------------------------------------- */

void place_give(struct leg *leg)
{
    if (!leg->counted && !leg->counted_in_group)
        return;
    if (leg->counted)
        atomic_fetch_sub(&leg->server->state->in_flight, 1);
    if (leg->counted_in_group)
        atomic_fetch_sub(&leg->upstream->state->in_flight, 1);
    leg->counted = leg->counted_in_group = false;
    queue_call(leg->upstream->state); /* also without a limit: a reload may have lifted it */
}

bool place_is_there(const struct leg *leg)
{
    const struct group_state *g = leg->upstream->state;
    const struct server_state *s = leg->server->state;

    return !leg->upstream->counted || (!is_full(&g->in_flight, &g->max_in_flight) &&
                                       !is_full(&s->in_flight, &s->max_in_flight));
}

bool place_take(struct leg *leg)
{
    struct group_state *g = leg->upstream->state;
    struct server_state *s = leg->server->state;

    if (!leg->upstream->counted)
        return true;
    bool limited = atomic_load_explicit(&g->max_in_flight, memory_order_relaxed) > 0;
    if (limited && !count_up_to(&g->in_flight, &g->max_in_flight))
        return false;
    leg->counted_in_group = limited;
    leg->counted = count_up_to(&s->in_flight, &s->max_in_flight);
    bool taken = leg->counted;
    if (!taken)
        place_give(leg);
    return taken;
}

/* --- waiting -----------------------------------------------------------------------------------
 */

static void waiter_free(struct waiter *w)
{
    struct worker *worker = w->worker;

    atomic_fetch_sub(&w->group->waiting, 1);
    generation_done(worker, w->generation);
    worker->pools->waiters--;
    mem_free(w);
    if (worker->draining)
        owner_wake(&worker->owner);
}

static void waiter_called(struct io_message *m, struct io *io)
{
    struct waiter *w = container_of(m, struct waiter, message);
    struct group_state *g = w->group;

    (void)io;
    if (!w->leg) {
        queue_call(g);
        waiter_free(w);
        return;
    }
    pthread_mutex_lock(&g->lock);
    w->called = false;
    pthread_mutex_unlock(&g->lock);
    w->leg->called = true;
    leg_tell(w->leg);
}

bool queue_others_wait(const struct leg *leg)
{
    return atomic_load(&leg->upstream->state->waiting) > 0;
}

int queue_join(struct leg *leg)
{
    struct exchange *x = leg->x;
    struct group_state *g = leg->upstream->state;
    struct waiter *w;

    if (!count_below(&g->waiting, leg->upstream->queue))
        return FAIL_FULL;
    if (!(w = mem_alloc(sizeof *w))) {
        atomic_fetch_sub(&g->waiting, 1);
        return FAIL_MEMORY;
    }
    *w = (struct waiter){.message = {.arrive = waiter_called},
                         .worker = x->worker,
                         .generation = generation_use(x->generation),
                         .group = g,
                         .conf = leg->upstream,
                         .leg = leg};
    x->worker->pools->waiters++;
    leg->waiter = w;
    pthread_mutex_lock(&g->lock);
    list_append(&g->queue, &w->node);
    pthread_mutex_unlock(&g->lock);
    return 0;
}

bool queue_may_try(const struct leg *leg)
{
    struct group_state *g = leg->upstream->state;

    pthread_mutex_lock(&g->lock);
    struct link_node *before = leg->waiter->node.prev;
    bool may =
        before == &g->queue || container_of(before, struct waiter, node)->conf != leg->upstream;
    pthread_mutex_unlock(&g->lock);
    return may;
}

void queue_leave(struct leg *leg)
{
    struct waiter *w = leg->waiter;

    if (!w)
        return;
    leg->waiter = NULL;
    leg->called = false;
    w->leg = NULL;
    pthread_mutex_lock(&w->group->lock);
    bool called = w->called;
    list_remove(&w->node);
    pthread_mutex_unlock(&w->group->lock);
    queue_call(w->group);
    if (!called)
        waiter_free(w);
}
