/* Origins over HTTP/2; see origin_h2.h. */
#include "tests/sim/origin_h2.h"

#include "http/h2_own.h"
#include "tests/sim/toy.h"

#include <stdlib.h>

#define H2_ORIGIN_ROW(name, whole, text) {#name, whole},
const struct h2_origin_row h2_origin_rows[H2_ORIGIN_COUNT] = {H2_ORIGIN_LIST(H2_ORIGIN_ROW)};
#undef H2_ORIGIN_ROW

enum {
    WINDOW = H2_WINDOW_START,
    WINDOW_LEAST = 40000, /* more than half: else nobody would ever be credited */
    WINDOW_MOST = 100000,
    STREAMS_MOST = 100,
};

struct served {
    struct h2_stream stream;
    struct served *next;
    struct h2_visit *visit;
    enum h2_origin_what what;
    unsigned id;
    size_t bytes, said;  /* of the answer */
    size_t wants, heard; /* of the request's content; SIZE_MAX: none was announced */
    uint32_t owed;
    bool whole, head_said, over;
    bool ignored; /* GOAWAY said so */
};

struct h2_visit {
    struct h2_visit *next;
    struct h2_origins *origins;
    struct sim_peer *peer;
    struct h2_session session;
    struct served *served;
    size_t at;
    bool ticking, deaf, going;
};

/* --- saying -------------------------------------------------------------------------- */

static void flush(struct h2_visit *v)
{
    struct span out = h2_out(&v->session);

    if (h2_mute(&v->session) && !v->deaf) { /* for want of memory */
        v->deaf = true;
        sim_reset(v->peer);
    }
    if (out.len > 0 && !v->deaf && !v->peer->closed)
        sim_say(v->peer, out);
    h2_sent(&v->session, out.len);
}

static void say_head(struct served *s)
{
    struct h2_session *session = &s->visit->session;
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%zu", s->bytes + (s->what >= H2_ORIGIN_reset_before));
    struct field length = {.name = SPAN_INIT("content-length"), .value = {digits, (size_t)n}};
    struct fields own = {.list = &length, .count = s->what != H2_ORIGIN_chunked};
    const struct fields none = {0};

    s->head_said = true;
    if (s->what == H2_ORIGIN_interim)
        h2_respond(session, &s->stream, 103, NULL, &none, false);
    if (s->what == H2_ORIGIN_nothing)
        h2_respond(session, &s->stream, 204, NULL, &none, true);
    else
        h2_respond(session, &s->stream, 200, &own, &none,
                   s->bytes == 0 && s->what < H2_ORIGIN_chunked);
    s->over = s->what == H2_ORIGIN_nothing || (s->bytes == 0 && s->what < H2_ORIGIN_chunked);
}

/* As the middle of something that will not come whole. */
static void cut(struct served *s)
{
    struct h2_visit *v = s->visit;

    s->over = true;
    if (s->what == H2_ORIGIN_reset_in_content) {
        h2_reset(&v->session, &s->stream, H2_INTERNAL_ERROR);
        return;
    }
    flush(v);
    if (s->what == H2_ORIGIN_garbage)
        sim_say(v->peer, SPAN("SSH-2.0-OpenSSH_9.2p1 and what else may come\r\n"));
    v->deaf = true;
    sim_close(v->peer);
}

static void say_end(struct served *s)
{
    struct field sum = {.name = SPAN_INIT("x-trailer"), .value = SPAN_INIT("there")};
    const struct fields trailers = {.list = &sum, .count = 1};

    s->over = true;
    if (s->what == H2_ORIGIN_chunked)
        h2_trailers(&s->visit->session, &s->stream, &trailers);
    else
        h2_data(&s->visit->session, &s->stream, 0, true);
}

static void say_content(struct served *s)
{
    struct h2_visit *v = s->visit;
    char bytes[H2_FRAME_MAX];

    while (!v->deaf && s->said < s->bytes) {
        uint32_t n = h2_take(&v->session, &s->stream, s->bytes - s->said);
        if (n == 0)
            return;
        if (sim_random(v->peer->sim, 3) == 0)
            n = 1 + (uint32_t)sim_random(v->peer->sim, n);
        for (uint32_t i = 0; i < n; i++)
            bytes[i] = pattern_at(s->said + i, s->id);
        h2_data(&v->session, &s->stream, n, false);
        flush(v);
        sim_say(v->peer, (struct span){bytes, n});
        s->said += n;
    }
    if (v->deaf)
        return;
    if (h2_origin_rows[s->what].whole)
        say_end(s);
    else
        cut(s);
}

static void answer(struct served *s)
{
    bool due = s->whole || s->what == H2_ORIGIN_early;

    if (s->over || s->ignored || !due || s->what == H2_ORIGIN_silent || s->visit->deaf)
        return;
    if (s->what == H2_ORIGIN_reset_before) {
        h2_reset(&s->visit->session, &s->stream, H2_INTERNAL_ERROR);
        s->over = true;
        return;
    }
    if (!s->head_said)
        say_head(s);
    if (!s->over)
        say_content(s);
}

/* --- windows and SETTINGS ------------------------------------------------------------------ */

static void say_setting(struct h2_visit *v, enum h2_setting id, uint32_t value)
{
    char payload[6] = {0, (char)id};

    h2_put32(payload + 2, value);
    h2_say(&v->session, (struct h2_frame){.type = H2_SETTINGS}, (struct span){payload, 6});
}

/* What is already on its way keeps its place: a smaller window is not held against it. */
static void change_window(struct h2_visit *v)
{
    struct h2_session *session = &v->session;
    uint32_t window =
        WINDOW_LEAST + (uint32_t)sim_random(v->peer->sim, WINDOW_MOST - WINDOW_LEAST + 1);

    say_setting(v, H2_SETTING_INITIAL_WINDOW_SIZE, window);
    for (struct served *s = v->served; s; s = s->next)
        if (window > session->limits.window)
            s->stream.receive_window += (int32_t)(window - session->limits.window);
    if (window > session->limits.window)
        session->limits.window = window;
}

static void change(struct h2_visit *v)
{
    static const uint32_t streams[] = {1, 3, STREAMS_MOST}, tables[] = {0, 100, 4096};

    switch (sim_random(v->peer->sim, 4)) {
    case 0:
        change_window(v);
        break;
    case 1:
        say_setting(v, H2_SETTING_MAX_CONCURRENT_STREAMS, streams[sim_random(v->peer->sim, 3)]);
        break;
    case 2:
        say_setting(v, H2_SETTING_HEADER_TABLE_SIZE, tables[sim_random(v->peer->sim, 3)]);
        break;
    default:
        h2_say(&v->session, (struct h2_frame){.type = H2_PING}, SPAN("pingping"));
    }
}

static void credit_all(struct h2_visit *v)
{
    for (struct served *s = v->served; s; s = s->next) {
        h2_credit(&v->session, &s->stream, s->owed);
        s->owed = 0;
    }
}

static void go_on(struct h2_visit *v)
{
    for (struct served *s = v->served; s && !v->deaf; s = s->next)
        answer(s);
    flush(v);
}

static void tick(void *data)
{
    struct h2_visit *v = data;

    v->ticking = false;
    if (v->deaf || v->peer->closed || v->peer->ended || v->peer->reset)
        return;
    credit_all(v);
    if (v->origins->restless)
        change(v);
    go_on(v);
}

/* --- hearing ------------------------------------------------------------------------------- */

static enum h2_origin_what what_of(struct span word)
{
    for (unsigned i = 0; i < H2_ORIGIN_COUNT; i++)
        if (span_equal(word, span_of(h2_origin_rows[i].name)))
            return (enum h2_origin_what)i;
    EXPECT(false, "an origin was asked for %.*s", SPAN_ARG(word));
    return H2_ORIGIN_COUNT;
}

static uint64_t number_of(struct span text)
{
    uint64_t n = 0;

    EXPECT(span_number(text, &n), "%.*s", SPAN_ARG(text));
    return n;
}

/* /WHAT/ID/BYTES */
static void path_read(struct served *s, struct span path)
{
    struct span rest = span_after(path, 1), word = span_first(rest, span_find(rest, '/'));

    s->what = what_of(word);
    rest = span_after(rest, word.len + 1);
    word = span_first(rest, span_find(rest, '/'));
    s->id = (unsigned)number_of(word);
    EXPECT(s->id < ORIGIN_IDS, "%.*s", SPAN_ARG(path));
    s->bytes = (size_t)number_of(span_after(rest, word.len + 1));
}

static void head_check(const struct h2_head *h)
{
    EXPECT(span_equal(h->authority, SPAN("a")), "the client's host, not %.*s",
           SPAN_ARG(h->authority));
    EXPECT(!fields_get(&h->fields, FIELD_HOST), "Host is :authority");
}

/* Not processed, nor any behind it; those before it are. */
static void go_away(struct h2_visit *v, struct served *s)
{
    v->going = true;
    h2_say_goaway(&v->session, s->stream.id > 1 ? s->stream.id - 2 : 0, H2_NO_ERROR);
    s->ignored = true;
}

static void on_head(struct h2_visit *v, const struct h2_event *ev)
{
    struct h2_origins *o = v->origins;
    const struct h2_head *h = &v->session.head;
    const struct field *bytes = fields_find(&h->fields, SPAN("x-bytes"));
    struct served *s = calloc(1, sizeof *s);

    EXPECT(s, "memory");
    head_check(h);
    path_read(s, h->path);
    s->visit = v;
    s->wants = bytes ? (size_t)number_of(bytes->value) : SIZE_MAX;
    h2_accept(&v->session, &s->stream, ev);
    s->next = v->served;
    v->served = s;
    s->ignored = v->going;
    if (s->ignored)
        return;
    bool first = o->heads[s->id]++ == 0;
    sim_say_trace(v->peer->sim, "origin %u is asked: %.*s on %u", v->peer->from.port,
                  SPAN_ARG(h->path), s->stream.id);
    if (s->what == H2_ORIGIN_refused && first) {
        h2_reset(&v->session, &s->stream, H2_REFUSED_STREAM);
        s->ignored = true;
    } else if (s->what == H2_ORIGIN_going && first) {
        go_away(v, s);
    }
    s->whole = ev->end;
    if (s->whole && !s->ignored)
        o->whole[s->id]++;
}

static void on_content(struct h2_visit *v, const struct h2_event *ev, struct span bytes)
{
    struct served *s = container_of(ev->stream, struct served, stream);

    for (size_t i = 0; i < bytes.len; i++)
        EXPECT(bytes.ptr[i] == pattern_at(s->heard + i, s->id), "byte %zu of request %u",
               s->heard + i, s->id);
    s->heard += bytes.len;
    s->owed += (uint32_t)bytes.len;
    v->at += bytes.len;
    h2_took(&v->session, (uint32_t)bytes.len);
    if (!v->origins->late || sim_random(v->peer->sim, 3) == 0)
        credit_all(v);
}

static void on_end(struct h2_visit *v, struct served *s)
{
    s->whole = true;
    if (s->ignored)
        return;
    EXPECT(s->wants == SIZE_MAX || s->heard == s->wants, "request %u: %zu bytes of %zu", s->id,
           s->heard, s->wants);
    v->origins->whole[s->id]++;
}

static void on_event(struct h2_visit *v, const struct h2_event *ev)
{
    switch (ev->kind) {
    case H2_HEAD:
        on_head(v, ev);
        break;
    case H2_CONTENT:
        on_content(v, ev, span_first(span_after(sim_heard(v->peer), v->at), ev->content));
        break;
    case H2_END:
    case H2_TRAILS:
        on_end(v, container_of(ev->stream, struct served, stream));
        break;
    case H2_RESET:
        /* The memory that fails is ours, too. */
        EXPECT(ev->by_peer || v->origins->tolerant, "request frames that are sound");
        if (ev->stream)
            container_of(ev->stream, struct served, stream)->over = true;
        break;
    case H2_FAILED:
        if (v->origins->tolerant) { /* as above */
            v->deaf = true;
            sim_reset(v->peer);
            break;
        }
        EXPECT(false, "a gateway that keeps to the rules, not error %u", ev->error);
        break;
    default:
        break;
    }
}

static void news(struct sim_peer *peer)
{
    struct h2_visit *v = peer->data;
    struct h2_event ev = {.kind = H2_FLUSH};
    size_t used;

    while (!v->deaf && !peer->closed && ev.kind != H2_NOTHING) {
        struct span rest = span_after(sim_heard(peer), v->at);
        h2_read(&v->session, rest, sim_now(peer->sim), &used, &ev);
        v->at += used;
        on_event(v, &ev);
        flush(v);
    }
    go_on(v);
    if ((v->origins->late || v->origins->restless) && !v->ticking && !v->deaf) {
        v->ticking = true;
        sim_after(peer->sim, sim_random(peer->sim, 100 * NS_PER_MS), tick, v);
    }
    if (peer->ended && !peer->closed)
        sim_close(peer);
}

static void visit_begin(struct h2_origins *o, struct sim_peer *peer)
{
    static const uint32_t streams[] = {2, 5, STREAMS_MOST};
    struct h2_visit *v = calloc(1, sizeof *v);
    const struct h2_limits limits = {
        .streams_max = STREAMS_MOST, .window = WINDOW, .header_max = 65536, .fields_max = 100};

    EXPECT(v, "memory");
    v->origins = o;
    v->peer = peer;
    v->next = o->visits;
    o->visits = v;
    o->h2_visits++;
    struct h2_limits said = limits;
    said.streams_max = o->slow ? STREAMS_MOST : streams[sim_random(peer->sim, 3)];
    if (h2_init(&v->session, &said) < 0) { /* as if it had no time for us */
        v->deaf = true;
        sim_reset(peer);
        return;
    }
    v->session.limits.streams_max = STREAMS_MOST;
    peer->news = news;
    peer->data = v;
    flush(v);
}

static void accepted(struct sim_origin *origin, struct sim_peer *peer)
{
    struct h2_origins *o = origin->data;
    bool h1 = o->either && sim_random(peer->sim, 2);

    if (o->over_toy)
        peer->codec = h1 ? &toy_origin_codec : &toy_h2_origin_codec;
    if (o->slow) {
        sim_window(peer, 20);
        sim_read(peer, 30, 300 * NS_PER_US);
    }
    if (!h1) {
        visit_begin(o, peer);
        return;
    }
    o->h1_visits++;
    sim_say(peer, SPAN("")); /* the handshake */
    origins_visit(&o->h1, peer);
}

void h2_origins_open(struct h2_origins *o, struct sim *sim)
{
    *o = (struct h2_origins){.sim = sim};
    origins_open(&o->h1, sim);
}

void h2_origins_add(struct h2_origins *o, const char *address)
{
    struct sim_origin *s = &o->servers[o->count++];

    *s = (struct sim_origin){.at = story_address(address), .accepted = accepted, .data = o};
    sim_origin_add(o->sim, s);
}

void h2_origins_cut(struct h2_origins *o)
{
    for (struct h2_visit *v = o->visits; v; v = v->next)
        if (!v->peer->closed && !v->peer->reset) {
            v->deaf = true;
            sim_reset(v->peer);
        }
}

void h2_origins_close(struct h2_origins *o)
{
    for (struct h2_visit *v = o->visits, *next; v; v = next) {
        next = v->next;
        v->peer->news = NULL;
        h2_free(&v->session);
        for (struct served *s = v->served, *after; s; s = after) {
            after = s->next;
            free(s);
        }
        free(v);
    }
    origins_close(&o->h1);
}
