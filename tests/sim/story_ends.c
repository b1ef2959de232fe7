/* Handlers that end an answer otherwise than they announced: it must not look whole, whatever
 * is spoken.  The modules of the program see to that themselves; these do not. */
#include "config.h"
#include "tests/sim/gateway.h"

#include "gate/module.h"
#ifdef HAVE_HTTP2
#include "tests/sim/caller.h"
#endif

enum { SAID_MAX = 1000 };

/* --- a handler that makes mistakes ------------------------------------------------------------ */

struct ending {
    const char *path;
    uint64_t length; /* announced */
    uint32_t says;   /* bytes */
    bool fails;      /* at the end of them */
};

static const struct ending endings[] = {
    {"/short", 100, 40, false},       {"/fails", 100, 40, true},   {"/long", 40, 100, false},
    {"/breaks", VALUE_OFF, 40, true}, {"/nothing", 100, 0, false}, {"/fails-at-once", 100, 0, true},
};

static const struct ending *ending_of(struct exchange *x)
{
    struct span uri = exchange_uri(x);

    for (unsigned i = 0; i < COUNT_OF(endings); i++)
        if (span_equal(uri, span_of(endings[i].path)))
            return &endings[i];
    EXPECT(false, "%.*s", SPAN_ARG(uri));
    return NULL;
}

/* First what it says, then, when it is called again, the end. */
static void ends_answer(struct exchange *x)
{
    static const char text[SAID_MAX];
    const struct ending *e = ending_of(x);

    if (!response_started(x)) {
        respond_start(x, 200, e->length);
        EXPECT(flow_write(&x->response_content, (struct span){text, e->says}) == e->says, "room");
    } else if (e->fails) {
        flow_break(&x->response_content, FAIL_RESET);
    } else {
        respond_end(x);
    }
}

static void ends_hello(struct exchange *x)
{
    respond(x, 200, SPAN("hello"));
}

static const struct handler ends = {.name = "ends", .answer = ends_answer};
static const struct handler hello = {.name = "hello", .answer = ends_hello};
static const struct module ends_module = {
    .name = "ends", .handlers = (const struct handler *const[]){&ends, &hello, NULL}};
static const struct module *const modules[] = {&ends_module, NULL};

static const char config_text[] = "[listener web]\nlisten = 192.0.2.1:80\n"
                                  "[route hello]\npath = /hello\nhandler = hello\n"
                                  "[route all]\nhandler = ends\n";

static void begin(struct gateway *g, const struct telling *t)
{
    struct sim *sim = story_world(t, SIM_SHORT | SIM_RACES | SIM_STALLS);

    gateway_modules(modules);
    gateway_open(g, sim, config_text, 1);
}

static void end(struct gateway *g)
{
    gateway_drain(g);
    gateway_close(g, 120 * NS_PER_S);
    log_set((struct log_sink){0}, LOG_ERROR);
    gateway_modules(NULL);
}

/* --- the stories ------------------------------------------------------------------------------ */

static unsigned count(struct span text, const char *what)
{
    unsigned n = 0;

    for (size_t len = strlen(what); text.len >= len; text = span_after(text, 1))
        n += memcmp(text.ptr, what, len) == 0;
    return n;
}

/* Over HTTP/1 the connection ends; with a reset where its end alone would end the content. */
static uint64_t over_h1(const struct telling *t)
{
    struct gateway g;
    struct address at = story_address("192.0.2.1:80"), from = story_address("203.0.113.9:6000");

    begin(&g, t);
    const struct ending *e = &endings[sim_random(g.sim, COUNT_OF(endings))];
    bool old = sim_random(g.sim, 3) == 0, unknown = e->length == VALUE_OFF;
    char ask[100];
    int n = snprintf(ask, sizeof ask, "GET %s HTTP/1.%d\r\nHost: a\r\n%s\r\n", e->path, !old,
                     old ? "Connection: keep-alive\r\n" : "");
    struct sim_peer *peer = sim_connect(g.sim, &at, &from);
    sim_say(peer, (struct span){ask, (size_t)n});
    sim_say(peer, SPAN("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"));
    sim_run_for(g.sim, 10 * NS_PER_S);
    struct span heard = sim_heard(peer);
    unsigned answers = count(heard, "HTTP/1.1 200");
    EXPECT(answers == 1 || (answers == 0 && peer->reset), "%s: it has begun", e->path);
    EXPECT(count(heard, "hello") == 0, "%s: nothing comes behind it", e->path);
    const char *end_of_head = memmem(heard.ptr, heard.len, "\r\n\r\n", 4);
    size_t head = end_of_head ? (size_t)(end_of_head + 4 - heard.ptr) : heard.len;
    EXPECT(heard.len - head <= e->length, "%s: %zu bytes are said", e->path, heard.len - head);
    EXPECT(count(heard, "\r\n0\r\n\r\n") == 0, "%s: the last chunk is not said", e->path);
    EXPECT(peer->ended || peer->reset, "%s: the connection ends", e->path);
    EXPECT(!(old && unknown) || peer->reset, "%s: the end of the connection does not end it",
           e->path);
    end(&g);
    return sim_end(g.sim);
}

#ifdef HAVE_HTTP2
static bool is_over(void *data)
{
    return caller_done(data);
}

/* Over HTTP/2 the stream is reset, and the others go on. */
static uint64_t over_h2(const struct telling *t)
{
    static struct caller caller;
    struct gateway g;
    struct address at = story_address("192.0.2.1:80"), from = story_address("203.0.113.9:6000");

    begin(&g, t);
    caller = (struct caller){.at_once = 1 + (unsigned)sim_random(g.sim, 10),
                             .first_window = sim_random(g.sim, 2) ? 30 : 65535,
                             .sloppy = sim_random(g.sim, 2)};
    for (unsigned i = 0; i < COUNT_OF(endings); i++) {
        caller_asks(&caller, (struct call){.method = "GET",
                                           .path = endings[i].path,
                                           .status = 200,
                                           .content_len = SIZE_MAX,
                                           .may_cut = true});
        caller_asks(&caller, (struct call){.method = "GET",
                                           .path = "/hello",
                                           .status = 200,
                                           .text = "hello",
                                           .content_len = 5});
    }
    caller_start(&caller, g.sim, &at, &from);
    EXPECT(sim_run(g.sim, is_over, &caller, 60 * NS_PER_S), "all is over");
    for (unsigned i = 0; i < caller.count; i++)
        EXPECT(caller.calls[i].cut == (i % 2 == 0), "%s is %s", caller.calls[i].path,
               caller.calls[i].cut ? "cut" : "whole");
    for (unsigned i = 0; i < COUNT_OF(endings); i++)
        EXPECT(caller.calls[2 * i].heard <= endings[i].length, "%s: %zu bytes are said",
               endings[i].path, caller.calls[2 * i].heard);
    end(&g);
    caller_end(&caller);
    return sim_end(g.sim);
}
#endif

const struct story ends_stories[] = {
    {"ends.h1", "an answer that did not end as announced is cut off", over_h1, 0},
#ifdef HAVE_HTTP2
    {"ends.h2", "the same over HTTP/2, and other streams go on", over_h2, 0},
#endif
    {0},
};
