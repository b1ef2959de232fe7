/* HTTP/2 from a client through the whole gateway, in the simulator: session, exchanges and
 * flows, over HTTP/1 to an origin and back, with whatever faults the input chooses.
 *
 * Whatever it is, what reaches the origin is a message of HTTP/1 and nothing behind it, the next
 * client is served, and nothing is left in the end.
 */
#include "http/h1_content.h"
#include "tests/fuzz/fuzz.h"
#include "tests/sim/caller.h"
#include "tests/sim/gateway.h"

#include <stdlib.h>

const char *const fuzz_corpus[] = {"http/h2.txt", NULL};
const unsigned fuzz_mutations = 5000; /* each is a world */

static const char config[] = "[listener web]\nlisten = 192.0.2.1:80\nheader_timeout = 2s\n"
                             "keepalive_timeout = 3s\nwrite_timeout = 2s\nh2_window = 64k\n"
                             "[upstream one]\nserver = 198.51.100.1:80\nidle_timeout = 2s\n"
                             "first_byte_timeout = 2s\neject_failures = off\n"
                             "[route hello]\npath = /hello\nhandler = respond\nbody = hello\n"
                             "[route all]\nhandler = forward\nupstream = one\n";

/* --- the origin ------------------------------------------------------------------------- */

enum { MESSAGES_MAX = 200 };

/* What one connection says to it, which is told after one answer that there are no more. */
struct message {
    struct h1_parser parser;
    struct h1_content content;
    size_t at;
    bool head, over;
};

struct there {
    struct sim_origin origin;
    struct message messages[MESSAGES_MAX];
    unsigned count;
};

static const struct h1_limits limits = {
    .request_line_max = 9000, .head_max = 40000, .fields_max = 120};

static void answer(struct sim_peer *peer)
{
    static const char *const answers[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nthere",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        "5\r\nthere\r\n3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nthere",
        "HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\nHTTP/1.1 204 None\r\nConnection: close\r\n\r\n",
    };

    if (sim_random(peer->sim, 8) == 0) /* never, or not all of it */
        return;
    sim_say(peer, span_of(answers[sim_random(peer->sim, COUNT_OF(answers))]));
    sim_finish(peer);
}

static _Noreturn void ambiguous(const struct sim_peer *peer, enum cause cause)
{
    story_failed(__FILE__, __LINE__, "no message of HTTP/1", "%.*s: %.*s",
                 SPAN_ARG(cause_row(cause)->name), (int)peer->len, peer->text);
}

static void head_heard(struct sim_peer *peer, struct message *m)
{
    struct field list[128];
    struct request r = {.fields = {.list = list, .max = COUNT_OF(list)}};
    enum parse parse = h1_parse_request(&m->parser, sim_heard(peer), &r);

    if (parse == PARSE_BAD)
        ambiguous(peer, m->parser.cause);
    if (parse != PARSE_DONE)
        return;
    EXPECT(r.version == HTTP_1_1 && !r.expects_continue && r.host.len > 0, "%.*s", (int)peer->len,
           peer->text);
    m->head = true;
    m->at = m->parser.head_bytes;
    h1_content_init(&m->content, r.framing, r.content_length, &limits, NULL);
    answer(peer);
}

static void content_heard(struct sim_peer *peer, struct message *m)
{
    struct h1_piece piece;
    enum cause cause = CAUSE_NONE;
    enum parse parse;

    do {
        struct span rest = span_after(sim_heard(peer), m->at);
        parse = h1_content_next(&m->content, rest, &piece, &cause);
        if (parse == PARSE_BAD)
            ambiguous(peer, cause);
        m->at += piece.skip + piece.content;
        h1_content_took(&m->content, piece.content);
    } while (parse == PARSE_MORE && piece.skip + piece.content > 0);
    m->over = parse == PARSE_DONE;
}

static void heard(struct sim_peer *peer)
{
    struct message *m = peer->data;

    if (!m->head)
        head_heard(peer, m);
    if (m->head && !m->over)
        content_heard(peer, m);
    EXPECT(!m->over || m->at == peer->len, "more than one message: %.*s", (int)peer->len,
           peer->text);
}

static void accepted(struct sim_origin *origin, struct sim_peer *peer)
{
    struct there *t = origin->data;
    struct message *m = &t->messages[t->count++ % MESSAGES_MAX];

    *m = (struct message){0};
    h1_parser_init(&m->parser, &limits);
    peer->data = m;
    peer->news = heard;
}

/* --- the clients -------------------------------------------------------------------------- */

static void hostile(struct sim *sim, const struct address *to, struct span bytes)
{
    static const char hello[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    struct address from = story_address("203.0.113.9:6000");
    struct sim_peer *peer = sim_connect(sim, to, &from);

    sim_say(peer, (struct span){hello, sizeof hello - 1});
    if (sim_random(sim, 2))
        sim_say(peer, bytes);
    else
        sim_say_slowly(peer, bytes, 1 + (size_t)sim_random(sim, bytes.len + 1),
                       sim_random(sim, 10 * NS_PER_MS));
    sim_run_for(sim, sim_random(sim, 2) ? 5 * NS_PER_S : sim_random(sim, 200 * NS_PER_MS));
    switch (sim_random(sim, 3)) {
    case 0:
        sim_reset(peer);
        break;
    case 1:
        sim_finish(peer);
        break;
    default:
        sim_close(peer);
    }
}

static bool served(void *data)
{
    return caller_done(data);
}

static void good(struct sim *sim, const struct address *to)
{
    static struct caller c;
    struct address from = story_address("203.0.113.9:6001");

    c = (struct caller){.at_once = 2, .first_window = 65535};
    for (unsigned i = 0; i < 2; i++)
        caller_asks(&c, (struct call){.method = "GET",
                                      .path = "/hello",
                                      .status = 200,
                                      .text = "hello",
                                      .content_len = 5});
    caller_start(&c, sim, to, &from);
    EXPECT(sim_run(sim, served, &c, 60 * NS_PER_S), "the next client is served");
    caller_expect_all(&c);
    caller_end(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct telling telling = {.seed = 14695981039346656037u};
    struct address at = story_address("192.0.2.1:80");
    static struct there there;
    struct gateway gateway;
    char text[sizeof config + 200];

    if (size < 2) /* which choose nothing here: all of it is the seed */
        return 0;
    for (size_t i = 0; i < size; i++)
        telling.seed = (telling.seed ^ data[i]) * 1099511628211u;
    struct sim *sim = story_world(&telling, SIM_ALL);
    there =
        (struct there){.origin = {.at = story_address("198.51.100.1:80"), .accepted = accepted}};
    there.origin.data = &there;
    sim_origin_add(sim, &there.origin);
    snprintf(text, sizeof text, "%s%s", config, gateway_buffers(sim));
    gateway_open(&gateway, sim, text, 1);
    hostile(sim, &at, (struct span){(const char *)data + 2, size - 2});
    good(sim, &at);
    gateway_end(&gateway);
    return 0;
}
