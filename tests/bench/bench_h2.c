/* Nanoseconds per HTTP/2 request: its HEADERS read and understood, a response's HEADERS and
 * the head of its DATA written, with both ends' HPACK tables warm. */
#include "http/h2_session.h"
#include "tests/bench/bench.h"

#include <stdlib.h>

enum { REQUESTS = 64, ROUNDS = 4000 };

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* What a client says for so many requests. */
static void ask(struct h2_session *client, struct h2_stream *streams)
{
    static struct field list[] = {
        {.name = SPAN_INIT(":method"), .value = SPAN_INIT("GET")},
        {.name = SPAN_INIT(":scheme"), .value = SPAN_INIT("https")},
        {.name = SPAN_INIT(":path"), .value = SPAN_INIT("/hello")},
        {.name = SPAN_INIT(":authority"), .value = SPAN_INIT("www.example.com")},
        {.name = SPAN_INIT("user-agent"), .value = SPAN_INIT("bench/1.0")},
    };
    struct fields pseudo = {.list = list, .count = COUNT_OF(list)};

    for (unsigned i = 0; i < REQUESTS; i++)
        require(h2_request(client, &streams[i], &pseudo, NULL, true) == 0);
}

static void answer(struct h2_session *s, struct h2_stream *t, const struct h2_event *ev)
{
    struct field request[32];
    struct request r = {.fields = {.list = request, .max = COUNT_OF(request)}};
    struct field own[] = {
        {.name = SPAN_INIT("server"), .value = SPAN_INIT("headgate")},
        {.name = SPAN_INIT("date"), .value = SPAN_INIT("Mon, 23 Nov 2026 09:00:00 GMT")},
        {.name = SPAN_INIT("content-length"), .value = SPAN_INIT("5")},
    };
    struct field more[] = {{.name = SPAN_INIT("content-type"), .value = SPAN_INIT("text/plain")}};
    struct fields first = {.list = own, .count = COUNT_OF(own)};
    struct fields fields = {.list = more, .count = COUNT_OF(more)};

    h2_accept(s, t, ev);
    require(h2_head_request(&s->head, ev->end, 8192, &r) == CAUSE_NONE);
    h2_respond(s, t, 200, &first, &fields, false);
    h2_data(s, t, 5, true);
    s->send_window += 5; /* as if it came back at once */
}

int main(void)
{
    const struct h2_limits limits = {
        .streams_max = 1000, .window = 262144, .header_max = 32768, .fields_max = 100};
    struct h2_limits client_limits = limits;
    static struct h2_session server, client;
    static struct h2_stream asked[REQUESTS], got[REQUESTS];
    double best = 1e9, bytes = 0;

    client_limits.client = true;
    require(h2_init(&server, &limits) == 0 && h2_init(&client, &client_limits) == 0);
    for (int round = 0; round < ROUNDS; round++) {
        struct h2_event ev;
        size_t used;
        unsigned n = 0;
        ask(&client, asked);
        struct span in = h2_out(&client);
        bytes = (double)in.len / REQUESTS;
        uint64_t start = bench_now_ns();
        do {
            h2_read(&server, in, 1, &used, &ev);
            in = span_after(in, used);
            if (ev.kind == H2_HEAD)
                answer(&server, &got[n++], &ev);
            h2_sent(&server, h2_out(&server).len);
        } while (ev.kind != H2_NOTHING);
        double took = (double)(bench_now_ns() - start) / REQUESTS;
        require(n == REQUESTS && server.streams == 0);
        best = took < best ? took : best;
        h2_sent(&client, h2_out(&client).len);
        for (unsigned i = 0; i < REQUESTS; i++)
            h2_reset(&client, &asked[i], H2_NO_ERROR);
        h2_sent(&client, h2_out(&client).len);
    }
    bench_report("h2", "a request, read and answered", best, bytes, "read");
    h2_free(&server);
    h2_free(&client);
    return 0;
}
