/* HTTP/2 from many clients, over the whole gateway: streams, windows, faults. */
#include "tests/sim/caller.h"
#include "tests/sim/gateway.h"
#include "tests/sim/origin.h"
#include "tests/sim/visitor.h"

#include "base/mem.h"

enum { CALLERS_MAX = 3, PATHS = CALLERS_MAX * CALLS_MAX, LARGE = 300000 };

static const char config_text[] = "[listener web]\nlisten = 192.0.2.1:80\n"
                                  "write_timeout = 30s\nh2_control = 1000000/10s\n%s"
                                  "[upstream two]\n"
                                  "server = 198.51.100.1:80\nserver = 198.51.100.2:80\n"
                                  "balance = round_robin\n"
                                  "[route hello]\npath = /hello\nhandler = respond\nbody = hello\n"
                                  "[route files]\npath = /files/*\nhandler = static\nroot = /site\n"
                                  "strip_prefix = /files\n"
                                  "[route all]\nhandler = forward\nupstream = two\n"
                                  "max_body = off\n%s";

struct meeting {
    struct sim *sim;
    char config[800];
    struct gateway gateway;
    struct origins origins;
    struct arena arena;
    struct address at;
    struct caller callers[CALLERS_MAX];
    unsigned count, ids;
    bool draining;
};

static void meeting_begin(struct meeting *m, const struct telling *t, unsigned faults,
                          const char *more)
{
    *m = (struct meeting){.sim = story_world(t, faults), .at = story_address("192.0.2.1:80")};
    origins_open(&m->origins, m->sim);
    origins_add(&m->origins, "198.51.100.1:80");
    origins_add(&m->origins, "198.51.100.2:80");
    snprintf(m->config, sizeof m->config, config_text, more, gateway_buffers(m->sim));
    gateway_open(&m->gateway, m->sim, m->config, 1 + (unsigned)sim_random(m->sim, 2));
}

static uint64_t meeting_end(struct meeting *m)
{
    if (!m->draining)
        gateway_drain(&m->gateway);
    gateway_close(&m->gateway, 200 * NS_PER_S);
    for (unsigned i = 0; i < m->count; i++)
        caller_end(&m->callers[i]);
    origins_close(&m->origins);
    log_set((struct log_sink){0}, LOG_ERROR);
    arena_free(&m->arena);
    return sim_end(m->sim);
}

static bool meeting_over(void *data)
{
    struct meeting *m = data;

    for (unsigned i = 0; i < m->count; i++)
        if (!caller_done(&m->callers[i]))
            return false;
    return true;
}

static size_t some_bytes(struct meeting *m)
{
    static const size_t orders[] = {1, 100, 3000, 60000, 300000};

    return (size_t)sim_random(m->sim, orders[sim_random(m->sim, COUNT_OF(orders))] + 1);
}

static struct caller *caller_new(struct meeting *m)
{
    static const uint32_t windows[] = {1000, 65535, 20000, 1 << 20};
    struct caller *c = &m->callers[m->count++];

    c->at_once = 1 + (unsigned)sim_random(m->sim, 30);
    c->first_window = windows[sim_random(m->sim, COUNT_OF(windows))];
    c->sloppy = sim_random(m->sim, 2);
    c->slow = sim_random(m->sim, 3) == 0;
    return c;
}

static void caller_go(struct meeting *m, struct caller *c)
{
    struct address from = story_address("203.0.113.9:6000");

    from.port = (uint16_t)(from.port + (c - m->callers));
    caller_start(c, m->sim, &m->at, &from);
}

static struct call *call_origin(struct meeting *m, struct caller *c, enum origin_what what)
{
    unsigned id = m->ids++;
    size_t bytes = what == ORIGIN_nothing ? 0 : some_bytes(m);
    size_t sends = sim_random(m->sim, 3) ? 0 : 1 + some_bytes(m);
    struct span path = arena_print(&m->arena, "/%s/%u/%zu%c", origin_rows[what].name, id, bytes, 0);

    return caller_asks(c, (struct call){.method = sends ? "POST" : "GET",
                                        .path = path.ptr,
                                        .status = origin_rows[what].status,
                                        .id = id,
                                        .content_len = bytes,
                                        .sends = sends,
                                        .named = sim_random(m->sim, 2)});
}

static enum origin_what calm_what(struct meeting *m)
{
    for (;;) {
        enum origin_what what = (enum origin_what)sim_random(m->sim, ORIGIN_tunnel);
        if (origin_rows[what].calm && what != ORIGIN_slow)
            return what;
    }
}

static void calls(struct meeting *m, struct caller *c, unsigned most)
{
    for (unsigned i = 1 + (unsigned)sim_random(m->sim, most); i > 0; i--)
        if (sim_random(m->sim, 4) == 0)
            caller_asks(c, (struct call){.method = "GET",
                                         .path = "/hello",
                                         .status = 200,
                                         .text = "hello",
                                         .content_len = 5});
        else
            call_origin(m, c, calm_what(m));
}

/* --- stories --------------------------------------------------------------------------------- */

static uint64_t calm(const struct telling *telling)
{
    struct meeting m;

    meeting_begin(&m, telling, SIM_ALL, "");
    for (unsigned n = 1 + (unsigned)sim_random(m.sim, CALLERS_MAX); n > 0; n--) {
        struct caller *c = caller_new(&m);
        calls(&m, c, 20);
        caller_go(&m, c);
    }
    EXPECT(sim_run(m.sim, meeting_over, &m, 3600 * NS_PER_S), "the answers come");
    for (unsigned i = 0; i < m.count; i++)
        caller_expect_all(&m.callers[i]);
    return meeting_end(&m);
}

/* Nobody waits for anything but the network. */
static uint64_t prompt(const struct telling *telling)
{
    struct meeting m;
    struct caller *c;

    meeting_begin(&m, telling, SIM_SHORT | SIM_RACES, "");
    c = caller_new(&m);
    c->at_once = 1 + (unsigned)sim_random(m.sim, 4);
    c->first_window = H2_WINDOW_START;
    c->slow = c->sloppy = false;
    for (unsigned i = 0; i < 6; i++) {
        struct span path = arena_print(&m.arena, "/length/%u/%u%c", m.ids, 2000, 0);
        caller_asks(c, (struct call){.method = "GET",
                                     .path = path.ptr,
                                     .status = 200,
                                     .id = m.ids++,
                                     .content_len = 2000});
    }
    caller_go(&m, c);
    EXPECT(sim_run(m.sim, meeting_over, &m, 500 * NS_PER_MS), "the answers come at once");
    caller_expect_all(c);
    return meeting_end(&m);
}

/* Some streams are reset by the client, some cut by their origin, among others. */
static uint64_t resets(const struct telling *telling)
{
    struct meeting m;
    struct caller *c;

    meeting_begin(&m, telling, SIM_ALL, "");
    c = caller_new(&m);
    for (unsigned i = 2 + (unsigned)sim_random(m.sim, 20); i > 0; i--) {
        unsigned which = (unsigned)sim_random(m.sim, 3);
        enum origin_what what = which == 1   ? ORIGIN_reset_in_content
                                : which == 2 ? ORIGIN_close_in_chunk
                                             : calm_what(&m);
        struct call *call = call_origin(&m, c, what);
        if (which) {
            call->may_cut = true;
            call->content_len = SIZE_MAX;
            call->or_status = 502;
        } else if (sim_random(m.sim, 2)) {
            call->reset_at = 1 + (size_t)sim_random(m.sim, call->content_len + 1);
        }
    }
    caller_go(&m, c);
    c = caller_new(&m);
    calls(&m, c, 10);
    caller_go(&m, c);
    EXPECT(sim_run(m.sim, meeting_over, &m, 3600 * NS_PER_S), "the answers come");
    caller_expect_all(&m.callers[0]);
    caller_expect_all(&m.callers[1]);
    return meeting_end(&m);
}

/* One takes nothing of a large answer; its other streams go on, and it is cut in time. */
static uint64_t one_sleeps(const struct telling *telling)
{
    struct meeting m;
    struct caller *c, *other;

    meeting_begin(&m, telling, SIM_ALL & ~(unsigned)SIM_NARROW, "");
    c = caller_new(&m);
    c->first_window = 0;
    c->at_once = CALLS_MAX;
    for (unsigned i = 0; i < 5; i++) {
        struct span path = arena_print(&m.arena, "/length/%u/%u%c", m.ids, LARGE, 0);
        caller_asks(c, (struct call){.method = "GET",
                                     .path = path.ptr,
                                     .status = 200,
                                     .id = m.ids++,
                                     .content_len = SIZE_MAX,
                                     .may_cut = true});
    }
    caller_go(&m, c);
    other = caller_new(&m);
    calls(&m, other, 10);
    caller_go(&m, other);
    EXPECT(sim_run(m.sim, meeting_over, &m, 300 * NS_PER_S), "all ends");
    caller_expect_all(other);
    caller_expect_all(c);
    for (unsigned i = 0; i < 5; i++)
        EXPECT(c->calls[i].cut && c->calls[i].heard == 0, "call %u was cut", i);
    return meeting_end(&m);
}

/* The client goes at any byte; the next is served. */
static uint64_t vanishing(const struct telling *telling)
{
    struct meeting m;
    struct caller *c;

    meeting_begin(&m, telling, SIM_ALL, "");
    c = caller_new(&m);
    c->tolerant = true;
    calls(&m, c, 20);
    caller_go(&m, c);
    sim_run_for(m.sim, sim_random(m.sim, UINT64_C(1) << sim_random(m.sim, 30)));
    if (sim_random(m.sim, 2))
        sim_reset(c->peer);
    else
        sim_close(c->peer);
    c = caller_new(&m);
    calls(&m, c, 5);
    caller_go(&m, c);
    EXPECT(sim_run(m.sim, meeting_over, &m, 3600 * NS_PER_S), "the next client is answered");
    caller_expect_all(c);
    return meeting_end(&m);
}

static uint64_t no_memory(const struct telling *telling)
{
    struct meeting m;
    struct caller *c;

    meeting_begin(&m, telling, SIM_ALL, "");
    c = caller_new(&m);
    c->tolerant = true;
    calls(&m, c, 20);
    for (unsigned i = 0; i < c->count; i++)
        c->calls[i].may_cut = true;
    caller_go(&m, c);
    sim_run_for(m.sim, sim_random(m.sim, 3 * NS_PER_MS));
    mem_fail_at(1 + sim_random(m.sim, 120), sim_random(m.sim, 8));
    sim_run_for(m.sim, sim_random(m.sim, 100 * NS_PER_MS));
    mem_fail_at(0, 0);
    sim_run(m.sim, meeting_over, &m, 200 * NS_PER_S);
    c = caller_new(&m);
    calls(&m, c, 5);
    caller_go(&m, c);
    EXPECT(sim_run(m.sim, meeting_over, &m, 3600 * NS_PER_S), "the next client is answered");
    caller_expect_all(c);
    return meeting_end(&m);
}

/* What was asked before the end is answered; nothing that was not is begun again. */
static uint64_t drained(const struct telling *telling)
{
    struct meeting m;

    meeting_begin(&m, telling, SIM_ALL & ~(unsigned)SIM_NARROW, "");
    for (unsigned n = 1 + (unsigned)sim_random(m.sim, CALLERS_MAX); n > 0; n--) {
        struct caller *c = caller_new(&m);
        c->slow = false;
        calls(&m, c, 20);
        caller_go(&m, c);
    }
    sim_run_for(m.sim, sim_random(m.sim, 50 * NS_PER_MS));
    for (unsigned i = 0; i < m.count; i++)
        m.callers[i].tolerant = m.callers[i].at == 0; /* the listener may close before it */
    gateway_drain(&m.gateway);
    m.draining = true;
    EXPECT(sim_run(m.sim, meeting_over, &m, 60 * NS_PER_S), "all ends");
    for (unsigned i = 0; i < m.count; i++) {
        struct caller *c = &m.callers[i];
        if (!c->tolerant)
            EXPECT(c->over == c->begun, "what was begun was answered: %u of %u", c->over, c->begun);
    }
    return meeting_end(&m);
}

static bool parted(void *data)
{
    return ((struct meeting *)data)->callers[0].peer->ended;
}

/* Who says GOAWAY gets what it asked for, and is not kept waiting for the end. */
static uint64_t parting(const struct telling *telling)
{
    struct meeting m;
    struct caller *c;

    meeting_begin(&m, telling, SIM_ALL & ~(unsigned)SIM_NARROW, "keepalive_timeout = 3000s\n");
    c = caller_new(&m);
    c->parts = true;
    calls(&m, c, 20);
    caller_go(&m, c);
    EXPECT(sim_run(m.sim, meeting_over, &m, 3600 * NS_PER_S), "the answers come");
    caller_expect_all(c);
    EXPECT(sim_run(m.sim, parted, &m, 60 * NS_PER_S), "and then the end");
    return meeting_end(&m);
}

/* Frames that are broken in any way: that connection may end, no other. */
static uint64_t garbage(const struct telling *telling)
{
    struct meeting m;
    struct caller *c;
    char bytes[2000];

    meeting_begin(&m, telling, SIM_ALL, "");
    c = caller_new(&m);
    c->tolerant = true;
    calls(&m, c, 10);
    for (unsigned i = 0; i < c->count; i++)
        c->calls[i].may_cut = true;
    caller_go(&m, c);
    sim_run_for(m.sim, sim_random(m.sim, 20 * NS_PER_MS));
    for (unsigned n = 1 + (unsigned)sim_random(m.sim, 10); n > 0; n--) {
        size_t len = (size_t)sim_random(m.sim, sizeof bytes - H2_FRAME_HEAD);
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (char)sim_random(m.sim, 256);
        h2_frame_write(bytes, (struct h2_frame){.len = (uint32_t)len,
                                                .type = (uint8_t)sim_random(m.sim, 18),
                                                .flags = (uint8_t)sim_random(m.sim, 256),
                                                .stream = (uint32_t)sim_random(m.sim, 45)});
        sim_say(c->peer, (struct span){bytes, H2_FRAME_HEAD + len});
    }
    sim_run_for(m.sim, sim_random(m.sim, NS_PER_S));
    sim_close(c->peer);
    c = caller_new(&m);
    calls(&m, c, 5);
    caller_go(&m, c);
    EXPECT(sim_run(m.sim, meeting_over, &m, 3600 * NS_PER_S), "the next client is answered");
    caller_expect_all(c);
    return meeting_end(&m);
}

static bool some_came(void *data)
{
    const struct call *call = data;

    return call->heard > 0;
}

/* One of the files that a connection brings is cut meanwhile, anywhere or by its last byte. */
static uint64_t cut_file(const struct telling *telling)
{
    static const char *const paths[] = {"/files/cut", "/files/other", "/files/another"};
    static char bytes[LARGE];
    struct meeting m;

    meeting_begin(&m, telling, SIM_ALL & ~(unsigned)SIM_DISK, "");
    pattern_fill(bytes, LARGE, 1);
    struct caller *c = caller_new(&m);
    for (unsigned i = 0; i < COUNT_OF(paths); i++) {
        sim_file_put(m.sim, arena_print(&m.arena, "/site/%s%c", paths[i] + 7, 0).ptr,
                     (struct span){bytes, LARGE});
        caller_asks(c, (struct call){.method = "GET",
                                     .path = paths[i],
                                     .status = 200,
                                     .id = 1,
                                     .content_len = LARGE,
                                     .may_cut = i == 0});
    }
    caller_go(&m, c);
    EXPECT(sim_run(m.sim, some_came, &c->calls[0], 3600 * NS_PER_S), "it begins to come");
    size_t left = sim_random(m.sim, 2) ? LARGE - 1 : (size_t)sim_random(m.sim, LARGE);
    sim_file_put(m.sim, "/site/cut", (struct span){bytes, left});
    EXPECT(sim_run(m.sim, meeting_over, &m, 3600 * NS_PER_S), "it is whole or cut");
    caller_expect_all(c);
    return meeting_end(&m);
}

/* Files of one frame, each opened anew: nothing but their exchange holds the one before open. */
static uint64_t files(const struct telling *telling)
{
    static const char more[] =
        "[route fresh]\npath = /fresh/*\nstrip_prefix = /fresh\n"
        "handler = static\nroot = /site\ncache_size = 1b\ncache_time = off\n";
    static char bytes[H2_FRAME_MAX];
    struct meeting m;
    size_t len;

    meeting_begin(&m, telling, SIM_ALL & ~(unsigned)SIM_DISK, more);
    len = 2 + (size_t)sim_random(m.sim, sizeof bytes - 1);
    pattern_fill(bytes, len, 1);
    sim_file_put(m.sim, "/site/a", (struct span){bytes, len});
    for (unsigned n = 1 + (unsigned)sim_random(m.sim, CALLERS_MAX); n > 0; n--) {
        struct caller *c = caller_new(&m);
        for (unsigned i = 1 + (unsigned)sim_random(m.sim, 10); i > 0; i--)
            caller_asks(c, (struct call){.method = "GET",
                                         .path = "/fresh/a",
                                         .status = 200,
                                         .id = 1,
                                         .content_len = len});
        caller_go(&m, c);
    }
    EXPECT(sim_run(m.sim, meeting_over, &m, 3600 * NS_PER_S), "the answers come");
    for (unsigned i = 0; i < m.count; i++)
        caller_expect_all(&m.callers[i]);
    return meeting_end(&m);
}

const struct story h2_stories[] = {
    {"h2.calm", "every stream gets its own answer, whole", calm, 4},
    {"h2.prompt", "an answer does not wait for anything else", prompt, 1},
    {"h2.resets", "a stream that is cut costs no other", resets, 3},
    {"h2.one_sleeps", "who takes nothing holds up nobody, and is cut", one_sleeps, 1},
    {"h2.vanishing", "a client may go at any byte", vanishing, 2},
    {"h2.no_memory", "a failed allocation costs one client at most", no_memory, 3},
    {"h2.drained", "what was begun before the end is answered", drained, 2},
    {"h2.parting", "who says goodbye is answered, and the connection ended", parting, 2},
    {"h2.cut_file", "a file that is cut ends its stream and no other", cut_file, 0},
    {"h2.files", "a file stays open until it was read", files, 2},
    {"h2.garbage", "broken frames cost their own connection only", garbage, 2},
    {0},
};
