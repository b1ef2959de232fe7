/* Every row of the list of failures that the other stories meet by chance, or not at all: one
 * client provokes it, it is counted once, and who can be told is told. */
#include "config.h"
#include "tests/sim/gateway.h"
#include "tests/sim/origin.h"
#include "tests/sim/toy.h"
#ifdef HAVE_HTTP2
#include "http/h2_frame.h"
#endif

#include "base/mem.h"

#define ASK(line, fields)      line " HTTP/1.1\r\nHost: a\r\n" fields "\r\n"
#define ASK_CHUNKS(line, rest) ASK(line, "Transfer-Encoding: chunked\r\n") rest

static const char config_text[] =
    "[server]\nreload_timeout = 1s\naccess_log = /dev/null\n"
    "[listener web]\nlisten = 192.0.2.1:80\nmax_request_line = 200b\nmax_fields = 10\n"
    "h2_max_streams = 2\nh2_resets = 5/10s\nh2_control = 20/10s\n"
    "[listener balanced]\nlisten = 192.0.2.1:81\nproxy_protocol = any\ntrusted = 203.0.113.0/24\n"
    "[listener strange]\nlisten = 192.0.2.1:82\nproxy_protocol = any\ntrusted = 192.0.2.0/24\n"
    "[upstream u]\nserver = 198.51.100.1:80\nfirst_byte_timeout = 20s\n"
    "[upstream one]\nserver = 198.51.100.1:80 max_in_flight=1\nqueue = 1 timeout=1s\n"
    "[upstream secure]\nserver = https://198.51.100.2:443\n"
    "[route files]\npath = /files/*\nstrip_prefix = /files\nhandler = static\nroot = /site\n"
    "[route one]\npath = /one/*\nstrip_prefix = /one\nhandler = forward\nupstream = one\n"
    "[route secure]\npath = /secure\nhandler = forward\nupstream = secure\n"
    "[route all]\nhandler = forward\nupstream = u\n";

struct row {
    enum cause cause;
    int status; /* that the client hears; 0: none, 200: what has begun may have gone out */
    const char *to, *text;
};

static const struct row rows[] = {
    {CAUSE_bad_request_line, 400, "192.0.2.1:80", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"},
    {CAUSE_bad_path, 400, "192.0.2.1:80", ASK("GET /a%00", "")},
    {CAUSE_bad_header, 400, "192.0.2.1:80", ASK("GET /", "A : b\r\n")},
    {CAUSE_bad_host, 400, "192.0.2.1:80", ASK("GET /", "Host: b\r\n")},
    {CAUSE_unknown_coding, 501, "192.0.2.1:80",
     ASK("POST /length/1/1", "Transfer-Encoding: gzip, chunked\r\n")},
    {CAUSE_unknown_version, 505, "192.0.2.1:80", "GET / HTTP/3.0\r\nHost: a\r\n\r\n"},
    {CAUSE_content_too_large, 413, "192.0.2.1:80",
     ASK("POST /length/1/1", "Content-Length: 9999999\r\n")},
    {CAUSE_header_timeout, 408, "192.0.2.1:80", "GET / HTTP/1.1\r\n"},
    {CAUSE_method_not_allowed, 405, "192.0.2.1:80", ASK("CONNECT a:80", "")},
    {CAUSE_not_found, 404, "192.0.2.1:80", ASK("GET /files/none", "")},
    {CAUSE_range_not_satisfiable, 416, "192.0.2.1:80",
     ASK("GET /files/file", "Range: bytes=9-\r\n")},
    {CAUSE_bad_target, 400, "192.0.2.1:80", ASK("GET ftp://a/", "")},
    {CAUSE_bad_framing, 400, "192.0.2.1:80",
     ASK("POST /length/1/1", "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n")},
    {CAUSE_bad_chunk, 400, "192.0.2.1:80", ASK_CHUNKS("POST /length/2/1", "zz\r\n")},
    {CAUSE_expectation_failed, 417, "192.0.2.1:80", ASK("GET /length/3/1", "Expect: much\r\n")},
    {CAUSE_too_many_fields, 431, "192.0.2.1:80",
     ASK("GET /length/4/1", "A:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\n")},
    {CAUSE_body_too_slow, 408, "192.0.2.1:80",
     ASK("POST /length/5/1", "Content-Length: 9999\r\n") "that is all"},
    {CAUSE_proxy_untrusted, 0, "192.0.2.1:82", ASK("GET /length/6/1", "")},
    {CAUSE_bad_proxy_header, 0, "192.0.2.1:81", ASK("GET /length/7/1", "")},
    {CAUSE_precondition_failed, 412, "192.0.2.1:80",
     ASK("GET /files/file", "If-Match: \"other\"\r\n")},
    {CAUSE_loop_detected, 508, "192.0.2.1:80",
     ASK("GET /length/8/1", "Via: 1.1 headgate, 1.1 headgate, 1.1 headgate, 1.1 headgate,"
                            "1.1 headgate, 1.1 headgate, 1.1 headgate, 1.1 headgate, 1.1 headgate"
                            "\r\n")},
    {CAUSE_upstream_reset_before_head, 502, "192.0.2.1:80", ASK("GET /reset_before/1/0", "")},
    {CAUSE_upstream_bad_head, 502, "192.0.2.1:80", ASK("GET /garbage/1/0", "")},
    {CAUSE_upstream_head_too_large, 502, "192.0.2.1:80", ASK("GET /large_head/1/0", "")},
    {CAUSE_upstream_head_timeout, 504, "192.0.2.1:80", ASK("GET /silent/1/0", "")},
    {CAUSE_upstream_bad_chunk, 200, "192.0.2.1:80", ASK("GET /bad_chunk/1/900", "")},
    {CAUSE_upstream_truncated_body, 200, "192.0.2.1:80", ASK("GET /close_in_content/1/900", "")},
    {CAUSE_upstream_idle_timeout, 200, "192.0.2.1:80", ASK("GET /stuck/1/900", "")},
    {CAUSE_upstream_tls_failed, 502, "192.0.2.1:80", ASK("GET /secure", "")},
    {CAUSE_upstream_upgrade_refused, 502, "192.0.2.1:80", ASK("GET /tunnel/9/0", "")},
};

struct scene {
    struct sim *sim;
    struct gateway gateway;
    struct origins origins;
    struct sim_origin secure;
    unsigned clients;
    /* What is waited for. */
    enum cause cause;
    uint64_t before;
};

static void nonsense(struct sim_origin *origin, struct sim_peer *peer)
{
    (void)origin;
    sim_say(peer, SPAN("this is no TLS"));
}

static uint64_t counted(const struct scene *s, enum cause cause)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < s->gateway.gate.worker_count; i++)
        n += s->gateway.gate.workers[i].stats.causes[cause];
    return n;
}

static bool is_counted(void *data)
{
    const struct scene *s = data;

    return counted(s, s->cause) > s->before;
}

/* In the clear: what TLS is spoken to, and what a balancer begins with. */
static struct sim_peer *plain_client(struct scene *s, const char *to)
{
    struct address at = story_address(to), from = story_address("203.0.113.9:5000");

    from.port = (uint16_t)(from.port + s->clients++);
    struct sim_peer *peer = sim_connect(s->sim, &at, &from);
    peer->codec = NULL;
    return peer;
}

static struct sim_peer *client(struct scene *s, const char *to, struct span says)
{
    struct sim_peer *peer = plain_client(s, to);

    peer->codec = s->gateway.tls ? &toy_codec : NULL;
    sim_say(peer, says);
    return peer;
}

static void expect(struct scene *s, enum cause cause)
{
    s->cause = cause;
    s->before = 0;
    EXPECT(sim_run(s->sim, is_counted, s, 120 * NS_PER_S), "%.*s does not happen",
           SPAN_ARG(cause_row(cause)->name));
}

static bool names(struct span heard, struct span name)
{
    for (; heard.len >= name.len; heard = span_after(heard, 1))
        if (span_starts(heard, name))
            return true;
    return false;
}

static void expect_status(struct scene *s, const struct sim_peer *peer, int status,
                          enum cause cause)
{
    char begin[32];
    struct span name = cause_row(cause)->name;

    sim_run_for(s->sim, NS_PER_S);
    EXPECT(counted(s, cause) == 1, "%.*s is counted %llu times", SPAN_ARG(name),
           (unsigned long long)counted(s, cause));
    if (status == 0) {
        EXPECT(peer->len == 0, "%.*s is answered %.*s", SPAN_ARG(name), (int)peer->len, peer->text);
        return;
    }
    if (status == 200)
        return;
    snprintf(begin, sizeof begin, "HTTP/1.1 %d ", status);
    EXPECT(span_starts(sim_heard(peer), span_of(begin)), "%.*s: %.*s", SPAN_ARG(name),
           (int)peer->len, peer->text);
    EXPECT(status < 500 || names(sim_heard(peer), name), "%.*s is not named: %.*s", SPAN_ARG(name),
           (int)peer->len, peer->text);
}

static void scene_begin(struct scene *s, const struct telling *t, unsigned faults)
{
    *s = (struct scene){.sim = story_world(t, faults)};
    origins_open(&s->origins, s->sim);
    origins_add(&s->origins, "198.51.100.1:80");
    s->secure = (struct sim_origin){.at = story_address("198.51.100.2:443"), .accepted = nonsense};
    sim_origin_add(s->sim, &s->secure);
    sim_file_put(s->sim, "/site/file", SPAN("file"));
    gateway_open(&s->gateway, s->sim, config_text, 1);
}

static uint64_t scene_end(struct scene *s)
{
    gateway_drain(&s->gateway);
    gateway_close(&s->gateway, 120 * NS_PER_S);
    origins_close(&s->origins);
    log_set((struct log_sink){0}, LOG_ERROR);
    return sim_end(s->sim);
}

static uint64_t by_request(const struct telling *telling)
{
    struct scene s;
    static char large[40000];
    char line[300];

    scene_begin(&s, telling, SIM_SHORT | SIM_RACES);
    for (unsigned i = 0; i < COUNT_OF(rows); i++) {
        const struct row *r = &rows[i];
        bool bare = r->cause == CAUSE_proxy_untrusted || r->cause == CAUSE_bad_proxy_header;
        struct sim_peer *peer =
            bare ? plain_client(&s, r->to) : client(&s, r->to, span_of(r->text));
        if (bare)
            sim_say(peer, span_of(r->text));
        expect(&s, r->cause);
        expect_status(&s, peer, r->status, r->cause);
    }
    memset(line, 'x', sizeof line);
    memcpy(line, "GET /", 5);
    struct sim_peer *peer = client(&s, "192.0.2.1:80", (struct span){line, sizeof line});
    expect(&s, CAUSE_request_line_too_long);
    expect_status(&s, peer, 414, CAUSE_request_line_too_long);
    memset(large, 'x', sizeof large);
    memcpy(large, "GET / HTTP/1.1\r\nX:", 18);
    peer = client(&s, "192.0.2.1:80", (struct span){large, sizeof large});
    expect(&s, CAUSE_header_too_large);
    expect_status(&s, peer, 431, CAUSE_header_too_large);
    return scene_end(&s);
}

/* One has the only place, the next waits in vain, and the third may not even wait. */
static uint64_t by_place(const struct telling *telling)
{
    static const struct span ask = SPAN_INIT(ASK("GET /one/silent/1/0", ""));
    struct sim_peer *peers[3];
    struct scene s;

    scene_begin(&s, telling, SIM_SHORT | SIM_RACES);
    for (unsigned i = 0; i < 3; i++) {
        peers[i] = client(&s, "192.0.2.1:80", ask);
        sim_run_for(s.sim, 200 * NS_PER_MS);
    }
    expect_status(&s, peers[2], 503, CAUSE_queue_full);
    expect(&s, CAUSE_queue_timeout);
    expect_status(&s, peers[1], 504, CAUSE_queue_timeout);
    gateway_reload(&s.gateway, config_text); /* the first still waits for an answer */
    expect(&s, CAUSE_reloaded);
    expect_status(&s, peers[0], 503, CAUSE_reloaded);
    return scene_end(&s);
}

/* One has the only place, and the next does not wait for it to the end. */
static uint64_t by_leaving(const struct telling *telling)
{
    static const struct span ask = SPAN_INIT(ASK("GET /one/silent/1/0", ""));
    struct scene s;

    scene_begin(&s, telling, SIM_SHORT | SIM_RACES);
    struct sim_peer *first = client(&s, "192.0.2.1:80", ask);
    sim_run_for(s.sim, 200 * NS_PER_MS);
    struct sim_peer *next = client(&s, "192.0.2.1:80", ask);
    if (sim_random(s.sim, 2))
        sim_pause(next, 200 * NS_PER_MS);
    sim_close(next);
    expect(&s, CAUSE_client_gone);
    gateway_reload(&s.gateway, config_text);
    expect(&s, CAUSE_reloaded);
    expect_status(&s, first, 503, CAUSE_reloaded);
    return scene_end(&s);
}

/* Who speaks otherwise where TLS is spoken. */
static uint64_t by_handshake(const struct telling *telling)
{
    struct scene s;

    scene_begin(&s, telling, SIM_RACES); /* what it is must come whole to be told */
    if (s.gateway.tls) {
        struct sim_peer *peer = plain_client(&s, "192.0.2.1:80");
        sim_say(peer, SPAN("no hello"));
        sim_finish(peer);
        expect(&s, CAUSE_tls_failed);
        peer = plain_client(&s, "192.0.2.1:80");
        sim_say(peer, SPAN(ASK("GET /", "")));
        expect(&s, CAUSE_plain_on_tls);
        expect_status(&s, peer, 400, CAUSE_plain_on_tls);
    }
    return scene_end(&s);
}

/* --- HTTP/2 ------------------------------------------------------------------------------------
 */

#ifdef HAVE_HTTP2
struct said {
    char text[60000];
    size_t len;
};

static void say_frame(struct said *s, struct h2_frame f, struct span payload)
{
    f.len = (uint32_t)payload.len;
    EXPECT(s->len + H2_FRAME_HEAD + payload.len <= sizeof s->text, "room");
    h2_frame_write(s->text + s->len, f);
    memcpy(s->text + s->len + H2_FRAME_HEAD, payload.ptr, payload.len);
    s->len += H2_FRAME_HEAD + payload.len;
}

static void say_number(struct said *s, uint8_t type, uint32_t stream, uint32_t n)
{
    char four[4];

    h2_put32(four, n);
    say_frame(s, (struct h2_frame){.type = type, .stream = stream}, (struct span){four, 4});
}

/* Pairs of name and value, up to NULL, without indexing. */
static void say_head(struct said *s, uint32_t stream, uint8_t flags, const char *const *fields)
{
    char block[300];
    size_t n = 0;

    while (*fields) {
        block[n++] = 0;
        for (unsigned i = 0; i < 2; i++, fields++) {
            size_t len = strlen(*fields);
            block[n++] = (char)len;
            memcpy(block + n, *fields, len);
            n += len;
        }
    }
    say_frame(s, (struct h2_frame){.type = H2_HEADERS, .flags = flags, .stream = stream},
              (struct span){block, n});
}

#define GET_FIELDS ":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/silent/1/0"

static void say_what_breaks(struct said *s, enum cause cause)
{
    static const char *const get[] = {GET_FIELDS, NULL};
    static const char *const odd[] = {GET_FIELDS, "connection", "close", NULL};
    static const char *const tunnel[] = {":method", "CONNECT",     ":protocol",  "other",
                                         ":scheme", "http",        ":authority", "a",
                                         ":path",   "/tunnel/1/0", NULL};
    const uint8_t whole = H2_FLAG_END_STREAM | H2_FLAG_END_HEADERS;

    switch (cause) {
    case CAUSE_h2_window_exceeded:
        say_number(s, H2_WINDOW_UPDATE, 0, H2_WINDOW_MAX);
        break;
    case CAUSE_h2_malformed:
        say_head(s, 1, whole, odd);
        break;
    case CAUSE_h2_refused:
        for (uint32_t i = 0; i < 3; i++)
            say_head(s, 1 + 2 * i, whole, get);
        break;
    case CAUSE_h2_reset_flood:
        for (uint32_t i = 0; i < 10; i++) {
            say_head(s, 1 + 2 * i, whole, get);
            say_number(s, H2_RST_STREAM, 1 + 2 * i, H2_CANCEL);
        }
        break;
    case CAUSE_h2_control_flood:
        for (unsigned i = 0; i < 40; i++)
            say_frame(s, (struct h2_frame){.type = H2_PING}, SPAN("12345678"));
        break;
    case CAUSE_h2_header_flood:
        say_head(s, 1, H2_FLAG_END_STREAM, get);
        for (unsigned i = 0; i < 3000; i++)
            say_frame(s, (struct h2_frame){.type = H2_CONTINUATION, .stream = 1}, SPAN("\x88"));
        break;
    default:
        say_head(s, 1, H2_FLAG_END_HEADERS, tunnel);
    }
}

static uint64_t by_frames(const struct telling *telling)
{
    static const enum cause causes[] = {
        CAUSE_h2_window_exceeded,  CAUSE_h2_malformed,     CAUSE_h2_refused,
        CAUSE_h2_reset_flood,      CAUSE_h2_control_flood, CAUSE_h2_header_flood,
        CAUSE_upgrade_not_allowed,
    };
    struct scene s;

    scene_begin(&s, telling, SIM_SHORT | SIM_RACES);
    for (unsigned i = 0; i < COUNT_OF(causes); i++) {
        struct said said = {.len = 0};
        memcpy(said.text, H2_PREFACE_TEXT.ptr, said.len = H2_PREFACE);
        say_frame(&said, (struct h2_frame){.type = H2_SETTINGS}, SPAN(""));
        say_what_breaks(&said, causes[i]);
        struct sim_peer *peer = client(&s, "192.0.2.1:80", (struct span){said.text, said.len});
        expect(&s, causes[i]);
        sim_reset(peer);
    }
    return scene_end(&s);
}
#endif

const struct story causes_stories[] = {
    {"causes.requests", "what is wrong with a request is named", by_request, 0},
    {"causes.places", "who has no place, or no time, is told which", by_place, 0},
    {"causes.leaving", "who goes while it waits is gone", by_leaving, 0},
    {"causes.handshakes", "who does not speak TLS where it is spoken is counted", by_handshake, 0},
#ifdef HAVE_HTTP2
    {"causes.frames", "who breaks HTTP/2 is named for how", by_frames, 0},
#endif
    {0},
};
