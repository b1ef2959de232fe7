#include "base/fail.h"
#include "base/mem.h"
#include "base/random.h"
#include "modules/1mrc/users.h"

#include <check.h>
#include <stdio.h>

static struct user_hash random_hash(struct random *r)
{
    uint64_t a = random_next(r);
    return (struct user_hash){a, random_next(r)};
}

/* The i-th of a reproducible row of users. */
static struct user_hash user_at(uint64_t i)
{
    struct random r = {i * 7919};
    return random_hash(&r);
}

START_TEST(hashes_are_those_of_the_reference)
{
    static const struct {
        size_t len;
        const char *hex;
    } known[] = {
        {0, "a3817f04ba25a8e66df67214c7550293"},  {1, "da87c1d86b99af44347659119b22fc45"},
        {2, "8177228da4a45dc7fca38bdef60affe4"},  {7, "a1f1ebbed8dbc153c0b84aa61ff08239"},
        {8, "3b62a9ba6258f5610f83e264f31497b4"},  {15, "5493e99933b0a8117e08ec0f97cfc3d9"},
        {63, "5150d1772f50834a503e069a973fbd7c"},
    };
    struct hash_key key = {{UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)}};
    char id[64], hex[33];

    for (size_t i = 0; i < sizeof id; i++)
        id[i] = (char)i;
    for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
        struct user_hash h = user_hash(&key, (struct span){id, known[k].len});
        for (size_t i = 0; i < 16; i++)
            snprintf(hex + 2 * i, 3, "%02x",
                     (unsigned)((i < 8 ? h.a : h.b) >> (8 * (i % 8))) & 0xff);
        ck_assert_str_eq(hex, known[k].hex);
    }
}
END_TEST

START_TEST(a_user_is_new_once)
{
    struct users u = {0};
    enum { COUNT = 100000 };
    bool added;

    for (uint64_t i = 0; i < COUNT; i++) {
        ck_assert(!users_has(&u, user_at(i)));
        ck_assert_int_eq(users_add(&u, user_at(i), &added), 0);
        ck_assert(added);
        /* One from anywhere before, at every stage of growing. */
        ck_assert_int_eq(users_add(&u, user_at(i * 31 % (i + 1)), &added), 0);
        ck_assert(!added);
    }
    ck_assert_uint_eq(u.count, COUNT);
    for (uint64_t i = 0; i < COUNT; i++)
        ck_assert(users_has(&u, user_at(i)));
    ck_assert(!users_has(&u, user_at(COUNT)));
    users_clear(&u);
    ck_assert_uint_eq(u.count, 0);
    ck_assert(!users_has(&u, user_at(1)));
}
END_TEST

START_TEST(users_that_differ_in_one_bit_are_two)
{
    struct users u = {0};
    bool added;

    for (int bit = 0; bit < 128; bit++) {
        struct user_hash h = {0};
        *(bit < 64 ? &h.a : &h.b) = UINT64_C(1) << (bit % 64);
        ck_assert_int_eq(users_add(&u, h, &added), 0);
        ck_assert(added);
    }
    ck_assert_int_eq(users_add(&u, (struct user_hash){0}, &added), 0);
    ck_assert(added);
    ck_assert_uint_eq(u.count, 129);
    users_clear(&u);
}
END_TEST

START_TEST(a_set_without_memory_says_so_and_keeps_what_it_has)
{
    uint64_t failed = 0;

    for (uint64_t n = 1; n < 30; n++) {
        struct users u = {0};
        uint32_t have = 0;
        mem_fail_at(n, n % 5);
        for (uint64_t i = 0; i < 5000; i++) {
            bool added;
            int err = users_add(&u, user_at(i), &added);
            ck_assert(err == 0 || err == FAIL_MEMORY);
            ck_assert(added == (err == 0));
            ck_assert(users_has(&u, user_at(i)) == added);
            have += added;
            failed += !added;
        }
        mem_fail_at(0, 0);
        ck_assert_uint_eq(u.count, have);
        users_clear(&u);
    }
    ck_assert_uint_gt(failed, 0);
}
END_TEST

/* A table that cannot grow fills up, but is never full: searches end. */
START_TEST(a_table_that_cannot_grow_still_ends_its_searches)
{
    struct users u = {0};
    bool added;
    int err = 0;
    uint64_t i = 0;

    ck_assert_int_eq(users_add(&u, user_at(i++), &added), 0);
    mem_fail_at(1, 1);
    while (err == 0)
        err = users_add(&u, user_at(i++), &added);
    ck_assert_int_eq(err, FAIL_MEMORY);
    ck_assert_uint_gt(u.count, 400);
    ck_assert(!users_has(&u, user_at(i)));
    mem_fail_at(0, 0);
    ck_assert_int_eq(users_add(&u, user_at(i), &added), 0);
    ck_assert(added);
    users_clear(&u);
}
END_TEST

START_TEST(a_share_stays_as_it_was)
{
    struct users u = {0};
    struct users_share early, late, none;
    bool added;

    ck_assert_int_eq(users_share(&u, &none), 0);
    ck_assert_uint_eq(none.count, 0);
    for (uint64_t i = 0; i < 5000; i++)
        ck_assert_int_eq(users_add(&u, user_at(i), &added), 0);
    ck_assert_int_eq(users_share(&u, &early), 0);
    for (uint64_t i = 5000; i < 200000; i++)
        ck_assert_int_eq(users_add(&u, user_at(i), &added), 0);
    ck_assert_int_eq(users_share(&u, &late), 0);
    users_clear(&u);
    ck_assert_int_eq(users_add(&u, user_at(1), &added), 0);

    ck_assert_uint_eq(early.count, 5000);
    ck_assert_uint_eq(late.count, 200000);
    for (uint64_t i = 0; i < late.count; i++) {
        ck_assert_uint_eq(users_share_at(&late, i).a, user_at(i).a);
        if (i < early.count)
            ck_assert_uint_eq(users_share_at(&early, i).b, user_at(i).b);
    }
    users_share_drop(&none);
    users_share_drop(&early);
    users_share_drop(&late);
    users_clear(&u);
}
END_TEST

Suite *users_suite(void);
Suite *users_suite(void)
{
    Suite *s = suite_create("users");
    TCase *t = tcase_create("users");

    tcase_set_timeout(t, 60);
    tcase_add_test(t, hashes_are_those_of_the_reference);
    tcase_add_test(t, a_user_is_new_once);
    tcase_add_test(t, users_that_differ_in_one_bit_are_two);
    tcase_add_test(t, a_set_without_memory_says_so_and_keeps_what_it_has);
    tcase_add_test(t, a_table_that_cannot_grow_still_ends_its_searches);
    tcase_add_test(t, a_share_stays_as_it_was);
    suite_add_tcase(s, t);
    return s;
}
