/* Servers are asked whether they are well, requests are copied to a mirror, and
 * every way to choose a server meets every way to fail. */
#include "tests/sim/traffic.h"

#include "base/mem.h"
#include "gate/pool.h"
#include "gate/upstream.h"

enum { SERVERS = 3, FALL = 3, RISE = 2 };
#define INTERVAL_NS (2 * NS_PER_S)
#define TIMEOUT_NS  NS_PER_S

static const char *const addresses[] = {"198.51.100.1:80", "198.51.100.2:80", "198.51.100.3:80"};

/* --- the faults ------------------------------------------------------------------------------ */

static const struct fault {
    enum sim_dialled dialled;
    enum origin_what what; /* what it does once it is connected to; ORIGIN_COUNT: as asked */
    bool cuts;             /* answers that have begun */
} faults[] = {
    {SIM_REFUSE, ORIGIN_COUNT, false},
    {SIM_SILENT, ORIGIN_COUNT, false},
    {SIM_UNREACHABLE, ORIGIN_COUNT, false},
    {SIM_ACCEPT, ORIGIN_silent, false},
    {SIM_ACCEPT, ORIGIN_stuck, true},
    {SIM_ACCEPT, ORIGIN_reset_before, false},
    {SIM_ACCEPT, ORIGIN_close_in_content, true},
    {SIM_ACCEPT, ORIGIN_garbage, false},
    {SIM_ACCEPT, ORIGIN_large_head, false},
    {SIM_ACCEPT, ORIGIN_unwell, false},
};
enum { QUICK = 5, FAULTS = COUNT_OF(faults) }; /* from QUICK on it says something at once */

static const struct fault *any_fault(struct traffic *t)
{
    return &faults[sim_random(t->sim, FAULTS)];
}

static void falls_ill(struct traffic *t, unsigned server, const struct fault *f)
{
    t->origins.servers[server].dialled = f->dialled;
    t->origins.health[server] = f->what == ORIGIN_COUNT ? ORIGIN_length : f->what;
}

static void recovers(struct traffic *t, unsigned server)
{
    t->origins.servers[server].dialled = SIM_ACCEPT;
    t->origins.health[server] = ORIGIN_length;
}

/* --- the group ------------------------------------------------------------------------------- */

static const char config_text[] = "[listener web]\nlisten = 192.0.2.1:80\n[upstream u]\n"
                                  "%s%sbalance = %s\nfirst_byte_timeout = 5s\nidle_timeout = 5s\n"
                                  "[route all]\nhandler = forward\nupstream = u\nmax_body = off\n";

static void text_make(struct traffic *t, unsigned servers, const char *more, uint64_t balance)
{
    char lines[160] = "";

    for (unsigned i = 0, n = 0; i < servers; i++)
        n += (unsigned)snprintf(lines + n, sizeof lines - n, "server = %s\n", addresses[i]);
    int n = snprintf(t->config, sizeof t->config, config_text, lines, more,
                     balances[balance % BALANCES]);
    EXPECT((size_t)n < sizeof t->config, "room");
}

#define CHECK "check = GET /check/511/9 interval=2s timeout=1s fall=3 rise=2\n"

static void group_open(struct traffic *t, const struct telling *telling, unsigned faults,
                       unsigned servers, const char *more)
{
    *t = (struct traffic){
        .sim = story_world(telling, faults), .at = story_address("192.0.2.1:80"), .hurried = true};
    origins_open(&t->origins, t->sim);
    for (unsigned i = 0; i < servers; i++) {
        origins_add(&t->origins, addresses[i]);
        t->origins.health[i] = ORIGIN_length;
    }
    text_make(t, servers, more, telling->seed);
    gateway_open(&t->gateway, t->sim, t->config, sim_random(t->sim, 2) ? 4 : 1);
}

static struct server_state *state_of(const struct traffic *t, unsigned server)
{
    return t->gateway.gate.config->upstreams[0].servers[server].state;
}

struct wanted {
    struct traffic *t;
    unsigned server;
    enum check_state state;
};

static bool is_as_wanted(void *data)
{
    const struct wanted *w = data;

    return state_of(w->t, w->server)->check == w->state;
}

/* How long so many checks in a row may take, and what the world adds. */
static uint64_t time_of(unsigned checks)
{
    return checks * (INTERVAL_NS * 6 / 5 + TIMEOUT_NS) + 4 * NS_PER_S;
}

static void expect_state(struct traffic *t, unsigned server, enum check_state state,
                         unsigned checks)
{
    struct wanted w = {t, server, state};

    EXPECT(sim_run(t->sim, is_as_wanted, &w, time_of(checks)), "server %u is %u after %u checks",
           server, state, checks);
}

/* So many ask one after the other, and all are answered. */
static void traffic_play(struct traffic *t, unsigned requests)
{
    struct visitor *v = client_new(t);

    for (unsigned i = 0; i < requests; i++)
        visitor_ask(v, ask_origin(t, ORIGIN_length));
    client_go(t, v);
    EXPECT(sim_run(t->sim, traffic_over, t, 3600 * NS_PER_S), "the answers come");
    visitor_expect_all(v);
}

/* Connections that are kept for requests, on all workers. */
static unsigned idle_links(const struct traffic *t)
{
    unsigned n = 0;

    for (unsigned i = 0; i < t->gateway.gate.worker_count; i++) {
        const struct pools *pools = t->gateway.gate.workers[i].pools;
        for (struct link_node *p = pools->list.next; p != &pools->list; p = p->next) {
            const struct pool *pool = container_of(p, struct pool, node);
            for (struct link_node *s = pool->servers.next; s != &pool->servers; s = s->next)
                n += container_of(s, struct pool_server, node)->idle_count;
        }
    }
    return n;
}

/* Requests that one server resets, so that it is ejected. */
static void traffic_is_reset(struct traffic *t, unsigned server)
{
    struct visitor *v = client_new(t);

    t->origins.meets[server] = ORIGIN_reset_before;
    v->tolerant = true;
    for (unsigned i = 0; i < 12; i++)
        visitor_ask(v, ask_origin(t, ORIGIN_length));
    client_go(t, v);
    EXPECT(sim_run(t->sim, traffic_over, t, 3600 * NS_PER_S), "the answers come");
    t->origins.meets[server] = ORIGIN_COUNT;
}

/* --- stories --------------------------------------------------------------------------------- */

/* A server that fails its checks gets nothing but checks, until it is well. */
static uint64_t failing(const struct telling *telling)
{
    struct traffic t;

    group_open(&t, telling, SIM_SHORT | SIM_RACES, SERVERS,
               CHECK "eject_failures = 1\neject_time = 10h\n");
    for (unsigned i = 0; i < SERVERS; i++)
        expect_state(&t, i, CHECK_UP, 1);
    sim_run_for(t.sim, 5 * NS_PER_S);
    EXPECT(idle_links(&t) == 0, "connections of checks are kept");
    if (sim_random(t.sim, 2))
        traffic_is_reset(&t, 0);
    else
        traffic_play(&t, 30);
    sim_run_for(t.sim, sim_random(t.sim, 5 * NS_PER_S));
    falls_ill(&t, 0, any_fault(&t));
    unsigned asked = t.origins.checks[0];
    expect_state(&t, 0, CHECK_DOWN, FALL);
    unsigned more = t.origins.checks[0] - asked; /* one may have been under way */
    EXPECT(t.origins.servers[0].dialled != SIM_ACCEPT || (more >= FALL && more <= FALL + 1),
           "%u checks took it out", more);
    unsigned before = t.origins.asked[0];
    traffic_play(&t, 30);
    EXPECT(t.origins.asked[0] == before, "it got %u requests", t.origins.asked[0] - before);
    asked = t.origins.checks[1];
    sim_run_for(t.sim, 60 * NS_PER_S);
    more = t.origins.checks[1] - asked;
    EXPECT(more >= 25 && more <= 38, "one checker a server: %u checks in a minute", more);
    asked = t.origins.checks[0];
    recovers(&t, 0);
    expect_state(&t, 0, CHECK_UP, RISE);
    more = t.origins.checks[0] - asked;
    EXPECT(more >= RISE && more <= RISE + 1, "%u checks brought it back", more);
    EXPECT(state_of(&t, 0)->ejected_until == 0, "it begins anew");
    sim_run_for(t.sim, 10 * NS_PER_S); /* slow_start */
    traffic_play(&t, 60);
    sim_run_for(t.sim, 10 * NS_PER_S);
    traffic_play(&t, 60);
    EXPECT(t.origins.asked[0] > before, "it serves again");
    return traffic_end(&t);
}

/* Not every failure takes a server out, and the first check does. */
static uint64_t flapping(const struct telling *telling)
{
    struct traffic t;

    group_open(&t, telling, SIM_SHORT | SIM_RACES, 2, CHECK);
    bool ill = sim_random(t.sim, 2);
    if (ill)
        falls_ill(&t, 0, any_fault(&t));
    expect_state(&t, 0, ill ? CHECK_DOWN : CHECK_UP, 1);
    recovers(&t, 0);
    expect_state(&t, 0, CHECK_UP, RISE);
    const struct fault *f = &faults[QUICK + sim_random(t.sim, FAULTS - QUICK)];
    for (unsigned round = 0; round < 6;
         round++) { /* twice unwell, once well: never three in a row */
        falls_ill(&t, 0, f);
        for (unsigned n = t.origins.checks[0] + FALL - 1; t.origins.checks[0] < n;)
            sim_run_for(t.sim, NS_PER_MS);
        recovers(&t, 0);
        for (unsigned n = t.origins.checks[0] + 1; t.origins.checks[0] < n;)
            sim_run_for(t.sim, NS_PER_MS);
        sim_run_for(t.sim, 200 * NS_PER_MS);
        EXPECT(state_of(&t, 0)->check == CHECK_UP, "round %u", round);
    }
    traffic_play(&t, 12);
    return traffic_end(&t);
}

/* With nobody left requests are refused, not sent to anybody. */
static uint64_t nobody(const struct telling *telling)
{
    struct traffic t;

    group_open(&t, telling, SIM_SHORT | SIM_RACES, 2, CHECK "slow_start = off\n");
    for (unsigned i = 0; i < 2; i++)
        falls_ill(&t, i, any_fault(&t));
    for (unsigned i = 0; i < 2; i++)
        expect_state(&t, i, CHECK_DOWN, 1);
    struct visitor *v = client_new(&t);
    for (unsigned i = 0; i < 10; i++) {
        struct ask a = ask_origin(&t, ORIGIN_length);
        visitor_ask(v, (struct ask){.request = a.request, .len = a.len, .status = 503});
    }
    client_go(&t, v);
    EXPECT(sim_run(t.sim, traffic_over, &t, 60 * NS_PER_S), "the answers come");
    visitor_expect_all(v);
    EXPECT(t.origins.asked[0] + t.origins.asked[1] == 0, "nobody got one");
    recovers(&t, 1);
    expect_state(&t, 1, CHECK_UP, RISE);
    traffic_play(&t, 12);
    EXPECT(t.origins.asked[0] == 0, "nor does the one that is still down");
    return traffic_end(&t);
}

/* Reloads and drains at any moment: what is known stays known, nothing is left behind, and
 * who is not to be asked any more is not. */
static uint64_t racing(const struct telling *telling)
{
    static const char *const checks[] = {
        CHECK,
        "check = tcp interval=1s timeout=500ms\n",
        "check = HEAD /check/511/9 interval=100ms timeout=50ms fall=1 rise=1\n",
        "",
    };
    struct traffic t;
    bool poor = telling->seed % 3 == 0;

    group_open(&t, telling, SIM_ALL, SERVERS, CHECK);
    for (unsigned round = 1 + (unsigned)sim_random(t.sim, 6); round > 0; round--) {
        unsigned server = (unsigned)sim_random(t.sim, SERVERS);
        if (sim_random(t.sim, 2))
            falls_ill(&t, server, any_fault(&t));
        else
            recovers(&t, server);
        if (poor)
            mem_fail_at(1 + sim_random(t.sim, 40), sim_random(t.sim, 4));
        sim_run_for(t.sim, sim_random(t.sim, UINT64_C(1) << (20 + sim_random(t.sim, 14))));
        mem_fail_at(0, 0);
        text_make(&t, 1 + (unsigned)sim_random(t.sim, SERVERS),
                  checks[sim_random(t.sim, COUNT_OF(checks))], sim_random(t.sim, BALANCES));
        if (sim_random(t.sim, 3))
            gateway_reload(&t.gateway, t.config);
    }
    text_make(&t, SERVERS, "", sim_random(t.sim, BALANCES));
    gateway_reload(&t.gateway, t.config);
    EXPECT(sim_run(t.sim, gateway_quiet, &t.gateway, 60 * NS_PER_S), "orders are carried out");
    for (unsigned i = 0; i < SERVERS; i++) {
        EXPECT(state_of(&t, i)->check == CHECK_UNKNOWN, "server %u is used again", i);
        recovers(&t, i);
    }
    sim_run_for(t.sim, 2 * NS_PER_S);
    unsigned asked = t.origins.checks[0] + t.origins.checks[1] + t.origins.checks[2];
    if (sim_random(t.sim, 2)) {
        sim_run_for(t.sim, 10 * NS_PER_S);
        EXPECT(t.origins.checks[0] + t.origins.checks[1] + t.origins.checks[2] == asked,
               "nobody is asked any more");
    } else {
        text_make(&t, SERVERS, CHECK, sim_random(t.sim, BALANCES));
        gateway_reload(&t.gateway, t.config);
        sim_run_for(t.sim, sim_random(t.sim, 5 * NS_PER_S));
        gateway_drain(&t.gateway); /* with checks under way, perhaps */
        if (sim_random(t.sim, 2))
            gateway_stop(&t.gateway);
    }
    return traffic_end(&t);
}

/* What is known of a server outlives any number of reloads, however fast they come. */
static uint64_t reloading(const struct telling *telling)
{
    struct traffic t;

    group_open(&t, telling, SIM_SHORT | SIM_RACES, 2, CHECK);
    falls_ill(&t, 0, any_fault(&t));
    expect_state(&t, 0, CHECK_DOWN, 1);
    expect_state(&t, 1, CHECK_UP, 1);
    falls_ill(&t, 1, &(struct fault){SIM_ACCEPT, ORIGIN_silent, false});
    unsigned rounds = 0;
    for (uint64_t end = sim_now(t.sim) + time_of(FALL); sim_now(t.sim) < end; rounds++) {
        text_make(&t, 2, CHECK, rounds); /* another balance, the same check */
        gateway_reload(&t.gateway, t.config);
        sim_run_for(t.sim, sim_random(t.sim, TIMEOUT_NS));
        EXPECT(state_of(&t, 0)->check == CHECK_DOWN, "after %u reloads", rounds);
    }
    EXPECT(state_of(&t, 1)->check == CHECK_DOWN, "%u reloads keep nobody from being found out",
           rounds);
    return traffic_end(&t);
}

/* --- every pair of balance and fault -----------------------------------------------------------
 */

/* Nobody gets two answers, or none; the budget is soon at its end. */
static uint64_t pairs(const struct telling *telling)
{
    enum { CLIENTS = 4, EACH = 30 };
    struct traffic t;

    group_open(&t, telling, SIM_SHORT | SIM_RACES, SERVERS,
               "retry_budget = 20% min=1/s\nretry_on = connect, unprocessed, reset, timeout\n");
    const struct fault *f = &faults[telling->seed / BALANCES % FAULTS]; /* each with each */
    bool all = sim_random(t.sim, 4) == 0;
    for (unsigned i = 0; i < (all ? SERVERS : 1u); i++) {
        t.origins.servers[i].dialled = f->dialled;
        t.origins.meets[i] = f->what;
    }
    for (unsigned n = 0; n < CLIENTS; n++) {
        struct visitor *v = client_new(&t);
        v->tolerant = true;
        for (unsigned i = 0; i < EACH; i++)
            visitor_ask(v, ask_origin(&t, ORIGIN_length));
        client_go(&t, v);
    }
    EXPECT(sim_run(t.sim, traffic_over, &t, 3600 * NS_PER_S), "everyone hears something");
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct visitor *v = &t.clients[i];
        bool cut = f->cuts && v->answered < v->count; /* the connection ends with it */
        EXPECT(v->answered == v->count || cut, "client %u: %u of %u answers", i, v->answered,
               v->count);
        EXPECT(cut || v->at == v->peer->len, "client %u: something behind the last answer", i);
    }
    return traffic_end(&t);
}

/* --- mirror ------------------------------------------------------------------------------------
 */

static const char mirror_text[] =
    "[listener web]\nlisten = 192.0.2.1:80\n[upstream u]\nserver = 198.51.100.1:80\n"
    "[upstream shadow]\nserver = 198.51.100.2:80\nfirst_byte_timeout = 5s\n%s"
    "[route all]\nhandler = forward\nupstream = u\nmax_body = off\nmirror = shadow 100%%\n";

/* Whatever the mirror does, the original is answered as if there were none, and all that
 * was copied came once. */
static uint64_t mirror(const struct telling *telling)
{
    struct traffic t = {
        .sim = story_world(telling, SIM_ALL), .at = story_address("192.0.2.1:80"), .hurried = true};

    struct origins shadow;

    origins_open(&t.origins, t.sim);
    origins_add(&t.origins, addresses[0]);
    origins_open(&shadow, t.sim);
    origins_add(&shadow, addresses[1]);
    const struct fault *f = any_fault(&t);
    bool sick = sim_random(t.sim, 2), poor = sim_random(t.sim, 4) == 0,
         drain = sim_random(t.sim, 4) == 0;
    shadow.servers[0].dialled = sick ? f->dialled : SIM_ACCEPT;
    shadow.meets[0] = sick && f->what != ORIGIN_COUNT ? f->what : ORIGIN_length;
    int n = snprintf(t.config, sizeof t.config, mirror_text,
                     sim_random(t.sim, 2) ? "max_in_flight = 1\n" : "");
    EXPECT((size_t)n < sizeof t.config, "room");
    gateway_open(&t.gateway, t.sim, t.config, sim_random(t.sim, 2) ? 4 : 1);
    for (unsigned c = 0; c < TRAFFIC_CLIENTS; c++) {
        struct visitor *v = client_new(&t);
        v->tolerant = poor;
        for (unsigned i = 0; i < 6; i++) {
            struct ask a = ask_origin(&t, calm_what(&t));
            visitor_ask(v, a);
        }
        client_go(&t, v);
    }
    if (poor)
        mem_fail_at(1 + sim_random(t.sim, 200), sim_random(t.sim, 8));
    EXPECT(sim_run(t.sim, traffic_over, &t, 3600 * NS_PER_S), "the answers come");
    mem_fail_at(0, 0);
    for (unsigned i = 0; i < t.count && !poor; i++)
        visitor_expect_all(&t.clients[i]);
    if (!drain)
        sim_run_for(t.sim, 70 * NS_PER_S);
    const struct gate *g = &t.gateway.gate;
    uint64_t mirrored = 0, failed = 0;
    for (unsigned i = 0; i < g->worker_count; i++) {
        mirrored += g->workers[i].stats.mirrored;
        failed += g->workers[i].stats.mirror_failed;
        EXPECT(drain || g->workers[i].mirrors == 0, "copies are left");
    }
    EXPECT(shadow.asked[0] <= mirrored, "%u came of %llu", shadow.asked[0],
           (unsigned long long)mirrored);
    EXPECT(drain || poor || sick || mirrored == failed + shadow.asked[0],
           "%u came of %llu, %llu failed", shadow.asked[0], (unsigned long long)mirrored,
           (unsigned long long)failed);
    for (unsigned i = 0; i < t.ids; i++)
        EXPECT(shadow.heads[i] <= 1, "copy %u came %u times", i, shadow.heads[i]);
    origins_close(&shadow);
    return traffic_end(&t);
}

/* A mirror that never answers: so many copies wait for it at a time, and no more; and who wants to
 * switch protocols is copied to nobody, who could not answer for two. */
static uint64_t copies(const struct telling *telling)
{
    enum { MOST = 256, MORE = 300 };
    static const char tunnel[] = "GET /tunnel/0/0 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n"
                                 "Upgrade: websocket\r\n\r\n";
    struct traffic t = {
        .sim = story_world(telling, 0), .at = story_address("192.0.2.1:80"), .hurried = true};
    struct origins shadow;

    origins_open(&t.origins, t.sim);
    origins_add(&t.origins, addresses[0]);
    origins_open(&shadow, t.sim);
    origins_add(&shadow, addresses[1]);
    shadow.meets[0] = ORIGIN_silent;
    snprintf(t.config, sizeof t.config, mirror_text, "");
    gateway_open(&t.gateway, t.sim, t.config, 1);
    const struct worker *w = &t.gateway.gate.workers[0];
    struct address from = story_address("203.0.113.9:9000");
    struct sim_peer *peer = sim_connect(t.sim, &t.at, &from);
    sim_say(peer, span_of(tunnel));
    sim_run_for(t.sim, NS_PER_S);
    EXPECT(t.origins.asked[0] == 1 && shadow.asked[0] == 0, "a tunnel is copied");
    sim_reset(peer);
    t.ids = 1;
    while (t.ids <= MORE) {
        struct visitor *v = client_new(&t);
        for (unsigned i = 0; i < MORE / TRAFFIC_CLIENTS; i++) {
            unsigned id = t.ids++;
            struct span text = request_text(&t, ORIGIN_length, id, 10, 0, false);
            visitor_ask(v, (struct ask){.request = text.ptr,
                                        .len = text.len,
                                        .status = 200,
                                        .id = id,
                                        .content_len = 10});
        }
        client_go(&t, v);
    }
    EXPECT(sim_run(t.sim, traffic_over, &t, 4 * NS_PER_S), "the answers come");
    for (unsigned i = 0; i < t.count; i++)
        visitor_expect_all(&t.clients[i]);
    EXPECT(w->mirrors == MOST, "%u copies are under way", w->mirrors);
    EXPECT(w->stats.mirror_dropped == MORE - MOST + 1, "%llu are not copied", /* and the tunnel */
           (unsigned long long)w->stats.mirror_dropped);
    sim_run_for(t.sim, 70 * NS_PER_S);
    EXPECT(w->mirrors == 0, "copies are left");
    origins_close(&shadow);
    return traffic_end(&t);
}

const struct story checks_stories[] = {
    {"checks.failing", "who fails its checks gets nothing else, until it is well", failing, 0},
    {"checks.flapping", "it takes so many in a row, but for the first", flapping, 0},
    {"checks.nobody", "with nobody well requests are refused", nobody, 0},
    {"checks.racing", "checks among reloads, drains and failing memory", racing, 2},
    {"checks.reloading", "a reload forgets nothing", reloading, 0},
    {"checks.pairs", "every way to choose meets every way to fail", pairs, 5},
    {"checks.mirror", "a mirror harms nobody", mirror, 2},
    {"checks.copies", "a mirror that never answers gets no more than it may", copies, 0},
    {0},
};
