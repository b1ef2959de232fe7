/* A server that counted wrong is found out; one that rounded as it must is not blamed. */
#include "bench/verdict.h"

#include "bench/event.h"

#include <check.h>
#include <math.h>

enum { TOTAL, USERS, SUM, AVG };

static struct verdict v;

static struct stats stats_of(uint64_t total, uint64_t users, double sum)
{
    return (struct stats){
        .total = total, .users = users, .sum = sum, .avg = total ? sum / (double)total : 0};
}

static void judge(struct stats before, struct stats after)
{
    verdict_reach(&v, &before, &after, 1000000, 75000);
}

START_TEST(the_right_numbers_from_zero_are_exact)
{
    judge(stats_of(0, 0, 0), stats_of(1000000, 75000, 500000000));
    ck_assert(v.ok && v.from_zero);
    ck_assert_str_eq(v.checks[SUM].want, "500000000");
    ck_assert_str_eq(v.checks[SUM].got, "500000000");
    ck_assert_str_eq(v.checks[AVG].got, "500");
}
END_TEST

START_TEST(a_second_run_is_judged_by_difference)
{
    judge(stats_of(1000000, 75000, 500000000), stats_of(2000000, 150000, 1e9));
    ck_assert(v.ok && !v.from_zero);
    ck_assert_str_eq(v.checks[TOTAL].got, "1000000");
    ck_assert_str_eq(v.checks[USERS].got, "75000");
}
END_TEST

START_TEST(one_event_too_few_or_too_many_is_wrong)
{
    judge(stats_of(0, 0, 0), stats_of(999999, 75000, 500000000));
    ck_assert(!v.ok && !v.checks[TOTAL].ok && v.checks[USERS].ok && v.checks[SUM].ok);
    judge(stats_of(7, 0, 0), stats_of(1000008, 75000, 500000000));
    ck_assert(!v.ok && !v.checks[TOTAL].ok);
}
END_TEST

START_TEST(one_user_too_few_is_wrong)
{
    judge(stats_of(0, 0, 0), stats_of(1000000, 74999, 500000000));
    ck_assert(!v.ok && !v.checks[USERS].ok && v.checks[TOTAL].ok);
}
END_TEST

START_TEST(an_estimated_number_of_users_is_not_exact)
{
    struct stats after = stats_of(1000000, 75000, 500000000);

    after.users_estimated = true;
    judge(stats_of(0, 0, 0), after);
    ck_assert(!v.ok && !v.checks[USERS].ok);
}
END_TEST

START_TEST(from_zero_the_last_bit_of_the_sum_counts)
{
    judge(stats_of(0, 0, 0), stats_of(1000000, 75000, nextafter(500000000, 0)));
    ck_assert(!v.ok && !v.checks[SUM].ok);
    judge(stats_of(0, 0, 0), stats_of(1000000, 75000, nextafter(500000000, 1e9)));
    ck_assert(!v.ok && !v.checks[SUM].ok);
}
END_TEST

/* Before: a true sum of 2^53 + 1, which reads 2^53; after: with 5 × 10^8 more
 * rounded to even.  Each reading is right, their difference is off by one. */
START_TEST(by_difference_each_readings_rounding_is_forgiven)
{
    double big = 9007199254740992.0;

    judge(stats_of(5, 5, big), stats_of(1000005, 75005, big + 500000002.0));
    ck_assert(v.ok);
    judge(stats_of(5, 5, big), stats_of(1000005, 75005, big + 500000004.0));
    ck_assert(!v.ok && !v.checks[SUM].ok);
    judge(stats_of(5, 5, -big), stats_of(1000005, 75005, -big + 500000000.0 - 4));
    ck_assert(!v.ok && !v.checks[SUM].ok);
}
END_TEST

START_TEST(a_sum_that_overflowed_is_wrong)
{
    struct stats after = stats_of(1000000, 75000, 0);

    after.sum_overflow = true;
    judge(stats_of(0, 0, 0), after);
    ck_assert(!v.ok && !v.checks[SUM].ok);
    ck_assert_str_eq(v.checks[SUM].got, "null");
}
END_TEST

START_TEST(an_average_that_is_not_sum_over_total_is_wrong)
{
    struct stats after = stats_of(1000000, 75000, 500000000);

    after.avg = nextafter(500, 0);
    judge(stats_of(0, 0, 0), after);
    ck_assert(!v.ok && !v.checks[AVG].ok && v.checks[SUM].ok);
}
END_TEST

Suite *verdict_suite(void);
Suite *verdict_suite(void)
{
    Suite *suite = suite_create("verdict");
    TCase *tests = tcase_create("verdict");

    tcase_add_test(tests, the_right_numbers_from_zero_are_exact);
    tcase_add_test(tests, a_second_run_is_judged_by_difference);
    tcase_add_test(tests, one_event_too_few_or_too_many_is_wrong);
    tcase_add_test(tests, one_user_too_few_is_wrong);
    tcase_add_test(tests, an_estimated_number_of_users_is_not_exact);
    tcase_add_test(tests, from_zero_the_last_bit_of_the_sum_counts);
    tcase_add_test(tests, by_difference_each_readings_rounding_is_forgiven);
    tcase_add_test(tests, a_sum_that_overflowed_is_wrong);
    tcase_add_test(tests, an_average_that_is_not_sum_over_total_is_wrong);
    suite_add_tcase(suite, tests);
    return suite;
}
