/* What /stats answers is read exactly or refused. */
#include "bench/stats_json.h"

#include <check.h>

static struct stats s;
static const char *why;

static int parse(const char *text)
{
    return stats_parse(&s, span_of(text), &why);
}

START_TEST(the_four_numbers_are_read)
{
    ck_assert_int_eq(parse("{\"totalRequests\":1000000,\"uniqueUsers\":75000,"
                           "\"sum\":500000000,\"avg\":500}"),
                     0);
    ck_assert_uint_eq(s.total, 1000000);
    ck_assert_uint_eq(s.users, 75000);
    ck_assert(s.sum == 500000000.0 && s.avg == 500.0);
    ck_assert(!s.users_estimated && !s.sum_overflow);
}
END_TEST

START_TEST(blanks_order_and_unknown_keys_do_not_matter)
{
    ck_assert_int_eq(
        parse(" {\r\n \"avg\" : -3.5e-1 , \"x\":\"a\\\"}\", \"sum\":0.1,\t\"y\":null,"
              "\"uniqueUsers\":1, \"z\":true,\"totalRequests\":18446744073709551615}\n"),
        0);
    ck_assert_uint_eq(s.total, UINT64_MAX);
    ck_assert(s.sum == 0.1 && s.avg == -0.35);
}
END_TEST

START_TEST(estimates_and_overflow_are_noticed)
{
    ck_assert_int_eq(parse("{\"totalRequests\":2,\"uniqueUsers\":1,\"uniqueUsersExact\":false,"
                           "\"sum\":null,\"avg\":null,\"sumOverflow\":true}"),
                     0);
    ck_assert(s.users_estimated && s.sum_overflow);
}
END_TEST

static const char *const bad[] = {
    "",
    "{}",
    "[]",
    "{\"totalRequests\":1,\"uniqueUsers\":1,\"sum\":1}",
    "{\"totalRequests\":1,\"uniqueUsers\":1,\"sum\":1,\"avg\":1",
    "{\"totalRequests\":1,\"uniqueUsers\":1,\"sum\":1,\"avg\":1}x",
    "{\"totalRequests\":1,\"uniqueUsers\":1,\"sum\":1,\"avg\":1,}",
    "{\"totalRequests\":1.5,\"uniqueUsers\":1,\"sum\":1,\"avg\":1}",
    "{\"totalRequests\":-1,\"uniqueUsers\":1,\"sum\":1,\"avg\":1}",
    "{\"totalRequests\":\"1\",\"uniqueUsers\":1,\"sum\":1,\"avg\":1}",
    "{\"totalRequests\":1,\"uniqueUsers\":1,\"sum\":\"1\",\"avg\":1}",
    "{\"totalRequests\":1,\"uniqueUsers\":1,\"sum\":[1],\"avg\":1}",
    "{\"totalRequests\" 1,\"uniqueUsers\":1,\"sum\":1,\"avg\":1}",
    "{totalRequests:1,\"uniqueUsers\":1,\"sum\":1,\"avg\":1}",
};

START_TEST(anything_else_is_refused_with_a_reason)
{
    why = NULL;
    ck_assert_msg(parse(bad[_i]) < 0, "%s", bad[_i]);
    ck_assert_ptr_nonnull(why);
}
END_TEST

Suite *stats_json_suite(void);
Suite *stats_json_suite(void)
{
    Suite *suite = suite_create("stats_json");
    TCase *tests = tcase_create("stats_json");

    tcase_add_test(tests, the_four_numbers_are_read);
    tcase_add_test(tests, blanks_order_and_unknown_keys_do_not_matter);
    tcase_add_test(tests, estimates_and_overflow_are_noticed);
    tcase_add_loop_test(tests, anything_else_is_refused_with_a_reason, 0, (int)COUNT_OF(bad));
    suite_add_tcase(suite, tests);
    return suite;
}
