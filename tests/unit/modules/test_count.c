/* The count played in a world where messages arrive when chance says so.
 *
 * Each pair of workers has a queue.  A model notes, whenever a cut reaches a
 * worker, what that worker had counted until then; whatever an answer says
 * must be what the model says about exactly that cut. */
#include "base/mem.h"
#include "base/random.h"
#include "modules/1mrc/count.h"
#include "modules/1mrc/gather.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    WORKERS_MOST = 7,
    USERS_MOST_TESTED = 1024,
    WORDS = USERS_MOST_TESTED / 64,
    CUTS_MOST = 4096
};

struct bits {
    uint64_t word[WORDS];
};

/* What a worker has counted since the last reset; events: ever. */
struct tally {
    uint64_t events, total;
    double sum;
    struct bits users;
};

struct queue {
    struct count_message *first, **end;
};

struct waiter {
    struct count_ask ask;
    unsigned worker;
    uint64_t events[WORKERS_MOST]; /* counted before it asked */
    bool done;
};

struct world {
    unsigned workers;
    uint64_t users_max;
    bool memory_fails;
    struct count *count[WORKERS_MOST];
    struct queue queue[WORKERS_MOST][WORKERS_MOST];
    struct tally now[WORKERS_MOST];
    uint64_t cuts[WORKERS_MOST];
    struct tally *cut[WORKERS_MOST]; /* by worker and number */
    bool reset[CUTS_MOST];
    uint64_t judged; /* cuts looked at for too many users */
    bool too_many;
    unsigned waiting, answers, estimates;
    const struct count_result *saving;
    struct users_share shares[WORKERS_MOST];
    struct bits saved;
    unsigned saves;
};

static struct world *world; /* count_post_fn has no room for it */

static struct user_hash user(unsigned i)
{
    struct random r = {i * UINT64_C(0x9e3779b97f4a7c15)};
    uint64_t a = random_next(&r);
    return (struct user_hash){a, random_next(&r)};
}

static unsigned bits_count(const struct bits *b)
{
    unsigned n = 0;

    for (size_t i = 0; i < WORDS; i++)
        n += (unsigned)__builtin_popcountll(b->word[i]);
    return n;
}

static struct tally whole(uint64_t cut)
{
    struct tally all = {0};

    for (unsigned w = 0; w < world->workers; w++) {
        const struct tally *t = &world->cut[w][cut];
        all.total += t->total;
        all.sum += t->sum;
        for (size_t i = 0; i < WORDS; i++)
            all.users.word[i] |= t->users.word[i];
    }
    return all;
}

static void post(struct count *from, unsigned to, struct count_message *m)
{
    struct queue *q = &world->queue[from->self][to];

    ck_assert_uint_ne(from->self, to);
    m->next = NULL;
    *q->end = m;
    q->end = &m->next;
}

/* After anything that may have brought a cut to a worker. */
static void note_cuts(unsigned w)
{
    while (world->cuts[w] < world->count[w]->cuts) {
        uint64_t n = ++world->cuts[w];
        ck_assert_uint_lt(n, CUTS_MOST);
        world->cut[w][n] = world->now[w];
        world->reset[n] = world->count[w]->cut == COUNT_RESET;
        if (world->reset[n])
            world->now[w] = (struct tally){.events = world->now[w].events};
    }
}

static void judge(uint64_t cut)
{
    while (world->judged < cut) {
        struct tally all = whole(++world->judged);
        if (world->reset[world->judged])
            world->too_many = false;
        else if (bits_count(&all.users) > world->users_max)
            world->too_many = true;
    }
}

static void check_users(const struct count_result *r, const struct tally *all)
{
    unsigned users = bits_count(&all->users);

    if (!world->memory_fails)
        ck_assert_int_eq(r->estimated, world->too_many);
    if (!r->estimated) {
        ck_assert_uint_eq(r->users, users);
        return;
    }
    world->estimates++;
    ck_assert_uint_le(r->users, r->total);
    ck_assert_uint_ge(r->users, r->users_least);
    if (!world->memory_fails)
        ck_assert_uint_gt(r->users, world->users_max);
    double off = fabs((double)r->users - users);
    ck_assert_msg(off <= 2 + users * 0.05, "%u users estimated as %u", users, (unsigned)r->users);
}

static void answered(struct count_ask *ask, const struct count_result *r)
{
    struct waiter *waiter = container_of(ask, struct waiter, ask);

    for (unsigned w = 0; w < world->workers; w++)
        note_cuts(w);
    uint64_t cut = world->cuts[waiter->worker];
    judge(cut);
    struct tally all = whole(cut);
    ck_assert(!waiter->done);
    waiter->done = true;
    world->waiting--;
    world->answers++;
    for (unsigned w = 0; w < world->workers; w++)
        ck_assert_uint_ge(world->cut[w][cut].events, waiter->events[w]);
    ck_assert_uint_eq(r->total, all.total);
    ck_assert(r->sum_fits);
    ck_assert_double_eq(r->value, all.sum);
    if (ask->want == COUNT_RESET)
        ck_assert(world->reset[cut]);
    else
        check_users(r, &all);
    if (ask->want == COUNT_SAVE) {
        ck_assert_ptr_null(world->saving);
        world->saving = r;
        world->saved = all.users;
        for (unsigned w = 0; w < world->workers; w++)
            world->shares[w] = r->estimated || r->fail ? (struct users_share){0} : r->shares[w];
        if (r->estimated || r->fail)
            world->saved = (struct bits){0};
        world->saves++;
    }
}

/* The shares are still what they were at the cut, whatever happened since. */
static void finish_saving(void)
{
    struct bits left = world->saved;

    for (unsigned w = 0; w < world->workers; w++)
        for (uint64_t i = 0; i < world->shares[w].count; i++) {
            struct user_hash h = users_share_at(&world->shares[w], i);
            unsigned u = 0;
            while (u < USERS_MOST_TESTED && (user(u).a != h.a || user(u).b != h.b))
                u++;
            ck_assert_uint_lt(u, USERS_MOST_TESTED);
            ck_assert_uint_ne(left.word[u / 64] >> (u % 64) & 1, 0);
            left.word[u / 64] ^= UINT64_C(1) << (u % 64);
        }
    ck_assert_uint_eq(bits_count(&left), 0);
    world->saving = NULL;
    count_saved(world->count[0]);
    note_cuts(0);
}

static void begin(unsigned workers, uint64_t users_max)
{
    static struct world the_world;
    static struct count counts[WORKERS_MOST];
    static struct tally cuts[WORKERS_MOST][CUTS_MOST];

    world = &the_world;
    memset(world, 0, sizeof *world);
    world->workers = workers;
    world->users_max = users_max;
    for (unsigned w = 0; w < workers; w++) {
        world->cut[w] = cuts[w];
        world->count[w] = &counts[w];
        ck_assert_int_eq(count_init(world->count[w], w, workers, users_max, post), 0);
        for (unsigned to = 0; to < workers; to++)
            world->queue[w][to].end = &world->queue[w][to].first;
    }
}

static void end(void)
{
    for (unsigned w = 0; w < world->workers; w++)
        count_free(world->count[w]);
}

static void event(unsigned w, unsigned u, int value)
{
    struct tally *t = &world->now[w];

    t->events++;
    t->total++;
    t->sum += value;
    t->users.word[u / 64] |= UINT64_C(1) << (u % 64);
    count_event(world->count[w], user(u), value);
    note_cuts(w);
}

static void ask(struct waiter *waiter, unsigned w, enum count_want want)
{
    *waiter = (struct waiter){.ask = {.want = want, .ready = answered}, .worker = w};
    for (unsigned i = 0; i < world->workers; i++)
        waiter->events[i] = world->now[i].events;
    world->waiting++;
    count_ask(world->count[w], &waiter->ask);
    note_cuts(w);
}

static void deliver(unsigned from, unsigned to)
{
    struct queue *q = &world->queue[from][to];
    struct count_message *m = q->first;

    q->first = m->next;
    if (!q->first)
        q->end = &q->first;
    count_arrive(world->count[to], m);
    note_cuts(to);
}

static unsigned deliverable(unsigned at[][2])
{
    unsigned n = 0;

    for (unsigned from = 0; from < world->workers; from++)
        for (unsigned to = 0; to < world->workers; to++)
            if (world->queue[from][to].first) {
                at[n][0] = from;
                at[n++][1] = to;
            }
    return n;
}

static bool deliver_any(struct random *r)
{
    unsigned at[WORKERS_MOST * WORKERS_MOST][2], n = deliverable(at);

    if (n == 0)
        return false;
    unsigned i = (unsigned)random_below(r, n);
    deliver(at[i][0], at[i][1]);
    return true;
}

/* What one seed plays: how likely is what. */
struct play {
    unsigned workers, users, steps;
    uint64_t users_max;
    unsigned resets, saves; /* of 1000 steps */
    bool stop;              /* in the middle of it all */
};

/* All workers stop here and now; what they counted is gathered. */
static void stop_and_gather(void)
{
    static struct estimate estimate;
    struct users_share shares[WORKERS_MOST];
    struct count_result r;
    struct tally all = {0};
    uint64_t latest = 0;
    unsigned users = 0;

    for (unsigned w = 0; w < world->workers; w++)
        latest = world->cuts[w] > latest ? world->cuts[w] : latest;
    for (unsigned w = 0; w < world->workers; w++) {
        if (world->cuts[w] < latest && world->reset[latest])
            continue; /* it would have come here too */
        all.total += world->now[w].total;
        all.sum += world->now[w].sum;
        for (size_t i = 0; i < WORDS; i++)
            all.users.word[i] |= world->now[w].users.word[i];
    }
    ck_assert_int_eq(count_gather(world->count, world->workers, &r, shares, &estimate), 0);
    ck_assert_uint_eq(r.total, all.total);
    double sum;
    ck_assert(exact_value(&r.sum, &sum));
    ck_assert_double_eq(sum, all.sum);
    for (unsigned w = 0; w < world->workers; w++)
        for (uint64_t i = 0; i < shares[w].count; i++, users++)
            ck_assert_uint_eq(count_owner(world->count[0], users_share_at(&shares[w], i)), w);
    unsigned want = bits_count(&all.users);
    if (r.estimated) {
        ck_assert_uint_eq(users, 0);
        ck_assert_double_le(fabs(estimate_count(&estimate) - want), 2 + want * 0.05);
    } else {
        ck_assert_uint_eq(users, want);
    }
    for (unsigned w = 0; w < world->workers; w++)
        users_share_drop(&shares[w]);
}

static void play(struct random *r, const struct play *p)
{
    enum { WAITERS = 400 };
    static struct waiter waiters[WAITERS];
    struct waiter save = {.done = true};
    unsigned asked = 0, lazy = (unsigned)random_below(r, 3);

    for (unsigned step = 0; step < p->steps; step++) {
        unsigned w = (unsigned)random_below(r, p->workers);
        unsigned what = (unsigned)random_below(r, 1000);
        if (what < p->resets && asked < WAITERS)
            ask(&waiters[asked++], w, COUNT_RESET);
        else if (what < p->resets + p->saves && save.done)
            ask(&save, 0, COUNT_SAVE);
        else if (what < 100 && asked < WAITERS)
            ask(&waiters[asked++], w, COUNT_STATS);
        else if (what < 110 && world->saving)
            finish_saving();
        else if (what < 500 || (lazy == 0 && what < 900))
            event(w, (unsigned)random_below(r, p->users), (int)random_below(r, 100));
        else
            deliver_any(r);
        if (world->memory_fails && step % 50 == 0)
            mem_fail_at(1 + random_below(r, 20), random_below(r, 4));
    }
    mem_fail_at(0, 0);
    if (p->stop) {
        stop_and_gather();
        return;
    }
    do {
        while (deliver_any(r))
            ;
        if (world->saving)
            finish_saving();
    } while (deliver_any(r));
    ck_assert_uint_eq(world->waiting, 0);

    /* And in the end everything is in the answer. */
    struct waiter last;
    ask(&last, (unsigned)random_below(r, p->workers), COUNT_STATS);
    while (deliver_any(r))
        ;
    ck_assert(last.done);
}

START_TEST(every_answer_is_what_was_counted_before_its_cut)
{
    static const unsigned workers[] = {1, 2, 3, 7};
    unsigned answers = 0, estimates = 0, saves = 0;

    for (uint64_t seed = 0; seed < 60; seed++) {
        struct random r = {seed * 4 + (uint64_t)_i};
        struct play p = {
            .workers = workers[_i],
            .users = 1 + (unsigned)random_below(&r, random_below(&r, 2) ? 20 : USERS_MOST_TESTED),
            .steps = 200 + (unsigned)random_below(&r, 2000),
            .resets = (unsigned)random_below(&r, 3) * 5,
            .saves = (unsigned)random_below(&r, 3) * 10,
            .stop = seed % 4 == 0,
        };
        p.users_max = 1 + random_below(&r, p.users + p.users / 2);
        begin(p.workers, p.users_max);
        for (unsigned w = 0; w < p.workers; w++)
            world->count[w]->batch_max = 1 + (unsigned)random_below(&r, seed % 3 ? 3 : COUNT_BATCH);
        play(&r, &p);
        answers += world->answers;
        estimates += world->estimates;
        saves += world->saves;
        end();
    }
    ck_assert_uint_gt(answers, 2000);
    ck_assert_uint_gt(estimates, 200);
    ck_assert_uint_gt(saves, 50);
}
END_TEST

START_TEST(without_memory_users_are_estimated_and_nothing_is_lost)
{
    unsigned estimates = 0;

    for (uint64_t seed = 0; seed < 60; seed++) {
        struct random r = {seed * 4 + (uint64_t)_i};
        struct play p = {.workers = _i ? 3 : 1,
                         .users = USERS_MOST_TESTED,
                         .steps = 3000,
                         .resets = 4,
                         .saves = 5};
        p.users_max = 2 * USERS_MOST_TESTED;
        begin(p.workers, p.users_max);
        world->memory_fails = true;
        play(&r, &p);
        estimates += world->estimates;
        end();
    }
    ck_assert_uint_gt(estimates, 100);
}
END_TEST

/* --- every interleaving of a small story ------------------------------------ */

/* What clients do, each one thing after the other, waiting for answers. */
struct deed {
    char what; /* e(vent), s(tats), r(eset); 0: no more */
    unsigned worker, user;
};
enum { CLIENTS = 3, DEEDS = 4 };

/* The choices of a run; the next run changes the last one that can be. */
struct choices {
    unsigned choice[400], of[400], count;
};

static unsigned choose(struct choices *c, unsigned at, unsigned of)
{
    ck_assert_uint_lt(at, 400);
    if (at == c->count) {
        c->choice[at] = 0;
        c->of[at] = of;
        c->count++;
    }
    ck_assert_uint_eq(c->of[at], of);
    return c->choice[at];
}

static bool next_choices(struct choices *c)
{
    while (c->count > 0 && c->choice[c->count - 1] + 1 == c->of[c->count - 1])
        c->count--;
    if (c->count == 0)
        return false;
    c->choice[c->count - 1]++;
    return true;
}

static void run_story(const struct deed story[CLIENTS][DEEDS], struct choices *c)
{
    struct waiter waiter[CLIENTS];
    unsigned done[CLIENTS] = {0}, at[WORKERS_MOST * WORKERS_MOST][2];

    for (unsigned i = 0; i < CLIENTS; i++)
        waiter[i].done = true;
    for (unsigned step = 0;; step++) {
        unsigned messages = deliverable(at), able[CLIENTS], n = 0;
        for (unsigned i = 0; i < CLIENTS; i++)
            if (done[i] < DEEDS && story[i][done[i]].what && waiter[i].done)
                able[n++] = i;
        if (n + messages == 0)
            break;
        unsigned chosen = choose(c, step, n + messages);
        if (chosen >= n) {
            deliver(at[chosen - n][0], at[chosen - n][1]);
            continue;
        }
        unsigned client = able[chosen];
        const struct deed *d = &story[client][done[client]++];
        if (d->what == 'e')
            event(d->worker, d->user, 1);
        else
            ask(&waiter[client], d->worker, d->what == 's' ? COUNT_STATS : COUNT_RESET);
    }
    ck_assert_uint_eq(world->waiting, 0);
}

static const struct {
    const char *name;
    unsigned workers;
    uint64_t users_max;
    struct deed story[CLIENTS][DEEDS];
} stories[] = {
    {"two events and a question, then one more event",
     2,
     9,
     {{{'e', 0, 1}, {'s', 1, 0}}, {{'e', 1, 1}, {'e', 1, 2}}, {{0}}}},
    {"a reset between events",
     2,
     9,
     {{{'e', 1, 1}, {'r', 0, 0}, {'e', 1, 1}, {'s', 0, 0}}, {{'e', 0, 2}}, {{0}}}},
    {"events during a reset",
     2,
     9,
     {{{'r', 0, 0}}, {{'e', 0, 2}, {'e', 1, 2}, {'e', 0, 1}}, {{0}}}},
    {"two questions at a time",
     2,
     9,
     {{{'e', 0, 1}, {'s', 0, 0}}, {{'e', 1, 1}, {'s', 1, 0}}, {{'e', 1, 1}}}},
    {"one user too many while somebody asks",
     2,
     1,
     {{{'e', 0, 1}, {'e', 1, 2}}, {{'s', 0, 0}}, {{0}}}},
    {"too many, and a reset", 2, 1, {{{'e', 0, 1}, {'e', 1, 2}}, {{'r', 1, 0}}, {{0}}}},
    {"everything on one",
     1,
     1,
     {{{'e', 0, 1}, {'s', 0, 0}, {'e', 0, 2}},
      {{'r', 0, 0}, {'e', 0, 3}},
      {{'e', 0, 1}, {'s', 0, 0}}}},
};

START_TEST(every_interleaving_of_a_small_story_is_right)
{
    enum { RUNS_MOST = 2000000 };
    static struct choices c;
    unsigned runs = 0;

    c.count = 0;
    do {
        begin(stories[_i].workers, stories[_i].users_max);
        for (unsigned w = 0; w < stories[_i].workers; w++)
            world->count[w]->batch_max = 1;
        run_story(stories[_i].story, &c);
        end();
        runs++;
    } while (next_choices(&c) && runs < RUNS_MOST);
    ck_assert_uint_lt(runs, RUNS_MOST);
    if (getenv("HG_VERBOSE"))
        printf("# %s: %u interleavings\n", stories[_i].name, runs);
}
END_TEST

/* --- single promises -------------------------------------------------------- */

START_TEST(one_worker_answers_at_once)
{
    struct waiter w;

    begin(1, 100);
    for (unsigned i = 0; i < 1000; i++)
        event(0, i % 75, 2);
    ask(&w, 0, COUNT_STATS);
    ck_assert(w.done);
    ask(&w, 0, COUNT_RESET);
    ck_assert(w.done);
    ask(&w, 0, COUNT_STATS);
    ck_assert(w.done);
    end();
}
END_TEST

START_TEST(a_cancelled_question_is_never_answered)
{
    struct random r = {1};
    struct waiter first, second;

    begin(2, 100);
    ask(&first, 1, COUNT_STATS);
    ask(&second, 1, COUNT_STATS);
    count_ask_cancel(&first.ask);
    count_ask_cancel(&second.ask);
    while (deliver_any(&r))
        ;
    ck_assert(!first.done && !second.done);
    ask(&second, 1, COUNT_STATS);
    while (deliver_any(&r))
        ;
    ck_assert(second.done);
    end();
}
END_TEST

/* A thousand questions at a time cost as many messages as two. */
START_TEST(questions_share_cuts)
{
    enum { QUESTIONS = 1000 };
    static struct waiter waiters[QUESTIONS];
    struct random r = {1};

    begin(7, 100);
    for (unsigned i = 0; i < QUESTIONS; i++)
        ask(&waiters[i], i % 7, COUNT_STATS);
    while (deliver_any(&r))
        ;
    ck_assert_uint_eq(world->answers, QUESTIONS);
    ck_assert_uint_le(world->count[0]->cuts, 9);
    end();
}
END_TEST

START_TEST(resets_do_not_starve_questions)
{
    enum { RESETTERS = 3, RESETS = 100 };
    static struct waiter resets[RESETTERS][RESETS];
    struct random r = {1};
    struct waiter question = {0};
    unsigned asked[RESETTERS] = {0};

    begin(RESETTERS + 1, 100);
    for (unsigned i = 0; i < RESETTERS; i++)
        ask(&resets[i][asked[i]++], i, COUNT_RESET);
    ask(&question, RESETTERS, COUNT_STATS);
    while (!question.done) {
        for (unsigned i = 0; i < RESETTERS; i++)
            if (resets[i][asked[i] - 1].done) {
                ck_assert_uint_lt(asked[i], RESETS);
                ask(&resets[i][asked[i]++], i, COUNT_RESET);
            }
        deliver_any(&r);
    }
    while (deliver_any(&r))
        ;
    end();
}
END_TEST

START_TEST(batches_are_used_again)
{
    struct random r = {1};
    unsigned batches = 0;

    begin(2, 1000000);
    for (unsigned i = 0; i < 100000; i++) {
        count_event(world->count[0], user(i), 1);
        while (deliver_any(&r))
            ;
    }
    for (const struct count_batch *b = world->count[0]->batches; b; b = b->next_own)
        batches++;
    ck_assert_uint_le(batches, 2);
    end();
}
END_TEST

START_TEST(never_more_users_than_events)
{
    struct random r = {1};
    static struct waiter w[20];

    begin(3, 50);
    for (unsigned i = 0; i < 1000; i++) {
        event(i % 3, i, 1);
        if (i % 50 == 49)
            ask(&w[i / 50], i % 3, COUNT_STATS);
        while (deliver_any(&r))
            ;
    }
    ck_assert_uint_eq(world->answers, 20);
    end();
}
END_TEST

/* Nobody asks, and still the sets stop growing. */
START_TEST(too_many_users_are_noticed_without_a_question)
{
    struct random r = {1};
    uint64_t most = 0;

    begin(3, 200);
    for (unsigned i = 0; i < USERS_MOST_TESTED; i++) {
        event(i % 3, i, 1);
        uint64_t sum = 0;
        for (unsigned w = 0; w < 3; w++)
            sum += world->count[w]->own.count;
        most = sum > most ? sum : most;
        while (deliver_any(&r))
            ;
    }
    for (unsigned w = 0; w < 3; w++) {
        ck_assert(world->count[w]->estimating);
        ck_assert_uint_eq(world->count[w]->own.count, 0);
        ck_assert_uint_eq(world->count[w]->seen.count, 0);
    }
    ck_assert_uint_le(most, 200 + 6 * COUNT_BATCH);
    end();
}
END_TEST

START_TEST(a_lower_limit_is_noticed_and_a_higher_one_waits_for_a_reset)
{
    struct random r = {1};
    struct waiter w;

    begin(2, 100);
    for (unsigned i = 0; i < 50; i++)
        event(i % 2, i, 1);
    world->users_max = 40;
    for (unsigned i = 0; i < 2; i++) {
        count_limit(world->count[i], 40);
        note_cuts(i);
    }
    while (deliver_any(&r))
        ;
    ck_assert(world->count[0]->estimating && world->count[1]->estimating);
    judge(world->cuts[0]);
    world->users_max = 1000;
    for (unsigned i = 0; i < 2; i++) {
        count_limit(world->count[i], 1000);
        note_cuts(i);
    }
    while (deliver_any(&r))
        ;
    ck_assert(world->count[0]->estimating);
    ask(&w, 1, COUNT_RESET);
    while (deliver_any(&r))
        ;
    for (unsigned i = 0; i < 200; i++)
        event(i % 2, i, 1);
    ask(&w, 0, COUNT_STATS);
    while (deliver_any(&r))
        ;
    ck_assert(w.done && !world->too_many);
    end();
}
END_TEST

Suite *count_suite(void);
Suite *count_suite(void)
{
    Suite *s = suite_create("count");
    TCase *t = tcase_create("count");

    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, every_answer_is_what_was_counted_before_its_cut, 0, 4);
    tcase_add_loop_test(t, without_memory_users_are_estimated_and_nothing_is_lost, 0, 2);
    tcase_add_loop_test(t, every_interleaving_of_a_small_story_is_right, 0, COUNT_OF(stories));
    tcase_add_test(t, one_worker_answers_at_once);
    tcase_add_test(t, a_cancelled_question_is_never_answered);
    tcase_add_test(t, questions_share_cuts);
    tcase_add_test(t, resets_do_not_starve_questions);
    tcase_add_test(t, batches_are_used_again);
    tcase_add_test(t, never_more_users_than_events);
    tcase_add_test(t, too_many_users_are_noticed_without_a_question);
    tcase_add_test(t, a_lower_limit_is_noticed_and_a_higher_one_waits_for_a_reset);
    suite_add_tcase(s, t);
    return s;
}
