/* The set of users: a million that are new, and the same ones again. */
#include "modules/1mrc/users.h"
#include "tests/bench/bench.h"

#include "base/random.h"

#include <malloc.h>
#include <stdlib.h>

enum { USERS = 1000000, FEW = 75000, ROUNDS = 5 };

static struct user_hash *hashes;
static struct users users;
static bool expect_new;

static void add(unsigned i)
{
    bool added;

    if (users_add(&users, hashes[i], &added) < 0 || added != expect_new)
        abort();
}

static void find(unsigned i)
{
    if (!users_has(&users, hashes[i]))
        abort();
}

static void empty(void)
{
    users_clear(&users);
}

static void measure(const char *fresh, const char *known, unsigned n)
{
    size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;

    expect_new = true;
    double ns = bench_best(add, n, ROUNDS, empty);
    double kept = (double)(mallinfo2().uordblks + mallinfo2().hblkhd - before) / n;
    bench_report("users", fresh, ns, kept, "kept");
    expect_new = false;
    bench_report("users", known, bench_best(add, n, ROUNDS, NULL), 0, "kept");
    empty();
}

int main(void)
{
    struct random random = {1};

    hashes = bench_alloc(USERS, sizeof *hashes);
    for (unsigned i = 0; i < USERS; i++)
        hashes[i] = (struct user_hash){random_next(&random), random_next(&random)};
    measure("add one of 75,000", "see one of 75,000 again", FEW);
    measure("add one of 1,000,000", "see one of 1,000,000 again", USERS);
    expect_new = true;
    for (unsigned i = 0; i < FEW; i++)
        add(i);
    bench_report("users", "ask for one of 75,000", bench_best(find, FEW, ROUNDS, NULL), 0, "kept");
    empty();
    free(hashes);
    return 0;
}
