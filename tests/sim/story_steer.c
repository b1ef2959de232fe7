/* Servers that are steered by hand while there is traffic. */
#include "tests/sim/traffic.h"

#include "gate/health.h"
#include "gate/link_h1.h"
#include "gate/sticky.h"
#include "gate/upstream.h"

static const struct span first = SPAN_INIT("198.51.100.1:80");

struct steered {
    struct traffic t;
    unsigned legs; /* at the first server, over all workers */
    bool out;      /* nothing new may begin there */
    bool closed;   /* and nothing idle be kept */
};

static struct server_state *state_of(const struct traffic *t, unsigned i)
{
    return t->gateway.gate.config->upstreams[0].servers[i].state;
}

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
static unsigned legs_at_first(const struct gate *gate, unsigned *idle)
{
    unsigned legs = 0;

    *idle = 0;
    for (unsigned i = 0; i < gate->worker_count; i++) {
        const struct pools *pools = gate->workers[i].pools;
        for (struct link_node *n = pools ? pools->list.next : NULL; n && n != &pools->list;
             n = n->next) {
            struct pool *p = container_of(n, struct pool, node);
            for (struct link_node *m = p->servers.next; m != &p->servers; m = m->next) {
                struct pool_server *s = container_of(m, struct pool_server, node);
                if (!span_equal(s->text, first))
                    continue;
                legs += legs_of(&s->busy);
                *idle += s->idle_count;
            }
        }
    }
    return legs;
}

static void steered_check(void *data)
{
    struct steered *s = data;
    unsigned idle, legs = legs_at_first(&s->t.gateway.gate, &idle);

    EXPECT(!s->out || legs <= s->legs, "%u legs at a server that gets no new ones, after %u", legs,
           s->legs);
    EXPECT(!s->closed || idle == 0, "%u idle links to a server that is down", idle);
    s->legs = legs;
}

static void steer(struct steered *s)
{
    EXPECT(gate_steer(&s->t.gateway.gate) == 0, "memory");
    EXPECT(sim_run(s->t.sim, gateway_quiet, &s->t.gateway, NS_PER_S), "the workers hear of it");
}

static void more_asks(struct traffic *t, unsigned n)
{
    struct visitor *v = client_new(t);

    while (n-- > 0)
        visitor_ask(v, ask_origin(t, calm_what(t)));
    client_go(t, v);
}

/* From the order on nothing new begins there, on no worker; what has begun ends well; and
 * when it is up again it serves. */
static uint64_t drained(const struct telling *telling)
{
    struct steered s = {.legs = 0};
    struct traffic *t = &s.t;
    unsigned idle;

    traffic_begin(t, telling, SIM_SHORT | SIM_RACES | SIM_STALLS);
    t->hurried = true;
    for (unsigned n = 0; n < 3; n++)
        more_asks(t, 1 + (unsigned)sim_random(t->sim, 12));
    sim_run_for(t->sim, sim_random(t->sim, 30 * NS_PER_MS));
    s.legs = legs_at_first(&t->gateway.gate, &idle);
    unsigned how = (unsigned)sim_random(t->sim, 3);
    if (how == 2)
        server_weight_set(state_of(t, 0), 0);
    else
        server_steer_set(state_of(t, 0), how ? STEER_DOWN : STEER_DRAIN);
    s.out = true;
    sim_watch(t->sim, steered_check, &s);
    steer(&s);
    s.closed = how == 1;
    if (sim_random(t->sim, 3) == 0) {
        gateway_reload(&t->gateway, t->config);
        EXPECT(sim_run(t->sim, gateway_quiet, &t->gateway, NS_PER_S), "it is adopted");
    }
    EXPECT(sim_run(t->sim, traffic_over, t, 3000 * NS_PER_S), "what has begun ends");
    for (unsigned i = 0; i < t->count; i++)
        visitor_expect_all(&t->clients[i]);
    EXPECT(legs_at_first(&t->gateway.gate, &idle) == 0, "in flight returns to zero");
    unsigned asked = t->origins.asked[0];
    more_asks(t, 20);
    EXPECT(sim_run(t->sim, traffic_over, t, 3000 * NS_PER_S), "others serve");
    EXPECT(t->origins.asked[0] == asked, "not one request came to it");
    s.out = s.closed = false;
    server_steer_set(state_of(t, 0), STEER_UP);
    health_forgive(t->gateway.gate.config->upstreams[0].state, state_of(t, 0));
    steer(&s);
    more_asks(t, 40);
    EXPECT(sim_run(t->sim, traffic_over, t, 3000 * NS_PER_S), "both serve");
    for (unsigned i = 0; i < t->count; i++)
        visitor_expect_all(&t->clients[i]);
    bool latency_decides = t->gateway.gate.config->upstreams[0].balance == BALANCE_P2C;
    EXPECT(latency_decides || t->origins.asked[0] > asked, "it serves again");
    sim_watch(t->sim, NULL, NULL);
    return traffic_end(t);
}

/* --- weights -------------------------------------------------------------------------------- */

static const char weights_text[] = "[listener web]\nlisten = 192.0.2.1:80\n"
                                   "[upstream two]\n"
                                   "server = 198.51.100.1:80\nserver = 198.51.100.2:80\n"
                                   "balance = %s\n"
                                   "[route all]\nhandler = forward\nupstream = two\n";

static void small_asks(struct traffic *t, unsigned n)
{
    struct visitor *v = client_new(t);

    while (n-- > 0) {
        unsigned id = t->ids++;
        struct span text = request_text(t, ORIGIN_length, id, 10, 0, false);
        visitor_ask(
            v,
            (struct ask){
                .request = text.ptr, .len = text.len, .status = 200, .id = id, .content_len = 10});
    }
    client_go(t, v);
}

/* A weight by hand is kept from then on, in the midst of traffic. */
static uint64_t weighed(const struct telling *telling)
{
    /* Once in a thousand million tellings it may be this far off by chance. */
    const double most = 38;
    static const char *const by_weight[] = {"round_robin", "random", "hash path"};
    struct steered s = {.legs = 0};
    struct traffic *t = &s.t;

    *t = (struct traffic){.sim = story_world(telling, SIM_SHORT | SIM_RACES),
                          .at = story_address("192.0.2.1:80")};
    origins_open(&t->origins, t->sim);
    origins_add(&t->origins, "198.51.100.1:80");
    origins_add(&t->origins, "198.51.100.2:80");
    snprintf(t->config, sizeof t->config, weights_text, by_weight[sim_random(t->sim, 3)]);
    gateway_open(&t->gateway, t->sim, t->config, sim_random(t->sim, 2) ? 4 : 1);
    for (unsigned n = 0; n < TRAFFIC_CLIENTS; n++)
        small_asks(t, 90);
    sim_run_for(t->sim, sim_random(t->sim, 30 * NS_PER_MS));
    server_weight_set(state_of(t, 1), 4);
    unsigned before[] = {t->origins.asked[0], t->origins.asked[1]};
    steer(&s);
    EXPECT(sim_run(t->sim, traffic_over, t, 3000 * NS_PER_S), "the answers come");
    for (unsigned i = 0; i < t->count; i++)
        visitor_expect_all(&t->clients[i]);
    double got[2], all = 0, off = 0;
    for (unsigned i = 0; i < 2; i++)
        all += got[i] = t->origins.asked[i] - before[i];
    for (unsigned i = 0; i < 2; i++) {
        double want = all * (i ? 0.8 : 0.2);
        off += all > 0 ? (got[i] - want) * (got[i] - want) / want : 0;
    }
    EXPECT(off < most, "%.0f and %.0f, chi-square %.1f", got[0], got[1], off);
    return traffic_end(t);
}

/* --- who waits ------------------------------------------------------------------------------- */

static const char waiting_text[] =
    "[listener web]\nlisten = 192.0.2.1:80\n[upstream two]\n"
    "server = 198.51.100.1:80 max_in_flight=1\nserver = 198.51.100.2:80 max_in_flight=1\n"
    "queue = 256 timeout=1h\nretry_on = off\nconnect_timeout = 1h\n"
    "[route all]\nhandler = forward\nupstream = two\n";

static unsigned answered(const struct traffic *t)
{
    unsigned n = 0;

    for (unsigned i = 0; i < t->count; i++)
        n += t->clients[i].answered;
    return n;
}

static bool all_but_one(void *data)
{
    return answered(data) + 1 >= TRAFFIC_CLIENTS;
}

/* While one is at a server that says nothing others wait for a place.  They have one as soon as
 * the other server is put back; and are refused, not left to wait, when the first goes too. */
static uint64_t waiting(const struct telling *telling)
{
    struct steered s = {.legs = 0};
    struct traffic *t = &s.t;

    *t = (struct traffic){.sim = story_world(telling, SIM_SHORT | SIM_RACES),
                          .at = story_address("192.0.2.1:80")};
    bool back = sim_random(t->sim, 2);
    origins_open(&t->origins, t->sim);
    origins_add(&t->origins, "198.51.100.1:80")->dialled = SIM_SILENT;
    origins_add(&t->origins, "198.51.100.2:80");
    gateway_open(&t->gateway, t->sim, waiting_text, sim_random(t->sim, 2) ? 4 : 1);
    sim_run_for(t->sim, NS_PER_MS);
    server_steer_set(state_of(t, 1), STEER_DOWN);
    steer(&s);
    for (unsigned n = 0; n < TRAFFIC_CLIENTS; n++) {
        struct visitor *v = client_new(t);
        struct ask a = ask_origin(t, ORIGIN_length);
        if (!back)
            a = (struct ask){.request = a.request, .len = a.len, .status = 503, .or_status = 504};
        else
            a.or_status = 504; /* the one who came first */
        visitor_ask(v, a);
        client_go(t, v);
    }
    sim_run_for(t->sim, NS_PER_S);
    EXPECT(answered(t) == 0, "one has no connection, the others have no place");
    server_steer_set(state_of(t, back), back ? STEER_UP : STEER_DOWN);
    steer(&s);
    EXPECT(sim_run(t->sim, all_but_one, t, 10 * NS_PER_S), "who waits hears of it");
    EXPECT(sim_run(t->sim, traffic_over, t, 2 * 3600 * NS_PER_S), "the first ends, too");
    return traffic_end(t);
}

/* --- sticky ---------------------------------------------------------------------------------- */

static const char sticky_text[] = "[listener web]\nlisten = 192.0.2.1:80\n[upstream two]\n"
                                  "server = 198.51.100.1:80\nserver = 198.51.100.2:80\n"
                                  "balance = %s\nsticky = s\neject_failures = off\n"
                                  "eject_error_rate = off\nretry_budget = off\n"
                                  "[route all]\nhandler = forward\nupstream = two\n";

struct phase {
    struct traffic *t;
    enum steer first;       /* what the first server is */
    int named[ORIGIN_IDS];  /* the server that a request's cookie names; -1: none */
    bool fails[ORIGIN_IDS]; /* the first try of it does */
};

/* Is it the one that sets s to this server? */
static bool is_cookie_of(const struct traffic *t, struct span cookie, unsigned server)
{
    char want[64];

    snprintf(want, sizeof want, "s=%016llx; Path=/; HttpOnly; SameSite=Lax; Secure",
             (unsigned long long)sticky_number(&t->origins.servers[server].at));
    return span_equal(cookie, span_of(want));
}

static void sticky_checked(struct visitor *v, const struct ask *ask, const struct answer *a)
{
    struct phase *p = v->data;
    unsigned got = p->t->origins.where[ask->id];
    int named = p->named[ask->id];
    struct span cookie = answer_field(a, "Set-Cookie");

    if (!p->fails[ask->id]) {
        EXPECT(p->first == STEER_UP || got == 1 || named == 0, "new work for a server that is out");
        EXPECT(p->first != STEER_DOWN || got == 1, "a request for a server that is down");
        EXPECT(named < 0 || (int)got == named || (named == 0 && p->first == STEER_DOWN),
               "who is named by %d went to %u", named, got);
    }
    if ((int)got == named)
        EXPECT(!cookie.ptr, "the cookie is there already");
    else
        EXPECT(is_cookie_of(p->t, cookie, got), "a cookie for %u: %.*s", got, SPAN_ARG(cookie));
}

/* With the cookie of one server, or none, or others of no meaning before it. */
static void sticky_asks(struct phase *p, unsigned n)
{
    static const char *const before[] = {"", "a=b; ", "s=0123456789abcdef; ", "S=1; s=; "};
    struct traffic *t = p->t;
    struct visitor *v = client_new(t);

    v->data = p;
    v->checked = sticky_checked;
    while (n-- > 0) {
        unsigned id = t->ids++;
        enum origin_what what = sim_random(t->sim, 4) ? ORIGIN_length : ORIGIN_once_reset;
        char cookie[64] = "";
        p->fails[id] = what == ORIGIN_once_reset;
        p->named[id] = (int)sim_random(t->sim, 3) - 1;
        if (p->named[id] >= 0)
            snprintf(cookie, sizeof cookie, "%ss=%016llx", before[sim_random(t->sim, 4)],
                     (unsigned long long)sticky_number(&t->origins.servers[p->named[id]].at));
        struct span text =
            arena_print(&t->arena, "GET /%s/%u/10 HTTP/1.1\r\nHost: a\r\nCookie: %s\r\n\r\n",
                        origin_rows[what].name, id, cookie);
        visitor_ask(
            v,
            (struct ask){
                .request = text.ptr, .len = text.len, .status = 200, .id = id, .content_len = 10});
    }
    client_go(t, v);
}

/* A cookie decides where a visitor goes, and is set by whoever it is that answers. */
static uint64_t stuck(const struct telling *telling)
{
    static const enum steer outs[] = {STEER_UP, STEER_DRAIN, STEER_DOWN};
    struct steered s = {.legs = 0};
    struct traffic *t = &s.t;
    static struct phase p;

    *t = (struct traffic){.sim = story_world(telling, SIM_SHORT | SIM_RACES | SIM_STALLS),
                          .at = story_address("192.0.2.1:80")};
    p = (struct phase){.t = t};
    origins_open(&t->origins, t->sim);
    origins_add(&t->origins, "198.51.100.1:80");
    origins_add(&t->origins, "198.51.100.2:80");
    snprintf(t->config, sizeof t->config, sticky_text, balances[sim_random(t->sim, BALANCES)]);
    gateway_open(&t->gateway, t->sim, t->config, sim_random(t->sim, 2) ? 4 : 1);
    sim_run_for(t->sim, NS_PER_MS);
    for (unsigned i = 0; i < 4; i++) {
        server_steer_set(state_of(t, 0), p.first = outs[sim_random(t->sim, 3)]);
        steer(&s);
        sticky_asks(&p, 1 + (unsigned)sim_random(t->sim, 40));
        EXPECT(sim_run(t->sim, traffic_over, t, 3000 * NS_PER_S), "the answers come");
    }
    for (unsigned i = 0; i < t->count; i++)
        visitor_expect_all(&t->clients[i]);
    return traffic_end(t);
}

const struct story steer_stories[] = {
    {"steer.sticky", "a cookie names who answers, and who answers is named", stuck, 0},
    {"steer.waiting", "who waits hears of servers that go and come", waiting, 0},
    {"steer.drained", "who is out gets nothing new, and ends what it has", drained, 2},
    {"steer.weighed", "a weight by hand is kept in the midst of traffic", weighed, 0},
    {0},
};
