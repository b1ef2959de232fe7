/* Measuring and telling; see bench.h. */
#include "tests/bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

uint64_t bench_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

double bench_best(void (*step)(unsigned item), unsigned n, unsigned rounds, void (*before)(void))
{
    double best = 1e18;

    for (unsigned round = 0; round < rounds; round++) {
        if (before)
            before();
        uint64_t start = bench_now_ns();
        for (unsigned i = 0; i < n; i++)
            step(i);
        double ns = (double)(bench_now_ns() - start) / n;
        best = ns < best ? ns : best;
    }
    return best;
}

void bench_report(const char *group, const char *what, double ns, double bytes, const char *of)
{
    printf("%-8s %-34s %9.1f ns %9.1f bytes %s\n", group, what, ns, bytes, of);
    fflush(stdout);
}

void *bench_alloc(size_t count, size_t size)
{
    void *p = calloc(count, size);

    if (!p)
        abort();
    return p;
}
