/* The gateway answers from its configuration: HTTP/1.1 on connections that
 * behave, and on those that do not. */
#include "tests/sim/gateway.h"
#include "tests/sim/visitor.h"

#include "base/mem.h"

#include <stdlib.h>

enum { VISITORS_MAX = 6, BIG = 30000 };

static char big[BIG + 1];

static const char routes_text[] =
    "[listener web]\nlisten = 192.0.2.1:80\n"
    "[route hello]\npath = /hello\nmethod = GET\nhandler = respond\nbody = hello\n"
    "[route item]\npath = /item/{id}\nhandler = respond\nbody = item ${path.id}\n"
    "[route put]\npath = /put\nmethod = POST\nhandler = respond\nbody = thanks\n"
    "[route empty]\npath = /empty\nhandler = respond\nstatus = 204\n"
    "[route big]\npath = /big\nhandler = respond\nbody = ";

struct party {
    struct sim *sim;
    struct gateway gateway;
    struct arena arena; /* of what visitors say */
    struct address at;
    struct visitor visitors[VISITORS_MAX];
    unsigned count;
};

static const char *config_text(struct party *p)
{
    memset(big, 'x', BIG);
    return arena_print(&p->arena, "%s%s\n%c", routes_text, big, 0).ptr;
}

static void party_begin(struct party *p, const struct telling *t, unsigned faults)
{
    *p = (struct party){.sim = story_world(t, faults), .at = story_address("192.0.2.1:80")};
    gateway_open(&p->gateway, p->sim, config_text(p), 1 + (unsigned)sim_random(p->sim, 3));
}

static struct address from_of(unsigned i)
{
    struct address a = story_address("203.0.113.7:4000");

    a.port = (uint16_t)(a.port + i);
    return a;
}

static struct visitor *visitor_new(struct party *p)
{
    return &p->visitors[p->count++];
}

static void visitor_go(struct party *p, struct visitor *v)
{
    struct address from = from_of((unsigned)(v - p->visitors));

    visitor_start(v, p->sim, &p->at, &from);
}

static bool party_over(void *data)
{
    struct party *p = data;

    for (unsigned i = 0; i < p->count; i++)
        if (!visitor_done(&p->visitors[i]))
            return false;
    return true;
}

static bool party_left(void *data) /* and every connection has ended */
{
    struct party *p = data;

    for (unsigned i = 0; i < p->count; i++) {
        const struct sim_peer *peer = p->visitors[i].peer;
        if (!peer->ended && !peer->reset && !peer->refused && !peer->closed)
            return false;
    }
    return true;
}

static bool peer_over(void *data)
{
    const struct sim_peer *p = data;

    return p->ended || p->reset;
}

static uint64_t party_end(struct party *p)
{
    arena_free(&p->arena);
    return gateway_end(&p->gateway);
}

/* --- questions ------------------------------------------------------------------------ */

static struct ask ask_put(struct party *p, bool chunks)
{
    size_t n = (size_t)sim_random(p->sim, 20000);
    struct span text;

    if (!chunks)
        text = arena_print(&p->arena,
                           "POST /put HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n%.*s", n,
                           (int)n, big);
    else
        text = arena_print(&p->arena,
                           "POST /put HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                           "5\r\nhello\r\n%zx\r\n%.*s\r\n0\r\nX-T: 1\r\n\r\n",
                           n + 1, (int)n + 1, big);
    return (struct ask){
        .request = text.ptr, .len = text.len, .status = 200, .content = SPAN("thanks")};
}

static struct ask ask_item(struct party *p)
{
    unsigned id = (unsigned)sim_random(p->sim, 1000);
    struct span text = arena_print(&p->arena, "GET /item/%u HTTP/1.1\r\nHost: a\r\n\r\n", id);

    return (struct ask){.request = text.ptr,
                        .len = text.len,
                        .status = 200,
                        .content = arena_print(&p->arena, "item %u", id)};
}

static struct ask ask_any(struct party *p)
{
    static const struct ask fixed[] = {
        {.request = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n",
         .status = 200,
         .content = SPAN_INIT("hello")},
        {.request = "HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n", .status = 200, .head = true},
        {.request = "HEAD /big HTTP/1.1\r\nHost: a\r\n\r\n", .status = 200, .head = true},
        {.request = "GET /big HTTP/1.1\r\nHost: a\r\n\r\n", .status = 200, .content = {big, BIG}},
        {.request = "GET /none HTTP/1.1\r\nHost: a\r\n\r\n", .status = 404},
        {.request = "DELETE /hello HTTP/1.1\r\nHost: a\r\n\r\n", .status = 405},
        {.request = "GET /empty HTTP/1.1\r\nHost: a\r\n\r\n", .status = 204},
        {.request = "GET http://a/hello HTTP/1.1\r\nHost: a\r\n\r\n",
         .status = 200,
         .content = SPAN_INIT("hello")},
        {.request = "GET /x/../hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
         .status = 200,
         .content = SPAN_INIT("hello")},
        {.request = "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", .status = 204},
    };
    uint64_t dice = sim_random(p->sim, COUNT_OF(fixed) + 4);

    if (dice < COUNT_OF(fixed))
        return fixed[dice];
    return dice < COUNT_OF(fixed) + 2 ? ask_item(p) : ask_put(p, dice & 1);
}

static void ask_many(struct party *p, struct visitor *v, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct ask a = ask_any(p);
        a.slow = !v->pipelines && sim_random(p->sim, 8) == 0;
        visitor_ask(v, a);
    }
}

/* --- stories ----------------------------------------------------------------------------- */

static uint64_t keep_alive(const struct telling *t)
{
    struct party p;
    unsigned n;

    party_begin(&p, t, SIM_ALL);
    n = 1 + (unsigned)sim_random(p.sim, VISITORS_MAX);
    for (unsigned i = 0; i < n; i++) {
        struct visitor *v = visitor_new(&p);
        ask_many(&p, v, 1 + (unsigned)sim_random(p.sim, 20));
        visitor_go(&p, v);
    }
    EXPECT(sim_run(p.sim, party_over, &p, 3600 * NS_PER_S), "the answers come");
    for (unsigned i = 0; i < n; i++)
        visitor_expect_all(&p.visitors[i]);
    return party_end(&p);
}

enum { WARM_AFTER = 4, WARM_ASKS = 40 };

static void warm_checked(struct visitor *v, const struct ask *ask, const struct answer *a)
{
    uint64_t *before = v->data;

    (void)ask;
    (void)a;
    if (v->answered < WARM_AFTER)
        *before = mem_count();
    EXPECT(mem_count() == *before, "request %u allocates %llu times", v->answered,
           (unsigned long long)(mem_count() - *before));
}

/* What the first requests needed is kept: those behind take none from the system. */
static uint64_t warm(const struct telling *t)
{
    struct party p;
    uint64_t before = 0;

    party_begin(&p, t, 0);
    struct ask ask = ask_any(&p);
    struct visitor *v = visitor_new(&p);
    v->data = &before;
    v->checked = warm_checked;
    for (unsigned i = 0; i < WARM_ASKS; i++)
        visitor_ask(v, ask);
    visitor_go(&p, v);
    EXPECT(sim_run(p.sim, party_over, &p, 3600 * NS_PER_S), "the answers come");
    visitor_expect_all(v);
    return party_end(&p);
}

static uint64_t pipelining(const struct telling *t)
{
    struct party p;

    party_begin(&p, t, SIM_ALL);
    for (unsigned i = 0; i < 2; i++) {
        struct visitor *v = visitor_new(&p);
        v->pipelines = true;
        v->finishes = sim_random(p.sim, 2);
        ask_many(&p, v,
                 1 + (unsigned)sim_random(p.sim, sim_random(p.sim, 8) ? 30 : VISITOR_ASKS_MAX));
        visitor_go(&p, v);
    }
    EXPECT(sim_run(p.sim, party_over, &p, 3600 * NS_PER_S), "the answers come");
    for (unsigned i = 0; i < p.count; i++)
        visitor_expect_all(&p.visitors[i]);
    return party_end(&p);
}

/* Takes a few bytes a second, or none at all from some moment on. */
static uint64_t slow_client(const struct telling *t)
{
    struct party p;
    struct visitor *v;
    bool stops;

    party_begin(&p, t, SIM_ALL & ~(unsigned)SIM_NARROW);
    v = visitor_new(&p);
    for (unsigned i = 0; i < 30; i++)
        visitor_ask(v, (struct ask){.request = "GET /big HTTP/1.1\r\nHost: a\r\n\r\n",
                                    .status = 200,
                                    .content = {big, BIG}});
    v->pipelines = true;
    stops = sim_random(p.sim, 2);
    visitor_go(&p, v);
    sim_window(v->peer, 4096);
    sim_read(v->peer, 4096, NS_PER_S);
    if (stops) {
        sim_run_for(p.sim, sim_random(p.sim, 100 * NS_PER_S));
        sim_read(v->peer, 0, 0);
        sim_run_for(p.sim, 70 * NS_PER_S); /* write_timeout is 30 s */
        EXPECT(v->peer->reset, "a client that takes nothing is cut off");
    } else {
        EXPECT(sim_run(p.sim, party_over, &p, 7200 * NS_PER_S), "a slow client gets it all");
        visitor_expect_all(v);
    }
    return party_end(&p);
}

/* Says so many bytes of its requests, then vanishes in one way or another;
 * the next client is served as if nothing had been. */
static uint64_t vanishing(const struct telling *t)
{
    struct party p;
    struct span text = {0};
    struct sim_peer *peer;

    party_begin(&p, t, SIM_ALL);
    for (unsigned i = 0; i < 3; i++) {
        struct ask a = ask_any(&p);
        text =
            arena_join(&p.arena, text, (struct span){a.request, a.len ? a.len : strlen(a.request)});
    }
    size_t most = text.len < 400 || sim_random(p.sim, 2) ? text.len : 400;
    for (unsigned i = 0; i < 4; i++) {
        struct address from = from_of(100 + i);
        peer = sim_connect(p.sim, &p.at, &from);
        sim_say(peer, span_first(text, (size_t)sim_random(p.sim, most + 1)));
        switch (sim_random(p.sim, 4)) {
        case 0:
            sim_then_reset(peer);
            break;
        case 1:
            sim_close(peer);
            break;
        case 2:
            sim_finish(peer);
            break;
        default:
            sim_after(p.sim, sim_random(p.sim, 10 * NS_PER_MS), (void (*)(void *))sim_reset, peer);
        }
    }
    sim_run_for(p.sim, sim_random(p.sim, NS_PER_S));
    ask_many(&p, visitor_new(&p), 3);
    visitor_go(&p, &p.visitors[0]);
    EXPECT(sim_run(p.sim, party_over, &p, 3600 * NS_PER_S), "the next client is answered");
    visitor_expect_all(&p.visitors[0]);
    sim_run_for(p.sim, 20 * NS_PER_S);
    unsigned left = 0;
    for (unsigned i = 0; i < p.gateway.gate.worker_count; i++)
        left += (unsigned)p.gateway.gate.workers[i].stats.connections_open;
    EXPECT(left <= 1, "%u connections of clients that are gone", left);
    return party_end(&p);
}

/* What is refused is refused with the right status, and the answer arrives
 * although the client goes on talking. */
static uint64_t limits(const struct telling *t)
{
    static const struct {
        const char *begin;
        char fill;
        size_t count;
        const char *end;
        int status;
    } cases[] = {
        {"GET /", 'a', 9000, " HTTP/1.1\r\nHost: a\r\n\r\n", 414},
        {"GET / HTTP/1.1\r\nHost: a\r\nX: ", 'a', 33000, "\r\n\r\n", 431},
        {"POST /put HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
         'a', 3000, "", 400},
        {"GET / HTTP/1.1\r\n\r\n", 'a', 200000, "", 400},
        {"GET /\r\n", 'a', 100, "", 400},
        {"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 'a', 10, "", 505},
        {"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 'a', 10, "", 501},
        {"GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", 'a', 0, "", 400},
        {"GET /../x HTTP/1.1\r\nHost: a\r\n\r\n", 'a', 0, "", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 'a', 0, "", 400},
        {"GET / HTTP/1.1\nHost: a\r\n\r\n", 'a', 0, "", 400},
        {"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 'a', 0, "", 400},
    };
    struct party p;
    size_t i;
    struct visitor *v;

    party_begin(&p, t, SIM_ALL & ~(unsigned)SIM_NARROW);
    i = (size_t)sim_random(p.sim, COUNT_OF(cases));
    struct arena *a = &p.arena;
    char *fill = arena_alloc(a, cases[i].count + 1);
    memset(fill, cases[i].fill, cases[i].count);
    struct span text = arena_join(a, span_of(cases[i].begin), (struct span){fill, cases[i].count});
    text = arena_join(a, text, span_of(cases[i].end));
    v = visitor_new(&p);
    visitor_ask(v, (struct ask){.request = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n",
                                .status = 200,
                                .content = SPAN("hello")});
    visitor_ask(v, (struct ask){.request = text.ptr, .len = text.len, .status = cases[i].status});
    visitor_go(&p, v);
    EXPECT(sim_run(p.sim, party_over, &p, 3600 * NS_PER_S), "the answers come");
    visitor_expect_all(v);
    return party_end(&p);
}

/* A byte each now and then does not make a head arrive in time. */
static uint64_t dripping(const struct telling *t)
{
    static const char text[] = "GET /hello HTTP/1.1\r\nHost: a\r\nX-Long: 0123456789012345\r\n\r\n";
    struct party p;
    struct address from = from_of(0);
    struct sim_peer *peer;

    party_begin(&p, t, SIM_RACES);
    peer = sim_connect(p.sim, &p.at, &from);
    if (sim_random(p.sim, 2)) /* the time runs anew for each head */
        sim_say(peer, SPAN("GET /empty HTTP/1.1\r\nHost: a\r\n\r\n"));
    sim_pause(peer, sim_random(p.sim, 5 * NS_PER_S));
    for (const char *at = text; *at; at++) { /* over TLS a record each */
        sim_say(peer, (struct span){at, 1});
        sim_pause(peer, NS_PER_S / 2);
    }
    EXPECT(sim_run(p.sim, peer_over, peer, 60 * NS_PER_S), "the connection ends");
    struct span heard = sim_heard(peer);
    EXPECT(memmem(heard.ptr, heard.len, "HTTP/1.1 408 ", 13), "%.*s", SPAN_ARG(heard));
    EXPECT(peer->ended_at - peer->connected_at < 17 * NS_PER_S, "in time");
    return party_end(&p);
}

/* Clients that stop talking, each at another place. */
static uint64_t silence(const struct telling *t)
{
    static const struct {
        const char *said;
        bool answered;        /* with 408 */
        uint64_t least, most; /* seconds until the connection ends */
    } cases[] = {
        {"", false, 10, 12},
        {"GET /he", true, 10, 15},
        {"GET /hello HTTP/1.1\r\nHost: a\r\n", true, 10, 15},
        {"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n", false, 75, 80},
        {"POST /put HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", false, 75, 80},
    };
    struct party p;
    size_t i;
    struct sim_peer *peer;
    struct address from = from_of(0);

    party_begin(&p, t, SIM_SHORT | SIM_RACES);
    i = (size_t)sim_random(p.sim, COUNT_OF(cases));
    peer = sim_connect(p.sim, &p.at, &from);
    sim_say(peer, span_of(cases[i].said));
    sim_run_for(p.sim, 100 * NS_PER_S);
    EXPECT(peer->ended && !peer->reset, "the connection ends in order");
    uint64_t took = (peer->ended_at - peer->connected_at) / NS_PER_MS;
    EXPECT(took >= cases[i].least * 1000 && took <= cases[i].most * 1000, "after %llu ms, case %zu",
           (unsigned long long)took, i);
    bool timeout = peer->len >= 12 && memcmp(peer->text, "HTTP/1.1 408", 12) == 0;
    EXPECT(timeout == cases[i].answered, "case %zu: %.*s", i, (int)peer->len, peer->text);
    EXPECT(cases[i].answered || cases[i].least > 70 || peer->len == 0, "no word to who said none");
    return party_end(&p);
}

static void drain(void *data)
{
    gateway_drain(data);
}

/* SIGTERM at any moment: what was asked before is answered, whoever asks on a
 * connection that is still there too, and it ends. */
static uint64_t draining(const struct telling *t)
{
    struct party p;

    party_begin(&p, t, SIM_ALL & ~(unsigned)(SIM_NARROW | SIM_STALLS));
    for (unsigned i = 0; i < VISITORS_MAX; i++) {
        struct visitor *v = visitor_new(&p);
        v->pipelines = sim_random(p.sim, 2);
        ask_many(&p, v, (unsigned)sim_random(p.sim, 6));
        visitor_go(&p, v);
    }
    sim_after(p.sim, sim_random(p.sim, 20 * NS_PER_MS), drain, &p.gateway);
    EXPECT(sim_run(p.sim, gateway_done, &p.gateway, 30 * NS_PER_S), "it ends");
    for (unsigned i = 0; i < p.count; i++) {
        struct visitor *v = &p.visitors[i];
        EXPECT(v->at == v->peer->len, "visitor %u: no answer is cut", i);
        if (!v->peer->reset && !v->peer->refused)
            EXPECT(v->answered == v->count || v->answered == v->sent || v->peer->ended,
                   "visitor %u: %u of %u", i, v->answered, v->sent);
    }
    arena_free(&p.arena);
    gateway_close(&p.gateway, NS_PER_S);
    return sim_end(p.sim);
}

/* Reloads while requests run: each is answered by one generation or another. */
static uint64_t reloading(const struct telling *t)
{
    struct party p;

    party_begin(&p, t, SIM_ALL);
    for (unsigned i = 0; i < 4; i++) {
        struct visitor *v = visitor_new(&p);
        v->pipelines = sim_random(p.sim, 2);
        ask_many(&p, v, 10);
        visitor_go(&p, v);
    }
    for (unsigned i = 0; i < 5; i++) {
        sim_run_for(p.sim, sim_random(p.sim, 5 * NS_PER_MS));
        gateway_reload(&p.gateway, config_text(&p));
        gate_sweep(&p.gateway.gate);
    }
    EXPECT(sim_run(p.sim, party_over, &p, 3600 * NS_PER_S), "the answers come");
    for (unsigned i = 0; i < p.count; i++)
        visitor_expect_all(&p.visitors[i]);
    EXPECT(sim_run(p.sim, gateway_quiet, &p.gateway, NS_PER_S), "orders are carried out");
    sim_run_for(p.sim, 5 * NS_PER_S); /* content that nobody wanted may still come */
    gate_sweep(&p.gateway.gate);
    EXPECT(!p.gateway.gate.config->before, "old generations end with their last exchange");
    return party_end(&p);
}

/* The n-th allocation fails, and more after it: a client may be refused, the
 * gateway stays. */
static uint64_t no_memory(const struct telling *t)
{
    struct party p;

    party_begin(&p, t, SIM_ALL);
    for (unsigned i = 0; i < VISITORS_MAX - 1; i++) {
        struct visitor *v = visitor_new(&p);
        v->pipelines = sim_random(p.sim, 2);
        v->tolerant = true;
        ask_many(&p, v, 1 + (unsigned)sim_random(p.sim, 6));
        visitor_go(&p, v);
    }
    mem_fail_at(1 + sim_random(p.sim, 40), sim_random(p.sim, 4));
    sim_run_for(p.sim, NS_PER_S);
    mem_fail_at(0, 0);
    EXPECT(sim_run(p.sim, party_over, &p, 3600 * NS_PER_S), "nobody waits forever");
    ask_many(&p, visitor_new(&p), 3);
    visitor_go(&p, &p.visitors[p.count - 1]);
    EXPECT(sim_run(p.sim, party_over, &p, 3600 * NS_PER_S), "and then it serves again");
    visitor_expect_all(&p.visitors[p.count - 1]);
    return party_end(&p);
}

static uint64_t turns_of(const struct party *p)
{
    uint64_t turns = 0;

    for (unsigned i = 0; i < p->gateway.gate.worker_count; i++)
        turns += p->gateway.gate.workers[i].io->stats.turns;
    return turns;
}

/* No descriptors for all: those who wait are served when others leave, and
 * nobody turns in circles meanwhile. */
static uint64_t no_descriptors(const struct telling *t)
{
    struct party p;

    party_begin(&p, t, SIM_ALL);
    sim_descriptors(p.sim, sim_descriptors_used(p.sim) + 1 + (unsigned)sim_random(p.sim, 2));
    for (unsigned i = 0; i < 2; i++) { /* hold what there is, for a while */
        struct address from = from_of(100 + i);
        struct sim_peer *holder = sim_connect(p.sim, &p.at, &from);
        sim_pause(holder, 3 * NS_PER_S);
        sim_close(holder);
    }
    sim_run_for(p.sim, NS_PER_S / 2);
    for (unsigned i = 0; i < VISITORS_MAX; i++) {
        struct visitor *v = visitor_new(&p);
        v->pipelines = true;
        v->finishes = true;
        ask_many(&p, v, 1 + (unsigned)sim_random(p.sim, 4));
        visitor_go(&p, v);
    }
    uint64_t turns = turns_of(&p);
    sim_run_for(p.sim, 5 * NS_PER_S);
    EXPECT(turns_of(&p) - turns < 20000, "%llu turns while waiting",
           (unsigned long long)(turns_of(&p) - turns));
    EXPECT(sim_run(p.sim, party_left, &p, 3600 * NS_PER_S), "all are served");
    for (unsigned i = 0; i < p.count; i++)
        visitor_expect_all(&p.visitors[i]);
    return party_end(&p);
}

const struct story serve_stories[] = {
    {"serve.keep_alive", "one after the other, each is answered", keep_alive, 2},
    {"serve.pipelining", "all at once, answered in order", pipelining, 2},
    {"serve.warm", "requests take no memory from the system once warm", warm, 0},
    {"serve.slow_client", "slow gets all of it, stuck is cut off", slow_client, 1},
    {"serve.vanishing", "clients vanish after any byte, the next is served", vanishing, 4},
    {"serve.limits", "what is refused hears why", limits, 2},
    {"serve.silence", "each wait has its end", silence, 1},
    {"serve.dripping", "drop by drop is not in time", dripping, 0},
    {"serve.draining", "SIGTERM cuts no answer", draining, 3},
    {"serve.reloading", "a reload drops nothing", reloading, 2},
    {"serve.no_memory", "a failed allocation costs one client at most", no_memory, 4},
    {"serve.no_descriptors", "who waits for a descriptor is served in the end", no_descriptors, 2},
    {0},
};
