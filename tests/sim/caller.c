/* A client over HTTP/2; see caller.h. */
#include "tests/sim/caller.h"

#include "tests/sim/visitor.h"

#include <stdlib.h>

struct call *caller_asks(struct caller *c, struct call call)
{
    EXPECT(c->count < CALLS_MAX, "too many calls");
    c->calls[c->count] = call;
    return &c->calls[c->count++];
}

/* --- saying -------------------------------------------------------------------------- */

static void say(struct caller *c, struct span bytes)
{
    struct sim *sim = c->peer->sim;

    if (c->sloppy && sim_random(sim, 4) == 0)
        sim_say_slowly(c->peer, bytes, 1 + (size_t)sim_random(sim, bytes.len + 1),
                       sim_random(sim, NS_PER_MS));
    else
        sim_say(c->peer, bytes);
}

static void say_frame(struct caller *c, struct h2_frame f, struct span payload)
{
    char bytes[H2_FRAME_HEAD + H2_FRAME_MAX];

    f.len = (uint32_t)payload.len;
    h2_frame_write(bytes, f);
    if (payload.len)
        memcpy(bytes + H2_FRAME_HEAD, payload.ptr, payload.len);
    say(c, (struct span){bytes, H2_FRAME_HEAD + payload.len});
}

static void say_number(struct caller *c, enum h2_type type, uint32_t stream, uint32_t n)
{
    char payload[4];

    h2_put32(payload, n);
    say_frame(c, (struct h2_frame){.type = (uint8_t)type, .stream = stream},
              (struct span){payload, 4});
}

static size_t put_text(char *at, const char *text)
{
    size_t len = strlen(text);

    EXPECT(len < 127, "a short text");
    at[0] = (char)len;
    memcpy(at + 1, text, len);
    return 1 + len;
}

static size_t put_field(char *at, const char *name, const char *value)
{
    size_t n = 1;

    at[0] = 0;
    n += put_text(at + n, name);
    return n + put_text(at + n, value);
}

static void say_head(struct caller *c, struct call *call)
{
    char block[600], number[24];
    size_t n = 0;
    unsigned flags = call->sends == 0 ? H2_FLAG_END_STREAM : 0;

    n += put_field(block + n, ":method", call->method);
    n += put_field(block + n, ":scheme", "http");
    n += put_field(block + n, ":path", call->path);
    n += put_field(block + n, ":authority", "a");
    if (call->sends) {
        snprintf(number, sizeof number, "%zu", call->sends);
        n += put_field(block + n, "x-bytes", number);
        if (call->named)
            n += put_field(block + n, "content-length", number);
    }
    snprintf(number, sizeof number, "u=%u%s", (unsigned)sim_random(c->peer->sim, 8),
             sim_random(c->peer->sim, 2) ? ", i" : "");
    n += put_field(block + n, "priority", number);
    size_t first = sim_random(c->peer->sim, 4) ? n : (size_t)sim_random(c->peer->sim, n);
    if (first == n)
        flags |= H2_FLAG_END_HEADERS;
    say_frame(
        c, (struct h2_frame){.type = H2_HEADERS, .flags = (uint8_t)flags, .stream = call->stream},
        (struct span){block, first});
    if (first < n)
        say_frame(c,
                  (struct h2_frame){.type = H2_CONTINUATION,
                                    .flags = H2_FLAG_END_HEADERS,
                                    .stream = call->stream},
                  (struct span){block + first, n - first});
}

/* --- calls ------------------------------------------------------------------------------ */

static bool call_over(const struct call *call)
{
    return call->ended || call->cut || call->dropped;
}

static void call_check(const struct caller *c, const struct call *call)
{
    bool right = call->got == call->status || (call->or_status && call->got == call->or_status);

    if (c->tolerant && call->got >= 500)
        return;
    EXPECT(right, "%s %s: %d instead of %d", call->method, call->path, call->got, call->status);
    EXPECT(!call->wrong, "%s %s: not what there is", call->method, call->path);
    EXPECT(call->got != call->status || call->content_len == SIZE_MAX ||
               call->content_len == call->heard,
           "%s %s: %zu bytes instead of %zu", call->method, call->path, call->heard,
           call->content_len);
}

static void content_go_on(struct caller *c, struct call *call)
{
    char bytes[H2_FRAME_MAX];

    while (!call->said_all && !call_over(call)) {
        size_t left = call->sends - call->sent;
        int64_t room = call->window < c->window ? call->window : c->window;
        size_t n = left < sizeof bytes ? left : sizeof bytes;
        if (room < (int64_t)n)
            n = room > 0 ? (size_t)room : 0;
        if (n > 1 && sim_random(c->peer->sim, 3) == 0)
            n = 1 + (size_t)sim_random(c->peer->sim, n);
        if (n == 0)
            return;
        for (size_t i = 0; i < n; i++)
            bytes[i] = pattern_at(call->sent + i, call->id);
        call->sent += n;
        call->window -= (int64_t)n;
        c->window -= (int64_t)n;
        call->said_all = call->sent == call->sends;
        say_frame(c,
                  (struct h2_frame){.type = H2_DATA,
                                    .flags = call->said_all ? H2_FLAG_END_STREAM : 0,
                                    .stream = call->stream},
                  (struct span){bytes, n});
    }
}

static void go_on(struct caller *c)
{
    while (!c->going && c->begun < c->count && c->begun - c->over < c->at_once) {
        struct call *call = &c->calls[c->begun++];
        call->stream = c->next;
        call->window = c->peer_window;
        call->said_all = call->sends == 0;
        c->next += 2;
        sim_say_trace(c->peer->sim, "client %u calls: %s %s (%zu bytes) on %u", c->peer->from.port,
                      call->method, call->path, call->sends, call->stream);
        say_head(c, call);
    }
    if (c->parts && !c->parted && c->begun == c->count) {
        c->parted = true;
        say_frame(c, (struct h2_frame){.type = H2_GOAWAY}, (struct span){(char[8]){0}, 8});
    }
    for (unsigned i = 0; i < c->begun; i++)
        content_go_on(c, &c->calls[i]);
}

/* --- windows ------------------------------------------------------------------------------- */

static void credit_all(struct caller *c)
{
    for (unsigned i = 0; i < c->begun; i++) {
        struct call *call = &c->calls[i];
        if (call->owed && !call_over(call))
            say_number(c, H2_WINDOW_UPDATE, call->stream, call->owed);
        call->owed = 0;
    }
    if (c->owed)
        say_number(c, H2_WINDOW_UPDATE, 0, c->owed);
    c->owed = 0;
}

static void tick(void *data)
{
    struct caller *c = data;

    c->ticking = false;
    if (!c->ended && !c->peer->closed && !c->peer->reset && !c->peer->ended)
        credit_all(c);
}

static void credit(struct caller *c)
{
    struct sim *sim = c->peer->sim;

    if (!c->slow || sim_random(sim, 3) == 0) {
        credit_all(c);
    } else if (!c->ticking) {
        c->ticking = true;
        sim_after(sim, sim_random(sim, 200 * NS_PER_MS), tick, c);
    }
}

/* --- hearing -----------------------------------------------------------------------------------
 */

static struct call *call_of(struct caller *c, uint32_t stream)
{
    EXPECT(stream % 2 == 1 && stream < c->next, "a stream that was begun, not %u", stream);
    return &c->calls[(stream - 1) / 2];
}

static void hear_end(struct caller *c, struct call *call)
{
    if (call_over(call))
        return;
    call->ended = true;
    c->over++;
    call_check(c, call);
}

static void hear_head(struct caller *c, struct call *call, const struct h2_frame *f,
                      struct span block)
{
    struct span name, value;
    int status = 0;
    enum hpack_step step;

    EXPECT(f->flags & H2_FLAG_END_HEADERS, "a head in one frame");
    while ((step = hpack_inflate(&c->hpack, &block, true, &name, &value)) == HPACK_FIELD) {
        if (span_equal(name, SPAN(":status")))
            status = (value.ptr[0] - '0') * 100 + (value.ptr[1] - '0') * 10 + value.ptr[2] - '0';
        for (size_t i = 0; i < name.len; i++)
            EXPECT(name.ptr[i] < 'A' || name.ptr[i] > 'Z', "names in lower case");
    }
    if (step != HPACK_END && c->tolerant) { /* the memory that fails is ours, too */
        sim_reset(c->peer);
        return;
    }
    EXPECT(step == HPACK_END, "a field section that is HPACK");
    if (call_over(call))
        return;
    EXPECT((status != 0) == (call->got == 0), "a status once, and trailers without");
    if (status >= 200)
        call->got = status;
    if (f->flags & H2_FLAG_END_STREAM)
        hear_end(c, call);
}

static char expected_at(const struct call *call, size_t at)
{
    return call->text ? call->text[at] : pattern_at(at, call->id);
}

static void hear_content(struct caller *c, struct call *call, const struct h2_frame *f,
                         struct span bytes)
{
    c->owed += f->len;
    if (call_over(call))
        return;
    EXPECT(call->got >= 200, "content behind a head");
    if (call->got == call->status && call->got < 400 && call->content_len != SIZE_MAX)
        for (size_t i = 0; i < bytes.len; i++) {
            call->wrong = call->wrong || bytes.ptr[i] != expected_at(call, call->heard + i);
            EXPECT(!call->wrong || call->may_cut, "byte %zu of %s", call->heard + i, call->path);
        }
    call->heard += bytes.len;
    call->owed += f->len;
    EXPECT(call->heard <= call->content_len || call->got != call->status, "no more than there is");
    if (f->flags & H2_FLAG_END_STREAM) {
        hear_end(c, call);
    } else if (call->reset_at && call->heard >= call->reset_at) {
        call->dropped = true;
        c->over++;
        say_number(c, H2_RST_STREAM, call->stream, H2_CANCEL);
    }
}

static void hear_reset(struct caller *c, struct call *call, uint32_t error)
{
    if (call_over(call) || (call->ended && error == H2_NO_ERROR))
        return;
    EXPECT(call->may_cut || c->tolerant, "%s is not cut (%u)", call->path, error);
    call->cut = true;
    c->over++;
}

static void hear_settings(struct caller *c, const struct h2_frame *f, struct span payload)
{
    if (f->flags & H2_FLAG_ACK)
        return;
    for (; payload.len >= 6; payload = span_after(payload, 6)) {
        if (payload.ptr[1] != H2_SETTING_INITIAL_WINDOW_SIZE)
            continue;
        uint32_t window = h2_get32(payload.ptr + 2);
        for (unsigned i = 0; i < c->begun; i++)
            c->calls[i].window += (int64_t)window - c->peer_window;
        c->peer_window = window;
    }
    say_frame(c, (struct h2_frame){.type = H2_SETTINGS, .flags = H2_FLAG_ACK}, (struct span){0});
}

static void hear(struct caller *c, const struct h2_frame *f, struct span payload)
{
    switch (f->type) {
    case H2_SETTINGS:
        hear_settings(c, f, payload);
        break;
    case H2_PING:
        if (!(f->flags & H2_FLAG_ACK))
            say_frame(c, (struct h2_frame){.type = H2_PING, .flags = H2_FLAG_ACK}, payload);
        break;
    case H2_GOAWAY:
        c->going = true;
        EXPECT(h2_get32(payload.ptr + 4) == H2_NO_ERROR || c->tolerant, "GOAWAY with error %u",
               h2_get32(payload.ptr + 4));
        break;
    case H2_WINDOW_UPDATE:
        if (f->stream == 0)
            c->window += h2_get32(payload.ptr);
        else
            call_of(c, f->stream)->window += h2_get32(payload.ptr);
        break;
    case H2_HEADERS:
        hear_head(c, call_of(c, f->stream), f, payload);
        break;
    case H2_DATA:
        hear_content(c, call_of(c, f->stream), f, payload);
        break;
    case H2_RST_STREAM:
        hear_reset(c, call_of(c, f->stream), h2_get32(payload.ptr));
        break;
    default:
        EXPECT(false, "a frame of type %u", f->type);
    }
}

static void news(struct sim_peer *peer)
{
    struct caller *c = peer->data;

    if (c->ended)
        return;
    while (!peer->closed) {
        struct span rest = span_after(sim_heard(peer), c->at);
        if (rest.len < H2_FRAME_HEAD)
            break;
        struct h2_frame f = h2_frame_read(rest.ptr);
        EXPECT(f.len <= H2_FRAME_MAX, "a frame of %u bytes", f.len);
        if (rest.len < H2_FRAME_HEAD + f.len)
            break;
        c->at += H2_FRAME_HEAD + f.len;
        hear(c, &f, (struct span){rest.ptr + H2_FRAME_HEAD, f.len});
    }
    if (peer->ended || peer->reset || peer->closed)
        return;
    credit(c);
    go_on(c);
    if (caller_done(c) && !c->parts)
        sim_finish(peer);
}

void caller_start(struct caller *c, struct sim *sim, const struct address *to,
                  const struct address *from)
{
    char settings[6] = {0, H2_SETTING_INITIAL_WINDOW_SIZE};

    EXPECT(hpack_init(&c->hpack) == 0, "HPACK");
    c->next = 1;
    c->window = c->peer_window = H2_WINDOW_START;
    if (c->at_once == 0)
        c->at_once = 1;
    c->peer = sim_connect(sim, to, from);
    c->peer->news = news;
    c->peer->data = c;
    h2_put32(settings + 2, c->first_window);
    say(c, H2_PREFACE_TEXT);
    say_frame(c, (struct h2_frame){.type = H2_SETTINGS}, (struct span){settings, 6});
    if (sim_random(sim, 2)) /* else when the gateway has said what it is */
        go_on(c);
}

bool caller_done(const struct caller *c)
{
    const struct sim_peer *p = c->peer;

    return c->over == c->count || (c->going && c->over == c->begun) || p->ended || p->reset ||
           p->refused || p->closed;
}

void caller_expect_all(const struct caller *c)
{
    EXPECT(c->over == c->count, "%u answers of %u, connection %s", c->over, c->count,
           c->peer->reset     ? "reset"
           : c->peer->ended   ? "ended"
           : c->peer->refused ? "refused"
                              : "open");
}

void caller_end(struct caller *c)
{
    c->ended = true;
    hpack_free(&c->hpack);
}
