/* W3C Trace Context: what is a traceparent and what is none. */
#include "modules/forward/forward.h"

#include <check.h>

#define TRACE  "0af7651916cd43dd8448eb211c80319c"
#define PARENT "b7ad6b7169203331"

static const char *const good[] = {
    "00-" TRACE "-" PARENT "-01",
    "00-" TRACE "-" PARENT "-00",
    "00-" TRACE "-" PARENT "-ff",
    "cc-" TRACE "-" PARENT "-01",
    "cc-" TRACE "-" PARENT "-01-what-comes-later",
};

static const char *const bad[] = {
    "",
    "00",
    "00-" TRACE "-" PARENT,
    "00-" TRACE "-" PARENT "-1",
    "00-" TRACE "-" PARENT "-01-more",
    "00-" TRACE "-" PARENT "-01 ",
    "cc-" TRACE "-" PARENT "-01.more",
    "cc-" TRACE "-" PARENT "-012",
    "ff-" TRACE "-" PARENT "-01",
    "FF-" TRACE "-" PARENT "-01",
    "0-" TRACE "-" PARENT "-001",
    "00-0AF7651916CD43DD8448EB211C80319C-" PARENT "-01",
    "00-" TRACE "-B7AD6B7169203331-01",
    "00-" TRACE "-" PARENT "-0A",
    "00-00000000000000000000000000000000-" PARENT "-01",
    "00-" TRACE "-0000000000000000-01",
    "00_" TRACE "-" PARENT "-01",
    "00-" TRACE "_" PARENT "-01",
    "00-" TRACE "-" PARENT "_01",
    "00-" TRACE "-" PARENT "-01, 00-" TRACE "-" PARENT "-01",
};

START_TEST(a_good_one_is_taken)
{
    ck_assert_msg(trace_is_valid(span_of(good[_i])), "%s", good[_i]);
}
END_TEST

START_TEST(a_bad_one_is_not)
{
    ck_assert_msg(!trace_is_valid(span_of(bad[_i])), "%s", bad[_i]);
}
END_TEST

START_TEST(a_new_one_is_good)
{
    static const uint64_t numbers[][3] = {
        {0, 0, 0}, {1, 2, 3}, {UINT64_MAX, 0, UINT64_MAX}, {0x123456789abcdef0, 15, 16}};
    char text[TRACE_LEN];

    for (unsigned i = 0; i < COUNT_OF(numbers); i++) {
        trace_write(text, numbers[i]);
        ck_assert(trace_is_valid((struct span){text, TRACE_LEN}));
    }
    ck_assert(span_equal((struct span){text, TRACE_LEN},
                         SPAN("00-123456789abcdef0000000000000000f-0000000000000010-01")));
}
END_TEST

Suite *trace_suite(void)
{
    Suite *s = suite_create("trace");
    TCase *t = tcase_create("trace");

    tcase_add_loop_test(t, a_good_one_is_taken, 0, (int)COUNT_OF(good));
    tcase_add_loop_test(t, a_bad_one_is_not, 0, (int)COUNT_OF(bad));
    tcase_add_test(t, a_new_one_is_good);
    suite_add_tcase(s, t);
    return s;
}
