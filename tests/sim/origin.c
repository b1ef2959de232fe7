/* Origins; see origin.h. */
#include "tests/sim/origin.h"

#include <stdlib.h>

#define ORIGIN_ROW(name, calm, status, text) {#name, calm, status},
const struct origin_row origin_rows[ORIGIN_COUNT] = {ORIGIN_LIST(ORIGIN_ROW)};
#undef ORIGIN_ROW

struct origin_visit {
    struct origin_visit *next;
    struct origins *origins;
    unsigned server; /* which of them */
    struct sim_peer *peer;
    size_t at;     /* of what was heard: the request under way */
    bool answered; /* it was answered early already */
    bool counted;  /* its head was */
    bool tunnel;   /* echoes from here on */
    bool deaf;     /* hears nothing any more */
    uint64_t asked_at;
};

/* --- saying ------------------------------------------------------------------------ */

static void say(struct sim_peer *p, const char *text)
{
    sim_say(p, span_of(text));
}

static void say_content(struct sim_peer *p, size_t from, size_t to, unsigned id)
{
    char *text = malloc(to - from + 1);

    for (size_t i = from; i < to; i++)
        text[i - from] = pattern_at(i, id);
    sim_say(p, (struct span){text, to - from});
    free(text);
}

static void say_head(struct sim_peer *p, const char *status, const char *fields, size_t length)
{
    char text[256];
    int n =
        snprintf(text, sizeof text, "HTTP/1.1 %s\r\nX-Origin: yes\r\n%sContent-Length: %zu\r\n\r\n",
                 status, fields, length);

    sim_say(p, (struct span){text, (size_t)n});
}

static void say_chunks(struct sim_peer *p, size_t bytes, unsigned id)
{
    char text[32];

    for (size_t at = 0, n; at < bytes; at += n) {
        n = 1 + (size_t)sim_random(p->sim, bytes - at);
        snprintf(text, sizeof text, "%zX;x=y\r\n", n);
        say(p, text);
        say_content(p, at, at + n, id);
        say(p, "\r\n");
    }
    say(p, "0\r\nX-Trailer: there\r\n\r\n");
}

static void say_slowly(struct sim_peer *p, size_t bytes, unsigned id)
{
    char *text = malloc(bytes + 1);

    pattern_fill(text, bytes, id);
    say_head(p, "200 OK", "", bytes);
    sim_say_slowly(p, (struct span){text, bytes}, 1 + bytes / 9, sim_random(p->sim, 2 * NS_PER_S));
    free(text);
}

static void say_large_head(struct sim_peer *p)
{
    char text[64];

    say(p, "HTTP/1.1 200 OK\r\n");
    for (unsigned i = 0; i < 2000; i++) {
        snprintf(text, sizeof text, "X-Field-%u: something that takes room\r\n", i);
        say(p, text);
    }
    say(p, "Content-Length: 0\r\n\r\n");
}

/* --- behaving ------------------------------------------------------------------------ */

static void answer_some(struct origin_visit *v, enum origin_what what, unsigned id, size_t bytes)
{
    struct sim_peer *p = v->peer;

    say_head(p, "200 OK", "", bytes + 10); /* there will be less */
    say_content(p, 0, bytes, id);
    v->deaf = true;
    if (what == ORIGIN_reset_in_content)
        sim_then_reset(p);
    else if (what == ORIGIN_close_in_content)
        sim_close(p);
}

static void answer(struct origin_visit *v, enum origin_what what, unsigned id, size_t bytes)
{
    struct sim_peer *p = v->peer;

    switch (what) {
    case ORIGIN_chunked:
        say(p, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        say_chunks(p, bytes, id);
        break;
    case ORIGIN_until_close:
        say(p, "HTTP/1.1 200 OK\r\n\r\n");
        say_content(p, 0, bytes, id);
        v->deaf = true;
        sim_close(p);
        break;
    case ORIGIN_last:
    case ORIGIN_early_close:
        say_head(p, "200 OK", "Connection: close\r\n", bytes);
        say_content(p, 0, bytes, id);
        v->deaf = true;
        sim_close(p);
        break;
    case ORIGIN_half_close:
        say_head(p, "200 OK", "Connection: close\r\n", bytes);
        say_content(p, 0, bytes, id);
        v->deaf = true;
        sim_finish(p);
        break;
    case ORIGIN_slow:
        say_slowly(p, bytes, id);
        break;
    case ORIGIN_interim:
        say(p, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
        say_head(p, "200 OK", "", bytes);
        say_content(p, 0, bytes, id);
        break;
    case ORIGIN_nothing:
        say(p, "HTTP/1.1 204 No Content\r\n\r\n");
        break;
    case ORIGIN_reset_before:
        sim_reset(p);
        break;
    case ORIGIN_once_reset:
        if (v->origins->heads[id] == 1) {
            sim_reset(p);
            break;
        }
        say_head(p, "200 OK", "", bytes);
        say_content(p, 0, bytes, id);
        break;
    case ORIGIN_once_503:
        say_head(p, v->origins->heads[id] == 1 ? "503 Ill" : "200 OK", "", bytes);
        say_content(p, 0, bytes, id);
        break;
    case ORIGIN_close_before:
        v->deaf = true;
        sim_close(p);
        break;
    case ORIGIN_reset_in_head:
        say(p, "HTTP/1.1 200 OK\r\nContent-Le");
        sim_then_reset(p);
        break;
    case ORIGIN_reset_in_content:
    case ORIGIN_close_in_content:
    case ORIGIN_stuck:
        answer_some(v, what, id, bytes);
        break;
    case ORIGIN_close_in_chunk:
        say(p, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n100\r\nabc");
        v->deaf = true;
        sim_close(p);
        break;
    case ORIGIN_bad_chunk:
        say(p, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nxyz\r\nabc\r\n");
        break;
    case ORIGIN_bad_chunk_end:
        say(p, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\n0\r\n\r\n");
        break;
    case ORIGIN_garbage:
        say(p, "220 mail.example.com ESMTP ready\r\n\r\n");
        break;
    case ORIGIN_two_lengths:
        say(p, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
               "3\r\nabc\r\n0\r\n\r\n");
        break;
    case ORIGIN_large_head:
        say_large_head(p);
        break;
    case ORIGIN_unwell:
        say_head(p, "503 Unwell", "", 0);
        break;
    case ORIGIN_silent:
        break;
    case ORIGIN_then_close:
        say_head(p, "200 OK", "", bytes);
        say_content(p, 0, bytes, id);
        sim_pause(p, sim_random(p->sim, 5 * NS_PER_MS));
        sim_close(p);
        break;
    case ORIGIN_extra:
        say_head(p, "200 OK", "", bytes);
        say_content(p, 0, bytes, id);
        say(p, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
        break;
    case ORIGIN_tunnel:
        say(p, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: "
               "websocket\r\n\r\n");
        v->tunnel = true;
        break;
    case ORIGIN_events:
    case ORIGIN_grpc:
        say(p, what == ORIGIN_grpc ? "HTTP/1.1 200 OK\r\nContent-Type: application/grpc+proto\r\n"
                                   : "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n");
        say(p, "Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
        sim_pause(p, ORIGIN_SILENCE_NS);
        say(p, "6\r\nsecond\r\n0\r\n\r\n");
        break;
    default:
        say_head(p, "200 OK", "", bytes);
        say_content(p, 0, bytes, id);
        break;
    }
}

static void echo(struct origin_visit *v)
{
    struct span more = span_after(sim_heard(v->peer), v->at);

    v->at = v->peer->len;
    if (more.len)
        sim_say(v->peer, more);
}

/* --- hearing ------------------------------------------------------------------------------- */

static enum origin_what what_of(struct span word)
{
    for (unsigned i = 0; i < ORIGIN_COUNT; i++)
        if (span_equal(word, span_of(origin_rows[i].name)))
            return (enum origin_what)i;
    EXPECT(false, "an origin was asked for %.*s", SPAN_ARG(word));
    return ORIGIN_COUNT;
}

/* /WHAT/ID/BYTES */
static void path_read(struct span path, enum origin_what *what, unsigned *id, size_t *bytes)
{
    struct span rest = span_after(path, 1), word = span_first(rest, span_find(rest, '/'));
    uint64_t n = 0, size = 0;

    *what = what_of(word);
    rest = span_after(rest, word.len + 1);
    word = span_first(rest, span_find(rest, '/'));
    EXPECT(span_number(word, &n) && n < ORIGIN_IDS, "%.*s", SPAN_ARG(path));
    rest = span_after(rest, word.len + 1);
    EXPECT(span_number(rest, &size), "%.*s", SPAN_ARG(path));
    *id = (unsigned)n;
    *bytes = (size_t)size;
}

static void content_check(const struct asked *a, unsigned id)
{
    struct span field = answer_field(&a->message, "X-Bytes");
    uint64_t bytes = 0;

    if (field.ptr)
        EXPECT(span_number(field, &bytes) && pattern_is(a->message.content, (size_t)bytes, id),
               "request %u: %zu bytes of content, not the %llu that were sent", id,
               a->message.content.len, (unsigned long long)bytes);
}

/* How much time is left is said of each, and at another try it is not more. */
static void left_check(struct origins *o, const struct asked *a, unsigned id)
{
    struct span field = answer_field(&a->message, "X-Left");
    uint64_t most = o->heads[id] > 1 ? o->left[id] : o->left_max;

    if (o->left_max == 0)
        return;
    EXPECT(field.ptr && span_number(field, &o->left[id]) && o->left[id] <= most,
           "request %u: %.*s ms of %llu are left", id, SPAN_ARG(field), (unsigned long long)most);
}

/* True when there may be another request. */
static bool visit_go_on(struct origin_visit *v)
{
    struct span text = span_after(sim_heard(v->peer), v->at);
    char *room = malloc(text.len + 1);
    struct asked a;
    enum origin_what what;
    unsigned id;
    size_t bytes;
    int got = asked_read(text, room, &a);

    EXPECT(got >= 0, "a request that is HTTP, not %.*s", (int)(text.len < 60 ? text.len : 60),
           text.ptr);
    if (!a.head_there) {
        free(room);
        return false;
    }
    path_read(a.path, &what, &id, &bytes);
    bool check = what == ORIGIN_check;
    if (check || v->origins->meets[v->server] != ORIGIN_COUNT)
        what = check ? v->origins->health[v->server] : v->origins->meets[v->server];
    if (!v->counted) {
        v->counted = true;
        v->origins->heads[id]++;
        left_check(v->origins, &a, id);
        (check ? v->origins->checks : v->origins->asked)[v->server]++;
        v->origins->where[id] = v->server;
        sim_say_trace(v->peer->sim, "origin %u is asked: %.*s", v->peer->from.port,
                      (int)(a.path.ptr + a.path.len - text.ptr), text.ptr);
    }
    bool early = what == ORIGIN_early || what == ORIGIN_early_close;
    if (!v->answered && (got || early)) {
        v->answered = true;
        answer(v, what, id, bytes);
    }
    if (got) {
        content_check(&a, id);
        v->origins->whole[id]++;
        v->at += a.message.len;
        v->answered = v->counted = false;
    }
    free(room);
    return got && !v->deaf && !v->peer->closed && v->at < v->peer->len;
}

static void patience_over(void *data)
{
    struct origin_visit *v = data;

    if (sim_now(v->origins->sim) - v->asked_at < v->origins->patience || v->deaf || v->peer->closed)
        return;
    v->origins->ended_late++;
    v->deaf = true;
    sim_close(v->peer);
}

static void news(struct sim_peer *peer)
{
    struct origin_visit *v = peer->data;

    size_t before = v->at;

    while (!v->deaf && !v->tunnel && !peer->closed && visit_go_on(v))
        ;
    if (v->at != before && v->origins->patience) {
        v->asked_at = sim_now(peer->sim);
        sim_after(peer->sim, v->origins->patience, patience_over, v);
    }
    if (v->tunnel)
        echo(v);
    /* An origin ends what its client has ended. */
    if (peer->ended && !peer->closed)
        sim_close(peer);
}

void origins_visit(struct origins *o, struct sim_peer *peer)
{
    struct origin_visit *v = calloc(1, sizeof *v);

    EXPECT(v, "memory");
    v->origins = o;
    v->peer = peer;
    v->next = v->origins->visits;
    v->origins->visits = v;
    peer->news = news;
    peer->data = v;
}

static void accepted(struct sim_origin *origin, struct sim_peer *peer)
{
    struct origins *o = origin->data;

    origins_visit(o, peer);
    o->visits->server = (unsigned)(origin - o->servers);
}

void origins_open(struct origins *o, struct sim *sim)
{
    *o = (struct origins){.sim = sim};
    for (unsigned i = 0; i < COUNT_OF(o->meets); i++)
        o->meets[i] = ORIGIN_COUNT;
}

struct sim_origin *origins_add(struct origins *o, const char *address)
{
    struct sim_origin *s = &o->servers[o->count++];

    *s = (struct sim_origin){.at = story_address(address), .accepted = accepted, .data = o};
    sim_origin_add(o->sim, s);
    return s;
}

uint64_t origins_heard(const struct origins *o)
{
    uint64_t bytes = 0;

    for (const struct origin_visit *v = o->visits; v; v = v->next)
        bytes += v->peer->len;
    return bytes;
}

void origins_part(struct origins *o, unsigned server)
{
    for (struct origin_visit *v = o->visits; v; v = v->next)
        if (v->server == server && !v->deaf && !v->peer->closed) {
            v->deaf = true;
            sim_close(v->peer);
        }
}

/* The world is still there: its peers must not be told of anything more. */
void origins_close(struct origins *o)
{
    for (struct origin_visit *v = o->visits, *next; v; v = next) {
        next = v->next;
        v->peer->news = NULL;
        free(v);
    }
}
