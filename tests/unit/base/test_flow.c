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

/* --- deep ones ------------------------------------------------------------------------------- */

enum { DEEP = 100000 };

/* Pieces of every size, by reference and copied, come out of it in order, and what waits
 * behind the ring is packed. */
START_TEST(a_deep_flow_keeps_order_and_packs)
{
    struct random r = {(uint64_t)_i};
    struct flow_depth depth;
    struct flow f;
    uint8_t sent = 0, seen = 0;
    uint32_t most = 0, got = 0;
    bool in_order = true;

    flow_init(&f, &pool, 1000 + (uint32_t)random_below(&r, 9000));
    flow_deepen(&f, &depth, DEEP);
    for (unsigned round = 0; round < 3000; round++) {
        uint32_t n = 1 + (uint32_t)random_below(&r, random_below(&r, 3) ? 300 : 4096);
        if (n > flow_room(&f))
            n = flow_room(&f);
        if (n > 0) {
            struct slice s = {.buf = buf_get(&pool), .len = n};
            for (uint32_t i = 0; i < n; i++)
                s.buf->base[i] = (char)sent++;
            s.ptr = s.buf->base;
            ck_assert(flow_give(&f, s));
        }
        flow_check(&f);
        most = f.bytes > most ? f.bytes : most;
        uint32_t take = random_below(&r, 60) ? (uint32_t)random_below(&r, 200) : f.bytes;
        while (take > 0 && f.bytes > 0) {
            struct slice s = flow_pop(&f, take);
            for (uint32_t i = 0; i < s.len; i++)
                in_order = in_order && (uint8_t)s.ptr[i] == seen++;
            take -= s.len;
            got += s.len;
            buf_unref(s.buf);
        }
    }
    ck_assert(in_order);
    ck_assert_uint_gt(most, DEEP / 2);
    ck_assert_uint_eq(f.total - f.bytes, got);
    ck_assert_uint_le(pool.out, FLOW_SLICES + f.bytes / pool.size + 2);
    flow_clear(&f);
}
END_TEST

START_TEST(a_deep_flow_takes_all_it_may_and_no_more)
{
    struct flow_depth depth;
    struct flow f;
    uint32_t all = 0;

    flow_init(&f, &pool, 1000);
    flow_deepen(&f, &depth, DEEP);
    while (flow_write(&f, SPAN("0123456789")) == 10)
        all += 10;
    ck_assert_uint_eq(all, DEEP + 1000);
    ck_assert_uint_eq(flow_room(&f), 0);
    ck_assert_uint_eq(flow_allows(&f), DEEP);
    flow_take(&f, 500);
    ck_assert_uint_eq(flow_room(&f), 500);
    ck_assert_uint_eq(flow_allows(&f), DEEP + 500);
    flow_check(&f);
    flow_clear(&f);
    flow_check(&f);
}
END_TEST

START_TEST(without_plenty_a_deep_flow_is_as_others)
{
    struct buf_budget budget = {.max = 16 * 4096};
    struct buf_pool small;
    struct flow_depth depth;
    struct flow f;
    char bytes[4096] = {0};

    buf_pool_init(&small, 4096, 0, &budget);
    flow_init(&f, &small, 8192);
    flow_deepen(&f, &depth, DEEP);
    while (flow_room(&f) > 0)
        ck_assert_uint_gt(flow_write(&f, (struct span){bytes, sizeof bytes}), 0);
    ck_assert_uint_eq(small.out, 8); /* half of the budget */
    ck_assert_uint_eq(flow_allows(&f), 0);
    flow_take(&f, f.bytes - 8191);
    ck_assert_uint_gt(flow_room(&f), 1);
    flow_clear(&f);
    buf_pool_free(&small);
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
    tcase_add_loop_test(t, a_deep_flow_keeps_order_and_packs, 0, 20);
    tcase_add_test(t, a_deep_flow_takes_all_it_may_and_no_more);
    tcase_add_test(t, without_plenty_a_deep_flow_is_as_others);
    suite_add_tcase(s, t);
    return s;
}
