#include "tests/unit/http/feed.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Everything is reallocated for each call: what the parser kept a pointer to
 * is gone, and the sanitizers know where the bytes end. */
enum { FIELDS_ROOM = 128 };

struct text {
    char *at, *end;
};

static void say(struct text *t, const char *format, ...) PRINTF_LIKE(2, 3);
static void say(struct text *t, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int n = vsnprintf(t->at, (size_t)(t->end - t->at), format, args);
    va_end(args);
    t->at = n < t->end - t->at ? t->at + n : t->end - 1;
}

static void say_bytes(struct text *t, struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] > ' ' && s.ptr[i] < 127)
            say(t, "%c", s.ptr[i]);
        else
            say(t, "\\x%02x", (uint8_t)s.ptr[i]);
}

static void say_span(struct text *t, const char *name, struct span s)
{
    say(t, " %s=", name);
    say_bytes(t, s);
}

static void say_fields(struct text *t, const struct fields *f)
{
    uint64_t seen = 0;

    say(t, " fields=%u", f->count);
    for (uint32_t i = 0; i < f->count; i++) {
        say(t, " field:");
        say_bytes(t, f->list[i].name);
        say(t, "=");
        say_bytes(t, f->list[i].value);
        if (f->list[i].id != field_find(f->list[i].name))
            abort();
        seen |= (uint64_t)1 << f->list[i].id;
    }
    if (seen != f->seen)
        abort();
}

static void say_framing(struct text *t, enum framing framing, uint64_t length)
{
    static const char *const names[] = {"none", "length", "chunked", "close", "tunnel"};

    say(t, " framing=%s length=%llu", names[framing], (unsigned long long)length);
}

/* What the parser says of the host's name, host_parse() says too. */
static void check_host_name(const struct request *r)
{
    char scratch[256], other[256];
    struct span name, port;

    if (r->host_name_len == 0)
        return;
    if (r->host_name_len > r->host.len || !host_parse(r->host, scratch, &name, &port) ||
        !span_equal(host_name_normalise(span_first(r->host, r->host_name_len), other), name))
        abort();
}

static void say_request(struct text *t, const struct request *r)
{
    static const char *const forms[] = {"origin", "absolute", "asterisk", "authority"};

    say_span(t, "method", r->method_name);
    if (r->method != method_find(r->method_name))
        abort();
    say_span(t, "target", r->target_text);
    say(t, " form=%s", forms[r->target.form]);
    say_span(t, "path", r->target.path);
    if (r->target.has_query)
        say_span(t, "query", r->target.query);
    say_span(t, "host", r->host);
    check_host_name(r);
    say(t, " version=%d", (int)r->version);
    say_framing(t, r->framing, r->content_length);
    say(t, " continue=%d keep_alive=%d upgrade=%d", r->expects_continue, r->keep_alive, r->upgrade);
    say_fields(t, &r->fields);
}

static void say_response(struct text *t, const struct response *r)
{
    say(t, " status=%d version=%d", r->status, (int)r->version);
    say_span(t, "reason", r->reason);
    say_framing(t, r->framing, r->content_length);
    say(t, " keep_alive=%d upgrade=%d", r->keep_alive, r->upgrade);
    say_fields(t, &r->fields);
}

static void say_verdict(struct text *t, enum parse verdict, enum cause cause)
{
    if (verdict == PARSE_BAD)
        say(t, "%.*s", SPAN_ARG(cause_row(cause)->name));
    else
        say(t, verdict == PARSE_DONE ? "done" : "more");
}

/* One call with a message that knows nothing of the call before. */
static enum parse call(const struct feed *f, struct h1_parser *p, struct span bytes, struct text *t)
{
    struct field *list = malloc(FIELDS_ROOM * sizeof *list);
    struct request r;
    struct response s;
    struct fields trailers = {.list = list, .max = FIELDS_ROOM};
    enum parse verdict;

    memset(&r, 0xaa, sizeof r);
    memset(&s, 0xaa, sizeof s);
    r.fields.list = s.fields.list = list;
    r.fields.max = s.fields.max = FIELDS_ROOM;
    if (f->kind == FEED_REQUEST)
        verdict = h1_parse_request(p, bytes, &r);
    else if (f->kind == FEED_RESPONSE)
        verdict = h1_parse_response(p, bytes, f->method, &s);
    else
        verdict = h1_parse_trailers(p, bytes, f->no_fields ? NULL : &trailers);
    if (verdict != PARSE_MORE) {
        say_verdict(t, verdict, p->cause);
        if (verdict == PARSE_DONE)
            say(t, " head=%u", p->head_bytes);
        if (verdict == PARSE_DONE && f->kind == FEED_REQUEST)
            say_request(t, &r);
        else if (verdict == PARSE_DONE && f->kind == FEED_RESPONSE)
            say_response(t, &s);
        else if (verdict == PARSE_DONE)
            say_fields(t, &trailers);
    }
    free(list);
    return verdict;
}

static void run_head(const struct feed *f, struct span bytes, struct text *t)
{
    struct h1_parser p;
    size_t fed = 0;

    h1_parser_init(&p, &f->limits);
    for (size_t n = 0; fed < bytes.len; n++) {
        size_t piece = f->piece(f->context, n);
        fed = piece == 0 || piece > bytes.len - fed ? bytes.len : fed + piece;
        char *copy = malloc(fed);
        memcpy(copy, bytes.ptr, fed);
        uint32_t scanned = p.scanned; /* all that a connection keeps */
        memset(&p, 0xaa, sizeof p);
        h1_parser_init(&p, &f->limits);
        p.scanned = scanned;
        enum parse verdict = call(f, &p, (struct span){copy, fed}, t);
        free(copy);
        if (verdict != PARSE_MORE)
            return;
    }
    say_verdict(t, PARSE_MORE, CAUSE_NONE);
}

/* The bytes not yet dropped, as a connection keeps them. */
struct kept {
    char *bytes;
    size_t len;
};

static void kept_add(struct kept *k, struct span more)
{
    char *bytes = malloc(k->len + more.len + 1);

    if (k->len > 0)
        memcpy(bytes, k->bytes, k->len);
    memcpy(bytes + k->len, more.ptr, more.len);
    free(k->bytes);
    *k = (struct kept){bytes, k->len + more.len};
}

static void kept_drop(struct kept *k, size_t n)
{
    char *bytes = malloc(k->len - n > 0 ? k->len - n : 1);

    if (k->len - n > 0)
        memcpy(bytes, k->bytes + n, k->len - n);
    free(k->bytes);
    *k = (struct kept){bytes, k->len - n};
}

/* All that the bytes kept give. */
static enum parse content_step(struct h1_content *c, struct kept *k, char *content, size_t *len,
                               size_t *used, enum cause *cause)
{
    struct h1_piece piece;
    enum parse verdict;

    do {
        verdict = h1_content_next(c, (struct span){k->bytes, k->len}, &piece, cause);
        if (verdict == PARSE_BAD)
            return verdict;
        if (piece.skip + piece.content > k->len || (verdict == PARSE_DONE && piece.content > 0))
            abort();
        piece.content = (piece.content + 1) / 2; /* it need not be taken all at once */
        h1_content_took(c, piece.content);
        if (piece.content > 0)
            memcpy(content + *len, k->bytes + piece.skip, piece.content);
        *len += piece.content;
        *used += piece.skip + piece.content;
        kept_drop(k, piece.skip + piece.content);
    } while (verdict == PARSE_MORE && piece.skip + piece.content > 0);
    return verdict;
}

static void run_chunked(const struct feed *f, struct span bytes, struct text *t)
{
    struct field list[FIELDS_ROOM];
    struct fields trailers = {.list = list, .max = FIELDS_ROOM};
    struct h1_content c;
    struct kept k = {0};
    char *content = malloc(bytes.len + 1);
    size_t len = 0, used = 0, fed = 0;
    enum parse verdict = PARSE_MORE;
    enum cause cause = CAUSE_NONE;

    h1_content_init(&c, FRAMING_CHUNKED, 0, &f->limits, f->no_fields ? NULL : &trailers);
    for (size_t n = 0; fed < bytes.len && verdict == PARSE_MORE; n++) {
        size_t piece = f->piece(f->context, n);
        if (piece == 0 || piece > bytes.len - fed)
            piece = bytes.len - fed;
        kept_add(&k, (struct span){bytes.ptr + fed, piece});
        fed += piece;
        verdict = content_step(&c, &k, content, &len, &used, &cause);
    }
    say_verdict(t, verdict, cause);
    if (h1_content_ended(&c) != (verdict == PARSE_DONE))
        abort();
    say_span(t, "content", (struct span){content, len});
    if (verdict == PARSE_DONE) {
        say(t, " used=%zu", used);
        say(t, " fields=%u", trailers.count); /* their bytes may have gone */
    }
    free(content);
    free(k.bytes);
}

void feed_run(const struct feed *f, struct span bytes, char text[FEED_TEXT_MAX])
{
    struct text t = {text, text + FEED_TEXT_MAX};

    text[0] = '\0';
    if (f->kind == FEED_CHUNKED)
        run_chunked(f, bytes, &t);
    else
        run_head(f, bytes, &t);
}

struct feed feed_default(enum feed_kind kind)
{
    return (struct feed){
        .kind = kind,
        .limits = {.request_line_max = 8192, .head_max = 32768, .fields_max = 100},
        .method = METHOD_GET,
        .piece = feed_whole,
    };
}

size_t feed_bytewise(void *context, size_t n)
{
    (void)context;
    (void)n;
    return 1;
}

size_t feed_whole(void *context, size_t n)
{
    (void)context;
    (void)n;
    return 0;
}

size_t feed_split(void *context, size_t n)
{
    return n == 0 ? *(size_t *)context : 0;
}
