/* What every story promises; see promises.h.
 *
 * The program is linked so that some calls from one of its files to another
 * come here first: sim.am has the list of --wrap.  So each try is judged when
 * it is made, from the outside, and what is expected of the budget is counted
 * apart from what the gateway counts.
 */
#include "tests/sim/promises.h"

#include "gate/exchange.h"
#include "gate/gate.h"
#include "gate/health.h"
#include "gate/leg.h"
#include "gate/worker_own.h"
#include "tests/sim/story.h"

#include <stdlib.h>

struct link;
struct pool_server;

/* --- the budget ------------------------------------------------------------------------------ */

enum {
    GROUPS_MAX = 64,
    RETRY = 100000, /* what one costs, in thousandths of a percent */
    SAVED_MAX = 100 /* retries */
};

struct ledger {
    const struct group_state *group;
    int64_t earned; /* and not spent */
    uint64_t at;    /* until when what comes by time has come */
    unsigned paid;  /* retries that were not made yet */
};

static struct ledger ledgers[GROUPS_MAX];
static unsigned ledger_count;

static struct ledger *ledger_of(const struct group_state *g)
{
    unsigned i = 0;

    while (i < ledger_count && ledgers[i].group != g)
        i++;
    EXPECT(i < GROUPS_MAX, "so many groups");
    if (i == ledger_count)
        ledgers[ledger_count++] = (struct ledger){.group = g};
    return &ledgers[i];
}

/* Before anything is earned or drawn: a new group may be where another was. */
static struct ledger *ledger_open(const struct group_state *g)
{
    struct ledger *l = ledger_of(g);

    if (g->budget == 0 && g->budget_at == 0)
        *l = (struct ledger){.group = g};
    return l;
}

/* What is earned by time is saved for no more than one period of the rate. */
static void ledger_accrue(struct ledger *l, const struct upstream_conf *u, uint64_t now)
{
    int64_t most = (int64_t)u->retry_min.amount * RETRY;

    if (now <= l->at)
        return;
    if (l->earned < most) {
        unsigned __int128 more = (unsigned __int128)(now - l->at) * (uint64_t)most;
        uint64_t gain = (uint64_t)(more / u->retry_min.per_ns) + 1;
        bool all = l->at == 0 || gain >= (uint64_t)(most - l->earned);
        l->earned = all ? most : l->earned + (int64_t)gain;
    }
    l->at = now;
}

void __real_budget_earn(const struct upstream_conf *u);
void __wrap_budget_earn(const struct upstream_conf *u);
void __wrap_budget_earn(const struct upstream_conf *u)
{
    struct ledger *l = ledger_open(u->state);

    __real_budget_earn(u);
    if (u->retry_budget != VALUE_OFF && l->earned < (int64_t)SAVED_MAX * RETRY)
        l->earned += (int64_t)u->retry_budget;
}

bool __real_budget_draw(const struct upstream_conf *u, uint64_t now);
bool __wrap_budget_draw(const struct upstream_conf *u, uint64_t now);
bool __wrap_budget_draw(const struct upstream_conf *u, uint64_t now)
{
    struct ledger *l = ledger_open(u->state);

    if (u->retry_budget == VALUE_OFF)
        return __real_budget_draw(u, now);
    ledger_accrue(l, u, now);
    if (!__real_budget_draw(u, now))
        return false;
    l->paid++;
    l->earned -= RETRY;
    EXPECT(l->earned >= 0, "upstream %.*s: a retry beyond the budget", SPAN_ARG(u->name));
    return true;
}

void __real_leg_again(struct leg *leg);
void __wrap_leg_again(struct leg *leg);
void __wrap_leg_again(struct leg *leg)
{
    const struct upstream_conf *u = leg->upstream;
    struct ledger *l = ledger_of(u->state);

    if (!leg->fresh_failed &&
        u->retry_budget != VALUE_OFF) { /* the origin may have it: this costs it something */
        EXPECT(l->paid > 0, "upstream %.*s: a retry that nothing was paid for", SPAN_ARG(u->name));
        l->paid--;
    }
    __real_leg_again(leg);
}

/* --- who is asked ---------------------------------------------------------------------------- */

static void tries(const struct leg *leg)
{
    const struct server_state *s = leg->server->state;
    bool retry = leg->tried.count > 0; /* rather to an ejected one than to the same */

    if (leg->alone || leg->tenure != server_tenure(s)) /* a check; it has another address now */
        return;
    EXPECT(check_allows(s), "%.*s is asked, which checks found down", SPAN_ARG(s->text));
    EXPECT(server_steer(s) != STEER_DOWN, "%.*s is asked, which is down by order",
           SPAN_ARG(s->text));
    EXPECT(!leg->upstream->ejects || s->ejected_until == 0 || retry || (leg->probe && s->probing),
           "%.*s is asked, which is ejected", SPAN_ARG(s->text));
}

void __real_link_serve(struct link *l, struct leg *leg);
void __wrap_link_serve(struct link *l, struct leg *leg);
void __wrap_link_serve(struct link *l, struct leg *leg)
{
    tries(leg);
    __real_link_serve(l, leg);
}

struct link *__real_link_new(struct pool_server *server, struct leg *leg);
struct link *__wrap_link_new(struct pool_server *server, struct leg *leg);
struct link *__wrap_link_new(struct pool_server *server, struct leg *leg)
{
    tries(leg);
    return __real_link_new(server, leg);
}

/* --- that they end --------------------------------------------------------------------------- */

static struct exchange **begun;
static size_t begun_count, begun_room;

void __real_exchange_begin(struct exchange *x);
void __wrap_exchange_begin(struct exchange *x);
void __wrap_exchange_begin(struct exchange *x)
{
    if (begun_count == begun_room) {
        begun_room = 2 * begun_room + 100;
        begun = realloc(begun, begun_room * sizeof(struct exchange *));
        EXPECT(begun, "memory");
    }
    begun[begun_count++] = x;
    __real_exchange_begin(x);
}

void __real_exchange_end(struct exchange *x);
void __wrap_exchange_end(struct exchange *x);
void __wrap_exchange_end(struct exchange *x)
{
    for (size_t i = begun_count; i-- > 0;) {
        if (begun[i] != x)
            continue;
        begun[i] = begun[--begun_count];
        EXPECT(x->response.status != 0 || x->cause != CAUSE_NONE,
               "%.*s: a request is lost silently", SPAN_ARG(x->request.target.path));
        break;
    }
    __real_exchange_end(x);
}

/* --- the end --------------------------------------------------------------------------------- */

static void server_idle(const struct server_state *s)
{
    EXPECT(!s->probing, "%.*s: a probe was lost", SPAN_ARG(s->text));
    EXPECT(s->connections == 0, "%.*s: %u connections", SPAN_ARG(s->text), s->connections);
    EXPECT(server_in_flight(s) == 0, "%.*s: %u in flight", SPAN_ARG(s->text), server_in_flight(s));
}

void promises_kept(const struct gate *gate)
{
    for (size_t i = 0; i < begun_count; i++)
        EXPECT(begun[i]->worker->gate != gate, "%.*s: a request has no end",
               SPAN_ARG(begun[i]->request.target.path));
    for (struct link_node *n = gate->groups.next; n != &gate->groups; n = n->next) {
        struct group_state *g = container_of(n, struct group_state, node);
        EXPECT(g->in_flight == 0 && g->waiting == 0, "%u in flight, %u wait", g->in_flight,
               g->waiting);
        EXPECT(g->connections == 0 && g->holders == 0, "%u connections", g->connections);
        for (struct link_node *m = g->servers.next; m != &g->servers; m = m->next)
            server_idle(container_of(m, struct server_state, node));
    }
    ledger_count = 0;
}
