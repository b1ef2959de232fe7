/* Who waits for a place, and who is called: what two threads do at once, and what legs of two
 * generations do, one after the other. */
#include "gate/queue.h"

#include "gate/pool.h"
#include "gate/room.h"
#include "gate/upstream.h"
#include "tests/unit/suites.h"

enum { LEGS_MAX = 4 };

static struct group_state group;
static struct server_state server_now;
static struct server_entry server;
static struct upstream_conf older, newer; /* the same group in two generations */
static struct io io;
static struct pools pools;
static struct worker worker;
static struct generation generation;
static struct owner owner;
static struct exchange exchange;
static struct leg legs[LEGS_MAX];

static void no_step(struct owner *o)
{
    (void)o;
}

static void setup(void)
{
    group = (struct group_state){0};
    list_init(&group.queue);
    pthread_mutex_init(&group.lock, NULL);
    server_now = (struct server_state){0};
    server = (struct server_entry){.state = &server_now};
    older = newer = (struct upstream_conf){
        .servers = &server, .server_count = 1, .state = &group, .counted = true, .queue = 10};
    memset(&io, 0, sizeof io);
    owner_queue_init(&io.owners);
    pools = (struct pools){0};
    worker = (struct worker){.io = &io, .pools = &pools};
    generation = (struct generation){.users = 1};
    owner_init(&owner, &io.owners, no_step);
    exchange = (struct exchange){.worker = &worker, .generation = &generation, .owner = &owner};
    for (unsigned i = 0; i < LEGS_MAX; i++)
        legs[i] = (struct leg){.x = &exchange, .upstream = &older, .server = &server};
}

/* What was posted arrives. */
static void hear(void)
{
    struct io_message *m = atomic_exchange(&io.mailbox, NULL);

    while (m) {
        struct io_message *next = atomic_load(&m->next);
        m->arrive(m, &io);
        m = next;
    }
}

static void teardown(void)
{
    for (unsigned i = 0; i < LEGS_MAX; i++)
        queue_leave(&legs[i]);
    hear();
    ck_assert_uint_eq(atomic_load(&group.waiting), 0);
    owner_retire(&owner);
    pthread_mutex_destroy(&group.lock);
}

static void join(struct leg *leg, const struct upstream_conf *conf)
{
    leg->upstream = conf;
    ck_assert_int_eq(queue_join(leg), 0);
}

/* Who was called is told so. */
static bool is_called(struct leg *leg)
{
    hear();
    bool called = leg->called;
    leg->called = false;
    return called;
}

START_TEST(who_gives_a_place_back_unused_calls_who_may_have_missed_it)
{
    atomic_store(&group.max_in_flight, 1);
    atomic_store(&server_now.max_in_flight, 1);
    atomic_store(&server_now.in_flight, 1);
    join(&legs[0], &older);
    ck_assert(!place_take(&legs[1])); /* for a moment the group was full */
    ck_assert_uint_eq(atomic_load(&group.in_flight), 0);
    ck_assert(is_called(&legs[0]));
}
END_TEST

START_TEST(who_gives_room_back_unused_calls_who_may_have_missed_it)
{
    atomic_store(&group.max_connections, 1);
    atomic_store(&server_now.max_connections, 1);
    atomic_store(&server_now.connections, 1);
    join(&legs[0], &older);
    ck_assert(!room_take(&legs[1]));
    ck_assert_uint_eq(atomic_load(&group.connections), 0);
    ck_assert(is_called(&legs[0]));
}
END_TEST

START_TEST(who_finds_nothing_free_takes_nothing_and_calls_nobody)
{
    atomic_store(&group.max_in_flight, 1);
    atomic_store(&group.in_flight, 1);
    join(&legs[0], &older);
    ck_assert(!place_is_there(&legs[1]));
    ck_assert(!place_take(&legs[1]));
    ck_assert(!is_called(&legs[0]));
}
END_TEST

START_TEST(who_waits_and_was_called_for_nothing_does_not_call_itself)
{
    static _Alignas(struct pool_view) char
        room[sizeof(struct pool_view) + sizeof(struct pool_server *)];
    struct pool_view *view = (struct pool_view *)(void *)room, *views[] = {view};
    struct pool_server pooled = {.tenure = 1, .share = 1};

    list_init(&pooled.idle);
    list_init(&pooled.spare);
    view->count = view->reach = 1;
    view->servers[0] = &pooled;
    generation.pools = views;
    server.weight = 1;
    atomic_store(&server_now.tenure, 1);
    /* The limit is a newer generation's, of which the leg's knows nothing. */
    atomic_store(&group.max_connections, 1);
    atomic_store(&group.connections, 1);
    join(&legs[0], &older);
    legs[0].state = LEG_QUEUED;
    legs[0].called = true;
    leg_check(&legs[0]);
    ck_assert_int_eq(legs[0].state, LEG_QUEUED);
    ck_assert(!is_called(&legs[0]));
}
END_TEST

START_TEST(others_are_passed_to_wherever_they_stand)
{
    join(&legs[0], &older);
    join(&legs[1], &newer);
    join(&legs[2], &older); /* an exchange that began before the reload, and was slow */
    queue_pass(&legs[0]);
    ck_assert(is_called(&legs[1]));
    queue_pass(&legs[1]); /* the first of the older ones has just tried */
    ck_assert(!is_called(&legs[0]));
    ck_assert(!is_called(&legs[2]));
}
END_TEST

START_TEST(of_the_same_settings_nobody_is_passed_to)
{
    for (unsigned i = 0; i < 3; i++)
        join(&legs[i], &older);
    queue_pass(&legs[0]);
    for (unsigned i = 0; i < 3; i++)
        ck_assert(!is_called(&legs[i]));
}
END_TEST

Suite *queue_suite(void);

Suite *queue_suite(void)
{
    Suite *s = suite_create("queue");
    TCase *t = tcase_create("queue");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, who_gives_a_place_back_unused_calls_who_may_have_missed_it);
    tcase_add_test(t, who_gives_room_back_unused_calls_who_may_have_missed_it);
    tcase_add_test(t, who_finds_nothing_free_takes_nothing_and_calls_nobody);
    tcase_add_test(t, who_waits_and_was_called_for_nothing_does_not_call_itself);
    tcase_add_test(t, others_are_passed_to_wherever_they_stand);
    tcase_add_test(t, of_the_same_settings_nobody_is_passed_to);
    suite_add_tcase(s, t);
    return s;
}
