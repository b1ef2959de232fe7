#include "base/mem.h"
#include "base/slab.h"

#include <check.h>
#include <string.h>

enum { MANY = 5000, SIZE = 88, KEPT = 100 };

static void *items[MANY];

static void take(struct slab *s, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        ck_assert_ptr_nonnull(items[i] = slab_get(s, NULL));
        memset(items[i], (int)(i % 251), SIZE);
    }
}

static void give_back(struct slab *s, unsigned from, unsigned to, unsigned step)
{
    unsigned spoilt = 0;

    for (unsigned i = from; i < to; i += step) {
        for (unsigned j = 0; j < SIZE; j++)
            spoilt += ((unsigned char *)items[i])[j] != i % 251;
        slab_put(s, items[i], NULL);
    }
    ck_assert_uint_eq(spoilt, 0);
}

START_TEST(small_objects_do_not_touch_each_other)
{
    struct slab s;

    slab_init(&s, SIZE, KEPT);
    take(&s, 0, MANY);
    give_back(&s, 0, MANY, 2);
    for (unsigned i = 0; i < MANY; i += 2)
        take(&s, i, i + 1);
    give_back(&s, 0, MANY, 1);
    slab_free(&s);
}
END_TEST

START_TEST(a_crowd_that_has_left_leaves_no_memory_behind)
{
    struct slab s;
    int64_t before = mem_live();

    slab_init(&s, SIZE, KEPT);
    take(&s, 0, MANY);
    ck_assert_int_le(mem_live() - before, MANY * SIZE / MEM_BLOCK + 1);
    give_back(&s, 0, MANY - 1, 1);
    ck_assert_int_le(mem_live() - before, 2); /* the one in use, and one to begin with */
    give_back(&s, MANY - 1, MANY, 1);
    slab_free(&s);
    ck_assert_int_eq(mem_live(), before);
}
END_TEST

START_TEST(some_are_kept_so_that_coming_and_going_allocates_nothing)
{
    struct slab s;

    slab_init(&s, SIZE, KEPT);
    take(&s, 0, KEPT);
    give_back(&s, 0, KEPT, 1);
    uint64_t count = mem_count();
    for (unsigned i = 0; i < 50; i++) {
        take(&s, 0, KEPT);
        give_back(&s, 0, KEPT, 1);
    }
    ck_assert_uint_eq(mem_count(), count);
    slab_free(&s);
}
END_TEST

static unsigned visits[MANY], strangers;

static void count_visit(void *item, void *data)
{
    ck_assert_ptr_eq(data, &strangers);
    for (unsigned i = 0; i < MANY / 5; i++)
        if (items[i] == item) {
            visits[i]++;
            return;
        }
    strangers++;
}

START_TEST(each_object_that_is_out_is_visited_once)
{
    struct slab s;
    unsigned wrong = 0;

    slab_init(&s, SIZE, KEPT);
    slab_each(&s, count_visit, &strangers);
    take(&s, 0, MANY / 5); /* a full block, and part of another */
    give_back(&s, 0, MANY / 5, 3);
    slab_each(&s, count_visit, &strangers);
    for (unsigned i = 0; i < MANY / 5; i++)
        wrong += visits[i] != (i % 3 != 0);
    ck_assert_uint_eq(wrong + strangers, 0);
    for (unsigned i = 0; i < MANY / 5; i++)
        if (i % 3 != 0)
            slab_put(&s, items[i], NULL);
    slab_free(&s);
}
END_TEST

START_TEST(a_slab_without_memory_says_so)
{
    struct slab s;

    slab_init(&s, SIZE, KEPT);
    mem_fail_at(1, 0);
    ck_assert_ptr_null(slab_get(&s, NULL));
    mem_fail_at(0, 0);
    take(&s, 0, 1);
    give_back(&s, 0, 1, 1);
    slab_free(&s);
}
END_TEST

Suite *slab_suite(void)
{
    Suite *s = suite_create("slab");
    TCase *t = tcase_create("slab");

    tcase_add_test(t, small_objects_do_not_touch_each_other);
    tcase_add_test(t, a_crowd_that_has_left_leaves_no_memory_behind);
    tcase_add_test(t, some_are_kept_so_that_coming_and_going_allocates_nothing);
    tcase_add_test(t, each_object_that_is_out_is_visited_once);
    tcase_add_test(t, a_slab_without_memory_says_so);
    suite_add_tcase(s, t);
    return s;
}
