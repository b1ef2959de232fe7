/* What a forward route does on the way: a time for the whole, and content that is
 * gathered, with origins and clients that are slow, silent or gone. */
#include "tests/sim/traffic.h"

#include "base/mem.h"
#include "gate/upstream.h"

enum { SLACK_S = 12 }; /* workers and the network may be late */

static void passes_world(struct traffic *t, const struct telling *telling, unsigned faults)
{
    *t = (struct traffic){.sim = story_world(telling, faults), .at = story_address("192.0.2.1:80")};
    origins_open(&t->origins, t->sim);
    origins_add(&t->origins, "198.51.100.1:80");
    origins_add(&t->origins, "198.51.100.2:80");
}

/* Only what the route says ends anything. */
static void passes_open(struct traffic *t, const char *server, const char *route)
{
    static const char text[] = "[listener web]\nlisten = 192.0.2.1:80\n"
                               "[upstream two]\nserver = 198.51.100.1:80 %s\n"
                               "server = 198.51.100.2:80 %s\nbalance = %s\n"
                               "connect_timeout = 1h\nfirst_byte_timeout = off\n"
                               "idle_timeout = off\nqueue = 256 timeout=1h\n"
                               "[route all]\nhandler = forward\nupstream = two\n"
                               "max_body = off\n%s";

    snprintf(t->config, sizeof t->config, text, server, server,
             balances[sim_random(t->sim, BALANCES)], route);
    gateway_open(&t->gateway, t->sim, t->config, 1 + (unsigned)sim_random(t->sim, 2));
}

/* --- a time for the whole ---------------------------------------------------------------- */

struct timed {
    struct traffic *t;
    uint64_t since, most_ns; /* the present question's, of a client */
    bool late;
};

static void timed_sending(struct visitor *v, const struct ask *ask)
{
    struct timed *of = v->data;

    (void)ask;
    of->since = sim_now(of->t->sim);
}

static void timed_checked(struct visitor *v, const struct ask *ask, const struct answer *a)
{
    struct timed *of = v->data;

    EXPECT(a->status == 200 || a->status == 502 || a->status == 504, "%.*s: %d",
           (int)strcspn(ask->request, "\r"), ask->request, a->status);
    EXPECT(sim_now(of->t->sim) - of->since <= of->most_ns, "answered after %llu ms",
           (unsigned long long)((sim_now(of->t->sim) - of->since) / NS_PER_MS));
}

/* Whatever is slow or silent, the client is told in time, and nothing is left behind;
 * the origin hears of less time at each try. */
static uint64_t in_time(const struct telling *telling)
{
    static const enum origin_what bad[] = {ORIGIN_silent, ORIGIN_stuck, ORIGIN_slow,
                                           ORIGIN_once_reset, ORIGIN_length};
    struct timed of[TRAFFIC_CLIENTS];
    struct traffic t;
    char route[120];

    passes_world(&t, telling, SIM_ALL);
    unsigned seconds = 1 + (unsigned)sim_random(t.sim, 9);
    snprintf(route, sizeof route, "timeout = %us\ndeadline_header = X-Left\n%s", seconds,
             sim_random(t.sim, 3) ? "" : "buffer_request = 64k\nbuffer_response = 64k\n");
    passes_open(&t, sim_random(t.sim, 3) ? "" : "max_in_flight=1", route);
    t.origins.left_max = seconds * 1000;
    if (sim_random(t.sim, 4) == 0)
        t.origins.servers[sim_random(t.sim, 2)].dialled = SIM_SILENT;
    for (unsigned n = 0; n < TRAFFIC_CLIENTS; n++) {
        struct visitor *v = client_new(&t);
        of[n] = (struct timed){.t = &t, .most_ns = (seconds + SLACK_S) * NS_PER_S};
        v->tolerant = true;
        v->sending = timed_sending;
        v->checked = timed_checked;
        v->data = &of[n];
        for (unsigned i = 1 + (unsigned)sim_random(t.sim, 3); i > 0; i--) {
            struct ask a = ask_origin(&t, bad[sim_random(t.sim, COUNT_OF(bad))]);
            a.slow = false;
            visitor_ask(v, a);
        }
        client_go(&t, v);
    }
    EXPECT(sim_run(t.sim, traffic_over, &t, 4 * (seconds + SLACK_S) * NS_PER_S),
           "nobody waits for longer");
    return traffic_end(&t);
}

static bool peer_over(void *data)
{
    const struct sim_peer *p = data;

    return p->ended || p->reset;
}

/* A tunnel is not an exchange that takes too long. */
static uint64_t tunnelled(const struct telling *telling)
{
    static const char first[] = "GET /tunnel/0/0 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n"
                                "Upgrade: websocket\r\n\r\nhello, ";
    struct address from = story_address("203.0.113.9:9000");
    struct span tail = SPAN("hello, world");
    struct traffic t;
    struct sim_peer *peer;

    passes_world(&t, telling, SIM_ALL);
    passes_open(&t, "", "timeout = 20s\n");
    t.ids = 1;
    peer = sim_connect(t.sim, &t.at, &from);
    sim_say(peer, span_of(first));
    sim_pause(peer, 30 * NS_PER_S + sim_random(t.sim, 600 * NS_PER_S));
    sim_say(peer, SPAN("world"));
    sim_finish(peer);
    EXPECT(sim_run(t.sim, peer_over, peer, 3600 * NS_PER_S), "the tunnel ends");
    struct span heard = sim_heard(peer);
    EXPECT(!peer->reset && heard.len > tail.len &&
               span_equal(span_after(heard, heard.len - tail.len), tail),
           "%.*s", SPAN_ARG(heard));
    return traffic_end(&t);
}

static unsigned ejected(const struct gate *gate)
{
    unsigned n = 0;

    for (struct link_node *g = gate->groups.next; g != &gate->groups; g = g->next) {
        const struct link_node *servers = &container_of(g, struct group_state, node)->servers;
        for (struct link_node *m = servers->next; m != servers; m = m->next)
            n += container_of(m, struct server_state, node)->ejected_until > 0;
    }
    return n;
}

/* When the time is over it was the server's fault if it was waited for, and not if the
 * client did not send its request. */
static uint64_t blamed(const struct telling *telling)
{
    struct traffic t;

    passes_world(&t, telling, SIM_SHORT | SIM_RACES);
    passes_open(&t, "", "timeout = 2s\n");
    bool silent = sim_random(t.sim, 2);
    for (unsigned i = 0; i < 15; i++) {
        struct ask a = ask_origin(&t, silent ? ORIGIN_silent : ORIGIN_length);
        struct address from = story_address("203.0.113.9:6000");
        from.port = (uint16_t)(from.port + i);
        struct sim_peer *peer = sim_connect(t.sim, &t.at, &from);
        if (silent)
            sim_say(peer, (struct span){a.request, a.len});
        else
            sim_say(peer, SPAN("POST /length/0/0 HTTP/1.1\r\nHost: a\r\n"
                               "Content-Length: 1000\r\n\r\nnot all of it"));
        sim_run_for(t.sim, 3 * NS_PER_S);
        EXPECT(peer->len > 12 && memcmp(peer->text, "HTTP/1.1 504", 12) == 0, "%.*s",
               (int)strcspn(peer->text ? peer->text : "", "\r"), peer->text ? peer->text : "");
        sim_reset(peer);
    }
    EXPECT(ejected(&t.gateway.gate) == silent, "%u servers are left out", ejected(&t.gateway.gate));
    for (unsigned i = 0; i < ORIGIN_IDS; i++) /* of one that all have asked */
        t.origins.heads[i] = 0;
    return traffic_end(&t);
}

/* --- what is gathered ---------------------------------------------------------------------- */

/* No origin has heard of a request that is not all there. */
static void gathered_check(void *data)
{
    struct traffic *t = data;

    for (unsigned i = 0; i < t->count; i++) {
        const struct visitor *v = &t->clients[i];
        uint64_t said = 0;
        for (unsigned n = 0; v->peer && n < v->sent; n++) {
            said += v->asks[n].len;
            EXPECT(t->origins.heads[v->asks[n].id] == 0 || sim_taken(v->peer) >= said,
                   "an origin is asked for question %u of client %u too early", n, i);
        }
    }
}

static uint64_t gathered(const struct telling *telling)
{
    struct traffic t;

    passes_world(&t, telling, SIM_ALL);
    passes_open(&t, "", "buffer_request = 256k\nbuffer_response = 40k\n");
    sim_watch(t.sim, gathered_check, &t);
    for (unsigned n = 1 + (unsigned)sim_random(t.sim, TRAFFIC_CLIENTS); n > 0; n--) {
        struct visitor *v = client_new(&t);
        for (unsigned i = 1 + (unsigned)sim_random(t.sim, 5); i > 0; i--) {
            struct ask a = ask_origin(&t, calm_what(&t));
            a.slow = sim_random(t.sim, 2);
            visitor_ask(v, a);
        }
        client_go(&t, v);
    }
    EXPECT(sim_run(t.sim, traffic_over, &t, 3600 * NS_PER_S), "the answers come");
    for (unsigned i = 0; i < t.count; i++)
        visitor_expect_all(&t.clients[i]);
    sim_watch(t.sim, NULL, NULL);
    return traffic_end(&t);
}

/* A client that takes its time, or none of the answer at all, keeps no place at a server
 * that serves one at a time. */
static uint64_t given_back(const struct telling *telling)
{
    struct traffic t;
    struct visitor *slow;
    size_t bytes;

    passes_world(&t, telling, SIM_RACES | SIM_STALLS);
    passes_open(&t, "max_in_flight=1", "buffer_response = 1m\n");
    bytes = 600000 + (size_t)sim_random(t.sim, 400000);
    for (unsigned i = 0; i < 2; i++) { /* one for each server */
        unsigned id = t.ids++;
        slow = client_new(&t);
        struct span text = request_text(&t, ORIGIN_length, id, bytes, 0, false);
        visitor_ask(slow, (struct ask){.request = text.ptr,
                                       .len = text.len,
                                       .status = 200,
                                       .id = id,
                                       .content_len = bytes});
        client_go(&t, slow);
        sim_window(slow->peer, 20000);
        sim_read(slow->peer, 0, 0);
    }
    sim_run_for(t.sim, 10 * NS_PER_S);
    struct visitor *v = client_new(&t);
    for (unsigned i = 0; i < 6; i++)
        visitor_ask(v, ask_origin(&t, ORIGIN_length));
    client_go(&t, v);
    sim_run_for(t.sim, 10 * NS_PER_S);
    visitor_expect_all(v);
    for (unsigned i = 0; i < 2; i++)
        sim_read(t.clients[i].peer, 50000, 20 * NS_PER_MS);
    EXPECT(sim_run(t.sim, traffic_over, &t, 3600 * NS_PER_S), "the slow ones get theirs");
    visitor_expect_all(&t.clients[0]);
    visitor_expect_all(&t.clients[1]);
    return traffic_end(&t);
}

/* Memory for content is used up, allocations fail: what is gathered streams, or fails with
 * a name; when there is memory again all is well. */
static uint64_t scarce(const struct telling *telling)
{
    struct traffic t;

    passes_world(&t, telling, SIM_ALL);
    passes_open(&t, "", "buffer_request = 1m\nbuffer_response = 1m\n");
    for (unsigned i = 0; i + 1 < TRAFFIC_CLIENTS; i++) {
        struct visitor *v = client_new(&t);
        unsigned id = t.ids++;
        v->tolerant = t.posts[id] = true;
        struct span text =
            request_text(&t, ORIGIN_length, id, 300000, 300000, sim_random(t.sim, 2));
        visitor_ask(v, (struct ask){.request = text.ptr,
                                    .len = text.len,
                                    .status = 200,
                                    .id = id,
                                    .content_len = 300000,
                                    .piece = 300 + (size_t)sim_random(t.sim, 20000)});
        client_go(&t, v);
        if (sim_random(t.sim, 2)) {
            sim_window(v->peer, 20000);
            sim_read(v->peer, 20000, 5 * NS_PER_MS);
        }
    }
    sim_run_for(t.sim, sim_random(t.sim, 60 * NS_PER_MS));
    if (sim_random(t.sim, 2))
        mem_fail_at(1 + sim_random(t.sim, 40), sim_random(t.sim, 6));
    for (unsigned i = 0; i < t.gateway.gate.worker_count; i++) {
        struct buf_budget *budget = &t.gateway.gate.workers[i].io->budget;
        budget->max = budget->used + 1 + sim_random(t.sim, 2 * budget->used + 1);
    }
    sim_run_for(t.sim, NS_PER_S);
    mem_fail_at(0, 0);
    for (unsigned i = 0; i < t.gateway.gate.worker_count; i++)
        t.gateway.gate.workers[i].io->budget.max = 0;
    EXPECT(sim_run(t.sim, traffic_over, &t, 3600 * NS_PER_S), "nobody waits forever");
    struct visitor *v = client_new(&t);
    visitor_ask(v, ask_origin(&t, calm_what(&t)));
    client_go(&t, v);
    EXPECT(sim_run(t.sim, traffic_over, &t, 3600 * NS_PER_S), "and then all is well");
    visitor_expect_all(v);
    return traffic_end(&t);
}

const struct story passes_stories[] = {
    {"passes.in_time", "the whole has a time, whoever is slow, and the origin is told", in_time, 4},
    {"passes.blamed", "servers are to blame for what they were asked, and for no more", blamed, 0},
    {"passes.tunnelled", "a tunnel outlives the time of an exchange", tunnelled, 0},
    {"passes.gathered", "no origin is asked before all of a request is there", gathered, 3},
    {"passes.scarce", "without memory what was to be gathered streams", scarce, 0},
    {"passes.given_back", "a slow client keeps no place at an origin", given_back, 0},
    {0},
};
