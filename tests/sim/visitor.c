/* Clients that ask; see visitor.h. */
#include "tests/sim/visitor.h"

#include <stdlib.h>
#include <strings.h>

/* --- reading answers ------------------------------------------------------------------- */

static size_t find(struct span s, const char *what)
{
    const char *at = s.len ? memmem(s.ptr, s.len, what, strlen(what)) : NULL;

    return at ? (size_t)(at - s.ptr) : s.len;
}

struct span answer_field(const struct answer *a, const char *name)
{
    struct span rest = a->head;
    size_t len = strlen(name);

    for (size_t line; (line = find(rest, "\r\n")) < rest.len;) {
        rest = span_after(rest, line + 2);
        if (rest.len > len && rest.ptr[len] == ':' && strncasecmp(rest.ptr, name, len) == 0) {
            struct span value = span_after(rest, len + 1);
            return span_trim(span_first(value, find(value, "\r\n")));
        }
    }
    return (struct span){NULL, 0};
}

/* Decodes chunks; 0 while the last one is missing. */
static int chunked(struct span text, char *room, struct answer *a)
{
    struct span rest = text;
    size_t len = 0;

    for (;;) {
        size_t line = find(rest, "\r\n"), size = 0;
        if (line == rest.len)
            return 0;
        for (size_t i = 0; i < line && rest.ptr[i] != ';'; i++) {
            const char *digits = "0123456789abcdef", *digit = strchr(digits, rest.ptr[i] | 0x20);
            if (!digit || !rest.ptr[i])
                return -1;
            size = size * 16 + (size_t)(digit - digits);
        }
        rest = span_after(rest, line + 2);
        if (size == 0) {
            while ((line = find(rest, "\r\n")) < rest.len && line > 0)
                rest = span_after(rest, line + 2);
            if (line == rest.len)
                return 0;
            rest = span_after(rest, 2);
            break;
        }
        if (rest.len < size + 2)
            return 0;
        if (memcmp(rest.ptr + size, "\r\n", 2) != 0)
            return -1;
        memcpy(room + len, rest.ptr, size);
        len += size;
        rest = span_after(rest, size + 2);
    }
    a->content = (struct span){room, len};
    a->len += text.len - rest.len;
    return 1;
}

int answer_read(struct span text, bool head, bool ended, char *room, struct answer *a)
{
    size_t end = find(text, "\r\n\r\n");
    uint64_t length = 0;

    *a = (struct answer){0};
    if (end == text.len)
        return text.len >= 9 && memcmp(text.ptr, "HTTP/1.1 ", 9) != 0 ? -1 : 0;
    if (memcmp(text.ptr, "HTTP/1.1 ", 9) != 0)
        return -1;
    a->status = atoi(text.ptr + 9);
    a->head = span_first(text, end + 2);
    a->len = end + 4;
    struct span rest = span_after(text, end + 4);
    struct span coding = answer_field(a, "Transfer-Encoding");
    struct span written = answer_field(a, "Content-Length");
    a->content = (struct span){rest.ptr, 0};
    if (coding.ptr && written.ptr)
        return -1;
    if (head || a->status < 200 || a->status == 204 || a->status == 304)
        return a->status < 100 ? -1 : 1;
    if (coding.ptr)
        return span_equal_nocase(coding, SPAN("chunked")) ? chunked(rest, room, a) : -1;
    if (!written.ptr) {
        a->content = rest;
        a->len = text.len;
        return ended ? 1 : 0;
    }
    if (!span_number(written, &length))
        return -1;
    if (rest.len < length)
        return 0;
    a->content.len = (size_t)length;
    a->len += (size_t)length;
    return 1;
}

int asked_read(struct span text, char *room, struct asked *r)
{
    size_t end = find(text, "\r\n\r\n"), space;
    uint64_t length = 0;

    *r = (struct asked){0};
    if (end == text.len)
        return 0;
    r->head_there = true;
    r->method = span_first(text, span_find(text, ' '));
    space = r->method.len + 1;
    if (space >= end)
        return -1;
    r->path = span_first(span_after(text, space), span_find(span_after(text, space), ' '));
    r->message.head = span_first(text, end + 2);
    r->message.len = end + 4;
    struct span rest = span_after(text, end + 4);
    struct span coding = answer_field(&r->message, "Transfer-Encoding");
    struct span written = answer_field(&r->message, "Content-Length");
    if (coding.ptr)
        return written.ptr ? -1 : chunked(rest, room, &r->message);
    if (written.ptr && !span_number(written, &length))
        return -1;
    if (rest.len < length)
        return 0;
    r->message.content = (struct span){rest.ptr, (size_t)length};
    r->message.len += (size_t)length;
    return 1;
}

void pattern_fill(char *out, size_t len, unsigned id)
{
    for (size_t i = 0; i < len; i++)
        out[i] = pattern_at(i, id);
}

bool pattern_is(struct span s, size_t len, unsigned id)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] != pattern_at(i, id))
            return false;
    return s.len == len;
}

/* --- asking ------------------------------------------------------------------------------ */

void visitor_ask(struct visitor *v, struct ask ask)
{
    EXPECT(v->count < VISITOR_ASKS_MAX, "too many questions");
    if (ask.len == 0)
        ask.len = strlen(ask.request);
    v->asks[v->count++] = ask;
}

static void send_next(struct visitor *v)
{
    while (v->sent < v->count && (v->pipelines || v->sent == v->answered)) {
        const struct ask *a = &v->asks[v->sent++];
        struct span text = {a->request, a->wait_at ? a->wait_at : a->len};
        if (v->sending)
            v->sending(v, a);
        sim_say_trace(v->peer->sim, "client %u asks: %.*s (%zu bytes)", v->peer->from.port,
                      (int)strcspn(a->request, "\r"), a->request, a->len);
        if (a->slow)
            sim_say_slowly(v->peer, text, 1 + a->len / 7,
                           sim_random(v->peer->sim, 100 * NS_PER_MS));
        else if (a->piece)
            sim_say_slowly(v->peer, text, a->piece, 20 * NS_PER_US);
        else
            sim_say(v->peer, text);
    }
    if (v->finishes && v->sent == v->count)
        sim_finish(v->peer);
    if (v->sent == v->count)
        v->finishes = false;
}

static void check(struct visitor *v, const struct answer *a)
{
    const struct ask *ask = &v->asks[v->answered];

    sim_say_trace(v->peer->sim, "client %u hears: %.*s", v->peer->from.port,
                  (int)find(a->head, "\r\n"), a->head.ptr);
    if (v->checked)
        v->checked(v, ask, a);
    if (v->tolerant && a->status >= 500)
        return;
    if (ask->or_status && a->status == ask->or_status)
        return;
    if (ask->or_content.ptr && a->status == 200 && span_equal(a->content, ask->or_content))
        return;
    EXPECT(a->status == ask->status, "question %u (%.*s): %d instead of %d", v->answered,
           (int)strcspn(ask->request, "\r"), ask->request, a->status, ask->status);
    EXPECT(!ask->content.ptr || span_equal(a->content, ask->content),
           "question %u: content of %zu bytes, not %zu", v->answered, a->content.len,
           ask->content.len);
    EXPECT(ask->content_len == 0 || pattern_is(a->content, ask->content_len, ask->id),
           "question %u: other content, %zu bytes of %zu", v->answered, a->content.len,
           ask->content_len);
}

static void heard_interim(struct visitor *v, int status)
{
    const struct ask *a = &v->asks[v->answered];

    if (status == 100) {
        EXPECT(a->wait_at, "100 (Continue) to who did not ask for it");
        sim_say(v->peer, (struct span){a->request + a->wait_at, a->len - a->wait_at});
    }
}

static void news(struct sim_peer *peer)
{
    struct visitor *v = peer->data;
    char *room = malloc(peer->len + 1);

    while (v->answered < v->sent) {
        struct answer a;
        struct span text = span_after(sim_heard(peer), v->at);
        int got = answer_read(text, v->asks[v->answered].head, peer->ended, room, &a);
        EXPECT(got >= 0, "an answer that is HTTP, not %.*s", (int)(text.len < 60 ? text.len : 60),
               text.ptr);
        if (got == 0)
            break;
        v->at += a.len;
        if (a.status < 200) {
            heard_interim(v, a.status);
            continue;
        }
        check(v, &a);
        v->tunnel = a.status == 101;
        v->answered++;
        send_next(v);
    }
    free(room);
    EXPECT(v->answered < v->sent || v->tunnel || v->at == peer->len,
           "client %u: %.*s behind the last answer", peer->from.port,
           (int)(peer->len - v->at < 60 ? peer->len - v->at : 60), peer->text + v->at);
}

void visitor_start(struct visitor *v, struct sim *sim, const struct address *to,
                   const struct address *from)
{
    v->peer = sim_connect(sim, to, from);
    v->peer->news = news;
    v->peer->data = v;
    send_next(v);
}

bool visitor_done(const struct visitor *v)
{
    const struct sim_peer *p = v->peer;

    return v->answered == v->count || p->ended || p->reset || p->refused || p->closed;
}

void visitor_expect_all(const struct visitor *v)
{
    EXPECT(v->answered == v->count, "%u answers of %u, connection %s", v->answered, v->count,
           v->peer->reset     ? "reset"
           : v->peer->ended   ? "ended"
           : v->peer->refused ? "refused"
                              : "open");
    EXPECT(v->at == v->peer->len, "%zu bytes behind the last answer", v->peer->len - v->at);
}
