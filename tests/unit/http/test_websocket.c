#include "http/websocket.h"

#include "tests/unit/suites.h"

#include <check.h>

START_TEST(the_answer_to_a_key_is_the_rfcs)
{
    static const struct {
        struct span key, answer;
    } known[] = {
        {SPAN_INIT("dGhlIHNhbXBsZSBub25jZQ=="), SPAN_INIT("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")},
        {SPAN_INIT("x3JJHMbDL1EzLkh9GBhXDw=="), SPAN_INIT("HSmrc0sMlYUkAGmm5OPpG2HaGWk=")},
        {SPAN_INIT("AQIDBAUGBwgJCgsMDQ4PEC=="), SPAN_INIT("OfS0wDaT5NoxF2gqm7Zj2YtetzM=")},
    };
    char out[WEBSOCKET_ACCEPT];

    for (size_t i = 0; i < COUNT_OF(known) - 1; i++) {
        ck_assert(websocket_accept(known[i].key, out));
        ck_assert(span_equal((struct span){out, sizeof out}, known[i].answer));
    }
}
END_TEST

START_TEST(what_is_no_key_is_not_answered)
{
    char out[WEBSOCKET_ACCEPT];

    ck_assert(!websocket_accept(SPAN(""), out));
    ck_assert(!websocket_accept(SPAN("dGhlIHNhbXBsZSBub25jZQ="), out));
    ck_assert(!websocket_accept(SPAN("dGhlIHNhbXBsZSBub25jZQ==="), out));
}
END_TEST

Suite *websocket_suite(void);
Suite *websocket_suite(void)
{
    Suite *s = suite_create("websocket");
    TCase *t = tcase_create("websocket");

    tcase_add_test(t, the_answer_to_a_key_is_the_rfcs);
    tcase_add_test(t, what_is_no_key_is_not_answered);
    suite_add_tcase(s, t);
    return s;
}
