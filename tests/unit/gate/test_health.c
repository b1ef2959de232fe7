/* The retry budget and ejecting, by the numbers. */
#include "gate/health.h"
#include "tests/unit/suites.h"

enum { SERVERS = 4 };

static struct group_state group;
static struct server_state states[SERVERS];
static struct server_entry servers[SERVERS];
static struct upstream_conf conf;
static uint64_t now;

static void setup(void)
{
    memset(&group, 0, sizeof group);
    memset(states, 0, sizeof states);
    pthread_mutex_init(&group.lock, NULL);
    now = 1000 * NS_PER_S;
    for (unsigned i = 0; i < SERVERS; i++) {
        servers[i] = (struct server_entry){.weight = 1, .state = &states[i]};
        states[i].tenure = states[i].tenures = 1;
    }
    conf = (struct upstream_conf){.servers = servers,
                                  .server_count = SERVERS,
                                  .state = &group,
                                  .eject_failures = 3,
                                  .eject_error_rate = VALUE_OFF,
                                  .eject_time = 10 * NS_PER_S,
                                  .max_ejected = 50000,
                                  .retry_budget = 20000,
                                  .retry_min = {10, NS_PER_S}};
}

static unsigned draws(unsigned most)
{
    unsigned n = 0;

    while (n < most && budget_draw(&conf, now))
        n++;
    return n;
}

START_TEST(retries_are_a_share_of_requests_and_some_in_any_case)
{
    ck_assert_uint_eq(draws(1000), 10);
    ck_assert_uint_eq(draws(1000), 0);
    for (unsigned i = 0; i < 200; i++)
        budget_earn(&conf);
    ck_assert_uint_eq(draws(1000), 40);
    now += NS_PER_S / 2;
    ck_assert_uint_eq(draws(1000), 5);
    now += 3600 * NS_PER_S; /* what is not used in a second is gone */
    ck_assert_uint_eq(draws(1000), 10);
    for (unsigned i = 0; i < 100000; i++)
        budget_earn(&conf);
    ck_assert_uint_eq(draws(1000), 100); /* and not all can be saved up */
    conf.retry_budget = VALUE_OFF;
    ck_assert_uint_eq(draws(1000), 1000);
}
END_TEST

START_TEST(what_comes_by_time_is_saved_for_one_period_and_not_added_up)
{
    ck_assert_uint_eq(draws(1000), 10);
    for (unsigned i = 0; i < 100; i++) {
        now += NS_PER_S;
        ck_assert(budget_draw(&conf, now));
    }
    ck_assert_uint_eq(draws(1000), 9);
    conf.retry_min = (struct rate){6, 60 * NS_PER_S};
    now += 10 * NS_PER_S;
    ck_assert_uint_eq(draws(1000), 1);
    now += 3600 * NS_PER_S;
    ck_assert_uint_eq(draws(1000), 6);
}
END_TEST

static void one_fails(unsigned i, bool probe)
{
    health_bad(&(struct judged){&conf, &states[i], SPAN("s"), now, probe});
}

/* When it may be tried again. */
static uint64_t away(unsigned i)
{
    uint64_t at = now;

    while (!health_allows(&states[i], at))
        at += NS_PER_S;
    return (at - now) / NS_PER_S;
}

START_TEST(each_ejection_is_longer_and_one_request_is_the_probe)
{
    static const uint64_t times[] = {10, 20, 40, 80, 160, 300, 300};
    bool probe;

    one_fails(0, false);
    one_fails(0, false);
    ck_assert_uint_eq(away(0), 0);
    one_fails(0, false);
    for (unsigned i = 0; i < COUNT_OF(times); i++) {
        ck_assert_uint_eq(away(0), times[i]);
        ck_assert(!health_enter(&states[0], now, &probe) && !probe);
        now += times[i] * NS_PER_S;
        ck_assert(health_enter(&states[0], now, &probe) && probe);
        ck_assert(!health_allows(&states[0], now));
        ck_assert(!health_enter(&states[0], now, &probe) && !probe);
        one_fails(0, true);
    }
    now += 300 * NS_PER_S;
    ck_assert(health_enter(&states[0], now, &probe) && probe);
    health_unknown(&states[0], true);
    ck_assert(health_enter(&states[0], now, &probe) && probe);
    health_back(&(struct judged){&conf, &states[0], SPAN("s"), now, true});
    ck_assert(health_enter(&states[0], now, &probe) && !probe);
    now += 600 * NS_PER_S; /* all is forgiven */
    for (unsigned i = 0; i < 3; i++)
        one_fails(0, false);
    ck_assert_uint_eq(away(0), 10);
}
END_TEST

START_TEST(who_was_slow_once_is_not_slow_for_minutes)
{
    for (unsigned i = 0; i < 100; i++)
        server_answered(&states[0], now, NS_PER_MS);
    server_answered(&states[0], now, NS_PER_S);
    ck_assert_uint_gt(server_latency(&states[0], now), 100 * NS_PER_MS);
    now += 10 * NS_PER_S;
    ck_assert_uint_lt(server_latency(&states[0], now), NS_PER_MS);
    ck_assert_uint_gt(server_latency(&states[0], now), 0);
}
END_TEST

START_TEST(a_last_resort_that_fails_changes_nothing)
{
    bool probe;

    for (unsigned i = 0; i < 3; i++)
        one_fails(0, false);
    for (unsigned i = 0; i < 60; i++) {
        now += NS_PER_S / 10;
        health_enter_last(&states[0], &probe);
        ck_assert(probe);
        one_fails(0, probe);
    }
    ck_assert_uint_eq(away(0), 4);
    health_enter_last(&states[0], &probe);
    now += 5 * NS_PER_S; /* it has taken until the time of the probe, and is one */
    one_fails(0, probe);
    ck_assert_uint_eq(away(0), 20);
    health_enter_last(&states[0], &probe);
    health_back(&(struct judged){&conf, &states[0], SPAN("s"), now, probe});
    ck_assert_uint_eq(away(0), 0);
}
END_TEST

START_TEST(no_more_are_ejected_than_may_be)
{
    static const unsigned most[] = {0, 0, 2, 4};
    static const uint64_t shares[] = {0, 24999, 50000, 100000};
    unsigned ejected = 0;

    conf.max_ejected = shares[_i];
    for (unsigned i = 0; i < SERVERS; i++)
        for (unsigned j = 0; j < 9; j++)
            one_fails(i, false);
    for (unsigned i = 0; i < SERVERS; i++)
        ejected += away(i) > 0;
    ck_assert_uint_eq(ejected, most[_i]);
}
END_TEST

START_TEST(who_is_forgiven_serves_at_once_and_as_if_nothing_had_been)
{
    bool probe;

    for (unsigned i = 0; i < 3; i++)
        one_fails(0, false);
    ck_assert(!health_allows(&states[0], now));
    health_forgive(&group, &states[0]);
    ck_assert(health_allows(&states[0], now));
    ck_assert(health_enter(&states[0], now, &probe) && !probe);
    ck_assert_uint_eq(health_back_for(&states[0], now), UINT64_MAX); /* no slow start */
    for (unsigned i = 0; i < 2; i++)
        one_fails(0, false);
    ck_assert(health_allows(&states[0], now));
    one_fails(0, false);
    ck_assert(!health_allows(&states[0], now + conf.eject_time - 1));
    ck_assert(health_allows(&states[0], now + conf.eject_time)); /* not longer than the first time */
}
END_TEST

START_TEST(a_rate_counts_only_with_enough_requests_of_one_window)
{
    conf.eject_failures = VALUE_OFF;
    conf.eject_error_rate = 50000;
    for (unsigned i = 0; i < 19; i++)
        one_fails(0, false);
    ck_assert_uint_eq(away(0), 0);
    now += 10 * NS_PER_S;
    for (unsigned i = 0; i < 10; i++)
        health_good(&states[0], now);
    for (unsigned i = 0; i < 9; i++)
        one_fails(0, false);
    ck_assert_uint_eq(away(0), 0);
    one_fails(0, false);
    ck_assert_uint_eq(away(0), 10);
}
END_TEST

START_TEST(a_worker_whose_turn_began_earlier_begins_no_new_window)
{
    conf.eject_failures = VALUE_OFF;
    conf.eject_error_rate = 50000;
    for (unsigned i = 0; i < 20; i++) {
        now = i % 2 ? now - 1000 : now + 1000;
        one_fails(0, false);
    }
    ck_assert_uint_gt(away(0), 0);
}
END_TEST

/* A name has many slots, and perhaps one address: it is alone then. */
START_TEST(slots_without_an_address_are_not_counted)
{
    bool probe;

    for (unsigned i = 1; i < SERVERS; i++)
        server_vacate(&states[i]);
    for (unsigned i = 0; i < 100; i++)
        one_fails(0, false);
    ck_assert(health_enter(&states[0], now, &probe));
}
END_TEST

START_TEST(another_address_has_no_past)
{
    struct address a = {.family = ADDRESS_IPV4, .port = 80};
    struct address b = {.family = ADDRESS_IPV4, .port = 81};
    bool probe;

    server_place(&states[0], &a, 1);
    server_failed(&states[0], now);
    server_failure_set(&states[0], (struct server_failure){1, CAUSE_NONE, 503});
    for (unsigned i = 0; i < 100; i++)
        one_fails(0, false);
    uint32_t tenure = server_tenure(&states[0]);
    server_place(&states[0], &a, 1);
    ck_assert_uint_eq(server_tenure(&states[0]), tenure);
    ck_assert(!health_allows(&states[0], now));
    server_place(&states[0], &b, 1);
    ck_assert_uint_ne(server_tenure(&states[0]), tenure);
    ck_assert(health_enter(&states[0], now, &probe) && !probe);
    ck_assert_uint_eq(server_latency(&states[0], now), 0);
    ck_assert_uint_eq(server_failure_of(&states[0]).wall_ms, 0);
    server_vacate(&states[0]);
    ck_assert_uint_eq(server_tenure(&states[0]), 0);
    server_place(&states[0], &a, 1);
    ck_assert_uint_ne(server_tenure(&states[0]), tenure);
}
END_TEST

Suite *health_suite(void);

Suite *health_suite(void)
{
    Suite *s = suite_create("health");
    TCase *t = tcase_create("health");

    tcase_add_checked_fixture(t, setup, NULL);
    tcase_add_test(t, retries_are_a_share_of_requests_and_some_in_any_case);
    tcase_add_test(t, what_comes_by_time_is_saved_for_one_period_and_not_added_up);
    tcase_add_test(t, a_worker_whose_turn_began_earlier_begins_no_new_window);
    tcase_add_test(t, each_ejection_is_longer_and_one_request_is_the_probe);
    tcase_add_test(t, who_was_slow_once_is_not_slow_for_minutes);
    tcase_add_test(t, a_last_resort_that_fails_changes_nothing);
    tcase_add_loop_test(t, no_more_are_ejected_than_may_be, 0, 4);
    tcase_add_test(t, who_is_forgiven_serves_at_once_and_as_if_nothing_had_been);
    tcase_add_test(t, slots_without_an_address_are_not_counted);
    tcase_add_test(t, another_address_has_no_past);
    tcase_add_test(t, a_rate_counts_only_with_enough_requests_of_one_window);
    suite_add_tcase(s, t);
    return s;
}
