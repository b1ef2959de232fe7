/* A record layer without cryptography; see toy.h. */
#include "tests/sim/toy.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

/* A head says all in its first bytes; the others are there to make records much longer than what
 * they hold. */
enum { TOLD = 5, HEAD = 200, BODY_MAX = TLS_RECORD_MAX, SAID_MAX = 5000 };
enum kind { HELLO = 'H', FINISHED = 'F', DATA = 'D', BYE = 'C' };

struct toy {
    struct tls base;
    char *record; /* one that has not come whole, or was not taken whole */
    size_t have;
    size_t at; /* of its body, taken; when it is decoded */
    bool decoded, hello, h2, bye;
    bool offers_h2; /* a client */
};

static struct toy *toy_of(struct tls *t)
{
    return (struct toy *)(void *)t;
}

static void head_make(char head[HEAD], enum kind kind, size_t len)
{
    head[0] = (char)kind;
    head[1] = 'T';
    head[2] = 'L';
    head[3] = (char)(len >> 8);
    head[4] = (char)len;
    memset(head + TOLD, 0, HEAD - TOLD);
}

static size_t body_len(const char *head)
{
    return (size_t)(uint8_t)head[3] << 8 | (uint8_t)head[4];
}

static void veil(char *to, const char *from, size_t len)
{
    for (size_t i = 0; i < len; i++)
        to[i] = (char)(from[i] ^ 0x5a);
}

/* --- contexts --------------------------------------------------------------------- */

struct toy_context {
    struct tls_context base;
    bool offers_h2; /* to origins */
};

static int context_make(struct toy_context **out, struct span section)
{
    struct toy_context *c = mem_zalloc(sizeof *c + section.len);

    if (!c)
        return FAIL_MEMORY;
    memcpy(c + 1, section.ptr, section.len);
    c->base = (struct tls_context){.layer = &toy_layer, .section = {(char *)(c + 1), section.len}};
    atomic_store(&c->base.refs, 1);
    *out = c;
    return 0;
}

static int context_new(struct tls_context **out, const struct tls_settings *s)
{
    struct toy_context *c;
    int err = context_make(&c, s->section);

    if (err == 0)
        *out = &c->base;
    return err;
}

static int client_new(struct tls_context **out, const struct tls_client_settings *s)
{
    struct toy_context *c;
    int err = context_make(&c, s->section);

    if (err < 0)
        return err;
    for (unsigned i = 0; i < s->alpn_count; i++)
        c->offers_h2 = c->offers_h2 || span_equal(s->alpn[i], SPAN("h2"));
    *out = &c->base;
    return 0;
}

static void context_free(struct tls_context *c)
{
    mem_free(c);
}

static int worker_new(struct tls_worker **out)
{
    static char nothing;

    *out = (struct tls_worker *)(void *)&nothing;
    return 0;
}

static void worker_free(struct tls_worker *w)
{
    (void)w;
}

static void entropy(uint8_t *out, size_t len)
{
    memset(out, 7, len);
}

/* --- connections -------------------------------------------------------------------- */

static int toy_accept(struct tls **out, struct tls_worker *w, struct tls_set *set)
{
    struct toy *t = mem_zalloc(sizeof *t);

    (void)w;
    if (!t)
        return FAIL_MEMORY;
    t->base.layer = &toy_layer;
    t->base.server = true;
    t->base.set = set;
    *out = &t->base;
    return 0;
}

static int toy_connect(struct tls **out, struct tls_worker *w, struct tls_context *c,
                       struct span name, struct tls_session *session)
{
    struct toy *t = mem_zalloc(sizeof *t);

    (void)w;
    (void)name;
    (void)session;
    if (!t)
        return FAIL_MEMORY;
    t->base.layer = &toy_layer;
    t->base.context = tls_context_use(c);
    t->offers_h2 = ((const struct toy_context *)(const void *)c)->offers_h2;
    *out = &t->base;
    return 0;
}

static struct tls_session *toy_session_take(struct tls *base)
{
    (void)base;
    return NULL;
}

static void toy_close(struct tls *base)
{
    struct toy *t = toy_of(base);

    mem_free(t->record);
    mem_free(t);
}

static int put(struct tls_io *io, enum kind kind, struct span body)
{
    char record[HEAD + BODY_MAX];

    head_make(record, kind, body.len);
    veil(record + HEAD, body.ptr, body.len);
    return io->put(io->put_data, (struct span){record, HEAD + body.len}) ? 0 : FAIL_MEMORY;
}

/* Takes from the front of what has come until a record is whole. */
static bool gather(struct toy *t, struct tls_io *io, size_t want)
{
    struct span part = span_first(io->in, want > t->have ? want - t->have : 0);

    if (part.len > 0)
        memcpy(t->record + t->have, part.ptr, part.len);
    t->have += part.len;
    io->in = span_after(io->in, part.len);
    return t->have >= want;
}

static int record_read(struct toy *t, struct tls_io *io, bool *whole)
{
    *whole = false;
    if (!t->record && !(t->record = mem_alloc(HEAD + BODY_MAX)))
        return FAIL_MEMORY;
    if (!gather(t, io, TOLD))
        return 0;
    size_t len = body_len(t->record);
    if (t->record[1] != 'T' || t->record[2] != 'L' || len > BODY_MAX)
        return FAIL_BAD;
    if (!gather(t, io, HEAD + len))
        return 0;
    veil(t->record + HEAD, t->record + HEAD, len);
    t->decoded = *whole = true;
    t->at = 0;
    return 0;
}

static void record_drop(struct toy *t)
{
    t->have = 0;
    t->decoded = false;
}

static int record_act(struct toy *t, struct tls_io *io)
{
    enum kind kind = (enum kind)t->record[0];

    if (kind == HELLO && !t->base.server && !t->base.ready) {
        t->h2 = body_len(t->record) > 0;
        t->base.ready = true;
        record_drop(t);
        return 0;
    }
    if (kind == HELLO && t->base.server && !t->hello) {
        t->hello = true;
        t->h2 = body_len(t->record) > 0;
        t->base.context = tls_context_use(tls_set_choose(t->base.set, (struct span){0}));
        tls_set_done(t->base.set);
        t->base.set = NULL;
        record_drop(t);
        return put(io, HELLO, (struct span){0});
    }
    if (kind == FINISHED && t->hello && !t->base.ready) {
        t->base.ready = true;
        record_drop(t);
        return 0;
    }
    if (kind == BYE && t->base.ready) {
        t->bye = true;
        record_drop(t);
        return 0;
    }
    return kind == DATA && t->base.ready ? 0 : FAIL_BAD;
}

static int toy_receive(struct tls *base, struct tls_io *io, char *room, size_t size, size_t *n)
{
    struct toy *t = toy_of(base);
    bool whole = true;
    int err = 0;

    *n = 0;
    if (!base->server && !t->hello) {
        t->hello = true;
        err = put(io, HELLO, (struct span){"2", t->offers_h2});
        if (err == 0)
            err = put(io, FINISHED, (struct span){0});
    }
    while (err == 0 && !t->bye && *n < size) {
        if (!t->decoded) {
            if ((err = record_read(t, io, &whole)) < 0 || !whole)
                break;
            if ((err = record_act(t, io)) < 0 || !t->decoded)
                continue;
        }
        struct span rest = {t->record + HEAD + t->at, body_len(t->record) - t->at};
        rest = span_first(rest, size - *n);
        memcpy(room + *n, rest.ptr, rest.len);
        *n += rest.len;
        t->at += rest.len;
        if (t->at == body_len(t->record))
            record_drop(t);
    }
    base->pending = err == 0 && (t->decoded || (t->bye && *n > 0) || io->in.len > 0);
    return err ? err : t->bye && *n == 0 ? FAIL_CLOSED : 0;
}

static int toy_send(struct tls *base, struct tls_io *io, struct span plain)
{
    assert(base->ready && plain.len > 0 && plain.len <= BODY_MAX);
    return put(io, DATA, plain);
}

static int toy_finish(struct tls *base, struct tls_io *io)
{
    return base->ready ? put(io, BYE, (struct span){0}) : 0;
}

static struct span toy_alpn(const struct tls *base)
{
    const struct toy *t = (const struct toy *)(const void *)base;

    return t->h2 ? SPAN("h2") : (struct span){0};
}

static size_t toy_fact(const struct tls *t, enum tls_fact fact, char *room)
{
    (void)t;
    (void)fact;
    memcpy(room, "toy", 3);
    return 3;
}

static size_t toy_why(const struct tls *t, char *room)
{
    return toy_fact(t, TLS_FACT_VERSION, room);
}

const struct tls_layer toy_layer = {
    .name = "toy",
    .entropy = entropy,
    .context_new = context_new,
    .client_new = client_new,
    .context_free = context_free,
    .worker_new = worker_new,
    .worker_free = worker_free,
    .accept = toy_accept,
    .connect = toy_connect,
    .close = toy_close,
    .receive = toy_receive,
    .send = toy_send,
    .finish = toy_finish,
    .alpn = toy_alpn,
    .fact = toy_fact,
    .why = toy_why,
    .session_take = toy_session_take,
};

/* --- the clients' side ---------------------------------------------------------------- */

static char *records_of(struct span plain, size_t at, bool end, char *out, size_t *len)
{
    while (plain.len > 0) {
        struct span part = span_first(plain, SAID_MAX);
        head_make(out + at, DATA, part.len);
        veil(out + at + HEAD, part.ptr, part.len);
        at += HEAD + part.len;
        plain = span_after(plain, part.len);
    }
    if (end) {
        head_make(out + at, BYE, 0);
        at += HEAD;
    }
    *len = at;
    return out;
}

static char *codec_say(struct span plain, bool first, bool end, size_t *len)
{
    size_t records = plain.len / SAID_MAX + 4, at = 0;
    char *out = malloc(plain.len + records * HEAD + 1);

    assert(out);
    if (first) {
        size_t h2 = span_starts(plain, SPAN("PRI * HTTP/2")); /* who will speak it says so */
        head_make(out, HELLO, h2);
        out[HEAD] = 0;
        head_make(out + HEAD + h2, FINISHED, 0);
        at = 2 * HEAD + h2;
    }
    return records_of(plain, at, end, out, len);
}

static char *origin_says(struct span plain, bool first, bool end, size_t *len, size_t h2)
{
    char *out = malloc(plain.len + (plain.len / SAID_MAX + 4) * HEAD + 1);
    size_t at = 0;

    assert(out);
    if (first) {
        head_make(out, HELLO, h2);
        out[HEAD] = 0;
        at = HEAD + h2;
    }
    return records_of(plain, at, end, out, len);
}

static char *origin_say(struct span plain, bool first, bool end, size_t *len)
{
    return origin_says(plain, first, end, len, 0);
}

static char *h2_origin_say(struct span plain, bool first, bool end, size_t *len)
{
    return origin_says(plain, first, end, len, 1);
}

/* How many bytes of a whole record at the front were used, and its content. */
static size_t codec_hear(struct span raw, char *out, size_t *len)
{
    *len = 0;
    if (raw.len < HEAD || raw.len < HEAD + body_len(raw.ptr))
        return 0;
    assert(raw.ptr[1] == 'T' && raw.ptr[2] == 'L' && body_len(raw.ptr) <= BODY_MAX);
    if (raw.ptr[0] == DATA) {
        *len = body_len(raw.ptr);
        veil(out, raw.ptr + HEAD, *len);
    }
    return HEAD + body_len(raw.ptr);
}

const struct sim_codec toy_codec = {.say = codec_say, .hear = codec_hear};
const struct sim_codec toy_origin_codec = {.say = origin_say, .hear = codec_hear};
const struct sim_codec toy_h2_origin_codec = {.say = h2_origin_say, .hear = codec_hear};
