/* How long finding a route takes: `bench_route [LOOKUPS]`, nanoseconds each.
 *
 * "warm" asks for 64 of the routes again and again, as most traffic does;
 * "any" for all of them in random order, which shows the memory behind them.
 */
#include "gate/route.h"

#include "base/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ASKED = 64 };

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

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
        uint64_t found = 0, begin = now_ns();
        for (unsigned i = 0; i < lookups; i++) {
            struct route_match m;
            router_find(r, &q[order ? order[i & 0xffff] % n : i % n], &m);
            found += m.route != NULL;
        }
        double ns = (double)(now_ns() - begin) / lookups;
        if (found != lookups)
            abort();
        best = ns < best ? ns : best;
    }
    return best;
}

int main(int argc, char **argv)
{
    unsigned lookups = argc > 1 ? (unsigned)atoi(argv[1]) : 2000000;
    static const unsigned sizes[] = {10, 1000, 100000};
    static uint32_t order[0x10000];
    struct random random = {1};

    for (size_t i = 0; i < COUNT_OF(order); i++)
        order[i] = (uint32_t)random_next(&random);
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        unsigned n = sizes[i], asked = n < ASKED ? n : ASKED;
        struct arena a = {0};
        struct config c = {0};
        struct diagnostics d = {.arena = &a};
        routes_make(&c, &a, n);
        uint64_t begin = now_ns();
        struct router *r = router_new(&a, &c, &d);
        double ms = (double)(now_ns() - begin) / 1e6;
        struct route_query *q = malloc(n * sizeof *q), *warm = malloc(asked * sizeof *warm);
        for (unsigned j = 0; j < n; j++)
            q[j] = query_make(&a, j);
        for (unsigned j = 0; j < asked; j++)
            warm[j] = q[(uint64_t)j * n / asked];
        printf("%6u routes: %5.1f ns warm, %5.1f ns any, compiled in %.1f ms, %zu errors\n", n,
               measure(r, warm, asked, NULL, lookups), measure(r, q, n, order, lookups), ms,
               (size_t)d.errors);
        free(q);
        free(warm);
        arena_free(&a);
    }
}
