/* HTTP/2 with somebody else's half: nghttp2's client session asks, ours answers; and ours
 * asks ours.  In pieces of any size, with the same outcome. */
#include "tests/unit/suites.h"

#include "http/h2_session.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>

enum { ASKS = 30, LARGE = 100000, ROOM = 1 << 20 };

struct piped { /* bytes on their way */
    char *at;
    size_t len;
};

static void piped_add(struct piped *p, const void *bytes, size_t n)
{
    ck_assert_uint_le(p->len + n, ROOM);
    memcpy(p->at + p->len, bytes, n);
    p->len += n;
}

static void piped_drop(struct piped *p, size_t n)
{
    memmove(p->at, p->at + n, p->len - n);
    p->len -= n;
}

/* --- ours, which answers with what it got ----------------------------------------------- */

struct ours {
    struct h2_session session;
    struct {
        struct h2_stream stream;
        size_t got, left;
        bool answered;
    } asks[ASKS];
    unsigned count, ends;
    size_t window;
    bool hints_length; /* in an interim response: it says nothing (RFC 9110, 8.6) */
};

static void ours_answer(struct ours *o, unsigned i)
{
    struct field list[] = {{.name = SPAN_INIT("X-Got"), .value = SPAN_INIT("all of it")},
                           {.name = SPAN_INIT("set-cookie"), .value = SPAN_INIT("a=b")}};
    struct fields fields = {.list = list, .count = COUNT_OF(list)};
    struct field length = {.name = SPAN_INIT("content-length"), .value = SPAN_INIT("7")};
    struct fields hints = {.list = &length, .count = o->hints_length};

    o->asks[i].left = o->asks[i].got;
    o->asks[i].answered = true;
    h2_respond(&o->session, &o->asks[i].stream, 103, NULL, &hints, false);
    h2_respond(&o->session, &o->asks[i].stream, 200, NULL, &fields, false);
}

static void ours_event(struct ours *o, const struct h2_event *ev)
{
    unsigned i = 0;

    if (ev->kind == H2_HEAD) {
        ck_assert_uint_lt(o->count, ASKS);
        h2_accept(&o->session, &o->asks[o->count++].stream, ev);
        if (ev->end)
            ours_answer(o, o->count - 1);
        return;
    }
    ck_assert_int_ne(ev->kind, H2_FAILED);
    ck_assert_int_ne(ev->kind, H2_RESET);
    while (ev->stream && ev->stream != &o->asks[i].stream)
        i++;
    if (ev->kind == H2_END || ev->kind == H2_TRAILS)
        ours_answer(o, i);
}

/* Reads what is there, as far as `have`. */
static void ours_read(struct ours *o, struct piped *in, size_t have)
{
    struct h2_event ev;
    size_t used, from = 0;

    do {
        h2_read(&o->session, (struct span){in->at + from, have - from}, 1, &used, &ev);
        from += used;
        if (ev.kind == H2_CONTENT) {
            unsigned i = 0;
            while (ev.stream != &o->asks[i].stream)
                i++;
            for (uint32_t n = 0; n < ev.content; n++)
                ck_assert_int_eq(in->at[from + n], (char)((o->asks[i].got + n) % 251));
            o->asks[i].got += ev.content;
            from += ev.content;
            h2_took(&o->session, ev.content);
            h2_credit(&o->session, ev.stream, ev.content);
        } else if (ev.kind == H2_FLUSH) {
            break;
        } else {
            ours_event(o, &ev);
        }
    } while (ev.kind != H2_NOTHING);
    h2_check(&o->session);
    piped_drop(in, from);
}

static void ours_say(struct ours *o, struct piped *out)
{
    struct span said = h2_out(&o->session);

    piped_add(out, said.ptr, said.len);
    h2_sent(&o->session, said.len);
}

static void ours_write(struct ours *o, struct piped *out)
{
    ours_say(o, out);
    for (unsigned i = 0; i < o->count; i++) {
        if (!o->asks[i].answered || (o->asks[i].stream.state & H2_LOCAL_ENDED))
            continue;
        uint32_t n = h2_take(&o->session, &o->asks[i].stream, o->asks[i].left);
        if (n == 0 && o->asks[i].left > 0)
            continue;
        o->asks[i].left -= n;
        h2_data(&o->session, &o->asks[i].stream, n, o->asks[i].left == 0);
        ours_say(o, out);
        for (uint32_t b = 0; b < n; b++)
            piped_add(out, "z", 1);
    }
}

static const struct h2_limits limits = {
    .streams_max = ASKS, .window = 65536, .header_max = 32768, .fields_max = 50};

/* --- theirs ------------------------------------------------------------------------------------
 */

struct theirs {
    nghttp2_session *session;
    size_t sent[ASKS], sends[ASKS], got[ASKS];
    unsigned statuses, interims, closed, cookies;
};

static ssize_t theirs_read(nghttp2_session *s, int32_t id, uint8_t *buf, size_t len,
                           uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct theirs *t = user;
    size_t i = (size_t)(id - 1) / 2, n = t->sends[i] - t->sent[i];

    (void)s, (void)source;
    if (n > len)
        n = len;
    for (size_t b = 0; b < n; b++)
        buf[b] = (uint8_t)((t->sent[i] + b) % 251);
    t->sent[i] += n;
    if (t->sent[i] == t->sends[i])
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static int theirs_header(nghttp2_session *s, const nghttp2_frame *frame, const uint8_t *name,
                         size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                         void *user)
{
    struct theirs *t = user;
    struct span key = {(const char *)name, name_len}, text = {(const char *)value, value_len};

    (void)s, (void)frame, (void)flags;
    t->statuses += span_equal(key, SPAN(":status")) && span_equal(text, SPAN("200"));
    t->interims += span_equal(key, SPAN(":status")) && span_equal(text, SPAN("103"));
    t->cookies += span_equal(key, SPAN("set-cookie")) && span_equal(text, SPAN("a=b"));
    return 0;
}

static int theirs_data(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *data,
                       size_t len, void *user)
{
    struct theirs *t = user;

    (void)s, (void)flags, (void)data;
    t->got[(id - 1) / 2] += len;
    return 0;
}

static int theirs_closed(nghttp2_session *s, int32_t id, uint32_t error, void *user)
{
    struct theirs *t = user;

    (void)s, (void)id;
    ck_assert_uint_eq(error, 0);
    t->closed++;
    return 0;
}

static nghttp2_nv nv(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
                        strlen(value), 0};
}

static void theirs_ask(struct theirs *t, unsigned i)
{
    char path[64];
    nghttp2_data_provider content = {.read_callback = theirs_read};

    snprintf(path, sizeof path, "/asks/%u", i);
    nghttp2_nv fields[] = {nv(":method", t->sends[i] ? "POST" : "GET"),
                           nv(":scheme", "http"),
                           nv(":path", path),
                           nv(":authority", "www.example.com"),
                           nv("user-agent", "somebody else"),
                           nv("accept", "*/*")};
    ck_assert_int_gt(nghttp2_submit_request(t->session, NULL, fields, COUNT_OF(fields),
                                            t->sends[i] ? &content : NULL, NULL),
                     0);
}

static void theirs_begin(struct theirs *t)
{
    nghttp2_session_callbacks *calls;

    ck_assert_int_eq(nghttp2_session_callbacks_new(&calls), 0);
    nghttp2_session_callbacks_set_on_header_callback(calls, theirs_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(calls, theirs_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(calls, theirs_closed);
    ck_assert_int_eq(nghttp2_session_client_new(&t->session, calls, t), 0);
    nghttp2_session_callbacks_del(calls);
    ck_assert_int_eq(nghttp2_submit_settings(t->session, NGHTTP2_FLAG_NONE, NULL, 0), 0);
}

static void theirs_write(struct theirs *t, struct piped *out)
{
    const uint8_t *bytes;
    ssize_t n;

    while ((n = nghttp2_session_mem_send(t->session, &bytes)) > 0)
        piped_add(out, bytes, (size_t)n);
    ck_assert_int_eq(n, 0);
}

static void talk(size_t piece)
{
    struct theirs *t = calloc(1, sizeof *t);
    struct ours *o = calloc(1, sizeof *o);
    struct piped up = {.at = malloc(ROOM)}, down = {.at = malloc(ROOM)};

    ck_assert(t && o && up.at && down.at);
    ck_assert_int_eq(h2_init(&o->session, &limits), 0);
    theirs_begin(t);
    for (unsigned i = 0; i < ASKS; i++) {
        t->sends[i] = i % 3 ? i * (piece && piece < 10000 ? 2000 : LARGE) / ASKS : 0;
        theirs_ask(t, i);
    }
    for (unsigned rounds = 0; t->closed < ASKS && rounds < 100000; rounds++) {
        theirs_write(t, &up);
        for (size_t have = piece, all = up.len; all > 0; have = piece) {
            size_t before = up.len;
            if (have == 0 || have > up.len)
                have = up.len;
            do
                ours_read(o, &up, have);
            while (up.len == before && have < up.len && (have += piece ? piece : 1) <= up.len);
            if (up.len == before)
                break;
            all = up.len;
        }
        ours_write(o, &down);
        for (size_t at = 0; at < down.len;) {
            size_t n = piece && piece < down.len - at ? piece : down.len - at;
            ck_assert_int_eq(nghttp2_session_mem_recv(t->session, (uint8_t *)down.at + at, n),
                             (ssize_t)n);
            at += n;
        }
        down.len = 0;
    }
    ck_assert_uint_eq(t->closed, ASKS);
    ck_assert_uint_eq(t->statuses, ASKS);
    ck_assert_uint_eq(t->interims, ASKS);
    ck_assert_uint_eq(t->cookies, ASKS);
    for (unsigned i = 0; i < ASKS; i++)
        ck_assert_uint_eq(t->got[i], t->sends[i]);
    ck_assert_uint_eq(o->session.streams, 0);
    nghttp2_session_del(t->session);
    h2_free(&o->session);
    free(up.at);
    free(down.at);
    free(t);
    free(o);
}

START_TEST(nghttp2_asks_and_we_answer)
{
    static const size_t pieces[] = {0, 1, 9, 1000, 17000};

    for (size_t i = 0; i < COUNT_OF(pieces); i++)
        talk(pieces[i]);
}
END_TEST

/* --- ours, which asks --------------------------------------------------------------------------
 */

struct asker {
    struct h2_session session;
    struct h2_stream streams[ASKS];
    unsigned heads, interims, ends, trails, content;
};

static void asker_read(struct asker *a, struct piped *in, size_t have)
{
    struct h2_event ev;
    size_t used, from = 0;

    do {
        h2_read(&a->session, (struct span){in->at + from, have - from}, 1, &used, &ev);
        from += used;
        ck_assert_int_ne(ev.kind, H2_FAILED);
        ck_assert_int_ne(ev.kind, H2_RESET);
        a->heads += ev.kind == H2_HEAD && a->session.head.status == 200;
        a->interims += ev.kind == H2_INTERIM && a->session.head.status == 103;
        a->ends += ev.kind == H2_END;
        if (ev.kind == H2_CONTENT) {
            from += ev.content;
            a->content += ev.content;
            h2_took(&a->session, ev.content);
            h2_credit(&a->session, ev.stream, ev.content);
        }
    } while (ev.kind != H2_NOTHING);
    h2_check(&a->session);
    piped_drop(in, from);
}

static void asker_ask(struct asker *a, unsigned i)
{
    struct field pseudo[] = {{.name = SPAN_INIT(":method"), .value = SPAN_INIT("GET")},
                             {.name = SPAN_INIT(":scheme"), .value = SPAN_INIT("http")},
                             {.name = SPAN_INIT(":path"), .value = SPAN_INIT("/")},
                             {.name = SPAN_INIT(":authority"), .value = SPAN_INIT("a")}};
    struct fields first = {.list = pseudo, .count = COUNT_OF(pseudo)};

    ck_assert_int_eq(h2_request(&a->session, &a->streams[i], &first, NULL, true), 0);
}

static void ask_ourselves(size_t piece)
{
    struct h2_limits client = limits;
    struct asker *a = calloc(1, sizeof *a);
    struct ours *o = calloc(1, sizeof *o);
    struct piped up = {.at = malloc(ROOM)}, down = {.at = malloc(ROOM)};

    ck_assert(a && o && up.at && down.at);
    client.client = true;
    o->hints_length = true;
    ck_assert_int_eq(h2_init(&a->session, &client), 0);
    ck_assert_int_eq(h2_init(&o->session, &limits), 0);
    for (unsigned i = 0; i < ASKS; i++)
        asker_ask(a, i);
    for (unsigned rounds = 0; a->session.streams > 0 && rounds < 1000; rounds++) {
        struct span said = h2_out(&a->session);
        piped_add(&up, said.ptr, said.len);
        h2_sent(&a->session, said.len);
        for (size_t have = 0; up.len > 0 && have < up.len;) {
            size_t before = up.len;
            have = piece && have + piece < up.len ? have + piece : up.len;
            ours_read(o, &up, have);
            have -= before - up.len;
        }
        for (unsigned i = 0; i < o->count; i++)
            o->asks[i].left = o->asks[i].left ? o->asks[i].left : i * 100;
        ours_write(o, &down);
        for (size_t have = 0; down.len > 0 && have < down.len;) {
            size_t before = down.len;
            have = piece && have + piece < down.len ? have + piece : down.len;
            asker_read(a, &down, have);
            have -= before - down.len;
        }
    }
    ck_assert_uint_eq(a->session.streams, 0);
    ck_assert_uint_eq(a->heads, ASKS);
    ck_assert_uint_eq(a->interims, ASKS);
    ck_assert_uint_eq(a->ends, ASKS);
    ck_assert_uint_eq(a->content, 100 * ASKS * (ASKS - 1) / 2);
    h2_free(&a->session);
    h2_free(&o->session);
    free(up.at);
    free(down.at);
    free(a);
    free(o);
}

START_TEST(we_ask_and_we_answer)
{
    static const size_t pieces[] = {0, 1, 9, 1000};

    for (size_t i = 0; i < COUNT_OF(pieces); i++)
        ask_ourselves(pieces[i]);
}
END_TEST

Suite *h2_peers_suite(void)
{
    Suite *s = suite_create("h2_peers");
    TCase *t = tcase_create("peers");

    tcase_set_timeout(t, 60);
    tcase_add_test(t, nghttp2_asks_and_we_answer);
    tcase_add_test(t, we_ask_and_we_answer);
    suite_add_tcase(s, t);
    return s;
}
