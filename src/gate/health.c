/* Whether to send; see health.h. */
#include "gate/health.h"

#include "base/clock.h"
#include "base/log.h"

enum {
    RATE_MIN = 20,           /* requests, before a rate says anything */
    RETRY = 100000,          /* what one costs: a request earns its percentage of it */
    BUDGET_MAX = 100,        /* retries that may be saved up */
    RATE_MAX = 1000000000,   /* retries in one period of a rate: no more are counted */
    HUNDRED_PERCENT = 100000 /* of SETTING_PERCENT */
};
#define RATE_WINDOW_NS   (10 * NS_PER_S)
#define EJECT_MAX_NS     (5 * 60 * NS_PER_S)
#define EJECT_FORGIVE_NS (5 * 60 * NS_PER_S)

#define LOAD(n)         atomic_load_explicit(&(n), memory_order_relaxed)
#define STORE(n, value) atomic_store_explicit(&(n), (value), memory_order_relaxed)
#define ADD(n, value)   atomic_fetch_add_explicit(&(n), (value), memory_order_relaxed)

/* --- being chosen ------------------------------------------------------------------------------
 */

bool health_allows(const struct server_state *s, uint64_t now)
{
    uint64_t until = LOAD(s->ejected_until);

    return until == 0 || (now >= until && !LOAD(s->probing));
}

uint64_t health_back_for(const struct server_state *s, uint64_t now)
{
    uint64_t back = LOAD(s->back_at);

    return back == 0 ? UINT64_MAX : now > back ? now - back : 0;
}

bool health_enter(struct server_state *s, uint64_t now, bool *probe)
{
    uint64_t until = LOAD(s->ejected_until);

    *probe = until > 0 && now >= until && !atomic_exchange(&s->probing, true);
    return until == 0 || *probe;
}

void health_enter_last(struct server_state *s, bool *probe)
{
    *probe = LOAD(s->ejected_until) > 0 && !atomic_exchange(&s->probing, true);
}

/* --- what was learned ---------------------------------------------------------------------------
 */

static void window_count(struct server_state *s, uint64_t now, bool bad)
{
    uint64_t at = LOAD(s->window_at);

    if (now > at && now - at >= RATE_WINDOW_NS) { /* another worker's turn may be ahead of ours */
        STORE(s->window_at, now);
        STORE(s->window_all, 0);
        STORE(s->window_bad, 0);
    }
    ADD(s->window_all, 1);
    if (bad)
        ADD(s->window_bad, 1);
}

static void server_clear(struct server_state *s)
{
    STORE(s->failures, 0);
    STORE(s->window_all, 0);
    STORE(s->window_bad, 0);
}

void health_forget(struct server_state *s)
{
    server_clear(s);
    STORE(s->ejections, 0);
    STORE(s->back_at, 0);
    STORE(s->ejected_until, 0);
    atomic_store(&s->probing, false);
}

void health_good(struct server_state *s, uint64_t now)
{
    window_count(s, now, false);
    if (LOAD(s->failures) > 0)
        STORE(s->failures, 0);
}

void health_back(const struct judged *j)
{
    struct server_state *s = j->server;

    server_clear(s);
    STORE(s->back_at, j->now);
    STORE(s->ejected_until, 0);
    atomic_store(&s->probing, false);
    log_say(LOG_NOTICE, "upstream %.*s: server %.*s is back", SPAN_ARG(j->upstream->name),
            SPAN_ARG(j->name));
    health_good(s, j->now);
}

void health_unknown(struct server_state *s, bool probe)
{
    if (probe)
        atomic_store(&s->probing, false);
}

/* With one more ejected, are there no more than may be, with those that checks
 * keep out?  Under the group's lock. */
static bool eject_allowed(const struct upstream_conf *u)
{
    unsigned ejected = 1, there = 0;

    for (unsigned i = 0; i < u->server_count; i++) {
        ejected +=
            LOAD(u->servers[i].state->ejected_until) > 0 || !check_allows(u->servers[i].state);
        there += server_tenure(u->servers[i].state) != 0;
    }
    return (uint64_t)ejected * HUNDRED_PERCENT <= u->max_ejected * there;
}

static void server_eject(const struct judged *j)
{
    struct server_state *s = j->server;
    uint32_t times = health_back_for(s, j->now) < EJECT_FORGIVE_NS ? LOAD(s->ejections) : 0;
    uint64_t time = j->upstream->eject_time;

    for (uint32_t i = 0; i < times && time < EJECT_MAX_NS; i++)
        time *= 2;
    if (time > EJECT_MAX_NS && EJECT_MAX_NS > j->upstream->eject_time)
        time = EJECT_MAX_NS;
    STORE(s->ejections, times + 1);
    STORE(s->back_at, j->now + time);
    STORE(s->ejected_until, j->now + time);
    server_clear(s);
    atomic_store(&s->probing, false);
    log_say(LOG_WARNING, "upstream %.*s: server %.*s is ejected for %llu ms%s",
            SPAN_ARG(j->upstream->name), SPAN_ARG(j->name), (unsigned long long)(time / NS_PER_MS),
            j->probe ? ": the probe failed" : "");
}

static bool rate_is_bad(const struct upstream_conf *u, const struct server_state *s)
{
    uint64_t all = LOAD(s->window_all), bad = LOAD(s->window_bad);

    return u->eject_error_rate != VALUE_OFF && all >= RATE_MIN &&
           bad * HUNDRED_PERCENT >= u->eject_error_rate * all;
}

void health_bad(const struct judged *j)
{
    const struct upstream_conf *u = j->upstream;
    struct server_state *s = j->server;

    if (j->probe && LOAD(s->ejected_until) > j->now) { /* a last resort: it is out as it was */
        health_unknown(s, true);
        return;
    }
    window_count(s, j->now, true);
    uint32_t failures = ADD(s->failures, 1) + 1;
    if (!j->probe && (u->eject_failures == VALUE_OFF || failures < u->eject_failures) &&
        !rate_is_bad(u, s))
        return;
    pthread_mutex_lock(&u->state->lock);
    if (j->probe || (LOAD(s->ejected_until) == 0 && eject_allowed(u)))
        server_eject(j);
    pthread_mutex_unlock(&u->state->lock);
}

void health_forgive(struct group_state *g, struct server_state *s)
{
    pthread_mutex_lock(&g->lock);
    health_forget(s);
    pthread_mutex_unlock(&g->lock);
}

/* --- the retry budget
 * ------------------------------------------------------------------------------ */

void budget_earn(const struct upstream_conf *u)
{
    struct group_state *g = u->state;

    if (u->retry_budget == VALUE_OFF || LOAD(g->budget) >= (int64_t)BUDGET_MAX * RETRY)
        return;
    ADD(g->budget, (int64_t)u->retry_budget);
}

/* What comes by time, and is saved for no longer than the rate's own; whoever
 * moves the clock on has it. */
static void budget_accrue(const struct upstream_conf *u, uint64_t now)
{
    struct group_state *g = u->state;
    uint64_t at = LOAD(g->budget_at), per = u->retry_min.per_ns;
    uint64_t amount = u->retry_min.amount < RATE_MAX ? u->retry_min.amount : RATE_MAX;

    if (amount == 0 || now <= at)
        return;
    uint64_t passed = now - at < per ? now - at : per;
    int64_t gain = (int64_t)((unsigned __int128)passed * amount * RETRY / per);
    int64_t room = (int64_t)amount * RETRY - LOAD(g->budget);
    if (gain > 0 && atomic_compare_exchange_strong(&g->budget_at, &at, now) && room > 0)
        ADD(g->budget, gain < room ? gain : room);
}

bool budget_draw(const struct upstream_conf *u, uint64_t now)
{
    struct group_state *g = u->state;

    if (u->retry_budget == VALUE_OFF)
        return true;
    budget_accrue(u, now);
    int64_t left = atomic_load(&g->budget);
    while (left >= RETRY)
        if (atomic_compare_exchange_weak(&g->budget, &left, left - RETRY))
            return true;
    return false;
}
