/* The command line is understood or refused, never guessed. */
#include "bench/options.h"

#include "base/clock.h"
#include "bench/event.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct options o;

/* Splits at blanks; what is said on stderr goes nowhere. */
static enum options_result read_line(const char *line)
{
    static char copy[512];
    char *argv[32];
    int argc = 0;

    argv[argc++] = (char[]){"headgate-bench"};
    (void)snprintf(copy, sizeof copy, "%s", line);
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    argv[argc] = NULL;
    ck_assert_ptr_nonnull(freopen("/dev/null", "w", stderr));
    return options_read(&o, argc, argv);
}

START_TEST(the_challenges_defaults_are_its_own)
{
    ck_assert_int_eq(read_line("1mrc http://localhost:8080"), OPTIONS_RUN);
    ck_assert_int_eq(o.scenario, SCENARIO_MRC);
    ck_assert_uint_eq(o.requests, 1000000);
    ck_assert_uint_eq(o.connections, 1000);
    ck_assert_uint_eq(o.users, 75000);
    ck_assert_uint_eq(o.clients, 1);
    ck_assert_uint_eq(o.pipeline, 1);
    ck_assert_ptr_null(o.prefix.ptr);
    ck_assert(o.verify && !o.json);
}
END_TEST

START_TEST(options_may_stand_before_and_behind_the_url)
{
    ck_assert_int_eq(read_line("-n 5 1mrc -c 7 http://h --pipeline 16 --clients=4 --prefix p_ "
                               "--no-verify --users 3 --engine epoll --json --timeout 1.5s"),
                     OPTIONS_RUN);
    ck_assert_uint_eq(o.requests, 5);
    ck_assert_uint_eq(o.connections, 7);
    ck_assert_uint_eq(o.pipeline, 16);
    ck_assert_uint_eq(o.clients, 4);
    ck_assert_uint_eq(o.users, 3);
    ck_assert_uint_eq(o.timeout_ns, 1500 * NS_PER_MS);
    ck_assert(span_equal(o.prefix, SPAN("p_")));
    ck_assert(span_equal(o.engine, SPAN("epoll")));
    ck_assert(!o.verify && o.json);
}
END_TEST

START_TEST(load_takes_a_rate_limits_and_a_request)
{
    ck_assert_int_eq(read_line("load http://h/x --rate 20000 -d 30s --slo p99<5ms,p99.9<20ms "
                               "--slo max<1s,mean<1ms -X POST -H A:b --body {}"),
                     OPTIONS_RUN);
    ck_assert(o.rate == 20000);
    ck_assert_uint_eq(o.duration_ns, 30 * NS_PER_S);
    ck_assert_uint_eq(o.slo_count, 4);
    ck_assert(o.slo[1].kind == SLO_PERCENTILE && o.slo[1].percent == 99.9);
    ck_assert_uint_eq(o.slo[1].limit_ns, 20 * NS_PER_MS);
    ck_assert(o.slo[2].kind == SLO_MAX && o.slo[3].kind == SLO_MEAN);
    ck_assert(o.method == METHOD_POST);
    ck_assert_uint_eq(o.field_count, 1);
}
END_TEST

START_TEST(the_rate_max_needs_no_number)
{
    ck_assert_int_eq(read_line("load http://h/x --rate max -d 3s --pipeline 16 --close"),
                     OPTIONS_RUN);
    ck_assert(o.close && o.closed && o.rate == 0);
    ck_assert_uint_eq(o.pipeline, 16);
    ck_assert_int_eq(read_line("load http://h/x --rate max --rate 5"), OPTIONS_RUN);
    ck_assert(!o.closed && o.rate == 5);
}
END_TEST

static const char *const bad[] = {
    "",
    "1mrc",
    "1mrc http://h http://h",
    "2mrc http://h",
    "http://h",
    "1mrc https://h",
    "1mrc http://h -n 0",
    "1mrc http://h -n 1x",
    "1mrc http://h -n -1",
    "1mrc http://h -n 9007199254740993",
    "1mrc http://h -c 0",
    "1mrc http://h -c 3 -t 4",
    "1mrc http://h -c 7 -t 2 --clients 4",
    "1mrc http://h --pipeline 0",
    "1mrc http://h --users 0",
    "1mrc http://h --prefix a\"b",
    "1mrc http://h --prefix a\\b",
    "1mrc http://h --engine kqueue",
    "1mrc http://h --timeout 5",
    "1mrc http://h --timeout 0s",
    "1mrc http://h --rate 5",
    "1mrc http://h --close",
    "1mrc http://h --what",
    "1mrc http://h -n",
    "load http://h",
    "load http://h --rate 0",
    "load http://h --rate x",
    "load http://h --rate 5x",
    "load http://h --rate maximum",
    "load http://h --rate 5 --slo p99",
    "load http://h --rate 5 --slo p99<5",
    "load http://h --rate 5 --slo p101<5ms",
    "load http://h --rate 5 --slo p0<5ms",
    "load http://h --rate 5 --slo p99<5ms,",
    "load http://h --rate 5 --slo 99<5ms",
    "load http://h --rate 5 --users 5",
    "load http://h --rate 5 -X G(T",
    "load http://h --rate 5 -H nothing",
    "load http://h --rate 5 -H Content-Length:5",
};

START_TEST(what_makes_no_sense_is_refused)
{
    ck_assert_msg(read_line(bad[_i]) == OPTIONS_BAD, "%s", bad[_i]);
}
END_TEST

Suite *options_suite(void);
Suite *options_suite(void)
{
    Suite *suite = suite_create("options");
    TCase *tests = tcase_create("options");

    tcase_add_test(tests, the_challenges_defaults_are_its_own);
    tcase_add_test(tests, options_may_stand_before_and_behind_the_url);
    tcase_add_test(tests, load_takes_a_rate_limits_and_a_request);
    tcase_add_test(tests, the_rate_max_needs_no_number);
    tcase_add_loop_test(tests, what_makes_no_sense_is_refused, 0, (int)COUNT_OF(bad));
    suite_add_tcase(suite, tests);
    return suite;
}
