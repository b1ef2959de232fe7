/* Names whose addresses change while there is traffic. */
#include "tests/sim/traffic.h"

#include "base/fail.h"
#include "gate/link_h1.h"
#include "gate/names.h"

enum { ADDRESSES = 3, TTL = 5, VISITORS_MAX = 40 };

static const char *const at[ADDRESSES] = {"198.51.100.1:80", "198.51.100.2:80", "198.51.100.3:80"};

static const char names_text[] = "[listener web]\nlisten = 192.0.2.1:80\n"
                                 "[upstream app]\nserver = app.test:80\nbalance = %s\n"
                                 "[route all]\nhandler = forward\nupstream = app\n";

struct named {
    struct traffic t;
    struct dns dns;
    struct dns_name *app;
    unsigned says;            /* bits: what DNS says of it */
    unsigned known;           /* and what is to be in use, when all is quiet */
    uint64_t gone[ADDRESSES]; /* since when no worker has it; 0: one has */
    struct visitor visitors[VISITORS_MAX];
    unsigned visitor_count;
};

/* --- what is watched ---------------------------------------------------------------------- */

static int index_of(const struct address *a)
{
    for (int i = 0; i < ADDRESSES; i++) {
        struct address b = story_address(at[i]);
        if (address_equal(a, &b))
            return i;
    }
    return -1;
}

static void servers_each(const struct gate *gate,
                         void (*call)(void *data, const struct pool_server *s), void *data)
{
    for (unsigned i = 0; i < gate->worker_count; i++) {
        const struct pools *pools = gate->workers[i].pools;
        for (struct link_node *n = pools ? pools->list.next : NULL; n && n != &pools->list;
             n = n->next) {
            struct pool *p = container_of(n, struct pool, node);
            for (struct link_node *m = p->servers.next; m != &p->servers; m = m->next)
                call(data, container_of(m, struct pool_server, node));
        }
    }
}

static void held_add(void *data, const struct pool_server *s)
{
    unsigned *held = data;

    if (s->tenure != 0)
        *held |= 1U << index_of(&s->at);
}

static unsigned held_by(const struct named *n)
{
    unsigned held = 0;

    servers_each(&n->t.gateway.gate, held_add, &held);
    return held;
}

/* What is under way at an address that nobody has any more began before that. */
static void links_check(void *data, const struct pool_server *s)
{
    const struct named *n = data;

    for (struct link_node *i = s->busy.next; i != &s->busy; i = i->next) {
        const struct link *l = container_of(i, struct link, node);
        const struct leg *leg = container_of(l, struct h1_link, base)->leg;
        int a = index_of(&l->to);
        EXPECT(!leg || l->state == LINK_CLOSING || n->gone[a] == 0 || leg->begun <= n->gone[a],
               "a request goes to %s, which drained", at[a]);
    }
    for (struct link_node *i = s->idle.next; i != &s->idle; i = i->next)
        EXPECT(container_of(i, struct link, node)->tenure == s->tenure, "an idle link leads away");
}

static void named_check(void *data)
{
    struct named *n = data;
    unsigned held = held_by(n);

    for (unsigned i = 0; i < ADDRESSES; i++)
        if (held & 1U << i)
            n->gone[i] = 0;
        else if (n->gone[i] == 0)
            n->gone[i] = sim_now(n->t.sim);
    servers_each(&n->t.gateway.gate, links_check, n);
}

/* --- what is done ----------------------------------------------------------------------------- */

static void say(struct named *n, unsigned addresses)
{
    n->says = addresses;
    n->app->count = 0;
    n->app->fail = 0;
    n->app->partial = false;
    for (unsigned i = 0; i < ADDRESSES; i++)
        if (addresses & 1U << i)
            dns_add(n->app, at[i]);
}

/* DNS says something else, half of it, or nothing. */
static void change(struct named *n)
{
    struct sim *sim = n->t.sim;

    n->app->delay_ns = sim_random(sim, 3) ? sim_random(sim, NS_PER_S) : 0;
    switch (sim_random(sim, 5)) {
    case 0:
        n->app->fail = sim_random(sim, 2) ? FAIL_TIMEOUT : FAIL_IO;
        break;
    case 1:
        say(n, 1 + (unsigned)sim_random(sim, 7));
        n->app->partial = true;
        n->known |= n->says;
        break;
    case 2:
        say(n, 0);
        n->known = 0;
        break;
    default:
        say(n, 1 + (unsigned)sim_random(sim, 7));
        n->known = n->says;
    }
}

static void asks(struct named *n, unsigned count, int status, int or_status)
{
    struct traffic *t = &n->t;
    struct visitor *v = &n->visitors[n->visitor_count++];
    struct address from = story_address("203.0.113.9:5000");

    EXPECT(n->visitor_count < VISITORS_MAX, "few visitors");
    from.port = (uint16_t)(from.port + n->visitor_count);

    for (unsigned i = 0; i < count; i++) {
        struct ask a = ask_origin(t, calm_what(t));
        if (status == 503) {
            a.content = (struct span){0};
            a.content_len = 0;
            a.or_status = or_status ? a.status : 0; /* what the origin says to that */
            a.status = status;
        } else {
            a.or_status = or_status;
        }
        visitor_ask(v, a);
    }
    visitor_start(v, t->sim, &t->at, &from);
}

static bool asks_over(void *data)
{
    const struct named *n = data;

    for (unsigned i = 0; i < n->visitor_count; i++)
        if (!visitor_done(&n->visitors[i]))
            return false;
    return true;
}

static void asks_end(struct named *n)
{
    EXPECT(sim_run(n->t.sim, asks_over, n, 3000 * NS_PER_S), "every request is answered");
    for (unsigned i = 0; i < n->visitor_count; i++)
        visitor_expect_all(&n->visitors[i]);
}

static void begin(struct named *n, const struct telling *telling, unsigned faults)
{
    struct traffic *t = &n->t;

    *t = (struct traffic){
        .sim = story_world(telling, faults), .at = story_address("192.0.2.1:80"), .hurried = true};
    origins_open(&t->origins, t->sim);
    for (unsigned i = 0; i < ADDRESSES; i++)
        origins_add(&t->origins, at[i]);
    dns_open(&n->dns, t->sim);
    n->app = dns_name(&n->dns, "app.test");
    n->app->ttl = TTL;
    snprintf(t->config, sizeof t->config, names_text, balances[sim_random(t->sim, BALANCES)]);
}

static void serve(struct named *n)
{
    struct traffic *t = &n->t;

    gateway_open_with(&t->gateway, t->sim, t->config, sim_random(t->sim, 2) ? 4 : 1, &n->dns);
    sim_watch(t->sim, named_check, n);
}

/* --- the stories
 * ---------------------------------------------------------------------------------- */

/* Requests go where DNS says, as soon as it is asked again; none to where it does not say any
 * more, and none is lost.  Who cannot say changes nothing. */
static uint64_t moving(const struct telling *telling)
{
    static struct named named;
    struct named *n = &named;
    struct traffic *t = &n->t;

    *n = (struct named){0};
    begin(n, telling, SIM_SHORT | SIM_RACES | SIM_STALLS);
    say(n, 3);
    n->known = 3;
    serve(n);
    for (unsigned round = 0; round < 6; round++) {
        bool had = n->known != 0;
        for (unsigned i = 1 + (unsigned)sim_random(t->sim, 2); i > 0; i--)
            asks(n, 1 + (unsigned)sim_random(t->sim, 12), had ? 200 : 503, had ? 503 : 200);
        sim_run_for(t->sim, sim_random(t->sim, 20 * NS_PER_MS));
        change(n);
        if (had)
            asks(n, 6, 200, 503);
        if (sim_random(t->sim, 4) == 0)
            gateway_reload(&t->gateway, t->config);
        asks_end(n);
        sim_run_for(t->sim, (TTL + 32) * NS_PER_S); /* whatever was said before */
        EXPECT(held_by(n) == n->known, "in use are %x, and it should be %x", held_by(n), n->known);
        unsigned asked[ADDRESSES];
        memcpy(asked, t->origins.asked, sizeof asked);
        asks(n, 12, n->known ? 200 : 503, 0);
        asks_end(n);
        for (unsigned i = 0; i < ADDRESSES; i++)
            EXPECT(n->known & 1U << i || t->origins.asked[i] == asked[i], "%s was asked", at[i]);
    }
    sim_watch(t->sim, NULL, NULL);
    return traffic_end(t);
}

/* It starts while DNS is away, says 503, and serves as soon as DNS is there. */
static uint64_t late(const struct telling *telling)
{
    static struct named named;
    struct named *n = &named;
    struct traffic *t = &n->t;

    *n = (struct named){0};
    begin(n, telling, SIM_RACES | SIM_STALLS);
    n->app->fail = FAIL_TIMEOUT;
    n->app->delay_ns = sim_random(t->sim, 4 * NS_PER_S);
    serve(n);
    asks(n, 3, 503, 0);
    asks_end(n);
    sim_run_for(t->sim, sim_random(t->sim, 60 * NS_PER_S));
    say(n, 1 + (unsigned)sim_random(t->sim, 7));
    sim_run_for(t->sim, 36 * NS_PER_S); /* the longest that it waits to ask again */
    asks(n, 12, 200, 0);
    asks_end(n);
    sim_watch(t->sim, NULL, NULL);
    return traffic_end(t);
}

static bool all_but_one(void *data)
{
    const struct named *n = data;
    unsigned over = 0;

    for (unsigned i = 0; i < n->visitor_count; i++)
        over += visitor_done(&n->visitors[i]);
    return over + 1 >= n->visitor_count;
}

/* While one is at an address that says nothing others wait for a place.  They have one as soon
 * as DNS says another; and are refused, not left to wait, when it says none any more. */
static uint64_t waiting(const struct telling *telling)
{
    static const char text[] = "[listener web]\nlisten = 192.0.2.1:80\n"
                               "[upstream app]\nserver = app.test:80 max_in_flight=1\n"
                               "queue = 256 timeout=1h\nretry_on = off\nconnect_timeout = 30m\n"
                               "[route all]\nhandler = forward\nupstream = app\n";
    static struct named named;
    struct named *n = &named;
    struct traffic *t = &n->t;

    *n = (struct named){0};
    begin(n, telling, SIM_SHORT | SIM_RACES);
    memcpy(t->config, text, sizeof text);
    bool more = sim_random(t->sim, 2);
    t->origins.servers[0].dialled = SIM_SILENT;
    say(n, 1);
    serve(n);
    sim_run_for(t->sim, NS_PER_MS);
    for (unsigned i = 0; i < 4; i++)
        asks(n, 1, more ? 200 : 503, 504);
    if (!more) /* nobody gets as far as what the origin says */
        for (unsigned i = 0; i < n->visitor_count; i++)
            n->visitors[i].asks[0].or_status = 504;
    sim_run_for(t->sim, NS_PER_S);
    for (unsigned i = 0; i < n->visitor_count; i++)
        EXPECT(!visitor_done(&n->visitors[i]), "one has no connection, the others have no place");
    say(n, more ? 3 : 0);
    EXPECT(sim_run(t->sim, all_but_one, n, (TTL + 32) * NS_PER_S), "who waits hears of it");
    asks_end(n);
    sim_watch(t->sim, NULL, NULL);
    return traffic_end(t);
}

const struct story names_stories[] = {
    {"names.moving", "requests follow what DNS says, and none is lost", moving, 2},
    {"names.waiting", "who waits hears of addresses that come and go", waiting, 0},
    {"names.late", "DNS comes later than the gateway", late, 0},
    {0},
};
