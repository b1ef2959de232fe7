/* HTTP/2 from a client: whatever comes, whole or in pieces, the session stays sound, says the
 * same, and does not grow. */
#include "http/h2_session.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

enum { STREAMS = 64 };

const char *const fuzz_corpus[] = {"http/h2.txt", NULL};

struct reader {
    struct h2_session session;
    struct h2_stream *streams[STREAMS];
    unsigned count, events;
    uint32_t hash;
};

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void note(struct reader *r, uint32_t what)
{
    r->hash = (r->hash ^ what) * 16777619u;
}

static void on_head(struct reader *r, const struct h2_event *ev)
{
    struct field list[32];
    struct request q = {.fields = {.list = list, .max = 32}};

    if (r->count == STREAMS) {
        h2_refuse(&r->session, ev, H2_REFUSED_STREAM);
        return;
    }
    note(r, h2_head_request(&r->session.head, ev->end, 1000, &q));
    for (uint32_t i = 0; i < q.fields.count; i++) /* nothing that ends a line of HTTP/1 */
        for (size_t n = 0; n < list[i].value.len; n++)
            require(list[i].value.ptr[n] != '\r' && list[i].value.ptr[n] != '\n');
    struct h2_stream *t = malloc(sizeof *t);
    require(t != NULL);
    h2_accept(&r->session, t, ev);
    r->streams[r->count++] = t;
    h2_respond(&r->session, t, 200, NULL, NULL, ev->id % 8 == 1);
}

/* Reads the first `have` bytes of what is left. */
static size_t read_some(struct reader *r, struct span in, size_t have)
{
    struct h2_event ev;
    size_t used, from = 0;

    do {
        h2_read(&r->session, (struct span){in.ptr + from, have - from}, 1, &used, &ev);
        from += used;
        require(from <= have);
        if (ev.kind == H2_CONTENT) {
            require(ev.content > 0 && ev.content <= have - from);
            from += ev.content;
            h2_took(&r->session, ev.content);
            h2_credit(&r->session, ev.stream, ev.content);
        } else if (ev.kind == H2_HEAD) {
            on_head(r, &ev);
        }
        if (ev.kind != H2_NOTHING && ev.kind != H2_CONTENT && ev.kind != H2_FLUSH)
            note(r, (uint32_t)ev.kind << 8 ^ ev.id ^ (uint32_t)ev.error << 16);
        h2_sent(&r->session, h2_out(&r->session).len);
        h2_check(&r->session);
    } while (ev.kind != H2_NOTHING);
    require(r->session.failed || have - from <= 100);
    require(r->session.head.room <= 128 * 1024);
    return from;
}

static uint32_t play(struct span in, size_t piece)
{
    static const struct h2_limits limits = {.streams_max = 8,
                                            .connects = true,
                                            .window = 65535,
                                            .header_max = 4096,
                                            .fields_max = 20,
                                            .resets = {100, 1000},
                                            .control = {200, 1000}};
    struct reader *r = calloc(1, sizeof *r);

    require(r && h2_init(&r->session, &limits) == 0);
    h2_sent(&r->session, h2_out(&r->session).len);
    for (size_t have = 0; have < in.len && !r->session.failed;) {
        have = piece && have + piece < in.len ? have + piece : in.len;
        size_t used = read_some(r, in, have);
        in = span_after(in, used);
        have -= used;
    }
    uint32_t hash = r->hash;
    for (unsigned i = 0; i < r->count; i++)
        free(r->streams[i]);
    h2_free(&r->session);
    free(r);
    return hash;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char hello[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    size_t begin = sizeof hello - 1;
    char *bytes = malloc(begin + size);

    require(bytes != NULL);
    if (size < 2) { /* which choose nothing here */
        free(bytes);
        return 0;
    }
    data += 2;
    size -= 2;
    memcpy(bytes, hello, begin);
    if (size)
        memcpy(bytes + begin, data, size);
    struct span in = {bytes, begin + size};
    uint32_t whole = play(in, 0);
    require(play(in, 1) == whole);
    require(play(in, 1 + size % 37) == whole);
    free(bytes);
    return 0;
}
