/* What the process knows of origins; see upstream.h. */
#include "gate/upstream.h"

#include "base/clock.h"
#include "base/fail.h"
#include "base/mem.h"
#include "gate/health.h"

#include <assert.h>

#define LATENCY_HALF_NS  NS_PER_S /* who was slow once is asked again in seconds */
#define LATENCY_FLOOR_NS NS_PER_MS
#define LATENCY_MAX_NS   (60 * NS_PER_S)

static uint64_t load(const _Atomic uint64_t *n)
{
    return atomic_load_explicit(n, memory_order_relaxed);
}

static void store(_Atomic uint64_t *n, uint64_t value)
{
    atomic_store_explicit(n, value, memory_order_relaxed);
}

/* --- coming and going, by main -------------------------------------------------------------- */

static bool text_copy(struct span *to, struct span from)
{
    char *at = mem_alloc(from.len + 1);

    if (!at)
        return false;
    memcpy(at, from.ptr, from.len);
    *to = (struct span){at, from.len};
    return true;
}

static struct group_state *group_of(struct link_node *n)
{
    return container_of(n, struct group_state, node);
}

static struct server_state *server_of(struct link_node *n)
{
    return container_of(n, struct server_state, node);
}

static struct group_state *group_get(struct link_node *groups, struct span name)
{
    struct group_state *g;

    for (struct link_node *n = groups->next; n != groups; n = n->next)
        if (span_equal(group_of(n)->name, name))
            return group_of(n);
    if (!(g = mem_zalloc(sizeof *g)))
        return NULL;
    if (!text_copy(&g->name, name)) {
        mem_free(g);
        return NULL;
    }
    list_init(&g->servers);
    list_init(&g->queue);
    pthread_mutex_init(&g->lock, NULL);
    list_append(groups, &g->node);
    return g;
}

static struct server_state *server_get(struct group_state *g, const struct server_entry *e)
{
    struct server_state *s;

    for (struct link_node *n = g->servers.next; n != &g->servers; n = n->next)
        if (span_equal(server_of(n)->key, e->key))
            return server_of(n);
    if (!(s = mem_zalloc(sizeof *s)))
        return NULL;
    if (!text_copy(&s->key, e->key)) {
        mem_free(s);
        return NULL;
    }
    s->text = span_first(s->key, e->text.len);
    s->share = 1;
    list_append(&g->servers, &s->node);
    return s;
}

static void server_sweep(struct server_state *s)
{
    if (s->users > 0 || atomic_load(&s->connections) > 0)
        return;
    list_remove(&s->node);
    mem_free((char *)(uintptr_t)s->key.ptr);
    mem_free(s);
}

static void group_sweep(struct group_state *g)
{
    struct link_node *next;

    for (struct link_node *n = g->servers.next; n != &g->servers; n = next) {
        next = n->next;
        server_sweep(server_of(n));
    }
    if (g->users > 0 || !list_empty(&g->servers) || atomic_load(&g->holders) > 0)
        return;
    list_remove(&g->node);
    mem_free((char *)(uintptr_t)g->name.ptr);
    pthread_mutex_destroy(&g->lock);
    mem_free(g);
}

static int group_adopt(struct link_node *groups, struct upstream_conf *u)
{
    struct group_state *g = group_get(groups, u->name);

    if (!g)
        return FAIL_MEMORY;
    g->users++;
    u->state = g;
    for (unsigned i = 0; i < u->server_count; i++) {
        const struct server_entry *e = &u->servers[i];
        struct server_state *s = server_get(g, e);
        if (!s)
            return FAIL_MEMORY;
        s->users++;
        u->servers[i].state = s;
        if (e->address) /* those of names are followed: gate/names.h */
            server_place(s, e->address, e->hash);
    }
    return 0;
}

int upstreams_adopt(struct link_node *groups, struct config *config)
{
    upstreams_sweep(groups);
    for (unsigned i = 0; i < config->upstream_count; i++)
        if (group_adopt(groups, &config->upstreams[i]) < 0) {
            upstreams_leave(config);
            return FAIL_MEMORY;
        }
    return 0;
}

void upstreams_leave(struct config *config)
{
    for (unsigned i = 0; i < config->upstream_count; i++) {
        struct upstream_conf *u = &config->upstreams[i];
        if (!u->state)
            continue;
        for (unsigned j = 0; j < u->server_count; j++) {
            if (u->servers[j].state)
                u->servers[j].state->users--;
            u->servers[j].state = NULL;
        }
        u->state->users--;
        group_sweep(u->state);
        u->state = NULL;
    }
}

static void limit(_Atomic uint32_t *max, uint64_t configured)
{
    atomic_store(max, configured == VALUE_OFF ? 0 : (uint32_t)configured);
}

void upstreams_limit(struct config *config)
{
    for (unsigned i = 0; i < config->upstream_count; i++) {
        const struct upstream_conf *u = &config->upstreams[i];
        limit(&u->state->max_in_flight, u->max_in_flight);
        limit(&u->state->max_connections, u->max_connections);
        for (unsigned j = 0; j < u->server_count; j++) {
            limit(&u->servers[j].state->max_in_flight, u->servers[j].max_in_flight);
            limit(&u->servers[j].state->max_connections, u->servers[j].max_connections);
        }
    }
}

void upstreams_sweep(struct link_node *groups)
{
    struct link_node *next;

    for (struct link_node *n = groups->next; n != groups; n = next) {
        next = n->next;
        group_sweep(group_of(n));
    }
}

/* --- by hand ----------------------------------------------------------------------------- */

void server_steer_set(struct server_state *s, enum steer to)
{
    uint32_t weight = to == STEER_UP ? 0 : atomic_load(&s->steered) & ~UINT32_C(3);

    atomic_store(&s->steered, weight | (uint32_t)to);
}

void server_weight_set(struct server_state *s, unsigned weight)
{
    atomic_store(&s->steered, (weight + 1) << 2 | (atomic_load(&s->steered) & 3));
}

void server_seen_clear(struct server_state *s)
{
    atomic_store(&s->seen_idle, 0);
    atomic_store(&s->seen_busy, 0);
    atomic_store(&s->seen_legs, 0);
}

/* One number, so that nobody reads the time of one and the cause of another. */
enum { STATUS_BITS = 10, CAUSE_BITS = 10 };
static_assert(CAUSE_COUNT < 1 << CAUSE_BITS, "a cause fits");

struct server_failure server_failure_of(const struct server_state *s)
{
    uint64_t all = load(&s->last_failure);

    return (struct server_failure){
        .wall_ms = all >> (STATUS_BITS + CAUSE_BITS),
        .cause = (enum cause)(all >> STATUS_BITS & ((1 << CAUSE_BITS) - 1)),
        .status = (int)(all & ((1 << STATUS_BITS) - 1)),
    };
}

void server_failure_set(struct server_state *s, struct server_failure f)
{
    store(&s->last_failure, f.wall_ms << (STATUS_BITS + CAUSE_BITS) |
                                (uint64_t)f.cause << STATUS_BITS | (uint64_t)f.status);
}

/* --- addresses ---------------------------------------------------------------------------------
 */

static void server_begin(struct server_state *s, uint32_t tenure)
{
    health_forget(s);
    atomic_store_explicit(&s->latency, 0, memory_order_relaxed);
    atomic_store_explicit(&s->idle_ended, 0, memory_order_relaxed);
    atomic_store_explicit(&s->idle_rule, 0, memory_order_relaxed);
    atomic_store_explicit(&s->last_failure, 0, memory_order_relaxed);
    atomic_store_explicit(&s->check, CHECK_UNKNOWN, memory_order_relaxed);
    atomic_store_explicit(&s->tenure, tenure, memory_order_relaxed);
}

void server_place(struct server_state *s, const struct address *at, uint64_t hash)
{
    if (server_tenure(s) != 0 && address_equal(&s->at, at))
        return;
    s->at = *at;
    s->hash = hash;
    s->tenures += s->tenures == UINT32_MAX ? 2 : 1; /* never 0 */
    server_begin(s, s->tenures);
}

bool server_rank(struct server_state *s, uint32_t share, uint8_t behind)
{
    bool news = s->share != share || s->behind != behind;

    s->share = share;
    s->behind = behind;
    return news;
}

void server_vacate(struct server_state *s)
{
    if (server_tenure(s) != 0)
        server_begin(s, 0);
}

/* --- latency --------------------------------------------------------------------------------- */

uint64_t server_latency(const struct server_state *s, uint64_t now)
{
    uint64_t at = load(&s->latency_at);
    uint64_t halves = now > at ? (now - at) / LATENCY_HALF_NS : 0;

    return halves < 64 ? load(&s->latency) >> halves : 0;
}

/* Two workers may overwrite each other: one sample less. */
void server_answered(struct server_state *s, uint64_t now, uint64_t took)
{
    uint64_t old = server_latency(s, now);

    if (took > LATENCY_MAX_NS)
        took = LATENCY_MAX_NS;
    store(&s->latency, old ? old - old / 8 + took / 8 : took);
    store(&s->latency_at, now);
}

/* A refusal is quick, which must not make it attractive. */
void server_failed(struct server_state *s, uint64_t now)
{
    uint64_t old = server_latency(s, now);
    uint64_t more = (old > LATENCY_FLOOR_NS ? old : LATENCY_FLOOR_NS) * 2;

    store(&s->latency, more < LATENCY_MAX_NS ? more : LATENCY_MAX_NS);
    store(&s->latency_at, now);
}
