/* Room for connections to origins; see room.h. */
#include "gate/room.h"

#include "gate/gate.h"
#include "gate/queue.h"

static struct link *oldest_idle(const struct pool_server *s)
{
    return list_empty(&s->idle) ? NULL : container_of(s->idle.prev, struct link, node);
}

/* --- counting ------------------------------------------------------------------------------ */

bool room_take(struct leg *leg)
{
    struct group_state *g = leg->upstream->state;
    struct server_state *s = leg->server->state;

    if (leg->alone) {
        atomic_fetch_add(&g->connections, 1);
        atomic_fetch_add(&s->connections, 1);
    } else if (!count_up_to(&g->connections, &g->max_connections)) {
        return false;
    } else if (!count_up_to(&s->connections, &s->max_connections)) {
        atomic_fetch_sub(&g->connections, 1);
        queue_call(g); /* somebody may have seen one too many meanwhile */
        return false;
    }
    atomic_fetch_add(&g->holders, 1);
    return true;
}

/* The group's last: it, and who waits there, may go with the last holder. */
static void give(struct group_state *g, struct server_state *s)
{
    atomic_fetch_sub(&s->connections, 1);
    atomic_fetch_sub(&g->connections, 1);
    queue_call(g); /* before the group may go */
    atomic_fetch_sub(&g->holders, 1);
}

void room_return(struct leg *leg)
{
    give(leg->upstream->state, leg->server->state);
}

void room_belongs(struct link *l, const struct leg *leg)
{
    l->group = leg->upstream->state;
    l->counted = leg->server->state;
}

void room_give(struct link *l)
{
    give(l->group, l->counted);
}

/* --- being in the way --------------------------------------------------------------------------
 */

static bool server_is_full(const struct server_state *s)
{
    return is_full(&s->connections, &s->max_connections);
}

static bool group_is_full(const struct group_state *g)
{
    return is_full(&g->connections, &g->max_connections);
}

bool room_is_there(const struct pool_server *server, const struct upstream_conf *u,
                   const struct server_entry *e, const struct exchange *x)
{
    return (!server_is_full(e->state) && !group_is_full(u->state)) ||
           pool_has_link(server, u, e, x);
}

static uint64_t bit_of(const struct worker *w)
{
    return UINT64_C(1) << w->index % 64;
}

/* Does each worker have a bit of its own?  Those that share one never take it back. */
static bool bits_are_exact(const struct gate *gate)
{
    return gate->worker_count <= 64;
}

/* One that has an idle connection, or all that may.  False: nobody else may. */
static bool ask_other(const struct worker *w, uint64_t idle_workers)
{
    const struct gate *gate = w->gate;
    bool asked = false;

    for (unsigned i = 0; i < gate->worker_count && !(asked && bits_are_exact(gate)); i++) {
        struct worker *other = &gate->workers[i];
        if (other == w || !(idle_workers & bit_of(other)))
            continue;
        asked = true;
        if (!atomic_exchange(&other->pools->room_asked, true))
            io_post(other->io, &other->pools->room);
    }
    return asked;
}

void room_ask(const struct leg *leg)
{
    const struct upstream_conf *u = leg->upstream;
    const struct pool_view *view = leg->x->generation->pools[u->index];
    bool group_full = group_is_full(u->state);

    for (unsigned i = 0; i < view->reach; i++) {
        const struct server_state *s = u->servers[i].state;
        uint64_t idle = atomic_load(&s->idle_workers);
        if (!idle || !(group_full || server_is_full(s)))
            continue;
        struct link *own = oldest_idle(view->servers[i]);
        if (own)
            link_close(own);
        else if (!ask_other(leg->x->worker, idle))
            continue;
        return;
    }
}

/* Closes an idle one of each server that is full, or one if the group is. */
static void pool_make_room(struct pool *p)
{
    bool group_full = group_is_full(p->state);

    for (struct link_node *n = p->servers.next; n != &p->servers; n = n->next) {
        struct pool_server *s = container_of(n, struct pool_server, node);
        struct link *l = s->limited ? oldest_idle(s) : NULL;
        if (!l || !(group_full || server_is_full(s->state)))
            continue;
        link_close(l);
        group_full = false;
    }
}

static bool somebody_waits(const struct pool_server *s)
{
    return s->limited && s->views > 0 && atomic_load(&s->pool->state->waiting) > 0;
}

/* Not all of its servers need be of the newest generation, which knows the limit. */
static bool somebody_waits_at(const struct pool *p)
{
    for (const struct link_node *n = p->servers.next; n != &p->servers; n = n->next)
        if (somebody_waits(container_of(n, struct pool_server, node)))
            return true;
    return false;
}

void room_asked(struct io_message *m, struct io *io)
{
    struct pools *pools = container_of(m, struct pools, room);

    (void)io;
    atomic_store(&pools->room_asked, false);
    for (struct link_node *n = pools->list.next; n != &pools->list; n = n->next)
        if (somebody_waits_at(container_of(n, struct pool, node)))
            pool_make_room(container_of(n, struct pool, node));
}

static void say_idle(const struct pool_server *s, bool idle)
{
    uint64_t bit = bit_of(s->pool->worker);

    if (idle)
        atomic_fetch_or(&s->state->idle_workers, bit);
    else if (bits_are_exact(s->pool->worker->gate))
        atomic_fetch_and(&s->state->idle_workers, ~bit);
}

void room_limits(struct pool_server *s, bool limited)
{
    if (s->limited == limited)
        return;
    s->limited = limited;
    say_idle(s, limited && s->idle_count > 0);
    if (somebody_waits(s))
        queue_call(s->pool->state);
}

void room_idles(const struct link *l)
{
    const struct pool_server *s = l->server;

    if (l->kept)
        say_idle(s, true);
    if (somebody_waits(s))
        queue_call(s->pool->state);
}

void room_busy(const struct link *l)
{
    const struct pool_server *s = l->server;

    if (s->idle_count == 0 && bits_are_exact(s->pool->worker->gate))
        atomic_fetch_and(&l->counted->idle_workers, ~bit_of(s->pool->worker));
}
