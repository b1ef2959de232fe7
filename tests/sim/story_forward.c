/* The gateway has origins answer: whatever they and the clients do, nobody
 * gets an answer that is not his, or half of one that looks whole. */
#include "tests/sim/traffic.h"

#include "base/mem.h"
#include "gate/pool.h"

#include <limits.h>
#include <stdlib.h>

enum {
    WINDOW_MAX = 4 * 1024 * 1024,
    UPLOAD = 1200000,
    IN_BETWEEN = 512 * 1024 + 2 * IO_ROOM_BULK, /* thrown away, in flows, being read */
};

/* --- stories --------------------------------------------------------------------------------- */

static uint64_t calm(const struct telling *telling)
{
    struct traffic t;

    traffic_begin(&t, telling, SIM_ALL);
    for (unsigned n = 1 + (unsigned)sim_random(t.sim, TRAFFIC_CLIENTS); n > 0; n--) {
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
            /* And what that is cannot be told if it comes behind the next request. */
            if (what == ORIGIN_extra)
                a.or_content = SPAN("poison");
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

static unsigned links_left(const struct gate *gate)
{
    unsigned n = 0;

    for (unsigned i = 0; i < gate->worker_count; i++) {
        const struct pools *pools = gate->workers[i].pools;
        for (struct link_node *p = pools->list.next; p != &pools->list; p = p->next) {
            struct pool *pool = container_of(p, struct pool, node);
            for (struct link_node *m = pool->servers.next; m != &pool->servers; m = m->next) {
                struct pool_server *s = container_of(m, struct pool_server, node);
                n += s->idle_count + !list_empty(&s->busy);
            }
        }
    }
    return n;
}

/* What an origin says beyond its answer is nobody's: the connection ends then, and is not kept for
 * as long as idle ones are. */
static uint64_t surplus(const struct telling *telling)
{
    struct traffic t;

    traffic_begin(&t, telling, telling->seed % 2 ? 0 : SIM_SHORT | SIM_RACES);
    struct visitor *v = client_new(&t);
    visitor_ask(v, ask_origin(&t, ORIGIN_extra));
    client_go(&t, v);
    EXPECT(sim_run(t.sim, traffic_over, &t, 60 * NS_PER_S), "the answer comes");
    visitor_expect_all(v);
    sim_run_for(t.sim, 2 * NS_PER_S);
    EXPECT(links_left(&t.gateway.gate) == 0, "a connection with something unread is kept");
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

/* Origins that end connections soon behind an answer, whatever is on its way or was just
 * heard: a POST that meets that comes once, not twice and not never. */
static uint64_t crossing(const struct telling *telling)
{
    struct traffic t;
    /* Else a part of a request may come before the end, or come and not be read. */
    bool whole = telling->seed % 2;
    unsigned lost = 0;

    traffic_begin(&t, telling, whole ? 0 : SIM_SHORT | SIM_RACES);
    for (unsigned n = 2 + (unsigned)sim_random(t.sim, TRAFFIC_CLIENTS - 1); n > 0; n--) {
        struct visitor *v = client_new(&t);
        for (unsigned i = 0; i < 20; i++) {
            unsigned id = t.ids++;
            t.posts[id] = true;
            struct span text = request_text(&t, ORIGIN_then_close, id, 100, 50, false);
            visitor_ask(v, (struct ask){.request = text.ptr,
                                        .len = text.len,
                                        .status = 200,
                                        .or_status = 502,
                                        .id = id,
                                        .content_len = 100});
        }
        client_go(&t, v);
    }
    EXPECT(sim_run(t.sim, traffic_over, &t, 3600 * NS_PER_S), "the answers come");
    for (unsigned i = 0; i < t.ids; i++)
        lost += t.origins.whole[i] == 0;
    for (unsigned i = 0; i < t.count; i++)
        visitor_expect_all(&t.clients[i]);
    EXPECT(!whole || lost == 0, "%u of %u came to nobody", lost, t.ids);
    return traffic_end(&t);
}

/* Origins end connections after a time: that is learned, so that none is used that is about
 * to be ended, and what idles is ended by us. */
static uint64_t patience(const struct telling *telling)
{
    struct traffic t;
    unsigned met = 0;

    traffic_begin(&t, telling, 0);
    t.origins.patience = 50 * NS_PER_MS + sim_random(t.sim, 2 * NS_PER_S);
    for (unsigned i = 0; i < 60; i++) {
        /* Just when it ends, or long after; while it is not known, only then. */
        uint64_t idle = i < 30 ? 3 * t.origins.patience
                              : t.origins.patience - 200 * NS_PER_US +
                                    sim_random(t.sim, 400 * NS_PER_US);
        struct visitor *v = client_new(&t);
        visitor_ask(v, ask_origin(&t, ORIGIN_length));
        client_go(&t, v);
        EXPECT(sim_run(t.sim, traffic_over, &t, 3600 * NS_PER_S), "the answers come");
        visitor_expect_all(v);
        met += i >= 30 && t.origins.ended_late;
        t.origins.ended_late = 0;
        client_forget(&t);
        sim_run_for(t.sim, idle);
    }
    EXPECT(met <= 2, "%u times the origin ended an idle connection first", met);
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

/* An origin answers at once and at length, and the client has not sent all of its content: the
 * answer does not wait for that. */
static uint64_t meanwhile(const struct telling *telling)
{
    enum { DOWN = 400000, UP = 1000 };
    struct traffic t;
    struct address from = story_address("203.0.113.9:7000");

    traffic_begin(&t, telling, telling->seed % 2 ? 0 : SIM_SHORT | SIM_RACES | SIM_NARROW);
    unsigned id = t.ids++;
    struct span text = request_text(&t, ORIGIN_early, id, DOWN, UP, false);
    struct span begin = span_first(text, text.len - UP + sim_random(t.sim, UP));
    struct sim_peer *peer = sim_connect(t.sim, &t.at, &from);
    sim_say(peer, begin);
    sim_pause(peer, 20 * NS_PER_S);
    sim_say(peer, span_after(text, begin.len));
    sim_run_for(t.sim, 15 * NS_PER_S);
    bool buffers = strstr(t.config, "buffer_request"); /* asked when all is there */
    EXPECT(buffers || peer->len > DOWN, "%zu bytes while the client pauses", peer->len);
    sim_reset(peer);
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
    static const enum origin_what framings[] = {ORIGIN_length, ORIGIN_chunked, ORIGIN_until_close};

    traffic_begin(&t, telling, SIM_RACES | SIM_STALLS);
    sim_watch(t.sim, memory_check, &t);
    v = client_new(&t);
    for (unsigned i = 0; i < 2; i++) {
        unsigned id = t.ids++;
        t.posts[id] = true;
        /* Who answers early may have done so before all is there: no more than is thrown away. */
        struct span text = i ? request_text(&t, ORIGIN_early, id, down, up / 4, false)
                             : request_text(&t, framings[sim_random(t.sim, 3)], id, down, up, false);
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
    /* The second is answered while it still sends; of who then has more to send than is
     * thrown away, the connection ends, and RST may destroy what was not read yet. */
    if (v->answered != 1 || !v->peer->reset)
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
    for (unsigned i = 0; i < TRAFFIC_CLIENTS; i++) {
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
    EXPECT(in_between(&t) - before <= TRAFFIC_CLIENTS * IN_BETWEEN,
           "%lld bytes taken without buffers", (long long)(in_between(&t) - before));
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
    for (unsigned i = 0; i + 1 < TRAFFIC_CLIENTS; i++) {
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
    for (unsigned n = 0; n < TRAFFIC_CLIENTS; n++) {
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

/* An answer that says it went wrong is exchanged for another server's where that
 * is safe, and else passes on as it came. */
static uint64_t again(const struct telling *telling)
{
    static const char text[] = "[listener web]\nlisten = 192.0.2.1:80\n"
                               "[upstream two]\nserver = 198.51.100.1:80\n%s"
                               "balance = random\nretry_budget = off\n%s"
                               "eject_failures = off\neject_error_rate = off\n"
                               "[route all]\nhandler = forward\nupstream = two\n%s";
    struct traffic t = {.sim = story_world(telling, SIM_ALL), .at = story_address("192.0.2.1:80")};
    bool lone = sim_random(t.sim, 3) == 0, by_route = sim_random(t.sim, 2);

    origins_open(&t.origins, t.sim);
    origins_add(&t.origins, "198.51.100.1:80");
    origins_add(&t.origins, "198.51.100.2:80");
    snprintf(t.config, sizeof t.config, text, lone ? "" : "server = 198.51.100.2:80\n",
             by_route ? "retry_on = off\n" : "retry_on = reset, 502-504\n",
             by_route ? "retry_on = 503\n" : "");
    gateway_open(&t.gateway, t.sim, t.config, 1 + (unsigned)sim_random(t.sim, 2));
    for (unsigned n = 1 + (unsigned)sim_random(t.sim, TRAFFIC_CLIENTS); n > 0; n--) {
        struct visitor *v = client_new(&t);
        for (unsigned i = 1 + (unsigned)sim_random(t.sim, 8); i > 0; i--) {
            enum origin_what what = sim_random(t.sim, 3) ? ORIGIN_once_503 : calm_what(&t);
            struct ask a = ask_origin(&t, what);
            if (lone && what == ORIGIN_once_503)
                a.status = 503;
            visitor_ask(v, a);
        }
        client_go(&t, v);
    }
    EXPECT(sim_run(t.sim, traffic_over, &t, 3600 * NS_PER_S), "the answers come");
    for (unsigned i = 0; i < t.count; i++)
        visitor_expect_all(&t.clients[i]);
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
const struct story forward_stories[] = {
    {"forward.calm", "every answer is whole, and to the request that was asked", calm, 4},
    {"forward.rough", "an origin that misbehaves harms its own answer alone", rough, 8},
    {"forward.again", "an answer of the wrong status is another server's to give", again, 2},
    {"forward.surplus", "what is said beyond an answer ends the connection", surplus, 0},
    {"forward.stale", "idle connections that were closed are not used", stale, 0},
    {"forward.crossing", "a POST that meets the end of its connection comes once", crossing, 2},
    {"forward.patience", "how long an origin keeps connections is learned", patience, 0},
    {"forward.unreachable", "no connection: another server, or 502 and 504", unreachable, 2},
    {"forward.vanishing", "clients vanish in the middle, the next is served", vanishing, 4},
    {"forward.sizes", "max_body to the byte, and 100 (Continue) to who asks", sizes, 2},
    {"forward.meanwhile", "an answer does not wait for the end of the content", meanwhile, 0},
    {"forward.pressure", "megabytes pass through a bounded memory", pressure, 0},
    {"forward.warm", "requests take no memory from the system once warm", warm, 0},
    {"forward.ceiling", "without buffers reading pauses, and goes on", ceiling, 0},
    {"forward.shortage", "no memory, no descriptors: errors, never wrong answers", shortage, 4},
    {"forward.silence", "tunnels and streams may be silent for an hour", silence, 0},
    {"forward.leaving", "reload and SIGTERM cut no answer", leaving, 2},
    {0},
};
