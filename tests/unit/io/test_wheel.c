#include "base/random.h"
#include "io/wheel.h"

#include <check.h>

enum { TIMERS = 300 };

/* A timer and what a naive model knows of it. */
struct item {
    struct owner owner;
    struct io_timer timer;
    uint64_t at; /* TIME_NEVER: must not fire */
};

static struct owner_queue queue;
static struct io_wheel *wheel;
static struct item items[TIMERS];
static uint64_t now, last_tick;

static uint64_t tick_of(uint64_t ns)
{
    return ns / NS_PER_MS + (ns % NS_PER_MS != 0);
}

/* Fires exactly once, not early, not late, and in order of deadlines. */
static void item_step(struct owner *o)
{
    struct item *i = container_of(o, struct item, owner);

    ck_assert(io_timer_take(&i->timer));
    ck_assert(i->at != TIME_NEVER);
    ck_assert_uint_le(tick_of(i->at), now / NS_PER_MS);
    ck_assert_uint_ge(tick_of(i->at), last_tick);
    last_tick = tick_of(i->at);
    i->at = TIME_NEVER;
}

static void setup(void)
{
    now = 5 * NS_PER_S + 300;
    owner_queue_init(&queue);
    wheel = wheel_new(now);
    for (int i = 0; i < TIMERS; i++) {
        items[i] = (struct item){.at = TIME_NEVER};
        owner_init(&items[i].owner, &queue, item_step);
        items[i].timer.owner = &items[i].owner;
    }
}

static void teardown(void)
{
    for (int i = 0; i < TIMERS; i++)
        wheel_clear(wheel, &items[i].timer);
    ck_assert_uint_eq(wheel_next(wheel), TIME_NEVER);
    wheel_free(wheel);
}

static void set(struct item *i, uint64_t at)
{
    i->at = at;
    wheel_set(wheel, &i->timer, at);
}

static void advance(uint64_t to)
{
    now = to;
    last_tick = 0;
    owner_queue_begin(&queue);
    wheel_advance(wheel, now);
    owner_queue_run(&queue);
    for (int i = 0; i < TIMERS; i++)
        ck_assert(items[i].at == TIME_NEVER || tick_of(items[i].at) > now / NS_PER_MS);
}

/* Between a microsecond and some weeks. */
static uint64_t random_delay(struct random *r)
{
    return random_below(r, UINT64_C(1) << (10 + random_below(r, 42)));
}

START_TEST(random_sets_and_clears_agree_with_a_list)
{
    struct random r = {(uint64_t)_i};

    for (int n = 0; n < 3000; n++) {
        struct item *i = &items[random_below(&r, TIMERS)];
        uint64_t what = random_below(&r, 10);
        if (what < 6) {
            set(i, now + 1 + random_delay(&r));
        } else if (what == 6) {
            i->at = TIME_NEVER;
            wheel_clear(wheel, &i->timer);
        } else if (what == 7) {
            set(i, TIME_NEVER);
        } else {
            advance(now + random_delay(&r) / 16);
        }
    }
}
END_TEST

START_TEST(sleeping_until_next_is_never_late)
{
    struct random r = {(uint64_t)_i + 1000};
    int wakes = 0;

    for (int i = 0; i < TIMERS; i++)
        set(&items[i], now + 1 + random_delay(&r));
    for (uint64_t next; (next = wheel_next(wheel)) != TIME_NEVER; wakes++) {
        for (int i = 0; i < TIMERS; i++)
            ck_assert(items[i].at == TIME_NEVER || next <= tick_of(items[i].at) * NS_PER_MS);
        ck_assert_uint_gt(next, now);
        advance(next);
    }
    /* Each timer is dealt out again at most three times. */
    ck_assert_int_le(wakes, 4 * TIMERS);
    for (int i = 0; i < TIMERS; i++)
        ck_assert_uint_eq(items[i].at, TIME_NEVER);
}
END_TEST

START_TEST(a_deadline_that_is_past_is_due_at_once)
{
    set(&items[0], now - NS_PER_S);
    ck_assert_uint_le(wheel_next(wheel), now);
    advance(now);
    ck_assert_uint_eq(items[0].at, TIME_NEVER);
}
END_TEST

START_TEST(moving_later_leaves_the_timer_where_it_is)
{
    set(&items[0], now + 10 * NS_PER_MS);
    struct link_node before = items[0].timer.node;
    for (uint64_t ms = 20; ms < 100000; ms *= 2)
        set(&items[0], now + ms * NS_PER_MS);
    ck_assert_ptr_eq(items[0].timer.node.next, before.next);
    ck_assert_ptr_eq(items[0].timer.node.prev, before.prev);
    uint64_t at = items[0].at;
    advance(now + 11 * NS_PER_MS);
    ck_assert_uint_eq(items[0].at, at);
    advance(at - NS_PER_MS);
    ck_assert_uint_eq(items[0].at, at);
    advance(at + NS_PER_MS);
    ck_assert_uint_eq(items[0].at, TIME_NEVER);
}
END_TEST

START_TEST(moving_earlier_is_noticed)
{
    set(&items[0], now + 100 * NS_PER_S);
    set(&items[0], now + 3 * NS_PER_MS);
    ck_assert_uint_le(wheel_next(wheel), now + 4 * NS_PER_MS);
    advance(now + 4 * NS_PER_MS);
    ck_assert_uint_eq(items[0].at, TIME_NEVER);
}
END_TEST

START_TEST(a_timer_set_again_after_it_fired_has_not_fired)
{
    set(&items[0], now + NS_PER_MS);
    owner_queue_begin(&queue);
    now += 5 * NS_PER_MS;
    wheel_advance(wheel, now);
    ck_assert_uint_eq(items[0].timer.wheel_at, IO_TIMER_FIRED);
    list_remove(&items[0].owner.queued);
    set(&items[0], now + NS_PER_S);
    ck_assert(!io_timer_take(&items[0].timer));
}
END_TEST

START_TEST(a_year_away_is_possible)
{
    uint64_t year = UINT64_C(365) * 86400 * NS_PER_S;

    set(&items[0], now + year);
    uint64_t at = items[0].at;
    while (items[0].at != TIME_NEVER)
        advance(wheel_next(wheel));
    ck_assert_uint_ge(now, at);
    ck_assert_uint_le(now, at + NS_PER_MS);
}
END_TEST

START_TEST(at_the_end_of_time_nothing_fires)
{
    set(&items[0], TIME_NEVER - 1);
    advance(now + 3600 * NS_PER_S);
    ck_assert_uint_eq(items[0].at, TIME_NEVER - 1);
}
END_TEST

Suite *wheel_suite(void)
{
    Suite *s = suite_create("wheel");
    TCase *t = tcase_create("wheel");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, random_sets_and_clears_agree_with_a_list, 0, 20);
    tcase_add_loop_test(t, sleeping_until_next_is_never_late, 0, 20);
    tcase_add_test(t, a_deadline_that_is_past_is_due_at_once);
    tcase_add_test(t, moving_later_leaves_the_timer_where_it_is);
    tcase_add_test(t, moving_earlier_is_noticed);
    tcase_add_test(t, a_timer_set_again_after_it_fired_has_not_fired);
    tcase_add_test(t, a_year_away_is_possible);
    tcase_add_test(t, at_the_end_of_time_nothing_fires);
    suite_add_tcase(s, t);
    return s;
}
