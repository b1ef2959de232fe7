#include "base/fail.h"
#include "base/mem.h"
#include "base/random.h"
#include "modules/1mrc/state.h"
#include "modules/1mrc/state_file.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct bytes {
    char *at;
    size_t len, room;
    size_t fail_at; /* so many bytes fit on this disk; 0: all */
};

static int put(void *data, const void *bytes, size_t len)
{
    struct bytes *b = data;

    if (b->fail_at && b->len + len > b->fail_at)
        return FAIL_NO_SPACE;
    if (b->len + len > b->room) {
        b->room = 2 * (b->len + len);
        b->at = realloc(b->at, b->room);
        ck_assert(b->at != NULL);
    }
    memcpy(b->at + b->len, bytes, len);
    b->len += len;
    return 0;
}

static struct user_hash user_at(uint64_t i)
{
    struct random r = {i};
    uint64_t a = random_next(&r);
    return (struct user_hash){a, random_next(&r)};
}

static struct users sets[3];
static struct users_share shares[3];

/* A count with users in three parts, one of them empty. */
static struct state some_state(uint64_t users)
{
    struct state s = {.key = {{1, UINT64_C(0xfedcba9876543210)}},
                      .total = users * 3,
                      .shares = shares,
                      .share_count = 3};
    bool added;

    exact_add(&s.sum, 0.1);
    exact_add(&s.sum, -1e300);
    for (uint64_t i = 0; i < users; i++)
        ck_assert_int_eq(users_add(&sets[i % 2 * 2], user_at(i), &added), 0);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(users_share(&sets[i], &shares[i]), 0);
    return s;
}

static void drop_state(void)
{
    for (int i = 0; i < 3; i++) {
        users_share_drop(&shares[i]);
        users_clear(&sets[i]);
    }
}

static struct bytes written(const struct state *s)
{
    struct bytes b = {0};

    ck_assert_int_eq(state_write(s, put, &b), 0);
    return b;
}

static const char *read_back(struct bytes b, struct state *out)
{
    static struct estimate estimate;

    return state_read((struct span){b.at, b.len}, out, &estimate);
}

static void same_sum(const struct exact *a, const struct exact *b)
{
    uint32_t x[EXACT_DIGITS], y[EXACT_DIGITS];

    exact_digits(a, x);
    exact_digits(b, y);
    ck_assert_mem_eq(x, y, sizeof x);
}

START_TEST(a_state_comes_back_as_it_was)
{
    static const uint64_t sizes[] = {0, 1, 2, 1000, 1024, 5000};
    struct state s = some_state(sizes[_i]), back;
    struct bytes b = written(&s);
    uint64_t i = 0;

    ck_assert_ptr_null(read_back(b, &back));
    ck_assert_mem_eq(&back.key, &s.key, sizeof s.key);
    ck_assert_uint_eq(back.total, s.total);
    ck_assert(!back.estimated);
    same_sum(&back.sum, &s.sum);
    ck_assert_uint_eq(back.user_count, sizes[_i]);
    for (int part = 0; part < 3; part++)
        for (uint64_t k = 0; k < shares[part].count; k++, i++) {
            ck_assert_uint_eq(state_user(&back, i).a, users_share_at(&shares[part], k).a);
            ck_assert_uint_eq(state_user(&back, i).b, users_share_at(&shares[part], k).b);
        }
    free(b.at);
    drop_state();
}
END_TEST

START_TEST(an_estimate_comes_back_as_it_was)
{
    static struct estimate estimate;
    struct state s = some_state(100), back;

    for (uint64_t i = 0; i < 100000; i++)
        estimate_add(&estimate, user_at(i));
    s.estimated = true;
    s.users_least = 1000001;
    s.estimate = &estimate;
    struct bytes b = written(&s);
    ck_assert_ptr_null(read_back(b, &back));
    ck_assert(back.estimated);
    ck_assert_uint_eq(back.users_least, 1000001);
    ck_assert_uint_eq(back.user_count, 0);
    ck_assert_mem_eq(back.estimate, &estimate, sizeof estimate);
    free(b.at);
    drop_state();
}
END_TEST

START_TEST(a_file_cut_anywhere_is_refused)
{
    struct state s = some_state(50), back;
    struct bytes b = written(&s);
    size_t whole = b.len;

    for (b.len = 0; b.len < whole; b.len++) {
        const char *why = read_back(b, &back);
        ck_assert(why != NULL);
        ck_assert_str_eq(why, b.len < 8 ? "is no state of 1mrc" : "is cut off");
    }
    free(b.at);
    drop_state();
}
END_TEST

START_TEST(a_changed_bit_anywhere_is_noticed)
{
    struct state s = some_state(20), back;
    struct bytes b = written(&s);

    for (size_t bit = 0; bit < b.len * 8; bit++) {
        b.at[bit / 8] = (char)(b.at[bit / 8] ^ 1 << bit % 8);
        ck_assert_ptr_nonnull(read_back(b, &back));
        b.at[bit / 8] = (char)(b.at[bit / 8] ^ 1 << bit % 8);
    }
    ck_assert_ptr_null(read_back(b, &back));
    put(&b, "x", 1);
    ck_assert_str_eq(read_back(b, &back), "is damaged");
    free(b.at);
    drop_state();
}
END_TEST

/* From the definition, bit by bit, and its published check value. */
static uint64_t crc64(const char *at, size_t len)
{
    uint64_t x = ~UINT64_C(0);

    for (size_t i = 0; i < len; i++) {
        x ^= (unsigned char)at[i];
        for (int bit = 0; bit < 8; bit++)
            x = x & 1 ? x >> 1 ^ UINT64_C(0xc96c5795d7870f42) : x >> 1;
    }
    return ~x;
}

START_TEST(the_checksum_is_crc_64)
{
    struct state s = some_state(77);
    struct bytes b = written(&s);
    uint64_t stored;

    ck_assert(crc64("123456789", 9) == UINT64_C(0x995dc9bbdf1939fa));
    memcpy(&stored, b.at + b.len - 8, 8);
    if (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)
        stored = __builtin_bswap64(stored);
    ck_assert(stored == crc64(b.at, b.len - 8));
    free(b.at);
    drop_state();
}
END_TEST

/* The layout is a promise to files that exist already. */
START_TEST(the_layout_does_not_change)
{
    struct state s = {.key = {{1, 2}}, .total = 3, .share_count = 0};
    struct bytes b = written(&s);
    static const char head[] = "hg1mrc\r\n\1\0\0\0\0\0\0\0"
                               "\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

    ck_assert_uint_eq(b.len, 48 + 4 * 68 + 8 + 8);
    ck_assert_mem_eq(b.at, head, sizeof head - 1);
    free(b.at);
}
END_TEST

START_TEST(a_full_disk_is_said_and_no_memory_too)
{
    struct state s = some_state(5000);

    for (size_t room = 1; room < 80000; room += 7919) {
        struct bytes b = {.fail_at = room};
        ck_assert_int_eq(state_write(&s, put, &b), FAIL_NO_SPACE);
        free(b.at);
    }
    mem_fail_at(1, 0);
    ck_assert_int_eq(state_write(&s, put, &(struct bytes){0}), FAIL_MEMORY);
    mem_fail_at(0, 0);
    drop_state();
}
END_TEST

START_TEST(a_file_is_replaced_whole_or_not_at_all)
{
    char dir[] = "state.XXXXXX", path[64], fresh[80];
    struct state s = some_state(3000), back;
    struct span content;
    static struct estimate estimate;

    ck_assert(mkdtemp(dir) != NULL);
    snprintf(path, sizeof path, "%s/mrc", dir);
    snprintf(fresh, sizeof fresh, "%s.new", path);
    ck_assert_int_eq(state_file_load(path, &content), FAIL_NOT_FOUND);
    ck_assert_int_eq(state_file_save(path, &s), 0);
    s.total = 7;
    ck_assert_int_eq(state_file_save(path, &s), 0);
    ck_assert_int_ne(access(fresh, F_OK), 0);
    mem_fail_at(2, 0); /* the writer's room */
    s.total = 8;
    ck_assert_int_eq(state_file_save(path, &s), FAIL_MEMORY);
    mem_fail_at(0, 0);
    ck_assert_int_ne(access(fresh, F_OK), 0);
    ck_assert_int_eq(state_file_load(path, &content), 0);
    ck_assert_ptr_null(state_read(content, &back, &estimate));
    ck_assert_uint_eq(back.total, 7);
    ck_assert_uint_eq(back.user_count, 3000);
    mem_free((void *)(uintptr_t)content.ptr);
    ck_assert_int_eq(state_file_load(dir, &content), FAIL_NOT_FILE);
    unlink(fresh);
    unlink(path);
    rmdir(dir);
    drop_state();
}
END_TEST

Suite *state_suite(void);
Suite *state_suite(void)
{
    Suite *s = suite_create("state");
    TCase *t = tcase_create("state");

    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, a_state_comes_back_as_it_was, 0, 6);
    tcase_add_test(t, an_estimate_comes_back_as_it_was);
    tcase_add_test(t, a_file_cut_anywhere_is_refused);
    tcase_add_test(t, a_changed_bit_anywhere_is_noticed);
    tcase_add_test(t, the_checksum_is_crc_64);
    tcase_add_test(t, the_layout_does_not_change);
    tcase_add_test(t, a_full_disk_is_said_and_no_memory_too);
    tcase_add_test(t, a_file_is_replaced_whole_or_not_at_all);
    suite_add_tcase(s, t);
    return s;
}
