/* Messages between threads, each with an engine or without. */
#include "tests/backends/backends.h"

#include <pthread.h>
#include <unistd.h>

enum { SENDERS = 4, LETTERS = 100000 };

struct letter {
    struct io_message m;
    unsigned sender, number;
};

static struct io *io;
static unsigned arrived, from[SENDERS];

static void letter_arrive(struct io_message *m, struct io *target)
{
    struct letter *l = container_of(m, struct letter, m);

    CHECK(target == io);
    CHECK_EQUAL(l->number, from[l->sender]++);
    arrived++;
}

static void *send_letters(void *arg)
{
    struct letter *letters = arg;

    for (unsigned i = 0; i < LETTERS; i++)
        io_post(io, &letters[i].m);
    return NULL;
}

static void four_threads_post_and_nothing_is_lost_or_reordered(void)
{
    struct letter *letters = calloc((size_t)SENDERS * LETTERS, sizeof *letters);
    pthread_t threads[SENDERS];

    CHECK(letters);
    io = engine_open();
    for (unsigned i = 0; i < SENDERS * LETTERS; i++)
        letters[i] = (struct letter){
            .m.arrive = letter_arrive, .sender = i / LETTERS, .number = i % LETTERS};
    for (unsigned i = 0; i < SENDERS; i++)
        CHECK(pthread_create(&threads[i], NULL, send_letters, letters + (size_t)i * LETTERS) == 0);
    TURN_UNTIL(io, arrived == SENDERS * LETTERS);
    for (unsigned i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    CHECK_EQUAL(io->stats.posts, SENDERS * LETTERS);
    free(letters);
    engine_close(io);
}

static void *post_late(void *arg)
{
    struct letter *l = arg;

    usleep(30000);
    io_post(io, &l->m);
    return NULL;
}

static void a_message_ends_the_sleep(void)
{
    struct letter l = {.m.arrive = letter_arrive};
    pthread_t thread;

    io = engine_open();
    turn_some(io);
    for (unsigned i = 0; i < 10; i++) {
        l.number = i;
        uint64_t begin = real_ns();
        CHECK(pthread_create(&thread, NULL, post_late, &l) == 0);
        while (arrived == i) {
            CHECK(io_turn(io, 15 * NS_PER_S));
            CHECK(real_ns() - begin < 10 * NS_PER_S);
        }
        pthread_join(thread, NULL);
    }
    engine_close(io);
}

/* --- two engines and one message that goes to and fro -------------------------------- */

enum { ROUNDS = 5000 };

struct side {
    struct io *io;
    struct side *other;
    struct io_message ball;
    unsigned rounds;
    pthread_t thread;
};

static struct side sides[2];
static pthread_barrier_t ready;

static void ball_arrive(struct io_message *m, struct io *target)
{
    struct side *here = target == sides[0].io ? &sides[0] : &sides[1];

    here->rounds++;
    if (here->rounds < ROUNDS || here == &sides[0])
        io_post(here->other->io, m);
}

static void *side_main(void *arg)
{
    struct side *s = arg;

    s->io = engine_open();
    pthread_barrier_wait(&ready);
    while (s->rounds < ROUNDS)
        CHECK(io_turn(s->io, 15 * NS_PER_S)); /* a lost wake would be noticed */
    pthread_barrier_wait(&ready);
    engine_close(s->io);
    return NULL;
}

static void two_engines_pass_a_message_and_never_oversleep(void)
{
    pthread_barrier_init(&ready, NULL, 3);
    for (unsigned i = 0; i < 2; i++) {
        sides[i].other = &sides[1 - i];
        CHECK(pthread_create(&sides[i].thread, NULL, side_main, &sides[i]) == 0);
    }
    pthread_barrier_wait(&ready);
    sides[0].ball.arrive = ball_arrive;
    uint64_t begin = real_ns();
    io_post(sides[0].io, &sides[0].ball);
    pthread_barrier_wait(&ready);
    CHECK(real_ns() - begin < 14 * NS_PER_S);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(sides[i].thread, NULL);
}

/* --- engines do not share anything ------------------------------------------------------ */

static void *echo_alone(void *arg)
{
    struct peer p;
    struct io *mine = engine_open();
    int fd = peer_pair(&p, mine);
    unsigned value;

    (void)arg;
    peer_read(&p);
    for (unsigned i = 0; i < 2000; i++) {
        struct io_vec vec = {&i, sizeof i};
        plain_write(fd, &i, sizeof i);
        TURN_UNTIL(mine, p.got_len == sizeof i);
        CHECK(memcmp(p.got, &i, sizeof i) == 0);
        p.got_len = 0;
        io_send(mine, &p.send, &p.sock, &vec, 1);
        TURN_UNTIL(mine, !io_busy(&p.send));
        CHECK_EQUAL(plain_read(fd, &value, sizeof value), sizeof value);
        CHECK_EQUAL(value, i);
    }
    close(fd);
    peer_close(&p);
    engine_close(mine);
    return NULL;
}

static void engines_in_four_threads_do_not_meet(void)
{
    pthread_t threads[4];

    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        CHECK(pthread_create(&threads[i], NULL, echo_alone, NULL) == 0);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        pthread_join(threads[i], NULL);
}

const struct test thread_tests[] = {
    {"four_threads_post_and_nothing_is_lost_or_reordered",
     four_threads_post_and_nothing_is_lost_or_reordered},
    {"a_message_ends_the_sleep", a_message_ends_the_sleep},
    {"two_engines_pass_a_message_and_never_oversleep",
     two_engines_pass_a_message_and_never_oversleep},
    {"engines_in_four_threads_do_not_meet", engines_in_four_threads_do_not_meet},
    {0},
};
