/* HTTP/2 to origins, over the whole gateway: streams, windows that change, refusals, faults; also
 * over "TLS", and where the origin decides whether it is HTTP/2 at all. */
#include "tests/sim/caller.h"
#include "tests/sim/gateway.h"
#include "tests/sim/origin_h2.h"

#include "base/mem.h"

enum { CALLERS_MAX = 3, KEPT = 10000 };

static const char config_text[] = "[listener web]\nlisten = 192.0.2.1:80\n"
                                  "h2_control = 1000000/10s\nh2_resets = 1000000/10s\n"
                                  "[upstream two]\n"
                                  "server = %s198.51.100.1:80\nserver = %s198.51.100.2:80\n"
                                  "%sbalance = round_robin\ntries = 100\nretry_budget = off\n"
                                  "eject_failures = off\neject_error_rate = off\n"
                                  "[route all]\nhandler = forward\nupstream = two\n"
                                  "max_body = off\n";

struct meeting {
    struct sim *sim;
    char config[700];
    struct gateway gateway;
    struct h2_origins origins;
    struct arena arena;
    struct address at;
    struct caller callers[CALLERS_MAX];
    unsigned count, ids;
    size_t most;            /* content of requests */
    bool early[ORIGIN_IDS]; /* the answer may be there before all of the request */
};

static void meeting_begin(struct meeting *m, const struct telling *t, unsigned faults, bool either)
{
    *m = (struct meeting){
        .sim = story_world(t, faults), .at = story_address("192.0.2.1:80"), .most = 200000};
    h2_origins_open(&m->origins, m->sim);
    h2_origins_add(&m->origins, "198.51.100.1:80");
    h2_origins_add(&m->origins, "198.51.100.2:80");
    m->origins.either = either;
    m->origins.over_toy = either || sim_random(m->sim, 2);
    m->origins.late = sim_random(m->sim, 2);
    m->origins.restless = sim_random(m->sim, 2);
    const char *scheme = m->origins.over_toy ? "https://" : "h2c://";
    const char *protocols = either                ? "protocols = h2, http/1.1\n"
                            : m->origins.over_toy ? "protocols = h2\n"
                                                  : "";
    snprintf(m->config, sizeof m->config, config_text, scheme, scheme, protocols);
    gateway_open(&m->gateway, m->sim, m->config, 1 + (unsigned)sim_random(m->sim, 2));
}

static uint64_t meeting_end(struct meeting *m)
{
    gateway_drain(&m->gateway);
    gateway_close(&m->gateway, 200 * NS_PER_S);
    for (unsigned i = 0; i < m->count; i++)
        caller_end(&m->callers[i]);
    h2_origins_close(&m->origins);
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

static size_t some_bytes(struct meeting *m, size_t most)
{
    static const size_t orders[] = {1, 100, 3000, 60000, 200000};
    size_t order = orders[sim_random(m->sim, COUNT_OF(orders))];

    return (size_t)sim_random(m->sim, (order < most ? order : most) + 1);
}

static struct caller *caller_new(struct meeting *m)
{
    static const uint32_t windows[] = {1000, 65535, 20000, 1 << 20};
    struct caller *c = &m->callers[m->count++];

    c->at_once = 1 + (unsigned)sim_random(m->sim, 30);
    c->first_window = windows[sim_random(m->sim, COUNT_OF(windows))];
    c->slow = sim_random(m->sim, 3) == 0;
    return c;
}

static void caller_go(struct meeting *m, struct caller *c)
{
    struct address from = story_address("203.0.113.9:6000");

    from.port = (uint16_t)(from.port + (c - m->callers));
    caller_start(c, m->sim, &m->at, &from);
}

static struct call *call(struct meeting *m, struct caller *c, enum h2_origin_what what)
{
    unsigned id = m->ids++;

    m->early[id] = what == H2_ORIGIN_early;
    size_t bytes = what == H2_ORIGIN_nothing ? 0 : some_bytes(m, 200000);
    size_t sends = sim_random(m->sim, 3) ? 0 : 1 + some_bytes(m, m->most);
    struct span path =
        arena_print(&m->arena, "/%s/%u/%zu%c", h2_origin_rows[what].name, id, bytes, 0);

    return caller_asks(c, (struct call){.method = sends ? "POST" : "GET",
                                        .path = path.ptr,
                                        .status = what == H2_ORIGIN_nothing ? 204 : 200,
                                        .id = id,
                                        .content_len = bytes,
                                        .sends = sends,
                                        .named = sim_random(m->sim, 2)});
}

/* Calls of the kinds below `end`. */
static void calls(struct meeting *m, struct caller *c, unsigned most, enum h2_origin_what end)
{
    for (unsigned i = 1 + (unsigned)sim_random(m->sim, most); i > 0; i--)
        call(m, c, (enum h2_origin_what)sim_random(m->sim, end));
}

static void some_callers(struct meeting *m, enum h2_origin_what end)
{
    for (unsigned n = 1 + (unsigned)sim_random(m->sim, CALLERS_MAX); n > 0; n--) {
        struct caller *c = caller_new(m);
        calls(m, c, 25, end);
        caller_go(m, c);
    }
}

static void expect_all(struct meeting *m)
{
    EXPECT(sim_run(m->sim, meeting_over, m, 3600 * NS_PER_S), "the answers come");
    for (unsigned i = 0; i < m->count; i++)
        caller_expect_all(&m->callers[i]);
}

/* Each was looked at once, whatever was refused before. */
static void expect_once(const struct meeting *m)
{
    for (unsigned i = 0; i < m->ids; i++) {
        unsigned times = m->origins.whole[i] + m->origins.h1.whole[i];
        EXPECT(times == 1 || (times == 0 && m->early[i]), "request %u was processed %u times", i,
               times);
    }
}

/* --- stories --------------------------------------------------------------------------------- */

static uint64_t calm(const struct telling *telling)
{
    struct meeting m;

    meeting_begin(&m, telling, SIM_ALL, false);
    m.most = m.origins.restless ? KEPT : m.most; /* a stream too many is begun elsewhere */
    some_callers(&m, H2_ORIGIN_refused);
    expect_all(&m);
    expect_once(&m);
    return meeting_end(&m);
}

/* What was refused, or is above a GOAWAY, is tried again whatever its method. */
static uint64_t refused(const struct telling *telling)
{
    struct meeting m;

    meeting_begin(&m, telling, SIM_ALL, false);
    m.most = KEPT;
    some_callers(&m, H2_ORIGIN_reset_before);
    expect_all(&m);
    expect_once(&m);
    return meeting_end(&m);
}

/* The origin decides, for each connection. */
static uint64_t either(const struct telling *telling)
{
    struct meeting m;

    meeting_begin(&m, telling, SIM_ALL, true);
    some_callers(&m, H2_ORIGIN_refused);
    expect_all(&m);
    expect_once(&m);
    return meeting_end(&m);
}

static void then_all_is_well(struct meeting *m)
{
    struct caller *c = caller_new(m);

    m->most = KEPT;
    calls(m, c, 10, H2_ORIGIN_refused);
    caller_go(m, c);
    EXPECT(sim_run(m->sim, meeting_over, m, 3600 * NS_PER_S), "the next client is answered");
    caller_expect_all(c);
}

/* Streams and connections end in any way, and nobody else is any the worse for it afterwards. */
static uint64_t rough(const struct telling *telling)
{
    struct meeting m;
    struct caller *c;

    meeting_begin(&m, telling, SIM_ALL, false);
    c = caller_new(&m);
    c->tolerant = true;
    for (unsigned i = 1 + (unsigned)sim_random(m.sim, 25); i > 0; i--) {
        struct call *one = call(&m, c, (enum h2_origin_what)sim_random(m.sim, H2_ORIGIN_COUNT));
        one->may_cut = true;
        one->content_len = SIZE_MAX;
        one->or_status = 502;
        if (sim_random(m.sim, 4) == 0)
            one->reset_at = 1 + (size_t)sim_random(m.sim, 1000);
    }
    caller_go(&m, c);
    EXPECT(sim_run(m.sim, meeting_over, &m, 7200 * NS_PER_S), "all ends");
    then_all_is_well(&m);
    return meeting_end(&m);
}

/* Clients leave their only stream while more is coming on it: what comes for nobody is read all
 * the same, for the next one's sake. */
static uint64_t left(const struct telling *telling)
{
    struct meeting m;
    struct caller *c;

    meeting_begin(&m, telling, SIM_ALL, false);
    m.most = KEPT;
    c = caller_new(&m);
    c->at_once = 1;
    c->slow = false;
    c->first_window = 1 << 20;
    for (unsigned i = 0; i < CALLS_MAX; i++) {
        struct call *one = call(&m, c, i % 2 ? H2_ORIGIN_chunked : H2_ORIGIN_interim);
        if (one->content_len > 1 && sim_random(m.sim, 4))
            one->reset_at = 1 + (size_t)sim_random(m.sim, 3);
    }
    caller_go(&m, c);
    expect_all(&m);
    return meeting_end(&m);
}

/* Connections break while requests are on their way: one that was processed is not sent again. */
static uint64_t cut(const struct telling *telling)
{
    struct meeting m;
    struct caller *c;

    meeting_begin(&m, telling, SIM_SHORT | SIM_RACES, false);
    m.origins.slow = true;
    c = caller_new(&m); /* then it is known how many streams they allow */
    m.most = 100;
    calls(&m, c, 4, H2_ORIGIN_refused);
    caller_go(&m, c);
    expect_all(&m);
    c = caller_new(&m);
    c->tolerant = c->sloppy = true;
    c->at_once = CALLS_MAX;
    for (unsigned i = 2 + (unsigned)sim_random(m.sim, CALLS_MAX - 2); i > 0; i--) {
        struct call *one = call(&m, c, H2_ORIGIN_silent);
        one->method = "POST";
        one->sends = 1 + (size_t)sim_random(m.sim, 20);
        one->may_cut = true;
        one->or_status = 502;
    }
    caller_go(&m, c);
    sim_run_for(m.sim, sim_random(m.sim, 40 * NS_PER_MS));
    h2_origins_cut(&m.origins);
    EXPECT(sim_run(m.sim, meeting_over, &m, 7200 * NS_PER_S), "all ends");
    for (unsigned i = 0; i < m.ids; i++)
        EXPECT(m.origins.whole[i] <= 1, "request %u was processed %u times", i, m.origins.whole[i]);
    m.origins.slow = false;
    then_all_is_well(&m);
    return meeting_end(&m);
}

static uint64_t no_memory(const struct telling *telling)
{
    struct meeting m;
    struct caller *c;

    meeting_begin(&m, telling, SIM_ALL, telling->seed % 3 == 0);
    c = caller_new(&m);
    c->tolerant = true;
    m.origins.tolerant = true;
    calls(&m, c, 20, H2_ORIGIN_refused);
    for (unsigned i = 0; i < c->count; i++)
        c->calls[i].may_cut = true;
    caller_go(&m, c);
    sim_run_for(m.sim, sim_random(m.sim, 3 * NS_PER_MS));
    mem_fail_at(1 + sim_random(m.sim, 120), sim_random(m.sim, 8));
    sim_run_for(m.sim, sim_random(m.sim, 100 * NS_PER_MS));
    mem_fail_at(0, 0);
    sim_run(m.sim, meeting_over, &m, 200 * NS_PER_S);
    sim_run_for(m.sim, NS_PER_S); /* an origin's reset, for want of its own, may be under way */
    then_all_is_well(&m);
    return meeting_end(&m);
}

const struct story h2_origin_stories[] = {
    {"h2_origin.calm", "every request gets its own answer, whole, whatever SETTINGS say", calm, 4},
    {"h2_origin.refused", "what was not processed is processed once, elsewhere", refused, 4},
    {"h2_origin.either", "an origin may choose for each connection", either, 4},
    {"h2_origin.rough", "what breaks costs nobody afterwards", rough, 4},
    {"h2_origin.left", "who leaves a stream leaves the connection in order", left, 3},
    {"h2_origin.cut", "what was processed is not sent again", cut, 4},
    {"h2_origin.no_memory", "a failed allocation costs one client at most", no_memory, 3},
    {0},
};
