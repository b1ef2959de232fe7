/* Splits: whose request goes where, and who moves when weights change. */
#include "modules/forward/forward.h"

#include "base/hash.h"

#include <check.h>
#include <stdio.h>

enum { KEYS = 40000, PARTS = 3 };

static struct split_part parts[PARTS];
static struct split split;

static void split_make(unsigned a, unsigned b, unsigned c)
{
    static const char *const names[PARTS] = {"api", "api-canary", "api-next"};
    const unsigned weights[PARTS] = {a, b, c};

    split = (struct split){.parts = parts, .count = PARTS, .sum = a + b + c};
    for (unsigned i = 0; i < PARTS; i++)
        parts[i] = (struct split_part){
            .weight = weights[i],
            .hash = hash_mix(hash_text(SPAN("route")) ^ hash_text(span_of(names[i])))};
}

static unsigned of_visitor(unsigned n)
{
    char key[32];

    return split_of_key(&split,
                        (struct span){key, (size_t)snprintf(key, sizeof key, "visitor-%u", n)});
}

/* Pearson's statistic against shares by weight. */
static double chi_square(const unsigned got[PARTS], double all)
{
    double sum = 0;

    for (unsigned i = 0; i < PARTS; i++) {
        double want = all * (double)parts[i].weight / (double)split.sum, off = got[i] - want;
        sum += off * off / want;
    }
    return sum;
}

/* 13.82 is what two degrees of freedom exceed once in a thousand; the keys are always the same. */
START_TEST(visitors_are_shared_out_by_weight)
{
    static const unsigned weights[][PARTS] = {{95, 4, 1}, {1, 1, 1}, {10000, 500, 3}, {2, 3, 5}};
    unsigned got[PARTS] = {0};

    split_make(weights[_i][0], weights[_i][1], weights[_i][2]);
    for (unsigned n = 0; n < KEYS; n++)
        got[of_visitor(n)]++;
    ck_assert_double_lt(chi_square(got, KEYS), 13.82);
}
END_TEST

START_TEST(requests_are_shared_out_by_weight)
{
    unsigned got[PARTS] = {0};

    split_make(95, 0, 5);
    for (unsigned n = 0; n < 100; n++)
        got[split_of_draw(&split, n)]++;
    ck_assert_uint_eq(got[0], 95);
    ck_assert_uint_eq(got[1], 0);
    ck_assert_uint_eq(got[2], 5);
}
END_TEST

/* Nobody leaves who need not: of 5 in a hundred more all come from the side that shrinks. */
START_TEST(only_those_move_that_must)
{
    unsigned before[KEYS], moved = 0;

    split_make(95, 5, 0);
    for (unsigned n = 0; n < KEYS; n++)
        before[n] = of_visitor(n);
    split_make(90, 10, 0);
    for (unsigned n = 0; n < KEYS; n++) {
        unsigned now = of_visitor(n);
        if (now == before[n])
            continue;
        ck_assert_uint_eq(before[n], 0);
        ck_assert_uint_eq(now, 1);
        moved++;
    }
    ck_assert_uint_gt(moved, KEYS * 46 / 1000);
    ck_assert_uint_lt(moved, KEYS * 54 / 1000);
}
END_TEST

START_TEST(nobody_is_sent_where_the_weight_is_0)
{
    split_make(0, 1, 0);
    for (unsigned n = 0; n < 1000; n++)
        ck_assert_uint_eq(of_visitor(n), 1);
    ck_assert_uint_eq(split_of_draw(&split, 0), 1);
}
END_TEST

Suite *split_suite(void)
{
    Suite *s = suite_create("split");
    TCase *t = tcase_create("split");

    tcase_add_loop_test(t, visitors_are_shared_out_by_weight, 0, 4);
    tcase_add_test(t, requests_are_shared_out_by_weight);
    tcase_add_test(t, only_those_move_that_must);
    tcase_add_test(t, nobody_is_sent_where_the_weight_is_0);
    suite_add_tcase(s, t);
    return s;
}
