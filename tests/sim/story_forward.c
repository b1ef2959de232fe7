/* The gateway has origins answer: whatever they and the clients do, nobody
 * gets an answer that is not his, or half of one that looks whole. */
#include "tests/sim/gateway.h"
#include "tests/sim/origin.h"

#include "base/mem.h"
#include "gate/link_h1.h"
#include "gate/upstream.h"

#include <limits.h>
#include <stdlib.h>

enum {
    CLIENTS_MAX = 5,
    WINDOW_MAX = 4 * 1024 * 1024,
    UPLOAD = 1200000,
    IN_BETWEEN = 512 * 1024 + 2 * IO_ROOM_BULK, /* thrown away, in flows, being read */
};

static const char config_text[] = "[listener web]\nlisten = 192.0.2.1:80\n"
                                  "[upstream two]\n"
                                  "server = 198.51.100.1:80\nserver = 198.51.100.2:80\n"
                                  "balance = %s\n"
                                  "[route all]\nhandler = forward\nupstream = two\n"
                                  "max_body = off\n"
                                  "[route small]\nhost = small\nhandler = forward\n"
                                  "upstream = two\nmax_body = 1k\n";

static const char *const balances[] = {"round_robin", "least_conn", "p2c", "random", "hash path"};

struct traffic {
    struct sim *sim;
    char config[600];
    struct gateway gateway;
    struct origins origins;
    struct arena arena;
    struct address at;
    struct visitor clients[CLIENTS_MAX];
    unsigned count, ids;
    bool hurried;           /* no origin that takes its time */
    bool posts[ORIGIN_IDS]; /* the request with this id is not idempotent */
};

static void traffic_begin(struct traffic *t, const struct telling *telling, unsigned faults)
{
    *t = (struct traffic){.sim = story_world(telling, faults), .at = story_address("192.0.2.1:80")};
    origins_open(&t->origins, t->sim);
    origins_add(&t->origins, "198.51.100.1:80");
    origins_add(&t->origins, "198.51.100.2:80");
    snprintf(t->config, sizeof t->config, config_text,
             balances[sim_random(t->sim, COUNT_OF(balances))]);
    gateway_open(&t->gateway, t->sim, t->config, 1 + (unsigned)sim_random(t->sim, 2));
}

/* What is counted over all workers is zero when all is over. */
static void counters_check(const struct gate *gate)
{
    for (struct link_node *n = gate->groups.next; n != &gate->groups; n = n->next) {
        struct group_state *g = container_of(n, struct group_state, node);
        EXPECT(g->in_flight == 0 && g->waiting == 0, "%u in flight, %u wait", g->in_flight,
               g->waiting);
        for (struct link_node *m = g->servers.next; m != &g->servers; m = m->next) {
            struct server_state *s = container_of(m, struct server_state, node);
            EXPECT(!s->probing, "%.*s: a probe was lost", SPAN_ARG(s->text));
            EXPECT(server_in_flight(s) == 0, "%.*s: %u in flight", SPAN_ARG(s->text),
                   server_in_flight(s));
        }
    }
}

/* Nothing was sent twice that may not be, nothing more often than there are tries. */
static uint64_t traffic_end(struct traffic *t)
{
    for (unsigned i = 0; i < t->ids; i++) {
        EXPECT(t->origins.heads[i] <= 2, "request %u came %u times", i, t->origins.heads[i]);
        EXPECT(!t->posts[i] || t->origins.heads[i] <= 1, "POST %u came twice", i);
    }
    arena_free(&t->arena);
    if (!gateway_done(&t->gateway))
        gateway_drain(&t->gateway);
    EXPECT(sim_run(t->sim, gateway_done, &t->gateway, 120 * NS_PER_S), "it ends");
    counters_check(&t->gateway.gate);
    gateway_close(&t->gateway, 120 * NS_PER_S);
    origins_close(&t->origins);
    log_set((struct log_sink){0}, LOG_ERROR);
    return sim_end(t->sim);
}

static bool traffic_over(void *data)
{
    struct traffic *t = data;

    for (unsigned i = 0; i < t->count; i++)
        if (!visitor_done(&t->clients[i]))
            return false;
    return true;
}

/* --- questions ---------------------------------------------------------------------------- */

static struct span request_text(struct traffic *t, enum origin_what what, unsigned id,
                                size_t answer_bytes, size_t bytes, bool chunks)
{
    const char *method = t->posts[id] ? "POST" : "PUT", *name = origin_rows[what].name;
    char *content = arena_alloc(&t->arena, bytes + 1);
    struct span text;

    if (bytes == 0 && !chunks)
        return arena_print(&t->arena, "GET /%s/%u/%zu HTTP/1.1\r\nHost: a\r\n\r\n", name, id,
                           answer_bytes);
    pattern_fill(content, bytes, id);
    if (!chunks) {
        text = arena_print(&t->arena,
                           "%s /%s/%u/%zu HTTP/1.1\r\nHost: a\r\nX-Bytes: %zu\r\n"
                           "Content-Length: %zu\r\n\r\n",
                           method, name, id, answer_bytes, bytes, bytes);
        return arena_join(&t->arena, text, (struct span){content, bytes});
    }
    text = arena_print(&t->arena,
                       "%s /%s/%u/%zu HTTP/1.1\r\nHost: a\r\nX-Bytes: %zu\r\n"
                       "Transfer-Encoding: chunked\r\n\r\n",
                       method, name, id, answer_bytes, bytes);
    for (size_t from = 0, n; from < bytes; from += n) {
        n = 1 + (size_t)sim_random(t->sim, bytes - from);
        struct span head = arena_print(&t->arena, "%zx\r\n", n);
        text = arena_join(&t->arena, text, head);
        text = arena_join(&t->arena, text, (struct span){content + from, n});
        text = arena_join(&t->arena, text, SPAN("\r\n"));
    }
    return arena_join(&t->arena, text, SPAN("0\r\n\r\n"));
}

/* Answers of half the truth must not be whole ones. */
static bool cuts(enum origin_what what)
{
    return what == ORIGIN_reset_in_content || what == ORIGIN_close_in_content ||
           what == ORIGIN_close_in_chunk || what == ORIGIN_bad_chunk ||
           what == ORIGIN_bad_chunk_end || what == ORIGIN_stuck;
}

static size_t some_bytes(struct traffic *t)
{
    static const size_t orders[] = {1, 100, 3000, 60000};

    return (size_t)sim_random(t->sim, orders[sim_random(t->sim, COUNT_OF(orders))] + 1);
}

static struct ask ask_origin(struct traffic *t, enum origin_what what)
{
    unsigned id = t->ids++;
    bool post = sim_random(t->sim, 3) == 0;
    bool put = !post && sim_random(t->sim, 3) == 0;
    size_t bytes = some_bytes(t), sends = post || put ? 1 + some_bytes(t) : 0;
    bool chunks = sends && sim_random(t->sim, 2);
    struct span text;

    if (what == ORIGIN_early_close) {
        post = true;
        sends += 5000;
    }
    if (what == ORIGIN_nothing)
        bytes = 0;
    t->posts[id] = post;
    text = request_text(t, what, id, bytes, sends, chunks);
    struct ask a = {.request = text.ptr,
                    .len = text.len,
                    .status = origin_rows[what].status,
                    .id = id,
                    .content_len = cuts(what) ? SIZE_MAX : bytes,
                    .may_cut = cuts(what) || what == ORIGIN_early_close,
                    .slow = sim_random(t->sim, 8) == 0};
    if (bytes == 0 && !cuts(what))
        a.content = SPAN("");
    if (a.status >= 400) {
        a.content = (struct span){0};
        a.content_len = 0;
    }
    if (what == ORIGIN_once_reset && post)
        a.status = 502;
    if (what == ORIGIN_once_reset && put && sends > 8000) /* more than is kept for another try */
        a.or_status = 502;
    if (what == ORIGIN_early_close)
        a.or_status = 502;
    if (a.status == 502 || cuts(what)) /* what comes may be lost with a reset */
        a.or_status = 502;
    if (a.status == 502 && what == ORIGIN_once_reset) {
        a.content = (struct span){0};
        a.content_len = 0;
    }
    return a;
}

static enum origin_what calm_what(struct traffic *t)
{
    for (;;) {
        enum origin_what what = (enum origin_what)sim_random(t->sim, ORIGIN_COUNT);
        if (origin_rows[what].calm && !(t->hurried && what == ORIGIN_slow))
            return what;
    }
}

static struct visitor *client_new(struct traffic *t)
{
    return &t->clients[t->count++];
}

static void client_go(struct traffic *t, struct visitor *v)
{
    struct address from = story_address("203.0.113.9:5000");

    from.port = (uint16_t)(from.port + (v - t->clients));
    visitor_start(v, t->sim, &t->at, &from);
}

/* --- stories --------------------------------------------------------------------------------- */

static uint64_t calm(const struct telling *telling)
{
    struct traffic t;

    traffic_begin(&t, telling, SIM_ALL);
    for (unsigned n = 1 + (unsigned)sim_random(t.sim, CLIENTS_MAX); n > 0; n--) {
        struct visitor *v = client_new(&t);
        v->pipelines = sim_random(t.sim, 3) == 0;
        for (unsigned i = 1 + (unsigned)sim_random(t.sim, 8); i > 0; i--)
            visitor_ask(v, ask_origin(&t, calm_what(&t)));
        client_go(&t, v);
    }
    EXPECT(sim_run(t.sim, traffic_over, &t, 3600 * NS_PER_S), "the answers come");
    for (unsigned i = 0; i < t.count; i++)
        visitor_expect_all(&t.clients[i]);
    return traffic_end(&t);
}

/* One misbehaves at a time, on a client connection of its own, among others
 * who do not and must not notice. */
static uint64_t rough(const struct telling *telling)
{
    struct traffic t;
    struct visitor *bad;
    enum origin_what what;

    traffic_begin(&t, telling, SIM_ALL);
    what = (enum origin_what)sim_random(t.sim, ORIGIN_tunnel); /* those before it */
    bad = client_new(&t);
    if (sim_random(t.sim, 2))
        visitor_ask(bad, ask_origin(&t, ORIGIN_length));
    visitor_ask(bad, ask_origin(&t, what));
    client_go(&t, bad);
    for (unsigned n = (unsigned)sim_random(t.sim, 3); n > 0; n--) {
        struct visitor *v = client_new(&t);
        for (unsigned i = 1 + (unsigned)sim_random(t.sim, 4); i > 0; i--) {
            struct ask a = ask_origin(&t, calm_what(&t));
            /* It may meet a connection that is just being closed, or says more than it should. */
            if (what == ORIGIN_then_close || what == ORIGIN_extra)
                a.or_status = 502;
            visitor_ask(v, a);
        }
        client_go(&t, v);
    }
    EXPECT(sim_run(t.sim, traffic_over, &t, 3600 * NS_PER_S), "the answers come");
    for (unsigned i = 1; i < t.count; i++)
        visitor_expect_all(&t.clients[i]);
    if (bad->answered < bad->count)
        EXPECT(bad->asks[bad->answered].may_cut, "%s: answer %u of %u did not come",
               origin_rows[what].name, bad->answered, bad->count);
    if (bad->answered < bad->count) /* idle_timeout is 60 s, keepalive_timeout 75 */
        EXPECT(bad->peer->ended_at - bad->peer->heard_at < 70 * NS_PER_S,
               "%s: the client is told at once that there is no more", origin_rows[what].name);
    return traffic_end(&t);
}

/* An idle connection that the origin has closed is not used again. */
static uint64_t stale(const struct telling *telling)
{
    struct traffic t;

    traffic_begin(&t, telling, SIM_SHORT | SIM_RACES);
    for (unsigned i = 0; i < 2; i++) {
        struct visitor *v = client_new(&t);
        visitor_ask(v, ask_origin(&t, ORIGIN_then_close));
        client_go(&t, v);
    }
    EXPECT(sim_run(t.sim, traffic_over, &t, 3600 * NS_PER_S), "the answers come");
    sim_run_for(t.sim, NS_PER_S + sim_random(t.sim, 100 * NS_PER_S));
    for (unsigned i = 0; i < 3; i++) {
        struct visitor *v = client_new(&t);
        visitor_ask(v, ask_origin(&t, ORIGIN_length));
        client_go(&t, v);
    }
    EXPECT(sim_run(t.sim, traffic_over, &t, 3600 * NS_PER_S), "the answers come");
    for (unsigned i = 0; i < t.count; i++)
        visitor_expect_all(&t.clients[i]);
    return traffic_end(&t);
}

/* Origins that do not even take a connection. */
static uint64_t unreachable(const struct telling *telling)
{
    struct traffic t;
    struct visitor *v;
    enum sim_dialled how;
    bool both;

    traffic_begin(&t, telling, SIM_ALL);
    how = (enum sim_dialled)(SIM_REFUSE + sim_random(t.sim, 3));
    both = sim_random(t.sim, 2);
    t.origins.servers[0].dialled = how;
    if (both)
        t.origins.servers[1].dialled = how;
    v = client_new(&t);
    for (unsigned i = 0; i < 4; i++) {
        struct ask a = ask_origin(&t, calm_what(&t));
        if (both)
            a = (struct ask){.request = a.request,
                             .len = a.len,
                             .status = how == SIM_SILENT ? 504 : 502,
                             .slow = a.slow};
        visitor_ask(v, a);
    }
    client_go(&t, v);
    EXPECT(sim_run(t.sim, traffic_over, &t, 3600 * NS_PER_S), "the answers come");
    if (!both)
        visitor_expect_all(v); /* the other one answers, whatever the method */
    else
        EXPECT(v->answered > 0, "at least the first is answered");
    return traffic_end(&t);
}

/* The client goes at any byte of either direction; the next is served. */
static uint64_t vanishing(const struct telling *telling)
{
    struct traffic t;
    struct visitor *v;

    traffic_begin(&t, telling, SIM_ALL);
    for (unsigned i = 0; i < 3; i++) {
        struct address from = story_address("203.0.113.9:7000");
        from.port = (uint16_t)(from.port + i);
        struct ask a = ask_origin(&t, calm_what(&t));
        struct sim_peer *peer = sim_connect(t.sim, &t.at, &from);
        bool whole = sim_random(t.sim, 2);
        sim_say(peer, (struct span){a.request, whole ? a.len : (size_t)sim_random(t.sim, a.len)});
        if (sim_random(t.sim, 4) == 0)
            sim_read(peer, 0, 0);
        sim_pause(peer, sim_random(t.sim, UINT64_C(1) << sim_random(t.sim, 31)));
        if (sim_random(t.sim, 2))
            sim_then_reset(peer);
        else
            sim_close(peer);
    }
    sim_run_for(t.sim, sim_random(t.sim, 3 * NS_PER_S));
    v = client_new(&t);
    visitor_ask(v, ask_origin(&t, calm_what(&t)));
    visitor_ask(v, ask_origin(&t, calm_what(&t)));
    client_go(&t, v);
    EXPECT(sim_run(t.sim, traffic_over, &t, 3600 * NS_PER_S), "the next client is answered");
    visitor_expect_all(v);
    return traffic_end(&t);
}

static struct ask ask_sized(struct traffic *t, size_t sends, bool chunks, bool waits)
{
    unsigned id = t->ids++;
    struct span content, head;

    t->posts[id] = true;
    char *text = arena_alloc(&t->arena, sends + 1);
    pattern_fill(text, sends, id);
    content = (struct span){text, sends};
    head =
        arena_print(&t->arena, "POST /length/%u/10 HTTP/1.1\r\nHost: small\r\nX-Bytes: %zu\r\n%s",
                    id, sends, waits ? "Expect: 100-continue\r\n" : "");
    if (chunks) {
        head = arena_print(&t->arena, "%.*sTransfer-Encoding: chunked\r\n\r\n", SPAN_ARG(head));
        content = arena_print(&t->arena, "%zx\r\n%.*s\r\n0\r\n\r\n", sends, SPAN_ARG(content));
    } else {
        head = arena_print(&t->arena, "%.*sContent-Length: %zu\r\n\r\n", SPAN_ARG(head), sends);
    }
    struct ask a = {.status = sends > 1024 ? 413 : 200,
                    .id = id,
                    .content_len = sends > 1024 ? 0 : 10,
                    .wait_at = waits ? head.len : 0};
    head = arena_join(&t->arena, head, content);
    a.request = head.ptr;
    a.len = head.len;
    return a;
}

/* As much as max_body and no byte more; and who asks before sending is told. */
static uint64_t sizes(const struct telling *telling)
{
    struct traffic t;
    struct visitor *v;
    unsigned last;

    traffic_begin(&t, telling, SIM_ALL & ~(unsigned)SIM_NARROW);
    v = client_new(&t);
    for (unsigned i = 0; i < 3; i++)
        visitor_ask(v, ask_sized(&t, 1 + (size_t)sim_random(t.sim, 1024), sim_random(t.sim, 2),
                                 sim_random(t.sim, 2)));
    last = t.ids;
    visitor_ask(v, ask_sized(&t, 1025 + (size_t)sim_random(t.sim, 200000) * sim_random(t.sim, 2),
                             sim_random(t.sim, 2), sim_random(t.sim, 2)));
    client_go(&t, v);
    EXPECT(sim_run(t.sim, traffic_over, &t, 3600 * NS_PER_S), "the answers come");
    visitor_expect_all(v);
    EXPECT(t.origins.whole[last] == 0, "nothing too large goes through");
    return traffic_end(&t);
}

static void memory_check(void *data)
{
    struct traffic *t = data;

    for (unsigned i = 0; i < t->gateway.gate.worker_count; i++) {
        const struct io *io = t->gateway.gate.workers[i].io;
        EXPECT(!io || io->budget.used <= WINDOW_MAX, "%llu bytes of buffers",
               (unsigned long long)io->budget.used);
    }
}

/* Megabytes each way between peers of different speed: all arrives, and the
 * gateway keeps only what fits its windows. */
static uint64_t pressure(const struct telling *telling)
{
    struct traffic t;
    struct visitor *v;
    size_t down = 1024 * 1024, up = 1024 * 1024;

    traffic_begin(&t, telling, SIM_RACES | SIM_STALLS);
    sim_watch(t.sim, memory_check, &t);
    v = client_new(&t);
    for (unsigned i = 0; i < 2; i++) {
        unsigned id = t.ids++;
        t.posts[id] = true;
        struct span text = request_text(&t, i ? ORIGIN_early : ORIGIN_length, id, down, up, false);
        visitor_ask(v, (struct ask){.request = text.ptr,
                                    .len = text.len,
                                    .status = 200,
                                    .id = id,
                                    .content_len = down});
    }
    client_go(&t, v);
    if (sim_random(t.sim, 2)) {
        sim_window(v->peer, 20000);
        sim_read(v->peer, 20000, 50 * NS_PER_MS);
    }
    EXPECT(sim_run(t.sim, traffic_over, &t, 3600 * NS_PER_S), "all arrives");
    visitor_expect_all(v);
    sim_watch(t.sim, NULL, NULL);
    return traffic_end(&t);
}

/* What was taken from clients and has not come to an origin. */
static int64_t in_between(const struct traffic *t)
{
    int64_t bytes = -(int64_t)origins_heard(&t->origins);

    for (unsigned i = 0; i < t->count; i++)
        bytes += (int64_t)sim_taken(t->clients[i].peer);
    return bytes;
}

/* Content buffers are used up for a while: who has none waits, what waits does
 * not pile up elsewhere, and then it goes on. */
static uint64_t ceiling(const struct telling *telling)
{
    struct traffic t;

    traffic_begin(&t, telling, SIM_RACES);
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        struct visitor *v = client_new(&t);
        unsigned id = t.ids++;
        t.posts[id] = v->tolerant = true;
        struct span text = request_text(&t, ORIGIN_early, id, 60000, UPLOAD, false);
        visitor_ask(v, (struct ask){.request = text.ptr,
                                    .len = text.len,
                                    .status = 200,
                                    .id = id,
                                    .content_len = 60000,
                                    .piece = 300 + (size_t)sim_random(t.sim, 1500)});
        client_go(&t, v);
    }
    sim_run_for(t.sim, sim_random(t.sim, 20 * NS_PER_MS));
    for (unsigned i = 0; i < t.gateway.gate.worker_count; i++) {
        struct buf_budget *budget = &t.gateway.gate.workers[i].io->budget;
        budget->max = budget->used + 1;
    }
    int64_t before = in_between(&t);
    sim_run_for(t.sim, 3 * NS_PER_S);
    EXPECT(in_between(&t) - before <= CLIENTS_MAX * IN_BETWEEN, "%lld bytes taken without buffers",
           (long long)(in_between(&t) - before));
    for (unsigned i = 0; i < t.gateway.gate.worker_count; i++)
        t.gateway.gate.workers[i].io->budget.max = 0;
    EXPECT(sim_run(t.sim, traffic_over, &t, 3600 * NS_PER_S), "nobody waits forever");
    return traffic_end(&t);
}

/* Failed allocations, few descriptors: errors, but no wrong answers, and later all is well. */
static uint64_t shortage(const struct telling *telling)
{
    struct traffic t;
    struct visitor *v;

    traffic_begin(&t, telling, SIM_ALL);
    for (unsigned i = 0; i + 1 < CLIENTS_MAX; i++) {
        v = client_new(&t);
        v->tolerant = true;
        for (unsigned n = 1 + (unsigned)sim_random(t.sim, 4); n > 0; n--)
            visitor_ask(v, ask_origin(&t, calm_what(&t)));
        client_go(&t, v);
    }
    if (sim_random(t.sim, 3))
        mem_fail_at(1 + sim_random(t.sim, 80), sim_random(t.sim, 6));
    else
        sim_descriptors(t.sim, sim_descriptors_used(t.sim) + 1 + (unsigned)sim_random(t.sim, 4));
    sim_run_for(t.sim, 2 * NS_PER_S);
    mem_fail_at(0, 0);
    sim_descriptors(t.sim, 0);
    EXPECT(sim_run(t.sim, traffic_over, &t, 3600 * NS_PER_S), "nobody waits forever");
    v = client_new(&t);
    visitor_ask(v, ask_origin(&t, calm_what(&t)));
    visitor_ask(v, ask_origin(&t, calm_what(&t)));
    client_go(&t, v);
    EXPECT(sim_run(t.sim, traffic_over, &t, 3600 * NS_PER_S), "and then all is well");
    visitor_expect_all(v);
    return traffic_end(&t);
}

/* Reloads and SIGTERM while origins answer. */
static uint64_t leaving(const struct telling *telling)
{
    struct traffic t;

    traffic_begin(&t, telling, SIM_SHORT | SIM_RACES);
    t.hurried = true;
    for (unsigned n = 0; n < CLIENTS_MAX; n++) {
        struct visitor *v = client_new(&t);
        for (unsigned i = 1 + (unsigned)sim_random(t.sim, 3); i > 0; i--)
            visitor_ask(v, ask_origin(&t, calm_what(&t)));
        client_go(&t, v);
    }
    for (unsigned i = 0; i < 3; i++) {
        sim_run_for(t.sim, sim_random(t.sim, 5 * NS_PER_MS));
        gateway_reload(&t.gateway, t.config);
        gate_sweep(&t.gateway.gate);
    }
    sim_run_for(t.sim, sim_random(t.sim, 20 * NS_PER_MS));
    gateway_drain(&t.gateway);
    EXPECT(sim_run(t.sim, gateway_done, &t.gateway, 31 * NS_PER_S), "it ends");
    for (unsigned i = 0; i < t.count; i++)
        EXPECT(t.clients[i].at == t.clients[i].peer->len, "client %u: no answer is cut", i);
    return traffic_end(&t);
}

static bool peer_over(void *data)
{
    const struct sim_peer *p = data;

    return p->ended || p->reset;
}

/* Whoever may be silent is left in peace, and goes on afterwards. */
static uint64_t silence(const struct telling *telling)
{
    static const char first[] = "GET /tunnel/0/0 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n"
                                "Upgrade: websocket\r\n\r\nhello, ";
    struct traffic t;
    struct address from = story_address("203.0.113.9:9000");
    struct sim_peer *peer;
    uint64_t began;

    traffic_begin(&t, telling, SIM_ALL);
    t.ids = 1;
    peer = sim_connect(t.sim, &t.at, &from);
    began = sim_now(t.sim);
    if (sim_random(t.sim, 2)) {
        sim_say(peer, span_of(first));
        sim_pause(peer, ORIGIN_SILENCE_NS);
        sim_say(peer, SPAN("world"));
        sim_finish(peer);
    } else {
        visitor_ask(client_new(&t),
                    (struct ask){.request = sim_random(t.sim, 2) ? "GET /events/0/0 HTTP/1.1\r\n"
                                                                   "Host: a\r\n\r\n"
                                                                 : "GET /grpc/0/0 HTTP/1.1\r\n"
                                                                   "Host: a\r\n\r\n",
                                 .status = 200,
                                 .content = SPAN("firstsecond")});
        sim_reset(peer);
        client_go(&t, &t.clients[0]);
        EXPECT(sim_run(t.sim, traffic_over, &t, 2 * ORIGIN_SILENCE_NS), "the answer ends");
        visitor_expect_all(&t.clients[0]);
        EXPECT(sim_now(t.sim) - began >= ORIGIN_SILENCE_NS, "after the silence");
        return traffic_end(&t);
    }
    EXPECT(sim_run(t.sim, peer_over, peer, 2 * ORIGIN_SILENCE_NS), "the tunnel ends");
    struct span heard = sim_heard(peer), tail = SPAN("hello, world");
    EXPECT(!peer->reset && heard.len > tail.len &&
               span_equal(span_after(heard, heard.len - tail.len), tail) &&
               memcmp(heard.ptr, "HTTP/1.1 101 ", 13) == 0,
           "%.*s", SPAN_ARG(heard));
    return traffic_end(&t);
}

enum { WARM_AFTER = 6, WARM_ASKS = 30 };

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
static uint64_t warm(const struct telling *telling)
{
    static const size_t answers[] = {0, 13, 1024, 10240}, contents[] = {0, 1024, 10240};
    struct traffic t;
    uint64_t before = 0;

    traffic_begin(&t, telling, 0);
    size_t answer = answers[sim_random(t.sim, COUNT_OF(answers))];
    size_t content = contents[sim_random(t.sim, COUNT_OF(contents))];
    struct visitor *v = client_new(&t);
    v->checked = warm_checked;
    v->data = &before;
    for (unsigned i = 0; i < WARM_ASKS; i++) {
        unsigned id = t.ids++;
        struct span text = request_text(&t, ORIGIN_length, id, answer, content, false);
        visitor_ask(v, (struct ask){.request = text.ptr,
                                    .len = text.len,
                                    .status = 200,
                                    .id = id,
                                    .content_len = answer});
    }
    client_go(&t, v);
    EXPECT(sim_run(t.sim, traffic_over, &t, 3600 * NS_PER_S), "the answers come");
    visitor_expect_all(v);
    return traffic_end(&t);
}

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
             balances[sim_random(t->sim, COUNT_OF(balances))], group);
    gateway_open(&t->gateway, t->sim, t->config, sim_random(t->sim, 2) ? 4 : 1);
    sim_watch(t->sim, limits_check, &l);
    for (unsigned n = 0; n < CLIENTS_MAX; n++) {
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
    for (unsigned i = 0; i < t->count; i++)
        visitor_expect_all(&t->clients[i]);
    sim_watch(t->sim, NULL, NULL);
    return traffic_end(t);
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
    for (unsigned n = 0; n < CLIENTS_MAX; n++) {
        struct visitor *v = client_new(&t);
        struct ask a = ask_origin(&t, ORIGIN_length);
        visitor_ask(
            v, (struct ask){.request = a.request, .len = a.len, .status = 503, .or_status = 504});
        client_go(&t, v);
    }
    EXPECT(sim_run(t.sim, traffic_over, &t, 60 * NS_PER_S), "nobody waits for what cannot come");
    return traffic_end(&t);
}

const struct story forward_stories[] = {
    {"forward.calm", "every answer is whole, and to the request that was asked", calm, 4},
    {"forward.rough", "an origin that misbehaves harms its own answer alone", rough, 8},
    {"forward.stale", "idle connections that were closed are not used", stale, 0},
    {"forward.unreachable", "no connection: another server, or 502 and 504", unreachable, 2},
    {"forward.vanishing", "clients vanish in the middle, the next is served", vanishing, 4},
    {"forward.sizes", "max_body to the byte, and 100 (Continue) to who asks", sizes, 2},
    {"forward.pressure", "megabytes pass through a bounded memory", pressure, 0},
    {"forward.warm", "requests take no memory from the system once warm", warm, 0},
    {"forward.limits", "no more in flight than may be, and who waits has his turn", limits, 4},
    {"forward.hopeless", "nobody waits for a place that nobody can use", hopeless, 0},
    {"forward.failing", "who fails is left out, and back when it is well", failing, 0},
    {"forward.ceiling", "without buffers reading pauses, and goes on", ceiling, 0},
    {"forward.shortage", "no memory, no descriptors: errors, never wrong answers", shortage, 4},
    {"forward.silence", "tunnels and streams may be silent for an hour", silence, 0},
    {"forward.leaving", "reload and SIGTERM cut no answer", leaving, 2},
    {0},
};
