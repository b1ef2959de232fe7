#include "io/backend.h"

#include <check.h>
#include <pthread.h>
#include <stdlib.h>

/* A backend that has nothing to wait for. */
static unsigned waits, sleeps;
static _Atomic unsigned wakes;

static bool fake_wait(struct io *io, uint64_t wait_ns)
{
    waits++;
    sleeps += wait_ns > 0;
    io->now_ns += wait_ns == TIME_NEVER ? 0 : wait_ns;
    return true;
}

static void fake_wake(struct io *io)
{
    (void)io;
    atomic_fetch_add(&wakes, 1);
}

static const struct io_backend fake = {.name = "fake", .wait = fake_wait, .wake = fake_wake};

static struct io io;

static void setup(void)
{
    waits = sleeps = 0;
    wakes = 0;
    io = (struct io){0};
    ck_assert_int_eq(io_init(&io, &fake, &(struct io_options){0}), 0);
}

static void teardown(void)
{
    io_deinit(&io);
}

struct letter {
    struct io_message m;
    unsigned sender, number;
};

enum { SENDERS = 4, LETTERS = 100000 };

static unsigned arrived, from[SENDERS];

static void letter_arrive(struct io_message *m, struct io *target)
{
    struct letter *l = container_of(m, struct letter, m);

    ck_assert_ptr_eq(target, &io);
    ck_assert_uint_eq(l->number, from[l->sender]++);
    arrived++;
}

START_TEST(messages_arrive_in_the_order_they_were_posted)
{
    struct letter letters[10];

    for (unsigned i = 0; i < 10; i++) {
        letters[i] = (struct letter){.m.arrive = letter_arrive, .number = i};
        io_post(&io, &letters[i].m);
    }
    ck_assert_uint_eq(arrived, 0);
    io_turn(&io, TIME_NEVER);
    ck_assert_uint_eq(arrived, 10);
    ck_assert_uint_eq(io.stats.posts, 10);
    ck_assert_uint_eq(sleeps, 0);
}
END_TEST

static void again_arrive(struct io_message *m, struct io *target)
{
    arrived++;
    io_post(target, m);
}

START_TEST(a_message_posted_while_delivering_is_for_the_next_turn)
{
    struct io_message m = {.arrive = again_arrive};

    io_post(&io, &m);
    for (unsigned i = 1; i <= 5; i++) {
        io_turn(&io, TIME_NEVER);
        ck_assert_uint_eq(arrived, i);
    }
    ck_assert_uint_eq(sleeps, 0);
}
END_TEST

START_TEST(only_a_sleeping_target_is_woken_and_only_once)
{
    struct letter a = {.m.arrive = letter_arrive}, b = {.m.arrive = letter_arrive, .number = 1};

    io_post(&io, &a.m);
    ck_assert_uint_eq(wakes, 0);
    io_turn(&io, 0);
    io.sleeping = true;
    a.number = 2;
    io_post(&io, &b.m);
    io_post(&io, &a.m);
    ck_assert_uint_eq(wakes, 1);
    io_turn(&io, 0);
    ck_assert_uint_eq(arrived, 3);
}
END_TEST

static void *send_letters(void *arg)
{
    struct letter *letters = arg;

    for (unsigned i = 0; i < LETTERS; i++)
        io_post(&io, &letters[i].m);
    return NULL;
}

START_TEST(four_threads_lose_and_reorder_nothing)
{
    struct letter *letters = calloc((size_t)SENDERS * LETTERS, sizeof *letters);
    pthread_t threads[SENDERS];

    ck_assert_ptr_nonnull(letters);
    for (unsigned i = 0; i < SENDERS * LETTERS; i++)
        letters[i] = (struct letter){
            .m.arrive = letter_arrive, .sender = i / LETTERS, .number = i % LETTERS};
    for (unsigned i = 0; i < SENDERS; i++)
        pthread_create(&threads[i], NULL, send_letters, letters + (size_t)i * LETTERS);
    while (arrived < SENDERS * LETTERS)
        io_turn(&io, 1);
    for (unsigned i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(io.stats.posts, SENDERS * LETTERS);
    free(letters);
}
END_TEST

/* --- the turn itself --------------------------------------------------------- */

static unsigned steps;

static void restless_step(struct owner *o)
{
    steps++;
    owner_wake(o);
}

START_TEST(a_step_that_always_wakes_itself_is_put_off_and_the_turn_does_not_sleep)
{
    struct owner o;

    owner_init(&o, &io.owners, restless_step);
    owner_wake(&o);
    for (unsigned i = 1; i <= 3; i++) {
        io_turn(&io, TIME_NEVER);
        ck_assert_uint_eq(steps, i * OWNER_RUNS_MAX);
    }
    ck_assert_uint_eq(sleeps, 0);
    ck_assert_uint_eq(io.stats.deferred, 3);
    owner_retire(&o);
}
END_TEST

struct speaker {
    struct io_sender sender;
    struct owner owner;
    unsigned gathered;
    bool again;
};

static void speaker_gather(struct io_sender *s)
{
    struct speaker *p = container_of(s, struct speaker, sender);

    p->gathered++;
    if (p->again)
        io_gather(&io, s);
    owner_wake(&p->owner);
}

static void speaker_step(struct owner *o)
{
    steps += o != NULL;
}

START_TEST(gathering_comes_after_the_steps_and_what_it_wakes_still_runs)
{
    struct speaker p = {.sender.gather = speaker_gather};

    owner_init(&p.owner, &io.owners, speaker_step);
    io_gather(&io, &p.sender);
    io_gather(&io, &p.sender);
    io_turn(&io, TIME_NEVER);
    ck_assert_uint_eq(p.gathered, 1);
    ck_assert_uint_eq(steps, 1);
    ck_assert_uint_eq(sleeps, 0);
    io_turn(&io, 1);
    ck_assert_uint_eq(p.gathered, 1);
    ck_assert_uint_eq(sleeps, 1);
}
END_TEST

START_TEST(gathering_again_and_again_ends_the_turn_anyway)
{
    struct speaker p = {.sender.gather = speaker_gather, .again = true};

    owner_init(&p.owner, &io.owners, speaker_step);
    io_gather(&io, &p.sender);
    io_turn(&io, TIME_NEVER);
    unsigned once = p.gathered;
    ck_assert_uint_le(once, 4);
    io_turn(&io, TIME_NEVER);
    ck_assert_uint_gt(p.gathered, once);
    ck_assert_uint_eq(sleeps, 0);
    list_remove(&p.sender.node);
    owner_retire(&p.owner);
}
END_TEST

START_TEST(a_turn_sleeps_until_the_first_timer)
{
    struct owner o;
    struct io_timer t = {.owner = &o};

    owner_init(&o, &io.owners, speaker_step);
    io_timer_set(&io, &t, io_now(&io) + 5 * NS_PER_MS);
    io_turn(&io, TIME_NEVER);
    ck_assert(io_timer_take(&t));
    ck_assert_uint_eq(io_now(&io), 5 * NS_PER_MS);
    ck_assert_uint_eq(waits, 1);
    ck_assert_uint_eq(steps, 1);
    ck_assert_uint_eq(io.stats.timers, 1);
}
END_TEST

Suite *mailbox_suite(void)
{
    Suite *s = suite_create("mailbox");
    TCase *t = tcase_create("mailbox");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, messages_arrive_in_the_order_they_were_posted);
    tcase_add_test(t, a_message_posted_while_delivering_is_for_the_next_turn);
    tcase_add_test(t, only_a_sleeping_target_is_woken_and_only_once);
    tcase_add_test(t, four_threads_lose_and_reorder_nothing);
    tcase_add_test(t, a_step_that_always_wakes_itself_is_put_off_and_the_turn_does_not_sleep);
    tcase_add_test(t, gathering_comes_after_the_steps_and_what_it_wakes_still_runs);
    tcase_add_test(t, gathering_again_and_again_ends_the_turn_anyway);
    tcase_add_test(t, a_turn_sleeps_until_the_first_timer);
    suite_add_tcase(s, t);
    return s;
}
