/* Nanoseconds per request head, parse only, for each scanner this CPU has.
 *
 * Many copies lie one behind the other, as pipelined requests do, so that no
 * run is of the same bytes twice in a row; the best of several rounds counts,
 * since everything else on the machine can only make a round slower.
 */
#include "http/h1_parse.h"
#include "tests/bench/bench.h"

#include <stdio.h>
#include <stdlib.h>

enum { COPIES = 256, ROUNDS = 1000, REPEATS = 4, FIELDS = 100 };

static const struct {
    const char *name, *text;
} heads[] = {
    {"a short head", "GET /plain HTTP/1.1\r\nHost: localhost\r\n\r\n"},
    {"an event's head",
     "POST /event HTTP/1.1\r\nHost: localhost:8080\r\nContent-Type: application/json\r\n"
     "Content-Length: 35\r\n\r\n"},
    {"a browser's head",
     "GET /articles/2026/11/measuring-what-nobody-reads?page=2&sort=newest HTTP/1.1\r\n"
     "Host: www.example.com\r\n"
     "Connection: keep-alive\r\n"
     "Cache-Control: max-age=0\r\n"
     "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
     "Chrome/124.0.0.0 Safari/537.36\r\n"
     "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8\r\n"
     "Referer: https://www.example.com/articles/2026/11/\r\n"
     "Accept-Encoding: gzip, deflate, br\r\n"
     "Accept-Language: en-US,en;q=0.9,de;q=0.8\r\n"
     "Cookie: session=6fc0b1a87e5d4c3b9a28171605f4e3d2; theme=dark; consent=all; "
     "last=2026-11-23T04%3A22%3A22Z; seen=17,18,19,20,21,22,23\r\n"
     "Sec-Fetch-Mode: navigate\r\n"
     "Priority: u=0, i\r\n"
     "If-None-Match: \"5f3c-18e1b2c3d4e5f\"\r\n\r\n"},
};

/* All copies once; aborts when one is not a good head. */
static void parse_all(struct span bytes, size_t len)
{
    static const struct h1_limits limits = {8192, 32768, FIELDS};
    static struct field list[FIELDS];

    while (bytes.len > 0) {
        struct h1_parser p;
        struct request r;
        r.fields.list = list;
        r.fields.max = FIELDS;
        h1_parser_init(&p, &limits);
        if (h1_parse_request(&p, bytes, &r) != PARSE_DONE || p.head_bytes != len)
            abort();
        bytes = span_after(bytes, p.head_bytes);
    }
}

static void measure(const char *name, struct span head)
{
    char *bytes = malloc(head.len * COPIES);
    double best = 1e9;

    if (!bytes)
        abort();
    for (size_t i = 0; i < COPIES; i++)
        memcpy(bytes + i * head.len, head.ptr, head.len);
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start = bench_now_ns();
        for (int i = 0; i < REPEATS; i++)
            parse_all((struct span){bytes, head.len * COPIES}, head.len);
        double ns = (double)(bench_now_ns() - start) / (REPEATS * COPIES);
        best = ns < best ? ns : best;
    }
    char what[64];
    snprintf(what, sizeof what, "%s, %s", h1_scanner_name(), name);
    bench_report("parse", what, best, (double)head.len, "read");
    free(bytes);
}

int main(void)
{
    static const char *const scanners[] = {"scalar", "sse4.2", "avx2"};

    for (size_t s = 0; s < COUNT_OF(scanners); s++)
        for (size_t h = 0; h < COUNT_OF(heads) && h1_scanner_use(span_of(scanners[s])); h++)
            measure(heads[h].name, span_of(heads[h].text));
    return 0;
}
