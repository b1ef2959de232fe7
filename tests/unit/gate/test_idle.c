/* What is learned of how long an origin keeps idle connections. */
#include "gate/idle.h"
#include "tests/unit/suites.h"

#define MS NS_PER_MS

static struct server_state state;
static uint64_t now;

static void setup(void)
{
    memset(&state, 0, sizeof state);
    now = 1000 * NS_PER_S;
}

static uint64_t most(void)
{
    return idle_most(&state, now);
}

START_TEST(one_end_is_no_rule_and_two_after_the_same_time_are)
{
    ck_assert_uint_eq(most(), UINT64_MAX);
    idle_ended(&state, now, 200 * MS);
    ck_assert_uint_eq(most(), UINT64_MAX);
    now += 80 * MS;
    idle_ended(&state, now, 210 * MS);
    ck_assert_uint_eq(most(), 150 * MS); /* a quarter less than the shorter */
    now += 100 * MS;
    idle_ended(&state, now, 60 * MS);
    ck_assert_uint_eq(most(), 150 * MS);
    now += 100 * MS;
    idle_ended(&state, now, 61 * MS);
    ck_assert_uint_eq(most(), 45 * MS);
}
END_TEST

START_TEST(ends_all_at_once_are_no_rule)
{
    for (unsigned i = 0; i < 1000; i++) { /* a restart */
        idle_ended(&state, now, 30 * NS_PER_S + (i % 7) * 100 * MS);
        now += MS / 100;
    }
    ck_assert_uint_eq(most(), UINT64_MAX);
    now += NS_PER_S;
    for (unsigned i = 0; i < 100; i++) { /* a slower one: who became idle later is younger */
        idle_ended(&state, now, 60 * NS_PER_S - i * 20 * MS);
        now += 20 * MS;
    }
    ck_assert_uint_eq(most(), UINT64_MAX);
    for (unsigned i = 0; i < 100; i++) { /* right behind the answer: nothing idled */
        idle_ended(&state, now, MS / 2);
        now += 20 * MS;
    }
    ck_assert_uint_eq(most(), UINT64_MAX);
}
END_TEST

START_TEST(a_rule_is_believed_for_a_while_and_then_twice_the_time_is_tried)
{
    for (unsigned i = 0; i < 2; i++, now += NS_PER_S)
        idle_ended(&state, now, 20 * NS_PER_S);
    uint64_t known = now - NS_PER_S;
    ck_assert_uint_eq(most(), 19 * NS_PER_S); /* at most a second less */
    now = known + 600 * NS_PER_S - 1;
    ck_assert_uint_eq(most(), 19 * NS_PER_S);
    now++;
    ck_assert_uint_eq(most(), 39 * NS_PER_S);
    now += 600 * NS_PER_S;
    ck_assert_uint_eq(most(), 79 * NS_PER_S);
    idle_ended(&state, now, 20 * NS_PER_S); /* so it still holds */
    ck_assert_uint_eq(most(), 19 * NS_PER_S);
    now += 24 * 3600 * NS_PER_S;
    ck_assert_uint_eq(most(), UINT64_MAX);
    now = known - NS_PER_S; /* another worker's turn began earlier */
    ck_assert_uint_eq(most(), 19 * NS_PER_S);
}
END_TEST

START_TEST(keep_alive_is_read)
{
    static const struct {
        const char *text;
        uint64_t ns;
    } rows[] = {{"timeout=5", 5 * NS_PER_S},
                {"timeout=5, max=100", 5 * NS_PER_S},
                {"max=3,Timeout=0", 0},
                {"timeout=", UINT64_MAX},
                {"timeout=x", UINT64_MAX},
                {"timeout=-1", UINT64_MAX},
                {"timeout=99999999999", UINT64_MAX},
                {"max=100", UINT64_MAX},
                {"", UINT64_MAX}};

    ck_assert_uint_eq(idle_said(span_of(rows[_i].text)), rows[_i].ns);
}
END_TEST

Suite *idle_suite(void);

Suite *idle_suite(void)
{
    Suite *s = suite_create("idle");
    TCase *t = tcase_create("idle");

    tcase_add_checked_fixture(t, setup, NULL);
    tcase_add_test(t, one_end_is_no_rule_and_two_after_the_same_time_are);
    tcase_add_test(t, ends_all_at_once_are_no_rule);
    tcase_add_test(t, a_rule_is_believed_for_a_while_and_then_twice_the_time_is_tried);
    tcase_add_loop_test(t, keep_alive_is_read, 0, 9);
    suite_add_tcase(s, t);
    return s;
}
