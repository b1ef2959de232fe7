/* Files: from memory and by descriptor, whole and in ranges, on a disk that is
 * slow, fails, or changes under our eyes. */
#include "tests/sim/gateway.h"
#include "tests/sim/visitor.h"

#include "base/mem.h"

enum { VISITORS_MAX = 5, SMALL = 100, MIDDLE = 40000, LARGE = 300000 };

static char large[LARGE];

static const char config_text[] = "[server]\naccess_log = /dev/null\n"
                                  "[listener web]\nlisten = 192.0.2.1:80\n"
                                  "[route files]\nhandler = static\nroot = /site\n";

struct shelf {
    struct sim *sim;
    struct gateway gateway;
    struct address at;
    struct visitor visitors[VISITORS_MAX];
    unsigned count;
};

static void shelf_begin(struct shelf *s, const struct telling *t, unsigned faults)
{
    *s = (struct shelf){.sim = story_world(t, faults), .at = story_address("192.0.2.1:80")};
    pattern_fill(large, LARGE, 1);
    sim_file_put(s->sim, "/site/small.txt", (struct span){large, SMALL});
    sim_file_put(s->sim, "/site/middle.html", (struct span){large, MIDDLE});
    sim_file_put(s->sim, "/site/large.bin", (struct span){large, LARGE});
    sim_file_put(s->sim, "/site/page.css", (struct span){large, 2000});
    sim_file_put(s->sim, "/site/page.css.gz", (struct span){large + 1, 500});
    sim_file_put(s->sim, "/site/dir/index.html", SPAN("index"));
    sim_file_put(s->sim, "/site/.secret", SPAN("secret"));
    sim_file_put(s->sim, "/outside", SPAN("outside"));
    gateway_open(&s->gateway, s->sim, config_text, 1 + (unsigned)sim_random(s->sim, 2));
}

static struct ask ask_any(struct shelf *s)
{
#define GET(path, more) "GET " path " HTTP/1.1\r\nHost: a\r\n" more "\r\n"
    static const struct ask fixed[] = {
        {.request = GET("/small.txt", ""), .status = 200, .content = {large, SMALL}},
        {.request = GET("/middle.html", ""), .status = 200, .content = {large, MIDDLE}},
        {.request = GET("/large.bin", ""), .status = 200, .content = {large, LARGE}},
        {.request = GET("/large.bin", "Range: bytes=1000-4999\r\n"),
         .status = 206,
         .content = {large + 1000, 4000}},
        {.request = GET("/middle.html", "Range: bytes=-7\r\n"),
         .status = 206,
         .content = {large + MIDDLE - 7, 7}},
        {.request = GET("/small.txt", "Range: bytes=100-\r\n"), .status = 416},
        {.request = GET("/page.css", "Accept-Encoding: gzip\r\n"),
         .status = 200,
         .content = {large + 1, 500}},
        {.request = GET("/page.css", ""), .status = 200, .content = {large, 2000}},
        {.request = GET("/dir/", ""), .status = 200, .content = SPAN_INIT("index")},
        {.request = GET("/none", ""), .status = 404},
        {.request = GET("/.secret", ""), .status = 404},
        {.request = GET("/dir/%2e%2e/%2e%2e/outside", ""), .status = 400},
        {.request = "HEAD /large.bin HTTP/1.1\r\nHost: a\r\n\r\n", .status = 200, .head = true},
        {.request = "POST /small.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
         .status = 405},
    };
#undef GET
    return fixed[sim_random(s->sim, COUNT_OF(fixed))];
}

static struct visitor *visitor_new(struct shelf *s, unsigned asks, int or_status)
{
    struct visitor *v = &s->visitors[s->count++];
    struct address from = story_address("203.0.113.8:3000");

    v->pipelines = sim_random(s->sim, 2);
    v->tolerant = or_status >= 500;
    for (; asks > 0; asks--) {
        struct ask a = ask_any(s);
        a.or_status = or_status;
        if (or_status && strstr(a.request, "gzip")) /* which is only a preference */
            a.content = (struct span){0};
        visitor_ask(v, a);
    }
    from.port = (uint16_t)(from.port + s->count);
    visitor_start(v, s->sim, &s->at, &from);
    return v;
}

static bool all_over(void *data)
{
    struct shelf *s = data;

    for (unsigned i = 0; i < s->count; i++)
        if (!visitor_done(&s->visitors[i]))
            return false;
    return true;
}

static uint64_t served(const struct telling *t)
{
    struct shelf s;

    shelf_begin(&s, t, SIM_ALL & ~(unsigned)SIM_DISK);
    for (unsigned i = 0; i < VISITORS_MAX - 1; i++)
        visitor_new(&s, 1 + (unsigned)sim_random(s.sim, 10), 0);
    EXPECT(sim_run(s.sim, all_over, &s, 3600 * NS_PER_S), "the answers come");
    for (unsigned i = 0; i < s.count; i++)
        visitor_expect_all(&s.visitors[i]);
    return gateway_end(&s.gateway);
}

/* The disk fails, descriptors and memory run short: errors, and no wrong bytes. */
static uint64_t troubled(const struct telling *t)
{
    struct shelf s;
    uint64_t dice;

    shelf_begin(&s, t, SIM_ALL);
    dice = sim_random(s.sim, 3);
    if (dice == 0)
        sim_descriptors(s.sim, sim_descriptors_used(s.sim) + 2 + (unsigned)sim_random(s.sim, 4));
    for (unsigned i = 0; i < VISITORS_MAX - 1; i++)
        visitor_new(&s, 1 + (unsigned)sim_random(s.sim, 10), 500);
    if (dice == 1)
        mem_fail_at(1 + sim_random(s.sim, 60), sim_random(s.sim, 6));
    sim_run_for(s.sim, 2 * NS_PER_S);
    mem_fail_at(0, 0);
    sim_descriptors(s.sim, 0);
    EXPECT(sim_run(s.sim, all_over, &s, 3600 * NS_PER_S), "nobody waits forever");
    return gateway_end(&s.gateway);
}

static void expect_kept(struct visitor *v, const struct ask *ask, const struct answer *a)
{
    struct span tag = answer_field(a, "ETag");

    (void)v;
    /* One state of the file or the other, never a mixture. */
    if (a->status == 200 && !ask->head)
        EXPECT(tag.ptr &&
                   (pattern_is(a->content, LARGE, 1) || pattern_is(a->content, LARGE / 2, 1) ||
                    pattern_is(a->content, LARGE * 2 / 3, 2)),
               "%zu bytes", a->content.len);
}

/* A file is cut and written anew while it is sent: who gets a whole answer
 * gets what once was, the others see that it is not all. */
static uint64_t changing(const struct telling *t)
{
    struct shelf s;
    struct visitor *v;

    shelf_begin(&s, t, SIM_ALL & ~(unsigned)SIM_DISK);
    v = &s.visitors[s.count++];
    v->checked = expect_kept;
    for (unsigned i = 0; i < 6; i++)
        visitor_ask(v, (struct ask){.request = "GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n",
                                    .status = 200,
                                    .may_cut = true});
    struct address from = story_address("203.0.113.8:3000");
    visitor_start(v, s.sim, &s.at, &from);
    sim_read(v->peer, 20000, NS_PER_MS);
    for (unsigned i = 0; i < 3; i++) {
        sim_run_for(s.sim, sim_random(s.sim, 100 * NS_PER_MS));
        sim_file_put(s.sim, "/site/large.bin", (struct span){large, LARGE / 2});
        sim_run_for(s.sim, sim_random(s.sim, 100 * NS_PER_MS));
        sim_file_put(s.sim, "/site/large.bin", (struct span){large, LARGE});
    }
    EXPECT(sim_run(s.sim, all_over, &s, 3600 * NS_PER_S), "it is answered or cut");
    return gateway_end(&s.gateway);
}

/* Clients that take nothing are cut off while their file is with the engine, and
 * the cache has another of that name already: it stays open until the engine is done. */
static uint64_t abandoned(const struct telling *t)
{
    struct shelf s;
    struct address from = story_address("203.0.113.8:3000");

    shelf_begin(&s, t, SIM_SHORT | SIM_RACES | SIM_NARROW);
    for (unsigned i = 0; i < 8; i++) {
        from.port++;
        struct sim_peer *peer = sim_connect(s.sim, &s.at, &from);
        sim_read(peer, 0, 0);
        sim_say(peer, SPAN("GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n"));
        sim_run_for(s.sim, 1500 * NS_PER_MS);
    }
    gateway_stop(&s.gateway);
    gateway_close(&s.gateway, 10 * NS_PER_S);
    return sim_end(s.sim);
}

const struct story static_stories[] = {
    {"static.served", "files as they are, in whole or in part", served, 3},
    {"static.troubled", "a failing disk gives errors, not wrong bytes", troubled, 4},
    {"static.changing", "a file that changes is never sent as a whole one", changing, 0},
    {"static.abandoned", "a file stays open as long as it is being sent", abandoned, 0},
    {0},
};
