/* What becomes of answers: how long they hold, and which slots have which address. */
#include "base/clock.h"
#include "base/fail.h"
#include "gate/name.h"
#include "tests/unit/suites.h"

static const struct ttl_bounds bounds = {NS_PER_S, 3600 * NS_PER_S};
static struct name name;
static struct server_state states[SLOTS_PER_NAME];
static struct server_entry slots[SLOTS_PER_NAME];
static uint64_t now;
static unsigned left_out;

static void setup(void)
{
    memset(&name, 0, sizeof name);
    memset(states, 0, sizeof states);
    now = 1000 * NS_PER_S;
    for (unsigned i = 0; i < SLOTS_PER_NAME; i++) {
        states[i].share = 1;
        slots[i] = (struct server_entry){.state = &states[i], .port = 80, .named = true};
    }
}

static struct found found(unsigned last, uint16_t priority, uint16_t weight)
{
    struct found f = {.at.family = ADDRESS_IPV4, .priority = priority, .weight = weight};

    f.at.ip[0] = 10;
    f.at.ip[3] = (uint8_t)last;
    return f;
}

/* An answer with these addresses, 10.0.0.n; up to the 0. */
static void hear(uint32_t ttl, const char *last)
{
    struct lookup *l = &name.lookup;

    l->fail = *last ? 0 : FAIL_NOT_FOUND;
    l->count = 0;
    l->ttl = ttl;
    while (*last)
        l->found[l->count++] = found((unsigned)*last++, 0, 0);
    name_heard(&name, bounds, now);
}

static void hear_failure(void)
{
    name.lookup.fail = FAIL_TIMEOUT;
    name.lookup.count = 0;
    name_heard(&name, bounds, now);
}

/* Which slots have which address, 0 for none. */
static void expect(const char *last, size_t n)
{
    for (size_t i = 0; i < SLOTS_PER_NAME; i++) {
        unsigned want = i < n ? (unsigned)last[i] : 0;
        unsigned has = server_tenure(&states[i]) ? states[i].at.ip[3] : 0;
        ck_assert_msg(has == want, "slot %zu has %u, not %u", i, has, want);
        ck_assert(!has || states[i].at.port == 80);
    }
}
#define EXPECT_SLOTS(text) expect(text, sizeof(text) - 1)

START_TEST(an_answer_holds_as_long_as_it_says_within_bounds)
{
    hear(60, "\1");
    ck_assert_uint_eq(name.due - now, 60 * NS_PER_S);
    hear(0, "\1");
    ck_assert_uint_eq(name.due - now, NS_PER_S);
    hear(86400, "\1");
    ck_assert_uint_eq(name.due - now, 3600 * NS_PER_S);
    hear(LOOKUP_TTL_NONE, "\1");
    ck_assert_uint_eq(name.due, TIME_NEVER);
    hear(600, ""); /* that there is nothing is soon asked again */
    ck_assert_uint_eq(name.due - now, 30 * NS_PER_S);
    hear(5, "");
    ck_assert_uint_eq(name.due - now, 5 * NS_PER_S);
}
END_TEST

START_TEST(who_cannot_say_is_asked_again_soon_and_then_less_often)
{
    static const unsigned waits[] = {1, 2, 4, 8, 16, 30, 30};

    hear(60, "\1\2");
    ck_assert(name_place(&name, slots, &left_out));
    for (size_t i = 0; i < COUNT_OF(waits); i++) {
        hear_failure();
        ck_assert_uint_eq(name.due - now, waits[i] * NS_PER_S);
    }
    ck_assert_uint_eq(name.count, 2);
    ck_assert(!name_place(&name, slots, &left_out));
    EXPECT_SLOTS("\1\2");
    hear(60, "\1");
    ck_assert_uint_eq(name.failures, 0);
    hear_failure();
    ck_assert_uint_eq(name.due - now, NS_PER_S);
}
END_TEST

START_TEST(who_stays_keeps_his_slot_and_what_is_known_of_him)
{
    hear(60, "\1\2\3");
    ck_assert(name_place(&name, slots, &left_out));
    EXPECT_SLOTS("\1\2\3");
    uint32_t tenure = server_tenure(&states[1]);
    server_failed(&states[1], now);
    hear(60, "\4\2");
    ck_assert(name_place(&name, slots, &left_out));
    EXPECT_SLOTS("\4\2");
    ck_assert_uint_eq(server_tenure(&states[1]), tenure);
    ck_assert_uint_gt(server_latency(&states[1], now), 0);
    hear(60, "\2\4"); /* another order is no news */
    ck_assert(!name_place(&name, slots, &left_out));
    hear(60, "");
    ck_assert(name_place(&name, slots, &left_out));
    EXPECT_SLOTS("");
}
END_TEST

START_TEST(half_an_answer_takes_nobody_away)
{
    hear(60, "\1\2");
    name_place(&name, slots, &left_out);
    name.lookup.partial = true;
    hear(60, "\3");
    ck_assert(name_place(&name, slots, &left_out));
    EXPECT_SLOTS("\1\2\3");
    ck_assert_uint_eq(name.due - now, NS_PER_S); /* and the rest is asked for soon */
    name.lookup.partial = false;
    hear(60, "\3");
    ck_assert(name_place(&name, slots, &left_out));
    EXPECT_SLOTS("\0\0\3");
}
END_TEST

START_TEST(more_than_there_are_slots_are_left_out_and_nobody_is_moved)
{
    hear(60, "\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17\20\21\22");
    ck_assert(name_place(&name, slots, &left_out));
    ck_assert_uint_eq(left_out, 2);
    hear(60, "\22\21\20\17\16\15\14\13\12\11\10\7\6\5\4\3\2\1");
    ck_assert(!name_place(&name, slots, &left_out));
    EXPECT_SLOTS("\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17\20");
}
END_TEST

START_TEST(a_service_says_who_is_first_and_how_much_each_gets)
{
    struct lookup *l = &name.lookup;

    l->services = true;
    l->ttl = 60;
    l->found[l->count++] = found(1, 10, 30);
    l->found[l->count++] = found(2, 20, 1);
    l->found[l->count++] = found(3, 10, 0);
    l->found[l->count++] = found(4, 30, 0);
    for (unsigned i = 0; i < 4; i++)
        l->found[i].at.port = 80;
    name_heard(&name, bounds, now);
    ck_assert(name_place(&name, slots, &left_out));
    EXPECT_SLOTS("\1\2\3\4");
    ck_assert(states[0].share == 30 && states[0].behind == 0);
    ck_assert(states[1].share == 1 && states[1].behind == 1);
    ck_assert(states[2].share == 1 && states[2].behind == 0);
    ck_assert(states[3].share == 1 && states[3].behind == 2);
    uint32_t tenure = server_tenure(&states[0]);
    l->found[0].weight = 5; /* news, and the same server */
    name_heard(&name, bounds, now);
    ck_assert(name_place(&name, slots, &left_out));
    ck_assert_uint_eq(states[0].share, 5);
    ck_assert_uint_eq(server_tenure(&states[0]), tenure);
}
END_TEST

START_TEST(the_first_priorities_have_the_slots_whoever_came_before)
{
    struct lookup *l = &name.lookup;

    l->services = true;
    l->ttl = 60;
    for (unsigned i = 1; i <= SLOTS_PER_NAME; i++)
        l->found[l->count++] = found(i, i == 5 ? 20 : 10, 1);
    name_heard(&name, bounds, now);
    ck_assert(name_place(&name, slots, &left_out));
    ck_assert_uint_eq(left_out, 0);
    l->found[l->count++] = found(20, 10, 1);
    l->found[l->count++] = found(21, 0, 1);
    l->found[l->count++] = found(22, 20, 1);
    l->left_out = 3; /* others were not even asked for */
    name_heard(&name, bounds, now);
    ck_assert(name_place(&name, slots, &left_out));
    ck_assert_uint_eq(left_out, 6);
    ck_assert_uint_eq(states[4].at.ip[3], 20);
    ck_assert_uint_eq(states[0].at.ip[3], 21);
    ck_assert(states[0].behind == 0 && states[4].behind == 1);
    ck_assert_uint_eq(states[1].at.ip[3], 2);
    ck_assert(!name_place(&name, slots, &left_out));
    ck_assert_uint_eq(left_out, 6);
}
END_TEST

Suite *name_suite(void);

Suite *name_suite(void)
{
    Suite *s = suite_create("name");
    TCase *t = tcase_create("name");

    tcase_add_checked_fixture(t, setup, NULL);
    tcase_add_test(t, an_answer_holds_as_long_as_it_says_within_bounds);
    tcase_add_test(t, who_cannot_say_is_asked_again_soon_and_then_less_often);
    tcase_add_test(t, who_stays_keeps_his_slot_and_what_is_known_of_him);
    tcase_add_test(t, half_an_answer_takes_nobody_away);
    tcase_add_test(t, more_than_there_are_slots_are_left_out_and_nobody_is_moved);
    tcase_add_test(t, a_service_says_who_is_first_and_how_much_each_gets);
    tcase_add_test(t, the_first_priorities_have_the_slots_whoever_came_before);
    suite_add_tcase(s, t);
    return s;
}
