/* Listeners come, go and fill up: who may be served, and when it ends. */
#include "tests/sim/gateway.h"
#include "tests/sim/origin.h"

#include "net/proxy_header.h"

static const char two_listeners[] =
    "[listener web]\nlisten = 192.0.2.1:80\n"
    "[listener inside]\nlisten = 192.0.2.1:81\n"
    "[route hello]\npath = /hello\nhandler = respond\nbody = hello\n"
    "[route secret]\npath = /secret\nlistener = inside\nhandler = respond\nbody = secret\n";

static const char one_listener[] =
    "[listener inside]\nlisten = 192.0.2.1:81\n"
    "[route hello]\npath = /hello\nhandler = respond\nbody = hello\n"
    "[route secret]\npath = /secret\nlistener = inside\nhandler = respond\nbody = secret\n";

static const struct span ask_hello = SPAN_INIT("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
static const struct span ask_secret = SPAN_INIT("GET /secret HTTP/1.1\r\nHost: a\r\n\r\n");

static struct sim_peer *guest(struct sim *sim, const char *to, unsigned i, struct span says)
{
    struct address at = story_address(to), from = story_address("203.0.113.7:4000");

    from.port = (uint16_t)(from.port + i);
    struct sim_peer *peer = sim_connect(sim, &at, &from);
    sim_say(peer, says);
    return peer;
}

static unsigned heard(const struct sim_peer *peer, const char *status)
{
    unsigned n = 0;

    for (size_t i = 0; i + strlen(status) <= peer->len; i++)
        n += memcmp(peer->text + i, status, strlen(status)) == 0;
    return n;
}

/* A connection whose listener is no longer in the configuration keeps the
 * routes it had: it is not taken for one of whichever listener has that number now. */
static uint64_t removed(const struct telling *t)
{
    struct sim *sim = story_world(t, SIM_SHORT | SIM_RACES);
    struct gateway g;

    gateway_open(&g, sim, two_listeners, 1 + (unsigned)sim_random(sim, 2));
    struct sim_peer *peer = guest(sim, "192.0.2.1:80", 0, ask_secret);
    sim_run_for(sim, NS_PER_S);
    EXPECT(heard(peer, "HTTP/1.1 404") == 1, "not for this listener: %.*s", (int)peer->len,
           peer->text);
    gateway_reload(&g, one_listener);
    sim_run_for(sim, 100 * NS_PER_MS);
    sim_say(peer, ask_secret);
    sim_say(peer, ask_hello);
    sim_run_for(sim, NS_PER_S);
    EXPECT(heard(peer, "\r\n\r\nsecret") == 0, "nor afterwards: %.*s", (int)peer->len, peer->text);
    EXPECT(heard(peer, "HTTP/1.1 404") == 2, "it is answered: %.*s", (int)peer->len, peer->text);
    return gateway_end(&g);
}

/* The connections that fill the gateway belong to another listener than the one
 * that has to wait for them, if no accept was faster than its cancelling. */
static uint64_t full(const struct telling *t)
{
    struct sim *sim = story_world(t, SIM_SHORT | SIM_RACES);
    struct sim_peer *first[2];
    struct gateway g;

    gateway_open(&g, sim, two_listeners, 1);
    g.gate.connections_max = COUNT_OF(first);
    for (unsigned i = 0; i < COUNT_OF(first); i++)
        first[i] = guest(sim, "192.0.2.1:80", i, ask_hello);
    sim_run_for(sim, NS_PER_S);
    struct sim_peer *third = guest(sim, "192.0.2.1:81", 10, ask_hello);
    sim_run_for(sim, NS_PER_S);
    sim_reset(third);
    sim_run_for(sim, NS_PER_S);
    struct sim_peer *waits = guest(sim, "192.0.2.1:81", 11, ask_hello);
    sim_run_for(sim, NS_PER_S);
    for (unsigned i = 0; i < COUNT_OF(first); i++)
        sim_reset(first[i]);
    sim_run_for(sim, NS_PER_S);
    EXPECT(heard(waits, "HTTP/1.1 200") == 1, "who waited is served when there is room");
    return gateway_end(&g);
}

enum { LIMITED = 20 };

struct limited {
    struct gateway gateway;
    struct sim_peer *peers[LIMITED];
    unsigned most; /* connections at a time */
};

static unsigned connections(const struct gateway *g)
{
    unsigned n = 0;

    for (unsigned i = 0; i < g->gate.worker_count; i++)
        n += (unsigned)atomic_load(&g->gate.workers[i].stats.connections_open);
    return n;
}

static void limited_check(void *data)
{
    struct limited *l = data;

    EXPECT(connections(&l->gateway) <= l->most, "%u connections", connections(&l->gateway));
}

/* Who has been answered stays a while, and most of them go. */
static bool limited_served(void *data)
{
    struct limited *l = data;
    unsigned served = 0;

    for (unsigned i = 0; i < LIMITED; i++) {
        if (heard(l->peers[i], "HTTP/1.1 200") == 0)
            continue;
        served++;
        if (!l->peers[i]->closed && sim_random(l->gateway.sim, 400) == 0)
            sim_close(l->peers[i]);
    }
    return served == LIMITED;
}

/* Many workers, one limit: of the process, or of an address that each worker
 * has a socket for, or all have one together. */
static uint64_t limited(const struct telling *t)
{
    static const char *const where[] = {"192.0.2.1:80", "unix:/run/web"};
    struct sim *sim = story_world(t, SIM_SHORT | SIM_RACES | SIM_STALLS);
    struct limited l = {.most = 1 + (unsigned)sim_random(sim, 8)};
    const char *at = where[sim_random(sim, COUNT_OF(where))];
    bool of_listener = sim_random(sim, 2);
    char text[300], own[40] = "";

    if (of_listener)
        snprintf(own, sizeof own, "max_connections = %u\n", l.most);
    snprintf(text, sizeof text,
             "[listener web]\nlisten = %s\n%s"
             "[route hello]\npath = /hello\nhandler = respond\nbody = hello\n",
             at, own);
    gateway_open(&l.gateway, sim, text, 1 + (unsigned)sim_random(sim, 4));
    if (!of_listener)
        l.gateway.gate.connections_max = l.most;
    sim_watch(sim, limited_check, &l);
    for (unsigned i = 0; i < LIMITED; i++) {
        l.peers[i] = guest(sim, at, i, ask_hello);
        sim_run_for(sim, sim_random(sim, NS_PER_MS));
    }
    EXPECT(sim_run(sim, limited_served, &l, 600 * NS_PER_S), "all are served in the end");
    sim_watch(sim, NULL, NULL);
    return gateway_end(&l.gateway);
}

struct crowd {
    struct gateway gateway;
    unsigned came;
};

static void crowd_comes(void *data)
{
    struct crowd *c = data;
    struct sim_peer *peer = guest(c->gateway.sim, "192.0.2.1:80", c->came++ % 20000, ask_hello);

    sim_finish(peer);
    if (c->came < 10000)
        sim_after(c->gateway.sim, 2 * NS_PER_MS, crowd_comes, c);
}

/* New clients come all the time, faster than accepting ever finds nobody there. */
static uint64_t crowded(const struct telling *t)
{
    struct sim *sim = story_world(t, SIM_SHORT | SIM_RACES);
    struct crowd c = {0};

    gateway_open(&c.gateway, sim, two_listeners, 1);
    crowd_comes(&c);
    sim_run_for(sim, 100 * NS_PER_MS);
    gateway_drain(&c.gateway);
    EXPECT(sim_run(sim, gateway_done, &c.gateway, 15 * NS_PER_S), "SIGTERM ends it");
    gateway_close(&c.gateway, NS_PER_S);
    return sim_end(sim);
}

/* Everybody waits for an answer, and before each next one there is a reload: whoever came before
 * one has two seconds from it, however many follow, until one says that there is no hurry. */
static uint64_t overtaken(const struct telling *t)
{
    enum { GUESTS = 6, PATIENT = GUESTS - 1 };
    static const struct span ask = SPAN_INIT("GET /silent/1/0 HTTP/1.1\r\nHost: a\r\n\r\n");
    static const char *const said[] = {"reload_timeout = 2s\n", "reload_timeout = off\n"};
    struct sim *sim = story_world(t, SIM_SHORT | SIM_RACES);
    struct sim_peer *peers[GUESTS];
    uint64_t reloaded[GUESTS];
    struct origins origins;
    struct gateway g;
    char text[2][300];

    for (unsigned i = 0; i < COUNT_OF(text); i++)
        snprintf(text[i], sizeof text[i],
                 "[server]\n%s[listener web]\nlisten = 192.0.2.1:80\n[upstream u]\n"
                 "server = 198.51.100.1:80\nfirst_byte_timeout = 60s\n"
                 "[route all]\nhandler = forward\nupstream = u\n",
                 said[i]);
    origins_open(&origins, sim);
    origins_add(&origins, "198.51.100.1:80");
    gateway_open(&g, sim, text[0], 1);
    for (unsigned i = 0; i < GUESTS; i++) {
        peers[i] = guest(sim, "192.0.2.1:80", i, ask);
        sim_run_for(sim, 1200 * NS_PER_MS);
        reloaded[i] = sim_now(sim);
        gateway_reload(&g, text[i == PATIENT]);
        for (unsigned j = 0; j < i; j++) {
            uint64_t since = sim_now(sim) - reloaded[j];
            bool over = heard(peers[j], "HTTP/1.1 503") == 1;
            EXPECT(since > 1900 * NS_PER_MS || !over, "guest %u: too early, at %u", j, i);
            EXPECT(since < 2200 * NS_PER_MS || over, "guest %u: not yet, at %u", j, i);
        }
    }
    sim_run_for(sim, 10 * NS_PER_S);
    for (unsigned i = PATIENT - 1; i < GUESTS; i++)
        EXPECT(peers[i]->len == 0, "guest %u: nothing says that it ends", i);
    gateway_drain(&g);
    gateway_close(&g, 120 * NS_PER_S);
    origins_close(&origins);
    log_set((struct log_sink){0}, LOG_ERROR);
    return sim_end(sim);
}

static const char introduced_text[] =
    "[listener web]\nlisten = 192.0.2.1:80\nproxy_protocol = any\ntrusted = 203.0.113.0/24\n"
    "[route who]\nhandler = respond\nbody = <${client_ip}>\n";

/* In the clear, whatever is spoken behind it. */
static void introduce(struct sim *sim, struct sim_peer *peer, struct span header, bool slowly)
{
    const struct sim_codec *codec = peer->codec;

    peer->codec = NULL;
    if (slowly)
        sim_say_slowly(peer, header, 1 + sim_random(sim, 20), sim_random(sim, 10 * NS_PER_MS));
    else
        sim_say(peer, header);
    peer->codec = codec;
}

/* Everyone says whom it comes for, in either version, in pieces or together with its request, or
 * goes away in the middle: answers name whom they are for, and nobody's is another's. */
static uint64_t introduced(const struct telling *t)
{
    enum { GUESTS = 12 };
    static const struct span ask = SPAN_INIT("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    struct sim *sim = story_world(t, SIM_SHORT | SIM_RACES | SIM_STALLS);
    struct address at = story_address("192.0.2.1:80"), balancer = story_address("203.0.113.7:1");
    struct sim_peer *peers[GUESTS];
    bool gone[GUESTS];
    struct gateway g;

    gateway_open(&g, sim, introduced_text, 1 + (unsigned)sim_random(sim, 2));
    for (unsigned i = 0; i < GUESTS; i++) {
        struct proxy_header h = {.source = story_address("198.51.100.1:9"), .destination = at};
        char header[PROXY_WRITTEN_MAX];
        h.source.ip[3] = (uint8_t)(100 + i);
        size_t len = proxy_write(&h, sim_random(sim, 2) ? PROXY_V1 : PROXY_V2, header);
        balancer.port = (uint16_t)(4000 + i);
        peers[i] = sim_connect(sim, &at, &balancer);
        if ((gone[i] = sim_random(sim, 4) == 0))
            len = sim_random(sim, len);
        introduce(sim, peers[i], (struct span){header, len}, sim_random(sim, 2));
        if (gone[i]) {
            sim_then_reset(peers[i]);
            continue;
        }
        sim_say(peers[i], ask);
        sim_say(peers[i], ask);
    }
    sim_run_for(sim, 20 * NS_PER_S);
    for (unsigned i = 0; i < GUESTS; i++) {
        char name[32];
        snprintf(name, sizeof name, "<198.51.100.%u>", 100 + i);
        EXPECT(heard(peers[i], name) == (gone[i] ? 0 : 2), "%s: %.*s", name, (int)peers[i]->len,
               peers[i]->text);
        EXPECT(heard(peers[i], "<") == (gone[i] ? 0 : 2), "%.*s", (int)peers[i]->len,
               peers[i]->text);
    }
    return gateway_end(&g);
}

const struct story gate_stories[] = {
    {"gate.removed", "who came by a removed listener keeps its routes", removed, 1},
    {"gate.full", "a full gateway accepts again, whoever made the room", full, 1},
    {"gate.limited", "no more are served at a time than the limit says", limited, 1},
    {"gate.overtaken", "a reload gives those before it no more time", overtaken, 1},
    {"gate.introduced", "answers are for whom a connection says it was made", introduced, 1},
    {"gate.crowded", "a crowd at the door does not keep it open", crowded, 0},
    {0},
};
