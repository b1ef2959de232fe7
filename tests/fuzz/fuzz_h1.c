#include "tests/fuzz/fuzz_h1.h"

#include <stdio.h>
#include <stdlib.h>

enum { CHOICES = 2 };

static size_t chosen_piece(void *context, size_t n)
{
    const uint8_t *seed = context;

    return 1 + (seed[0] * (n + 1) * 7 + seed[1]) % 61;
}

static void compare(const struct feed *f, struct span bytes, const char *wanted)
{
    static char got[FEED_TEXT_MAX];

    feed_run(f, bytes, got);
    if (strcmp(got, wanted) != 0) {
        fprintf(stderr, "%s:\n got %s\n not %s\n", h1_scanner_name(), got, wanted);
        abort();
    }
}

int fuzz_h1(enum feed_kind kind, const uint8_t *data, size_t size)
{
    static const char *const scanners[] = {"scalar", "sse4.2", "avx2"};
    static char line[FEED_TEXT_MAX];
    uint8_t choices[CHOICES];
    struct feed f = feed_default(kind);

    if (size < CHOICES)
        return 0;
    memcpy(choices, data, CHOICES);
    struct span bytes = {(const char *)data + CHOICES, size - CHOICES};
    if (choices[0] & 1)
        f.limits = (struct h1_limits){40 + choices[1] % 64u, 200, 5};
    f.method = (enum method)(choices[0] / 2 % METHOD_COUNT);
    f.no_fields = choices[1] & 1;
    f.context = choices;
    h1_scanner_use(SPAN("scalar"));
    feed_run(&f, bytes, line);
    for (size_t i = 0; i < COUNT_OF(scanners); i++) {
        if (!h1_scanner_use(span_of(scanners[i])))
            continue;
        f.piece = feed_whole;
        compare(&f, bytes, line);
        f.piece = feed_bytewise;
        compare(&f, bytes, line);
        f.piece = chosen_piece;
        compare(&f, bytes, line);
    }
    return 0;
}
