/* The exact sum: adding a number, joining two sums, rounding one. */
#include "base/exact.h"
#include "tests/bench/bench.h"

#include "base/random.h"

#include <math.h>
#include <stdlib.h>

enum { VALUES = 4096, ROUNDS = 200 };

static double prices[VALUES], wide[VALUES];
static struct exact sum, share;
static double value;

static void add_price(unsigned i)
{
    exact_add(&sum, prices[i]);
}

static void add_wide(unsigned i)
{
    exact_add(&sum, wide[i]);
}

static void merge(unsigned i)
{
    (void)i;
    exact_merge(&sum, &share);
}

static void round_sum(unsigned i)
{
    (void)i;
    if (!exact_value(&sum, &value))
        abort();
}

static void empty(void)
{
    sum = (struct exact){0};
}

int main(void)
{
    struct random random = {1};

    for (unsigned i = 0; i < VALUES; i++) {
        prices[i] = (double)random_below(&random, 100000) / 100;
        wide[i] =
            ldexp((double)random_below(&random, 1 << 20), (int)random_below(&random, 400) - 200);
        exact_add(&share, prices[i]);
    }
    double kept = sizeof sum;
    bench_report("exact", "add an amount of money", bench_best(add_price, VALUES, ROUNDS, empty),
                 kept, "kept in all");
    bench_report("exact", "add a number of any size", bench_best(add_wide, VALUES, ROUNDS, empty),
                 kept, "kept in all");
    bench_report("exact", "join a sum", bench_best(merge, VALUES, ROUNDS / 10, empty), kept,
                 "read");
    empty();
    merge(0);
    bench_report("exact", "round", bench_best(round_sum, VALUES, ROUNDS / 10, NULL), kept, "read");
    return 0;
}
