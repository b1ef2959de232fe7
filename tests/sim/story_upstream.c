/* What an upstream's servers share over all workers: who fails, what is too
 * much, and who waits. */
#include "tests/sim/traffic.h"

#include "gate/link_h1.h"
#include "gate/upstream.h"

#include <limits.h>

/* --- health ---------------------------------------------------------------------------------- */

/* A server that takes no connections is left alone but for probes, others answer
 * for it, and when it does again it serves again. */
static uint64_t failing(const struct telling *telling)
{
    struct traffic t;

    traffic_begin(&t, telling, SIM_SHORT | SIM_RACES);
    t.hurried = true;
    t.origins.servers[0].dialled = sim_random(t.sim, 2) ? SIM_REFUSE : SIM_SILENT;
    for (unsigned round = 0; round < 3; round++) {
        struct visitor *v = client_new(&t);
        for (unsigned i = 0; i < 30; i++)
            visitor_ask(v, ask_origin(&t, ORIGIN_length));
        client_go(&t, v);
        if (round == 1) { /* some leave, and may be the probe */
            struct address from = story_address("203.0.113.9:7000");
            struct ask a = ask_origin(&t, ORIGIN_length);
            struct sim_peer *peer = sim_connect(t.sim, &t.at, &from);
            sim_say(peer, (struct span){a.request, a.len});
            sim_pause(peer, sim_random(t.sim, UINT64_C(1) << sim_random(t.sim, 31)));
            sim_then_reset(peer);
        }
        EXPECT(sim_run(t.sim, traffic_over, &t, 3600 * NS_PER_S), "the answers come");
        visitor_expect_all(v);
        sim_run_for(t.sim, sim_random(t.sim, 30 * NS_PER_S));
    }
    t.origins.servers[0].dialled = SIM_ACCEPT;
    sim_run_for(t.sim, 301 * NS_PER_S); /* the longest it may be left out */
    struct visitor *v = client_new(&t);
    for (unsigned i = 0; i < 60; i++)
        visitor_ask(v, ask_origin(&t, ORIGIN_length));
    client_go(&t, v);
    EXPECT(sim_run(t.sim, traffic_over, &t, 3600 * NS_PER_S), "the answers come");
    visitor_expect_all(v);
    EXPECT(t.origins.servers[0].connections > 0, "it serves again");
    return traffic_end(&t);
}

/* A server whose answers never end as they should fails in a row, although each begins well. */
static uint64_t truncating(const struct telling *telling)
{
    struct traffic t;
    unsigned ejected = 0;

    traffic_begin(&t, telling, SIM_SHORT | SIM_RACES);
    for (unsigned i = 0; i < 15; i++) {
        visitor_ask(client_new(&t), ask_origin(&t, ORIGIN_close_in_content));
        client_go(&t, &t.clients[0]);
        EXPECT(sim_run(t.sim, traffic_over, &t, 3600 * NS_PER_S), "it is told");
        client_forget(&t);
    }
    for (struct link_node *n = t.gateway.gate.groups.next; n != &t.gateway.gate.groups;
         n = n->next) {
        struct group_state *g = container_of(n, struct group_state, node);
        for (struct link_node *m = g->servers.next; m != &g->servers; m = m->next)
            ejected += container_of(m, struct server_state, node)->ejected_until > 0;
    }
    EXPECT(ejected == 1, "%u of two servers are left out", ejected);
    return traffic_end(&t);
}

/* Who is ejected is well again just when the other one fails: nobody is told that. */
static uint64_t last(const struct telling *telling)
{
    struct traffic t;

    traffic_begin(&t, telling, SIM_SHORT | SIM_RACES);
    for (unsigned round = 0; round < 4; round++) {
        t.origins.servers[round % 2].dialled = SIM_REFUSE;
        t.origins.servers[1 - round % 2].dialled = SIM_ACCEPT;
        struct visitor *v = client_new(&t);
        for (unsigned i = 0; i < 20; i++)
            visitor_ask(v, ask_origin(&t, ORIGIN_last));
        client_go(&t, v);
        EXPECT(sim_run(t.sim, traffic_over, &t, 3600 * NS_PER_S), "the answers come");
        visitor_expect_all(v);
    }
    return traffic_end(&t);
}

/* --- limits ---------------------------------------------------------------------------------- */

static const char limits_text[] = "[listener web]\nlisten = 192.0.2.1:80\n"
                                  "[upstream two]\n"
                                  "server = 198.51.100.1:80 %s\nserver = 198.51.100.2:80 %s\n"
                                  "balance = %s\nmax_in_flight = %s\nqueue = 256 timeout=1h\n"
                                  "retry_on = off\n"
                                  "[route all]\nhandler = forward\nupstream = two\n"
                                  "max_body = off\n";

struct limited {
    struct traffic t;
    unsigned most; /* of one server, and of both */
    unsigned most_of_all;
};

static unsigned legs_of(const struct link_node *links)
{
    unsigned n = 0;

    for (struct link_node *i = links->next; i != links; i = i->next) {
        struct link *l = container_of(i, struct link, node);
        n += container_of(l, struct h1_link, base)->leg != NULL;
    }
    return n;
}

/* Counted without the gateway's counters. */
static void limits_check(void *data)
{
    struct limited *l = data;
    unsigned all = 0, of[2] = {0};

    for (unsigned i = 0; i < l->t.gateway.gate.worker_count; i++) {
        const struct pools *pools = l->t.gateway.gate.workers[i].pools;
        if (!pools)
            continue;
        for (struct link_node *n = pools->list.next; n != &pools->list; n = n->next) {
            struct pool *p = container_of(n, struct pool, node);
            for (struct link_node *m = p->servers.next; m != &p->servers; m = m->next) {
                struct pool_server *s = container_of(m, struct pool_server, node);
                unsigned legs = legs_of(&s->busy);
                all += legs;
                of[span_equal(s->text, SPAN("198.51.100.2:80"))] += legs;
            }
        }
    }
    EXPECT(of[0] <= l->most && of[1] <= l->most && all <= l->most_of_all, "%u and %u in flight",
           of[0], of[1]);
}

/* No more is under way than may be, on all workers together; who waits has his
 * turn, and who leaves meanwhile takes none. */
static uint64_t limits(const struct telling *telling)
{
    struct limited l = {.most = UINT_MAX, .most_of_all = UINT_MAX};
    struct traffic *t = &l.t;
    char server[32] = "", group[16] = "off";

    *t = (struct traffic){.sim = story_world(telling, SIM_SHORT | SIM_RACES | SIM_STALLS),
                          .at = story_address("192.0.2.1:80"),
                          .hurried = true};
    origins_open(&t->origins, t->sim);
    origins_add(&t->origins, "198.51.100.1:80");
    origins_add(&t->origins, "198.51.100.2:80");
    if (sim_random(t->sim, 2)) {
        l.most = 1 + (unsigned)sim_random(t->sim, 2);
        snprintf(server, sizeof server, "max_in_flight=%u", l.most);
    }
    if (!server[0] || sim_random(t->sim, 2)) {
        l.most_of_all = 1 + (unsigned)sim_random(t->sim, 3);
        snprintf(group, sizeof group, "%u", l.most_of_all);
    }
    snprintf(t->config, sizeof t->config, limits_text, server, server,
             balances[sim_random(t->sim, BALANCES)], group);
    gateway_open(&t->gateway, t->sim, t->config, sim_random(t->sim, 2) ? 4 : 1);
    sim_watch(t->sim, limits_check, &l);
    uint64_t began = sim_now(t->sim);
    for (unsigned n = 0; n < TRAFFIC_CLIENTS; n++) {
        struct visitor *v = client_new(t);
        for (unsigned i = 1 + (unsigned)sim_random(t->sim, 5); i > 0; i--)
            visitor_ask(v, ask_origin(t, calm_what(t)));
        client_go(t, v);
    }
    for (unsigned i = (unsigned)sim_random(t->sim, 4); i > 0; i--) { /* and some who do not wait */
        struct address from = story_address("203.0.113.9:7000");
        from.port = (uint16_t)(from.port + i);
        struct ask a = ask_origin(t, calm_what(t));
        struct sim_peer *peer = sim_connect(t->sim, &t->at, &from);
        sim_say(peer, (struct span){a.request, a.len});
        sim_pause(peer, sim_random(t->sim, UINT64_C(1) << sim_random(t->sim, 28)));
        sim_then_reset(peer);
    }
    if (sim_random(t->sim, 4) == 0) {
        sim_run_for(t->sim, sim_random(t->sim, 5 * NS_PER_MS));
        gateway_reload(&t->gateway, t->config);
    }
    EXPECT(sim_run(t->sim, traffic_over, t, 3000 * NS_PER_S), "everyone has his turn");
    EXPECT(sim_now(t->sim) - began < 50 * NS_PER_S, "a place calls: no connection has to end");
    for (unsigned i = 0; i < t->count; i++)
        visitor_expect_all(&t->clients[i]);
    sim_watch(t->sim, NULL, NULL);
    return traffic_end(t);
}

/* --- connections ------------------------------------------------------------------------------ */

static unsigned links_of(const struct pool_server *s)
{
    unsigned n = 0;

    for (const struct link_node *i = s->idle.next; i != &s->idle; i = i->next)
        n++;
    for (const struct link_node *i = s->busy.next; i != &s->busy; i = i->next)
        n++;
    return n;
}

/* Counted without the gateway's counters, closing ones too. */
static void connections_check(void *data)
{
    struct limited *l = data;
    unsigned all = 0, of[2] = {0};

    for (unsigned i = 0; i < l->t.gateway.gate.worker_count; i++) {
        const struct pools *pools = l->t.gateway.gate.workers[i].pools;
        if (!pools)
            continue;
        for (struct link_node *n = pools->list.next; n != &pools->list; n = n->next) {
            struct pool *p = container_of(n, struct pool, node);
            for (struct link_node *m = p->servers.next; m != &p->servers; m = m->next) {
                struct pool_server *s = container_of(m, struct pool_server, node);
                of[span_equal(s->text, SPAN("198.51.100.2:80"))] += links_of(s);
                all += links_of(s);
            }
        }
    }
    EXPECT(of[0] <= l->most && of[1] <= l->most && all <= l->most_of_all, "%u and %u connections",
           of[0], of[1]);
}

static const char connections_text[] =
    "[listener web]\nlisten = 192.0.2.1:80\n"
    "[upstream two]\n"
    "server = 198.51.100.1:80 %s\nserver = 198.51.100.2:80 %s\n"
    "balance = %s\nmax_connections = %s\nqueue = 256 timeout=1h\nretry_on = off\n"
    "[route all]\nhandler = forward\nupstream = two\nmax_body = off\n";

/* No more connections than there may be, on all workers together; idle ones that another
 * worker keeps, or to another server, are in nobody's way for long. */
static uint64_t connections(const struct telling *telling)
{
    struct limited l = {.most = UINT_MAX, .most_of_all = UINT_MAX};
    struct traffic *t = &l.t;
    char server[32] = "", group[16] = "off";

    *t = (struct traffic){.sim = story_world(telling, SIM_SHORT | SIM_RACES | SIM_STALLS),
                          .at = story_address("192.0.2.1:80"),
                          .hurried = true};
    origins_open(&t->origins, t->sim);
    origins_add(&t->origins, "198.51.100.1:80");
    origins_add(&t->origins, "198.51.100.2:80");
    if (sim_random(t->sim, 2)) {
        l.most = 1 + (unsigned)sim_random(t->sim, 2);
        snprintf(server, sizeof server, "max_connections=%u", l.most);
    }
    if (!server[0] || sim_random(t->sim, 2)) {
        l.most_of_all = 1 + (unsigned)sim_random(t->sim, 3);
        snprintf(group, sizeof group, "%u", l.most_of_all);
    }
    snprintf(t->config, sizeof t->config, connections_text, server, server,
             balances[sim_random(t->sim, BALANCES)], group);
    gateway_open(&t->gateway, t->sim, t->config, sim_random(t->sim, 2) ? 4 : 1);
    sim_watch(t->sim, connections_check, &l);
    uint64_t began = sim_now(t->sim);
    for (unsigned n = 0; n < TRAFFIC_CLIENTS; n++) {
        struct visitor *v = client_new(t);
        for (unsigned i = 1 + (unsigned)sim_random(t->sim, 8); i > 0; i--)
            visitor_ask(v, ask_origin(t, calm_what(t)));
        client_go(t, v);
    }
    for (unsigned i = (unsigned)sim_random(t->sim, 4); i > 0; i--) { /* and some who do not wait */
        struct address from = story_address("203.0.113.9:7000");
        from.port = (uint16_t)(from.port + i);
        struct ask a = ask_origin(t, calm_what(t));
        struct sim_peer *peer = sim_connect(t->sim, &t->at, &from);
        sim_say(peer, (struct span){a.request, a.len});
        sim_pause(peer, sim_random(t->sim, UINT64_C(1) << sim_random(t->sim, 28)));
        sim_then_reset(peer);
    }
    if (sim_random(t->sim, 4) == 0) {
        sim_run_for(t->sim, sim_random(t->sim, 5 * NS_PER_MS));
        gateway_reload(&t->gateway, t->config);
    }
    EXPECT(sim_run(t->sim, traffic_over, t, 3000 * NS_PER_S), "everyone has his turn");
    EXPECT(sim_now(t->sim) - began < 50 * NS_PER_S, "nobody waits until idle ones are old");
    for (unsigned i = 0; i < t->count; i++)
        visitor_expect_all(&t->clients[i]);
    sim_watch(t->sim, NULL, NULL);
    return traffic_end(t);
}

static const char later_text[] =
    "[listener web]\nlisten = 192.0.2.1:80\n[upstream two]\n%sserver = 198.51.100.2:80\n"
    "balance = round_robin\nmax_connections = %s\nqueue = 256 timeout=1h\nretry_on = off\n"
    "[route all]\nhandler = forward\nupstream = two\n";

/* A limit that comes with a reload finds idle connections on every worker: none of them is in
 * anybody's way for long, even while an exchange still keeps a server that is no more. */
static uint64_t limited_later(const struct telling *telling)
{
    const char *first = "server = 198.51.100.1:80\n";
    struct traffic t = {.sim = story_world(telling, SIM_SHORT | SIM_RACES),
                        .at = story_address("192.0.2.1:80"),
                        .hurried = true};

    origins_open(&t.origins, t.sim);
    origins_add(&t.origins, "198.51.100.1:80");
    origins_add(&t.origins, "198.51.100.2:80");
    snprintf(t.config, sizeof t.config, later_text, first, "off");
    gateway_open(&t.gateway, t.sim, t.config, sim_random(t.sim, 2) ? 4 : 2);
    for (unsigned round = 0; round < 2; round++) {
        uint64_t began = sim_now(t.sim);
        for (unsigned n = 0; n < TRAFFIC_CLIENTS; n++) {
            struct visitor *v = client_new(&t);
            for (unsigned i = 1 + (unsigned)sim_random(t.sim, 4); i > 0; i--)
                visitor_ask(v, ask_origin(&t, ORIGIN_length));
            client_go(&t, v);
        }
        EXPECT(sim_run(t.sim, traffic_over, &t, 3000 * NS_PER_S), "everyone has his turn");
        EXPECT(sim_now(t.sim) - began < 50 * NS_PER_S, "nobody waits until idle ones are old");
        for (unsigned i = 0; i < t.count; i++)
            visitor_expect_all(&t.clients[i]);
        client_forget(&t);
        if (round > 0)
            break;
        if (sim_random(t.sim, 2)) {
            struct address from = story_address("203.0.113.9:7000");
            struct ask a = ask_origin(&t, ORIGIN_silent);
            struct sim_peer *peer = sim_connect(t.sim, &t.at, &from);
            sim_say(peer, (struct span){a.request, a.len});
            sim_pause(peer, 100 * NS_PER_S);
            sim_then_reset(peer);
            sim_run_for(t.sim, NS_PER_S);
            first = "";
        }
        snprintf(t.config, sizeof t.config, later_text, first, first[0] ? "1" : "2");
        gateway_reload(&t.gateway, t.config);
        EXPECT(sim_run(t.sim, gateway_quiet, &t.gateway, NS_PER_S), "the limit is known");
    }
    return traffic_end(&t);
}

/* So many at once; the first server may be unwell. */
static void ask_both(struct traffic *t, unsigned n)
{
    while (n-- > 0) {
        struct visitor *v = client_new(t);
        unsigned id = t->ids++;
        struct span text = request_text(t, ORIGIN_length, id, 10, 0, false);
        visitor_ask(v, (struct ask){.request = text.ptr,
                                    .len = text.len,
                                    .status = 200,
                                    .or_status = 503,
                                    .id = id,
                                    .content_len = 10});
        client_go(t, v);
    }
    EXPECT(sim_run(t->sim, traffic_over, t, 60 * NS_PER_S), "the answers come");
    for (unsigned i = 0; i < t->count; i++)
        visitor_expect_all(&t->clients[i]);
    client_forget(t);
}

/* Until whoever is ejected is due for a probe. */
static void run_until_due(struct traffic *t, const struct server_state *s)
{
    uint64_t now = sim_now(t->sim);

    if (s->ejected_until > now)
        sim_run_for(t->sim, s->ejected_until - now);
}

static void first_parts(void *data)
{
    struct traffic *t = data;

    origins_part(&t->origins, 0);
}

/* A server is due for a probe, and there may be no other connection to it than the idle one, which
 * it ends just then: there is no room after all.  Who was to be the probe leaves that to the
 * next, or to itself a little later. */
static uint64_t crowded(const struct telling *telling)
{
    static const char text[] =
        "[listener web]\nlisten = 192.0.2.1:80\n[upstream two]\n"
        "server = 198.51.100.1:80 max_connections=1\nserver = 198.51.100.2:80\n"
        "balance = round_robin\nqueue = 256 timeout=1h\nkeepalive_learn = no\n"
        "eject_failures = 1\neject_time = 1s\nslow_start = off\n"
        "[route all]\nhandler = forward\nupstream = two\nmax_body = off\n";
    enum { ROUNDS = 4, MOST = 20 };
    struct traffic t = {.sim = story_world(telling, SIM_SHORT | SIM_RACES),
                        .at = story_address("192.0.2.1:80"),
                        .hurried = true};

    origins_open(&t.origins, t.sim);
    origins_add(&t.origins, "198.51.100.1:80");
    origins_add(&t.origins, "198.51.100.2:80");
    gateway_open(&t.gateway, t.sim, text, 1);
    const struct server_state *s = t.gateway.gate.config->upstreams[0].servers[0].state;
    for (unsigned round = 0; round < ROUNDS; round++) {
        t.origins.meets[0] = ORIGIN_unwell;
        for (unsigned i = 0; i < MOST && s->ejected_until == 0; i++)
            ask_both(&t, 1);
        EXPECT(s->ejected_until > 0, "who is unwell is left out");
        t.origins.meets[0] = ORIGIN_COUNT;
        run_until_due(&t, s);
        sim_run_for(t.sim, sim_random(t.sim, NS_PER_S));
        sim_after(t.sim, sim_random(t.sim, 3 * NS_PER_MS), first_parts, &t);
        ask_both(&t, 2);
        EXPECT(!s->probing, "nobody is the probe any more");
        for (unsigned i = 0; i < MOST && s->ejected_until > 0; i++) {
            run_until_due(&t, s); /* the probe may have met the end, and failed */
            ask_both(&t, 1);
        }
        EXPECT(s->ejected_until == 0, "it serves again");
    }
    return traffic_end(&t);
}

/* Servers take no connection while many wait for a place: who is called to one that
 * nobody can use any more leaves it to the next. */
static uint64_t hopeless(const struct telling *telling)
{
    static const char text[] =
        "[listener web]\nlisten = 192.0.2.1:80\n[upstream two]\nserver = 198.51.100.1:80\n"
        "server = 198.51.100.2:80\nmax_in_flight = 1\nqueue = 256 timeout=1h\nretry_on = off\n"
        "eject_failures = 1\nmax_ejected = 100%\neject_time = 10h\n"
        "[route all]\nhandler = forward\nupstream = two\n";
    struct traffic t = {.sim = story_world(telling, SIM_RACES),
                        .at = story_address("192.0.2.1:80"),
                        .hurried = true};

    origins_open(&t.origins, t.sim);
    for (unsigned i = 0; i < 2; i++) {
        origins_add(&t.origins, i ? "198.51.100.2:80" : "198.51.100.1:80");
        t.origins.servers[i].dialled = SIM_SILENT;
    }
    gateway_open(&t.gateway, t.sim, text, sim_random(t.sim, 2) ? 4 : 1);
    for (unsigned n = 0; n < TRAFFIC_CLIENTS; n++) {
        struct visitor *v = client_new(&t);
        struct ask a = ask_origin(&t, ORIGIN_length);
        visitor_ask(
            v, (struct ask){.request = a.request, .len = a.len, .status = 503, .or_status = 504});
        client_go(&t, v);
    }
    EXPECT(sim_run(t.sim, traffic_over, &t, 60 * NS_PER_S), "nobody waits for what cannot come");
    return traffic_end(&t);
}

const struct story upstream_stories[] = {
    {"upstream.limits", "no more in flight than may be, and who waits has his turn", limits, 4},
    {"upstream.connections", "no more connections than may be, and idle ones make room",
     connections, 4},
    {"upstream.limited_later", "idle ones make room for a limit that a reload brings",
     limited_later, 0},
    {"upstream.hopeless", "nobody waits for a place that nobody can use", hopeless, 0},
    {"upstream.crowded", "a probe that finds no room is not the last", crowded, 0},
    {"upstream.truncating", "who never ends an answer fails in a row", truncating, 0},
    {"upstream.last", "who is ejected is better than nobody", last, 0},
    {"upstream.failing", "who fails is left out, and back when it is well", failing, 0},
    {0},
};
