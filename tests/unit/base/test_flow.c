#include "base/fail.h"
#include "base/flow.h"
#include "base/random.h"

#include <check.h>

static struct buf_pool pool;

static void setup(void)
{
    buf_pool_init(&pool, 4096, 8, NULL);
}

static void teardown(void)
{
    buf_pool_free(&pool); /* asserts that nothing is still out */
}

START_TEST(a_flow_never_takes_more_than_its_limit)
{
    struct flow f;
    char bytes[3000] = {0};

    flow_init(&f, &pool, 5000);
    ck_assert_uint_eq(flow_write(&f, (struct span){bytes, sizeof bytes}), 3000);
    ck_assert_uint_eq(flow_write(&f, (struct span){bytes, sizeof bytes}), 2000);
    ck_assert_uint_eq(flow_room(&f), 0);
    flow_clear(&f);
}
END_TEST

START_TEST(single_bytes_share_a_buffer)
{
    struct flow f;

    flow_init(&f, &pool, 1000);
    for (int i = 0; i < 1000; i++)
        ck_assert_uint_eq(flow_write(&f, SPAN("x")), 1);
    ck_assert_uint_eq(pool.out, 1);
    flow_clear(&f);
}
END_TEST

/* Random sizes through two flows of different limits come out in order. */
START_TEST(bytes_arrive_in_order_through_two_flows)
{
    struct random r = {(uint64_t)_i};
    struct flow a, b;
    uint8_t sent = 0, seen = 0;
    uint32_t total = 0, got = 0;
    bool moved = false;

    flow_init(&a, &pool, 1 + (uint32_t)random_below(&r, 20000));
    flow_init(&b, &pool, 1 + (uint32_t)random_below(&r, 20000));
    while (!moved || !flow_done(&b)) {
        if (total < 100000) {
            char piece[5000];
            size_t n = 1 + random_below(&r, sizeof piece);
            uint8_t next = sent;
            for (size_t i = 0; i < n; i++)
                piece[i] = (char)next++;
            uint32_t took = flow_write(&a, (struct span){piece, n});
            sent = (uint8_t)(sent + took);
            total += took;
        } else {
            flow_end(&a);
        }
        flow_check(&a);
        moved = flow_move(&b, &a);
        flow_check(&b);
        uint32_t n = b.bytes ? 1 + (uint32_t)random_below(&r, b.bytes) : 0;
        while (n > 0) {
            struct slice s = flow_pop(&b, n);
            for (uint32_t i = 0; i < s.len; i++)
                ck_assert_uint_eq((uint8_t)s.ptr[i], seen++);
            n -= s.len;
            got += s.len;
            buf_unref(s.buf);
        }
    }
    ck_assert_uint_eq(got, total);
    ck_assert_uint_eq(b.total, total);
}
END_TEST

static int steps;
static void count_step(struct owner *o)
{
    (void)o;
    steps++;
}

START_TEST(a_starved_producer_is_woken_at_half)
{
    struct owner_queue q;
    struct owner producer;
    struct flow f;
    char bytes[1000] = {0};

    owner_queue_init(&q);
    owner_init(&producer, &q, count_step);
    flow_init(&f, &pool, 1000);
    f.producer = &producer;
    flow_write(&f, (struct span){bytes, sizeof bytes});
    ck_assert_uint_eq(flow_room(&f), 0);
    flow_take(&f, 499);
    steps = 0;
    owner_queue_run(&q);
    ck_assert_int_eq(steps, 0);
    flow_take(&f, 1);
    owner_queue_run(&q);
    ck_assert_int_eq(steps, 1);
    flow_clear(&f);
}
END_TEST

Suite *flow_suite(void)
{
    Suite *s = suite_create("flow");
    TCase *t = tcase_create("flow");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_flow_never_takes_more_than_its_limit);
    tcase_add_test(t, single_bytes_share_a_buffer);
    tcase_add_loop_test(t, bytes_arrive_in_order_through_two_flows, 0, 50);
    tcase_add_test(t, a_starved_producer_is_woken_at_half);
    suite_add_tcase(s, t);
    return s;
}
