#include "base/exact.h"
#include "base/random.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double double_of(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint64_t bits_of(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Adds "BITS" or "BITS*2^K", by doubling. */
static void add_term(struct exact *sum, const char *term)
{
    struct exact some = {0};
    char *rest;

    exact_add(&some, double_of(strtoull(term, &rest, 16)));
    for (long k = *rest ? strtol(rest + 3, NULL, 10) : 0; k > 0; k--) {
        struct exact same = some;
        exact_merge(&some, &same);
    }
    exact_merge(sum, &some);
}

static void expect(const struct exact *sum, const char *want, int line)
{
    char got[32] = "overflow";
    double value;

    if (exact_value(sum, &value))
        snprintf(got, sizeof got, "%016llx", (unsigned long long)bits_of(value));
    ck_assert_msg(strcmp(got, want) == 0, "vectors.txt:%d: %s instead of %s", line, got, want);
}

START_TEST(sums_agree_with_exact_fractions)
{
    const char *dir = getenv("srcdir");
    char path[4096], text[8192];
    int line = 0;

    snprintf(path, sizeof path, "%s/tests/data/exact/vectors.txt", dir ? dir : ".");
    FILE *file = fopen(path, "r");
    ck_assert_msg(file != NULL, "%s is missing", path);
    while (fgets(text, sizeof text, file)) {
        struct exact sum = {0}, backwards = {0};
        char *terms[256];
        int count = 0;
        char *want = strtok(text, " \n");

        line++;
        for (char *t; count < 256 && (t = strtok(NULL, " \n"));)
            terms[count++] = t;
        for (int i = 0; i < count; i++)
            add_term(&sum, terms[i]);
        for (int i = count; i-- > 0;)
            add_term(&backwards, terms[i]);
        expect(&sum, want, line);
        expect(&backwards, want, line);
    }
    fclose(file);
    ck_assert_int_gt(line, 300);
}
END_TEST

static double any_double(struct random *r)
{
    double x = double_of(random_next(r));
    return isfinite(x) ? x : 1;
}

START_TEST(order_and_shares_do_not_matter)
{
    struct random r = {(uint64_t)_i};
    struct exact one = {0}, share[7] = {0}, merged = {0};
    uint32_t a[EXACT_DIGITS], b[EXACT_DIGITS];
    enum { COUNT = 5000 };
    static double x[COUNT];

    for (int i = 0; i < COUNT; i++) {
        x[i] = any_double(&r);
        exact_add(&one, x[i]);
    }
    for (int i = COUNT; i-- > 0;)
        exact_add(&share[random_below(&r, 7)], x[i]);
    for (int i = 0; i < 7; i++)
        exact_merge(&merged, &share[i]);
    exact_digits(&one, a);
    exact_digits(&merged, b);
    ck_assert_mem_eq(a, b, sizeof a);
}
END_TEST

/* The worst a limb can see: full mantissas, all of one sign, at one place. */
START_TEST(many_equal_additions_do_not_overflow_a_limb)
{
    const double x = double_of(UINT64_C(0x41ffffffffffffff) | (uint64_t)_i << 63);
    struct exact added = {0}, doubled = {0};
    uint32_t a[EXACT_DIGITS], b[EXACT_DIGITS];

    for (int i = 0; i < 1 << 20; i++)
        exact_add(&added, x);
    exact_add(&doubled, x);
    for (int i = 0; i < 20; i++) {
        struct exact same = doubled;
        exact_merge(&doubled, &same);
    }
    exact_digits(&added, a);
    exact_digits(&doubled, b);
    ck_assert_mem_eq(a, b, sizeof a);
}
END_TEST

START_TEST(a_million_events_sum_to_five_hundred_million)
{
    struct exact sum = {0};
    double value;

    for (int i = 0; i < 1000000; i++)
        exact_add(&sum, i % 1000 + 0.5);
    ck_assert(exact_value(&sum, &value));
    ck_assert_double_eq(value, 500000000);
}
END_TEST

START_TEST(digits_bring_a_sum_back)
{
    struct random r = {(uint64_t)_i};
    struct exact sum = {0}, back;
    uint32_t a[EXACT_DIGITS], b[EXACT_DIGITS];

    for (int i = 0; i < 100; i++)
        exact_add(&sum, any_double(&r));
    exact_digits(&sum, a);
    exact_from_digits(&back, a);
    exact_digits(&back, b);
    ck_assert_mem_eq(a, b, sizeof a);
    exact_merge(&back, &sum);
    exact_merge(&sum, &sum);
    exact_digits(&sum, a);
    exact_digits(&back, b);
    ck_assert_mem_eq(a, b, sizeof a);
}
END_TEST

START_TEST(zero_is_never_negative)
{
    struct exact sum = {0};
    double value = 1;

    exact_add(&sum, -0.0);
    ck_assert(exact_value(&sum, &value));
    ck_assert_uint_eq(bits_of(value), 0);
    exact_add(&sum, 5);
    exact_add(&sum, -5);
    ck_assert(exact_value(&sum, &value));
    ck_assert_uint_eq(bits_of(value), 0);
}
END_TEST

Suite *exact_suite(void);
Suite *exact_suite(void)
{
    Suite *s = suite_create("exact");
    TCase *t = tcase_create("exact");

    tcase_set_timeout(t, 60);
    tcase_add_test(t, sums_agree_with_exact_fractions);
    tcase_add_loop_test(t, order_and_shares_do_not_matter, 0, 10);
    tcase_add_loop_test(t, many_equal_additions_do_not_overflow_a_limb, 0, 2);
    tcase_add_test(t, a_million_events_sum_to_five_hundred_million);
    tcase_add_loop_test(t, digits_bring_a_sum_back, 0, 20);
    tcase_add_test(t, zero_is_never_negative);
    suite_add_tcase(s, t);
    return s;
}
