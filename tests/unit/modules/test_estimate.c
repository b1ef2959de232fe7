#include "base/random.h"
#include "modules/1mrc/estimate.h"

#include <check.h>
#include <math.h>
#include <string.h>

static struct user_hash random_hash(struct random *r)
{
    uint64_t a = random_next(r);
    return (struct user_hash){a, random_next(r)};
}

START_TEST(estimates_are_near_at_every_size)
{
    static struct estimate e;
    static const double sizes[] = {1,     10,    100,    1000,   5000,    12000,
                                   30000, 60000, 100000, 300000, 1000000, 3000000};
    struct random r = {(uint64_t)_i};
    double n = 0;

    memset(&e, 0, sizeof e);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (; n < sizes[i]; n++)
            estimate_add(&e, random_hash(&r));
        double got = estimate_count(&e);
        /* Four standard errors, and better where few registers collide. */
        double allowed = n <= 1000 ? 0.015 * n + 1 : 0.0325 * n;
        ck_assert_msg(fabs(got - n) <= allowed, "%.1f instead of %.0f", got, n);
    }
}
END_TEST

START_TEST(nobody_is_estimated_as_nobody)
{
    static struct estimate e;

    memset(&e, 0, sizeof e);
    ck_assert_double_eq(estimate_count(&e), 0);
}
END_TEST

START_TEST(a_merge_is_as_if_all_had_been_added_to_one)
{
    static struct estimate all, part[3];
    struct random r = {5};

    for (int i = 0; i < 50000; i++) {
        struct user_hash h = random_hash(&r);
        estimate_add(&all, h);
        estimate_add(&part[i % 3], h);
        if (i % 7 == 0)
            estimate_add(&part[(i + 1) % 3], h); /* seen by two: counts once */
    }
    estimate_merge(&part[0], &part[1]);
    estimate_merge(&part[0], &part[2]);
    ck_assert_mem_eq(&all, &part[0], sizeof all);
}
END_TEST

START_TEST(a_hash_of_zeros_has_a_rank)
{
    static struct estimate e;

    memset(&e, 0, sizeof e);
    estimate_add(&e, (struct user_hash){0, UINT64_MAX});
    ck_assert_uint_eq(e.rank[ESTIMATE_REGISTERS - 1], ESTIMATE_RANK_MAX);
    estimate_add(&e, (struct user_hash){UINT64_MAX, 0});
    ck_assert_uint_eq(e.rank[0], 1);
    ck_assert(isfinite(estimate_count(&e)));
}
END_TEST

Suite *estimate_suite(void);
Suite *estimate_suite(void)
{
    Suite *s = suite_create("estimate");
    TCase *t = tcase_create("estimate");

    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, estimates_are_near_at_every_size, 0, 6);
    tcase_add_test(t, nobody_is_estimated_as_nobody);
    tcase_add_test(t, a_merge_is_as_if_all_had_been_added_to_one);
    tcase_add_test(t, a_hash_of_zeros_has_a_rank);
    suite_add_tcase(s, t);
    return s;
}
