/* Percentiles are right to one part in HISTOGRAM_FINE. */
#include "bench/histogram.h"

#include <check.h>

static struct histogram h, other;

static void begin(void)
{
    h = other = (struct histogram){0};
}

START_TEST(an_empty_histogram_has_zero_percentiles)
{
    ck_assert_uint_eq(histogram_percentile(&h, 50), 0);
    ck_assert_uint_eq(histogram_mean(&h), 0);
}
END_TEST

START_TEST(small_values_are_kept_exactly)
{
    for (uint64_t i = 1; i <= 200; i++)
        histogram_add(&h, i);
    ck_assert_uint_eq(histogram_percentile(&h, 0.1), 1);
    ck_assert_uint_eq(histogram_percentile(&h, 50), 100);
    ck_assert_uint_eq(histogram_percentile(&h, 99), 198);
    ck_assert_uint_eq(histogram_percentile(&h, 99.9), 200);
    ck_assert_uint_eq(histogram_percentile(&h, 100), 200);
    ck_assert_uint_eq(histogram_mean(&h), 100);
}
END_TEST

START_TEST(a_percentile_that_falls_on_a_value_is_that_value)
{
    for (uint64_t i = 1; i <= 1000; i++)
        histogram_add(&h, i <= 999 ? 5 : 50);
    ck_assert_uint_eq(histogram_percentile(&h, 99.9), 5);
    ck_assert_uint_eq(histogram_percentile(&h, 99.91), 50);
}
END_TEST

/* 1 .. 10^7 in odd steps: wherever it is asked, the answer is close. */
START_TEST(percentiles_are_close_at_every_scale)
{
    enum { COUNT = 200000, STEP = 49999 };

    for (uint64_t i = 1; i <= COUNT; i++)
        histogram_add(&h, i * STEP);
    for (int percent = 1; percent < 100; percent++) {
        double exact = percent / 100.0 * COUNT * STEP;
        double found = (double)histogram_percentile(&h, percent);
        ck_assert_msg(found >= exact * 0.9999 && found <= exact * (1 + 1.0 / HISTOGRAM_FINE),
                      "p%d: %f, not %f", percent, found, exact);
    }
}
END_TEST

START_TEST(every_value_lies_within_its_bucket)
{
    for (unsigned shift = 0; shift < 64; shift++)
        for (int64_t off = -1; off <= 1; off++) {
            uint64_t value = (UINT64_C(1) << shift) + (uint64_t)off;
            begin();
            histogram_add(&h, value);
            histogram_add(&h, UINT64_MAX);
            uint64_t found = histogram_percentile(&h, 50);
            if (value >> HISTOGRAM_VALUE_BITS)
                continue; /* counts as "very long" */
            ck_assert_uint_ge(found, value);
            ck_assert_uint_le(found - value, value >> HISTOGRAM_FINE_BITS);
        }
}
END_TEST

START_TEST(values_beyond_the_last_bucket_are_counted)
{
    histogram_add(&h, UINT64_MAX);
    histogram_add(&h, 7);
    ck_assert_uint_eq(h.count, 2);
    ck_assert_uint_eq(histogram_percentile(&h, 50), 7);
    ck_assert_uint_eq(histogram_percentile(&h, 100), UINT64_MAX);
}
END_TEST

START_TEST(merging_is_as_if_all_had_been_added_to_one)
{
    struct histogram all = {0};

    for (uint64_t i = 0; i < 5000; i++) {
        uint64_t value = i * i * 977 % 1000003;
        histogram_add(i % 3 ? &h : &other, value);
        histogram_add(&all, value);
    }
    histogram_merge(&h, &other);
    ck_assert_mem_eq(&h, &all, sizeof all);
    begin();
    histogram_merge(&h, &all);
    ck_assert_mem_eq(&h, &all, sizeof all);
    histogram_merge(&h, &other);
    ck_assert_mem_eq(&h, &all, sizeof all);
}
END_TEST

Suite *histogram_suite(void);
Suite *histogram_suite(void)
{
    Suite *suite = suite_create("histogram");
    TCase *tests = tcase_create("histogram");

    tcase_add_checked_fixture(tests, begin, NULL);
    tcase_add_test(tests, an_empty_histogram_has_zero_percentiles);
    tcase_add_test(tests, small_values_are_kept_exactly);
    tcase_add_test(tests, a_percentile_that_falls_on_a_value_is_that_value);
    tcase_add_test(tests, percentiles_are_close_at_every_scale);
    tcase_add_test(tests, every_value_lies_within_its_bucket);
    tcase_add_test(tests, values_beyond_the_last_bucket_are_counted);
    tcase_add_test(tests, merging_is_as_if_all_had_been_added_to_one);
    suite_add_tcase(suite, tests);
    return suite;
}
