/* Connections to origins; see pool.h. */
#include "gate/pool.h"

#include "base/mem.h"
#include "gate/link.h"
#include "gate/link_tls.h"
#include "gate/room.h"
#include "gate/sticky.h"
#include "gate/upstream.h"

#include <assert.h>

static bool text_copy(struct span *to, struct span from)
{
    char *at = mem_alloc(from.len);

    if (!at)
        return false;
    memcpy(at, from.ptr, from.len);
    *to = (struct span){at, from.len};
    return true;
}

static void text_free(struct span s)
{
    mem_free((char *)(uintptr_t)s.ptr);
}

static struct pool_server *server_of(struct link_node *n)
{
    return container_of(n, struct pool_server, node);
}

static struct link *link_of(struct link_node *n)
{
    return container_of(n, struct link, node);
}

/* --- coming and going ----------------------------------------------------------------- */

int pools_open(struct worker *w)
{
    if (!(w->pools = mem_zalloc(sizeof *w->pools)))
        return FAIL_MEMORY;
    list_init(&w->pools->list);
    w->pools->room.arrive = room_asked;
    static_assert(COUNT_OF(w->pools->links) == LINK_PROTOCOLS, "each has its own");
    slab_init(&w->pools->links[LINK_H1], link_h1.size, 256);
    slab_init(&w->pools->links[LINK_H2], link_h2.size, 16);
    slab_init(&w->pools->links[LINK_BARE], link_bare.size, 16);
    return 0;
}

static struct pool *pool_get(struct worker *w, struct span name)
{
    struct pool *p;

    for (struct link_node *n = w->pools->list.next; n != &w->pools->list; n = n->next) {
        p = container_of(n, struct pool, node);
        if (span_equal(p->name, name))
            return p;
    }
    if (!(p = mem_zalloc(sizeof *p)))
        return NULL;
    if (!text_copy(&p->name, name)) {
        mem_free(p);
        return NULL;
    }
    p->worker = w;
    list_init(&p->servers);
    list_append(&w->pools->list, &p->node);
    return p;
}

static struct pool_server *server_get(struct pool *p, const struct server_entry *e)
{
    struct pool_server *s;

    for (struct link_node *n = p->servers.next; n != &p->servers; n = n->next)
        if (span_equal(server_of(n)->key, e->key))
            return server_of(n);
    if (!(s = mem_zalloc(sizeof *s)))
        return NULL;
    if (!text_copy(&s->key, e->key)) {
        mem_free(s);
        return NULL;
    }
    s->text = span_first(s->key, e->text.len);
    s->pool = p;
    list_init(&s->idle);
    list_init(&s->busy);
    list_init(&s->spare);
    list_append(&p->servers, &s->node);
    return s;
}

static void pool_free_if_unused(struct pool *p)
{
    if (!list_empty(&p->servers))
        return;
    list_remove(&p->node);
    text_free(p->name);
    mem_free(p);
}

static void server_close_idle(struct pool_server *s)
{
    struct link_node *next;

    for (struct link_node *n = s->idle.next; n != &s->idle; n = next) {
        next = n->next;
        link_close(link_of(n));
    }
}

static void server_free_if_unused(struct pool_server *s)
{
    struct pool *p = s->pool;

    if (s->views > 0)
        return;
    server_close_idle(s);
    if (!list_empty(&s->idle) || !list_empty(&s->busy))
        return;
    list_remove(&s->node);
    text_free(s->key);
    server_tls_end(s);
    mem_free(s);
    pool_free_if_unused(p);
}

void pool_link_gone(struct pool_server *server)
{
    struct worker *w = server->pool->worker;

    server_free_if_unused(server);
    if (w->draining)
        owner_wake(&w->owner);
}

/* The slot's address, as main has placed it.  Links to another one serve nobody else. */
static void server_placed(struct pool_server *s, const struct server_state *state)
{
    uint32_t tenure = server_tenure(state);

    s->share = state->share;
    s->behind = state->behind;
    if (s->tenure == tenure)
        return;
    s->tenure = tenure;
    s->at = state->at;
    s->hash = state->hash;
    s->stick = tenure ? sticky_number(&s->at) : 0;
    s->streams_max = 0;
    s->chose_h1 = false;
    s->current_weight = 0;
    server_tls_end(s);
    server_close_idle(s); /* they lead elsewhere */
}

static void view_placed(struct pool_view *view, const struct upstream_conf *conf)
{
    view->reach = 0;
    for (unsigned i = 0; i < view->count; i++) {
        server_placed(view->servers[i], conf->servers[i].state);
        if (view->servers[i]->tenure != 0)
            view->reach = i + 1;
    }
}

static struct pool_view *view_new(struct worker *w, const struct upstream_conf *conf)
{
    struct pool_view *view =
        mem_zalloc(sizeof *view + conf->server_count * sizeof(struct pool_server *));

    if (!view || !(view->pool = pool_get(w, conf->name))) {
        mem_free(view);
        return NULL;
    }
    view->pool->state = conf->state;
    for (unsigned i = 0; i < conf->server_count; i++) {
        struct pool_server *s = server_get(view->pool, &conf->servers[i]);
        if (!s)
            break;
        s->views++;
        s->down = server_steer(conf->servers[i].state) == STEER_DOWN;
        s->keepalive = conf->keepalive;
        s->keepalive_ns = conf->keepalive_time;
        s->learns = conf->keepalive_learn;
        s->state = conf->servers[i].state;
        room_limits(s, conf->links_limited);
        view->servers[view->count++] = s;
    }
    view_placed(view, conf);
    return view;
}

/* What the newest generation does not name keeps nothing: only legs of older ones go there, and
 * what is idle would be in the way of a limit where nobody looks for it. */
static void pools_name(struct worker *w, const struct generation *g)
{
    for (struct link_node *n = w->pools->list.next; n != &w->pools->list; n = n->next) {
        struct pool *p = container_of(n, struct pool, node);
        for (struct link_node *m = p->servers.next; m != &p->servers; m = m->next)
            server_of(m)->named = false;
    }
    for (unsigned i = 0; i < g->config->upstream_count; i++)
        for (unsigned j = 0; j < g->pools[i]->count; j++)
            g->pools[i]->servers[j]->named = true;
    for (struct link_node *n = w->pools->list.next; n != &w->pools->list; n = n->next) {
        struct pool *p = container_of(n, struct pool, node);
        for (struct link_node *m = p->servers.next; m != &p->servers; m = m->next)
            if (!server_of(m)->named)
                server_close_idle(server_of(m));
    }
}

int pools_adopt(struct worker *w, struct generation *g)
{
    unsigned count = g->config->upstream_count;

    if (!(g->pools = mem_zalloc((count + 1) * sizeof(struct pool_view *))))
        return FAIL_MEMORY;
    for (unsigned i = 0; i < count; i++) {
        const struct upstream_conf *conf = &g->config->upstreams[i];
        g->pools[i] = view_new(w, conf);
        if (!g->pools[i] || g->pools[i]->count < conf->server_count)
            return FAIL_MEMORY;
    }
    pools_name(w, g);
    return 0;
}

void pools_leave(struct worker *w, struct generation *g)
{
    (void)w;
    for (unsigned i = 0; g->pools && i < g->config->upstream_count; i++) {
        struct pool_view *view = g->pools[i];
        if (!view)
            continue;
        struct pool *p = view->pool;
        bool none = view->count == 0;
        for (unsigned j = 0; j < view->count; j++) {
            view->servers[j]->views--;
            server_free_if_unused(view->servers[j]);
        }
        if (none)
            pool_free_if_unused(p);
        mem_free(view);
    }
    mem_free(g->pools);
    g->pools = NULL;
}

void pools_placed(struct worker *w)
{
    for (struct link_node *n = w->generations.next; n != &w->generations; n = n->next) {
        const struct generation *g = container_of(n, struct generation, node);
        for (unsigned i = 0; i < g->config->upstream_count; i++)
            view_placed(g->pools[i], &g->config->upstreams[i]);
    }
}

bool pools_close(struct worker *w)
{
    bool none = w->pools->waiters == 0;

    for (struct link_node *n = w->pools->list.next; n != &w->pools->list; n = n->next) {
        struct pool *p = container_of(n, struct pool, node);
        for (struct link_node *m = p->servers.next; m != &p->servers; m = m->next) {
            struct pool_server *s = server_of(m);
            server_close_idle(s);
            if (!list_empty(&s->idle) || !list_empty(&s->busy))
                none = false;
        }
    }
    return none;
}

/* --- what main asks for ------------------------------------------------------------------- */

void pools_steered(struct worker *w)
{
    const struct generation *g = w->current;

    for (unsigned i = 0; i < g->config->upstream_count; i++)
        for (unsigned j = 0; j < g->pools[i]->count; j++) {
            struct pool_server *s = g->pools[i]->servers[j];
            s->down = server_steer(g->config->upstreams[i].servers[j].state) == STEER_DOWN;
            if (s->down)
                server_close_idle(s);
        }
}

static void server_look(const struct pool_server *s, struct server_state *state)
{
    uint32_t busy = 0, legs = 0;

    for (struct link_node *n = s->busy.next; n != &s->busy; n = n->next) {
        const struct link *l = link_of(n);
        if (l->single) /* a check's, which is no request */
            continue;
        busy += l->state != LINK_CLOSING;
        legs += l->protocol->legs(l);
    }
    atomic_fetch_add(&state->seen_idle, s->idle_count);
    atomic_fetch_add(&state->seen_busy, busy);
    atomic_fetch_add(&state->seen_legs, legs);
}

/* A server that is written twice is one. */
static bool is_before(const struct pool_view *v, unsigned i)
{
    unsigned j = 0;

    while (v->servers[j] != v->servers[i])
        j++;
    return j < i;
}

void pools_look(struct worker *w)
{
    const struct generation *g = w->current;

    for (unsigned i = 0; i < g->config->upstream_count; i++)
        for (unsigned j = 0; j < g->pools[i]->count; j++)
            if (!is_before(g->pools[i], j))
                server_look(g->pools[i]->servers[j], g->config->upstreams[i].servers[j].state);
}

void pools_free(struct worker *w)
{
    if (!w->pools)
        return;
    assert(list_empty(&w->pools->list));
    for (unsigned i = 0; i < COUNT_OF(w->pools->links); i++)
        slab_free(&w->pools->links[i]);
    mem_free(w->pools);
    w->pools = NULL;
}

/* --- links for legs ------------------------------------------------------------------------- */

#define FRESH_NS (10 * NS_PER_MS)
#define WARY_NS  (10 * NS_PER_S)

void pool_spoiled(const struct link *l)
{
    uint64_t now = io_now(link_io(l));

    if (now - l->since < FRESH_NS)
        l->server->wary_until = now + WARY_NS;
}

/* What was idle for a moment only is looked at where its server has spoilt such a one lately. */
static bool link_doubtful(const struct link *l)
{
    uint64_t now = io_now(link_io(l));

    return now - l->since >= FRESH_NS || now < l->server->wary_until;
}

/* Something has come that its own step does not know of yet: perhaps the end, or what a bad
 * origin says when nobody asked.  A look is a system call, and what had come before this turn is
 * known anyhow. */
static bool link_hears(const struct link *l)
{
    return !l->protocol->spare && !l->wire.recv.done && link_doubtful(l) &&
           !io_quiet(link_io(l), &l->wire.sock);
}

struct link *pool_link(struct pool_server *server, const struct leg *leg)
{
    struct link_node *next;

    if (leg->upstream->proxy_protocol)
        return NULL;
    for (struct link_node *n = server->spare.next; n != &server->spare; n = n->next) {
        struct link *l = container_of(n, struct link, spare);
        if (link_fits(l, leg->upstream, leg->server, leg->x))
            return l;
    }
    for (struct link_node *n = server->idle.next; n != &server->idle && !leg->was_stale; n = next) {
        struct link *l = link_of(n);
        next = n->next;
        if (link_tls_is_others(l, leg))
            continue;
        if (link_hears(l)) {
            pool_spoiled(l);
            continue;
        }
        if (link_usable(l) && link_fits(l, leg->upstream, leg->server, leg->x))
            return l;
        link_close(l);
    }
    return NULL;
}

bool pool_has_link(const struct pool_server *server, const struct upstream_conf *u,
                   const struct server_entry *e, const struct exchange *x)
{
    if (u->proxy_protocol)
        return false;
    for (const struct link_node *n = server->spare.next; n != &server->spare; n = n->next)
        if (link_fits(container_of(n, struct link, spare), u, e, x))
            return true;
    for (struct link_node *n = server->idle.next; n != &server->idle; n = n->next)
        if (link_usable(link_of(n)) && link_fits(link_of(n), u, e, x))
            return true;
    return false;
}

void pool_forget(struct link *l)
{
    if (!l->kept)
        return;
    l->kept = false;
    l->server->idle_count--;
    list_remove(&l->node);
    list_append(&l->server->busy, &l->node);
    if (l->server->limited)
        room_busy(l);
}

void pool_keep(struct link *l)
{
    struct pool_server *s = l->server;

    if (!s->named || s->down || l->tenure != s->tenure || s->pool->worker->draining ||
        s->keepalive == VALUE_OFF) {
        link_close(l);
        return;
    }
    if (s->idle_count >= s->keepalive) /* the oldest: it may serve a name that nobody asks for */
        link_close(link_of(s->idle.prev));
    list_remove(&l->node);
    list_prepend(&s->idle, &l->node);
    l->kept = true;
    s->idle_count++;
    if (s->limited)
        room_idles(l);
}
