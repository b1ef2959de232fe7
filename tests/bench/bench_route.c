/* How long finding a route takes: `bench_route [LOOKUPS]`, nanoseconds each.
 *
 * "warm" asks for 64 of the routes again and again, as most traffic does;
 * "any" for all of them in random order, which shows the memory behind them.
 */
#include "gate/route.h"

#include "base/random.h"
#include "tests/bench/bench.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

enum { ASKED = 64 };

/* A host for every 50 routes; /service/resource/{id}, each third without id. */
static void routes_make(struct config *c, struct arena *a, unsigned n)
{
    c->routes = arena_zalloc(a, n * sizeof *c->routes);
    c->route_count = n;
    c->listener_count = 1;
    for (unsigned i = 0; i < n; i++) {
        struct span *text = arena_alloc(a, 2 * sizeof *text);
        text[0] = arena_print(a, "host%u.example.com", i / 50);
        text[1] = arena_print(a, i % 3 ? "/service%u/resource/{id}" : "/service%u/resource", i);
        c->routes[i] = (struct route_conf){.index = i,
                                           .listener_bits = UINT64_MAX,
                                           .hosts = {&text[0], 1},
                                           .paths = {&text[1], 1}};
    }
}

static struct route_query query_make(struct arena *a, unsigned i)
{
    return (struct route_query){
        .host = arena_print(a, "host%u.example.com", i / 50),
        .path = arena_print(a, i % 3 ? "/service%u/resource/12345" : "/service%u/resource", i),
        .method = METHOD_GET,
    };
}

static double measure(const struct router *r, const struct route_query *q, unsigned n,
                      const uint32_t *order, unsigned lookups)
{
    double best = 1e9;

    for (unsigned round = 0; round < 5; round++) {
        uint64_t found = 0, begin = bench_now_ns();
        for (unsigned i = 0; i < lookups; i++) {
            struct route_match m;
            router_find(r, &q[order ? order[i & 0xffff] % n : i % n], &m);
            found += m.route != NULL;
        }
        double ns = (double)(bench_now_ns() - begin) / lookups;
        if (found != lookups)
            abort();
        best = ns < best ? ns : best;
    }
    return best;
}

/* Of the program, in use. */
static double memory(void)
{
    struct mallinfo2 m = mallinfo2();

    return (double)(m.uordblks + m.hblkhd);
}

static void measure_all(unsigned n, unsigned lookups, const uint32_t *order)
{
    unsigned asked = n < ASKED ? n : ASKED;
    struct arena a = {0}, routes = {0};
    struct config c = {0};
    struct diagnostics d = {.arena = &a};
    char what[64];

    routes_make(&c, &routes, n);
    double before = memory();
    uint64_t begin = bench_now_ns();
    struct router *r = router_new(&a, &c, &d);
    double ns = (double)(bench_now_ns() - begin), kept = (memory() - before) / n;
    if (d.errors)
        abort();
    struct route_query *q = bench_alloc(n, sizeof *q), *warm = bench_alloc(asked, sizeof *warm);
    for (unsigned j = 0; j < n; j++)
        q[j] = query_make(&routes, j);
    for (unsigned j = 0; j < asked; j++)
        warm[j] = q[(uint64_t)j * n / asked];
    snprintf(what, sizeof what, "find among %u, warm", n);
    bench_report("route", what, measure(r, warm, asked, NULL, lookups), kept, "kept for each");
    snprintf(what, sizeof what, "find among %u, any", n);
    bench_report("route", what, measure(r, q, n, order, lookups), kept, "kept for each");
    snprintf(what, sizeof what, "compile, of %u", n);
    bench_report("route", what, ns / n, kept, "kept for each");
    free(q);
    free(warm);
    arena_free(&a);
    arena_free(&routes);
}

int main(int argc, char **argv)
{
    unsigned lookups = argc > 1 ? (unsigned)atoi(argv[1]) : 2000000;
    static const unsigned sizes[] = {10, 1000, 100000};
    static uint32_t order[0x10000];
    struct random random = {1};

    for (size_t i = 0; i < COUNT_OF(order); i++)
        order[i] = (uint32_t)random_next(&random);
    for (size_t i = 0; i < COUNT_OF(sizes); i++)
        measure_all(sizes[i], lookups, order);
    return 0;
}
