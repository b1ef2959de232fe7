/* Events are what the challenge says, and add up to what is expected of them. */
#include "bench/event.h"

#include "base/exact.h"
#include "base/mem.h"

#include <check.h>
#include <stdio.h>

static struct event_form form_of(const char *text, const char *prefix, uint64_t users)
{
    struct event_form form;
    struct url url;
    const char *why;

    ck_assert_int_eq(url_parse(&url, span_of(text), &why), 0);
    ck_assert(event_form_init(&form, &url, span_of(prefix), users));
    return form;
}

/* The same, the slow and obvious way. */
static void expect_event(const struct event_form *form, const char *head, const char *prefix,
                         uint64_t users, uint64_t i)
{
    char content[256], whole[1024], found[1024];

    ck_assert_uint_lt(form->request_max, sizeof found);
    (void)snprintf(content, sizeof content, "{\"userId\":\"%s%llu\",\"value\":%llu.5}", prefix,
                   (unsigned long long)(i % users), (unsigned long long)(i % 1000));
    (void)snprintf(whole, sizeof whole,
                   "%sContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", head,
                   strlen(content), content);
    size_t len = event_write(form, i, found);
    ck_assert_uint_le(len, form->request_max);
    found[len] = '\0';
    ck_assert_str_eq(found, whole);
}

START_TEST(an_event_is_its_user_and_value)
{
    static const uint64_t numbers[] = {
        0,     1,     9,     10,     99,      100,           999,       1000,
        74999, 75000, 75001, 999999, 1234567, 9999999999999, UINT64_MAX};
    struct event_form form = form_of("http://h:81", "user_", 75000);

    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        expect_event(&form, "POST /event HTTP/1.1\r\nHost: h:81\r\n", "user_", 75000, numbers[i]);
    event_form_free(&form);
}
END_TEST

/* 99 bytes of content and 100: the length field grows by a digit. */
START_TEST(the_length_is_right_where_it_gains_a_digit)
{
    char prefix[EVENT_PREFIX_MAX + 1];

    for (size_t len = 50; len <= EVENT_PREFIX_MAX; len++) {
        memset(prefix, 'p', len);
        prefix[len] = '\0';
        struct event_form form = form_of("http://h", prefix, UINT64_MAX);
        for (uint64_t i = 1; i != 0 && i < UINT64_MAX / 10; i *= 10)
            expect_event(&form, "POST /event HTTP/1.1\r\nHost: h\r\n", prefix, UINT64_MAX, i);
        event_form_free(&form);
    }
}
END_TEST

START_TEST(the_urls_path_comes_before_event)
{
    struct event_form form = form_of("http://[::1]:8/base/?q=1", "u", 3);

    expect_event(&form, "POST /base/event HTTP/1.1\r\nHost: [::1]:8\r\n", "u", 3, 5);
    event_form_free(&form);
}
END_TEST

START_TEST(without_memory_there_is_no_form)
{
    const char *why;
    struct url url;
    struct event_form form;

    ck_assert_int_eq(url_parse(&url, SPAN("http://h"), &why), 0);
    for (uint64_t n = 1; n <= 3; n++) {
        mem_fail_at(n, 0);
        ck_assert(!event_form_init(&form, &url, SPAN("u"), 1));
    }
    mem_fail_at(0, 0);
}
END_TEST

START_TEST(the_challenge_adds_up_to_what_it_says)
{
    ck_assert(events_sum(1000000) == 500000000.0);
    ck_assert_uint_eq(events_users(1000000, 75000), 75000);
    ck_assert_uint_eq(events_users(74999, 75000), 74999);
}
END_TEST

START_TEST(the_expected_sum_is_the_exact_one)
{
    struct exact exact = {0};

    for (uint64_t n = 0; n <= 4321; n++) {
        double sum;
        ck_assert(exact_value(&exact, &sum));
        ck_assert_msg(events_sum(n) == sum, "%llu events", (unsigned long long)n);
        exact_add(&exact, (double)(n % 1000) + 0.5);
    }
}
END_TEST

/* 2^53 events: the true sum has a half that no double of this size has. */
START_TEST(a_sum_beyond_the_whole_doubles_is_rounded_once)
{
    uint64_t n = (UINT64_C(1) << 53) - 1;
    /* n = 9007199254740 × 1000 + 991, so twice the sum is 9007199254740 × 10^6 + 982081. */
    ck_assert(events_sum(n) == (double)UINT64_C(9007199254740982081) / 2);
}
END_TEST

Suite *event_suite(void);
Suite *event_suite(void)
{
    Suite *suite = suite_create("event");
    TCase *tests = tcase_create("event");

    tcase_add_test(tests, an_event_is_its_user_and_value);
    tcase_add_test(tests, the_length_is_right_where_it_gains_a_digit);
    tcase_add_test(tests, the_urls_path_comes_before_event);
    tcase_add_test(tests, without_memory_there_is_no_form);
    tcase_add_test(tests, the_challenge_adds_up_to_what_it_says);
    tcase_add_test(tests, the_expected_sum_is_the_exact_one);
    tcase_add_test(tests, a_sum_beyond_the_whole_doubles_is_rounded_once);
    suite_add_tcase(suite, tests);
    return suite;
}
