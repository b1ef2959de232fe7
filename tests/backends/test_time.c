/* Timers on a real clock. */
#include "tests/backends/backends.h"

#include <time.h>
#include <unistd.h>

struct alarm_clock {
    struct owner owner;
    struct io_timer timer;
    uint64_t want, fired_at;
    unsigned fired, order;
};

static struct io *io;
static unsigned rung;

static void alarm_step(struct owner *o)
{
    struct alarm_clock *a = container_of(o, struct alarm_clock, owner);

    if (!io_timer_take(&a->timer))
        return;
    a->fired++;
    a->fired_at = real_ns();
    a->order = rung++;
}

static void alarm_init(struct alarm_clock *a, uint64_t in_ns)
{
    *a = (struct alarm_clock){0};
    owner_init(&a->owner, &io->owners, alarm_step);
    a->timer.owner = &a->owner;
    a->want = io_now(io) + in_ns;
    io_timer_set(io, &a->timer, a->want);
}

static void alarm_free(struct alarm_clock *a)
{
    io_timer_clear(io, &a->timer);
    owner_retire(&a->owner);
}

static void timers_fire_in_order_and_on_time(void)
{
    struct alarm_clock a[60];
    uint64_t late = 0;

    io = engine_open();
    for (unsigned i = 0; i < COUNT_OF(a); i++)
        alarm_init(&a[i], (i * 37 % 60 + 1) * 3 * NS_PER_MS + i * 1000);
    TURN_UNTIL(io, rung == COUNT_OF(a));
    for (unsigned i = 0; i < COUNT_OF(a); i++) {
        CHECK_EQUAL(a[i].fired, 1);
        CHECK_EQUAL(a[i].order, i * 37 % 60);
        CHECK(a[i].fired_at >= a[i].want); /* never early */
        late += a[i].fired_at - a[i].want;
        alarm_free(&a[i]);
    }
    /* On average: this machine may have other things to do. */
    CHECK(late / COUNT_OF(a) < 50 * NS_PER_MS);
    CHECK_EQUAL(io->stats.timers, COUNT_OF(a));
    engine_close(io);
}

static void the_best_of_many_waits_of_a_millisecond_is_short(void)
{
    struct alarm_clock a;
    uint64_t best = UINT64_MAX;

    io = engine_open();
    for (unsigned i = 0; i < 50; i++) {
        alarm_init(&a, NS_PER_MS);
        TURN_UNTIL(io, a.fired);
        if (a.fired_at - a.want < best)
            best = a.fired_at - a.want;
        alarm_free(&a);
    }
    CHECK(best < 2 * NS_PER_MS);
    engine_close(io);
}

static void a_deadline_moved_later_fires_once_then(void)
{
    struct alarm_clock a;

    io = engine_open();
    alarm_init(&a, 10 * NS_PER_MS);
    for (unsigned i = 0; i < 10; i++) {
        CHECK(io_turn(io, 4 * NS_PER_MS));
        /* A machine that stood still for long may have made it fire, but not early. */
        CHECK(!a.fired || a.fired_at >= a.want);
        a.fired = 0;
        a.want = io_now(io) + 15 * NS_PER_MS;
        io_timer_set(io, &a.timer, a.want);
    }
    TURN_UNTIL(io, a.fired);
    CHECK(a.fired_at >= a.want);
    turn_some(io);
    CHECK_EQUAL(a.fired, 1);
    alarm_free(&a);
    engine_close(io);
}

static void a_deadline_moved_earlier_fires_then(void)
{
    struct alarm_clock a;

    io = engine_open();
    alarm_init(&a, 3600 * NS_PER_S);
    turn_some(io);
    uint64_t at = io_now(io) + 5 * NS_PER_MS;
    io_timer_set(io, &a.timer, at);
    TURN_UNTIL(io, a.fired);
    CHECK(a.fired_at >= at);
    alarm_free(&a);
    engine_close(io);
}

static void a_cleared_timer_does_not_fire(void)
{
    struct alarm_clock a;

    io = engine_open();
    alarm_init(&a, 2 * NS_PER_MS);
    io_timer_clear(io, &a.timer);
    usleep(5000);
    turn_some(io);
    CHECK_EQUAL(a.fired, 0);
    io_timer_set(io, &a.timer, io_now(io) + 2 * NS_PER_MS);
    io_timer_set(io, &a.timer, TIME_NEVER);
    usleep(5000);
    turn_some(io);
    CHECK_EQUAL(a.fired, 0);
    alarm_free(&a);
    engine_close(io);
}

static void a_turn_waits_as_long_as_it_may(void)
{
    io = engine_open();
    turn_some(io);
    uint64_t from = real_ns();
    CHECK(io_turn(io, 30 * NS_PER_MS));
    uint64_t took = real_ns() - from;
    CHECK(took >= 29 * NS_PER_MS);
    from = real_ns();
    CHECK(io_turn(io, 0));
    CHECK(real_ns() - from < NS_PER_S);
    engine_close(io);
}

static void the_clocks_agree_with_the_systems(void)
{
    io = engine_open();
    CHECK(io_turn(io, 0));
    uint64_t now = real_ns();
    CHECK(now - io_now(io) < NS_PER_S);
    uint64_t wall = io_wall(io), seconds = (uint64_t)time(NULL);
    CHECK(wall / NS_PER_S + 2 > seconds && wall / NS_PER_S < seconds + 2);
    engine_close(io);
}

static void entropy_differs(void)
{
    char a[32] = {0}, b[32] = {0};

    io = engine_open();
    io_entropy(io, a, sizeof a);
    io_entropy(io, b, sizeof b);
    CHECK(memcmp(a, b, sizeof a) != 0);
    struct io *other = engine_open();
    CHECK(random_next(&io->random) != random_next(&other->random));
    engine_close(other);
    engine_close(io);
}

const struct test time_tests[] = {
    {"timers_fire_in_order_and_on_time", timers_fire_in_order_and_on_time},
    {"the_best_of_many_waits_of_a_millisecond_is_short",
     the_best_of_many_waits_of_a_millisecond_is_short},
    {"a_deadline_moved_later_fires_once_then", a_deadline_moved_later_fires_once_then},
    {"a_deadline_moved_earlier_fires_then", a_deadline_moved_earlier_fires_then},
    {"a_cleared_timer_does_not_fire", a_cleared_timer_does_not_fire},
    {"a_turn_waits_as_long_as_it_may", a_turn_waits_as_long_as_it_may},
    {"the_clocks_agree_with_the_systems", the_clocks_agree_with_the_systems},
    {"entropy_differs", entropy_differs},
    {0},
};
