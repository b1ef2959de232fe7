/* The timer wheel, with as many timers as a busy worker has connections. */
#include "io/wheel.h"
#include "tests/bench/bench.h"

#include "base/clock.h"
#include "base/random.h"

#include <stdlib.h>

enum { TIMERS = 10000, ROUNDS = 50 };

static struct io_wheel *wheel;
static struct io_timer *timers;
static struct owner_queue queue;
static struct owner owner;
static uint64_t *delays, now = NS_PER_S, later;

static void set(unsigned i)
{
    wheel_set(wheel, &timers[i], now + delays[i]);
}

/* What a request does to its connection's deadline. */
static void move_on(unsigned i)
{
    wheel_set(wheel, &timers[i], now + delays[i] + later);
}

static void clear(unsigned i)
{
    wheel_clear(wheel, &timers[i]);
}

/* A minute in steps of a millisecond fires all. */
static void step_on(unsigned i)
{
    (void)i;
    now += NS_PER_MS;
    wheel_advance(wheel, now);
}

static void set_all(void)
{
    for (unsigned i = 0; i < TIMERS; i++)
        set(i);
}

static void clear_all(void)
{
    for (unsigned i = 0; i < TIMERS; i++)
        clear(i);
}

static void set_all_and_think(void)
{
    set_all();
    later += NS_PER_MS;
}

int main(void)
{
    struct random random = {1};

    owner_queue_init(&queue);
    owner_init(&owner, &queue, NULL);
    wheel = wheel_new(now);
    timers = bench_alloc(TIMERS, sizeof *timers);
    delays = bench_alloc(TIMERS, sizeof *delays);
    if (!wheel)
        abort();
    for (unsigned i = 0; i < TIMERS; i++) {
        timers[i] = (struct io_timer){.owner = &owner, .at = TIME_NEVER};
        delays[i] = NS_PER_S + random_below(&random, 59 * NS_PER_S);
    }
    double kept = sizeof *timers;
    bench_report("wheel", "set", bench_best(set, TIMERS, ROUNDS, clear_all), kept, "kept");
    bench_report("wheel", "move on", bench_best(move_on, TIMERS, ROUNDS, set_all_and_think), 0,
                 "kept");
    bench_report("wheel", "clear", bench_best(clear, TIMERS, ROUNDS, set_all), 0, "kept");
    double minute = bench_best(step_on, 61000, 5, set_all) * 61000;
    bench_report("wheel", "fire, of 10,000 in a minute", minute / TIMERS, 0, "kept");
    clear_all();
    wheel_free(wheel);
    free(timers);
    free(delays);
    return 0;
}
