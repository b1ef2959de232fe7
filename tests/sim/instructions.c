/* Fixed scripts for counting instructions: `instructions`.
 *
 * Each is played to the whole gateway in a world without faults: some requests
 * that warm it up, then many between two calls of functions whose only purpose
 * is their names: a profiler counts from the one to the other, so that what is
 * done once does not count.  There are neither sockets nor time in it, so that the
 * count is the same every time.  tests/bench/instructions.py runs this.
 *
 * Standard output has a line for each script, in order: its name, and for how many
 * requests it was counted.
 */
#include "tests/sim/gateway.h"
#include "tests/sim/visitor.h"

#include "base/mem.h"
#include "http/h1_parse.h"

#include <stdlib.h>

enum { USERS = 64, PIPELINED = 16, WARM = 128, COUNTED = 512, CONTENT = 1024, LONG_HEAD = 697 };

static const char config_text[] =
    "[listener web]\nlisten = 192.0.2.1:80\n"
    "[module 1mrc]\nenabled = yes\n"
    "[upstream one]\nserver = 198.51.100.1:80\n"
    "[route plain]\npath = /plain\nhandler = respond\nbody = Hello, world!\n"
    "[route api]\npath = /api\nhandler = forward\nupstream = one\n";

struct script {
    const char *name;
    struct span (*request)(struct arena *arena, unsigned number);
    unsigned at_once; /* requests on their way at the same time */
    bool closes;      /* a connection for each */
};

struct player {
    struct sim *sim;
    const struct script *script;
    struct arena arena;
    struct gateway gateway;
    struct sim_origin origin;
    struct sim_peer *client;
    struct address at, from;
    struct span requests[USERS]; /* as many as are said at once */
    unsigned asked, answered, until;
    size_t answer_len; /* all have the same */
};

/* --- what is asked ------------------------------------------------------------------------ */

static struct span plain(struct arena *arena, unsigned number)
{
    (void)arena;
    (void)number;
    return SPAN("GET /plain HTTP/1.1\r\nHost: localhost\r\n\r\n");
}

static struct span plain_closing(struct arena *arena, unsigned number)
{
    (void)arena;
    (void)number;
    return SPAN("GET /plain HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
}

/* What a browser says. */
static struct span long_head(struct arena *arena, unsigned number)
{
    (void)arena;
    (void)number;
    return SPAN(
        "GET /plain?from=measuring-what-nobody-reads&page=2&sort=newest&more= HTTP/1.1\r\n"
        "Host: www.example.com\r\n"
        "Connection: keep-alive\r\n"
        "Cache-Control: max-age=0\r\n"
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/124.0.0.0 Safari/537.36\r\n"
        "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8\r\n"
        "Referer: https://www.example.com/articles/2026/11/\r\n"
        "Accept-Encoding: gzip, deflate, br\r\n"
        "Accept-Language: en-US,en;q=0.9,de;q=0.8\r\n"
        "Cookie: session=6fc0b1a87e5d4c3b9a28171605f4e3d2; theme=dark; consent=all; "
        "last=2026-11-23T04%3A22%3A22Z; seen=17,18,19,20,21,22,23\r\n"
        "Sec-Fetch-Mode: navigate\r\n"
        "Priority: u=0, i\r\n"
        "If-None-Match: \"5f3c-18e1b2c3d4e5f\"\r\n\r\n");
}

static struct span event(struct arena *arena, unsigned number)
{
    struct span content = arena_print(arena, "{\"userId\":\"user_%u\",\"value\":%u.5}",
                                      70000 + number, 100 + number * 7);

    return arena_print(arena,
                       "POST /event HTTP/1.1\r\nHost: localhost:8080\r\n"
                       "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%.*s",
                       content.len, SPAN_ARG(content));
}

static struct span forwarded(struct arena *arena, unsigned number)
{
    (void)arena;
    (void)number;
    return SPAN("GET /api HTTP/1.1\r\nHost: localhost\r\n\r\n");
}

static struct span posted(struct arena *arena, unsigned number)
{
    char content[CONTENT];

    pattern_fill(content, CONTENT, number);
    return arena_print(arena,
                       "POST /api HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%.*s",
                       CONTENT, CONTENT, content);
}

static const struct script scripts[] = {
    {"static", plain, 1, false},
    {"static_pipelined", plain, PIPELINED, false},
    {"long_head", long_head, 1, false},
    {"connection_each", plain_closing, 1, true},
    {"event", event, 1, false},
    {"event_pipelined", event, PIPELINED, false},
    {"forward_13_bytes", forwarded, 1, false},
    {"forward_post_1_kib", posted, 1, false},
};

/* --- the far ends --------------------------------------------------------------------------- */

static void ask(struct player *p);

/* Whatever was asked, the origin answers when it is all there. */
static void origin_news(struct sim_peer *peer)
{
    char room[2 * CONTENT];
    struct asked r;

    while (asked_read(sim_heard(peer), room, &r) == 1) {
        peer->len -= r.message.len;
        EXPECT(peer->len == 0, "one request at a time");
        sim_say(peer, SPAN("HTTP/1.1 200 OK\r\nServer: origin\r\n"
                           "Content-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!"));
    }
}

static void origin_accepted(struct sim_origin *origin, struct sim_peer *peer)
{
    (void)origin;
    peer->news = origin_news;
}

static void client_news(struct sim_peer *peer)
{
    struct player *p = peer->data;

    EXPECT(!peer->reset && !peer->refused, "a connection");
    if (p->answer_len == 0) {
        char room[2 * CONTENT];
        struct answer a;
        if (answer_read(sim_heard(peer), false, peer->ended, room, &a) != 1)
            return;
        EXPECT(a.status == 200, "%.*s", SPAN_ARG(a.head));
        p->answer_len = a.len;
    }
    if (p->script->closes && !(peer->ended && peer->len))
        return;
    p->answered += (unsigned)(peer->len / p->answer_len);
    peer->len %= p->answer_len;
    if (p->script->closes && !peer->closed)
        sim_close(peer);
    ask(p);
}

static void connect_client(struct player *p)
{
    p->from.port++;
    p->client = sim_connect(p->sim, &p->at, &p->from);
    p->client->news = client_news;
    p->client->data = p;
}

/* When all that was asked is answered, the next are. */
static void ask(struct player *p)
{
    if (p->asked != p->answered || p->asked == p->until)
        return;
    if (!p->client || p->script->closes)
        connect_client(p);
    unsigned group = p->asked / p->script->at_once % (USERS / p->script->at_once);
    p->asked += p->script->at_once;
    sim_say(p->client, p->requests[group]);
}

/* --- playing --------------------------------------------------------------------------------- */

__attribute__((noinline)) void counting_begins(void);
__attribute__((noinline)) void counting_ends(void);

void counting_begins(void)
{
    __asm__ volatile("");
}

void counting_ends(void)
{
    __asm__ volatile("");
}

static bool answered(void *data)
{
    const struct player *p = data;

    return p->answered == p->until;
}

static void play(struct player *p, unsigned requests)
{
    p->until += requests;
    ask(p);
    EXPECT(sim_run(p->sim, answered, p, 600 * NS_PER_S), "%s: %u answers of %u", p->script->name,
           p->answered, p->until);
}

static void requests_make(struct player *p)
{
    for (unsigned i = 0; i < USERS; i++) {
        struct span text = p->script->request(&p->arena, i),
                    *all = &p->requests[i / p->script->at_once];
        EXPECT(p->script->request != long_head || text.len == LONG_HEAD, "%zu bytes", text.len);
        *all = i % p->script->at_once ? arena_join(&p->arena, *all, text) : text;
    }
}

static void script_play(const struct script *script)
{
    struct sim_options options = {.seed = 1};
    struct player *p = calloc(1, sizeof *p);

    EXPECT(p, "memory");
    *p = (struct player){
        .sim = sim_new(&options),
        .script = script,
        .origin = {.at = story_address("198.51.100.1:80"), .accepted = origin_accepted},
        .at = story_address("192.0.2.1:80"),
        .from = story_address("203.0.113.5:6000")};
    requests_make(p);
    sim_origin_add(p->sim, &p->origin);
    gateway_open(&p->gateway, p->sim, config_text, 1);
    play(p, WARM);
    counting_begins();
    play(p, COUNTED);
    counting_ends();
    printf("%s %s %d\n", h1_scanner_name(), script->name, COUNTED);
    sim_close(p->client);
    arena_free(&p->arena);
    gateway_end(&p->gateway);
    free(p);
}

int main(void)
{
    static const char *const scanners[] = {"scalar", "avx2"};

    for (size_t s = 0; s < COUNT_OF(scanners); s++)
        for (size_t i = 0; i < COUNT_OF(scripts) && h1_scanner_use(span_of(scanners[s])); i++)
            script_play(&scripts[i]);
    return 0;
}
