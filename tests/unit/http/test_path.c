#include "base/mem.h"
#include "http/target.h"
#include "tests/unit/http/corpus.h"

#include <check.h>
#include <stdlib.h>

static struct arena arena;

static void teardown(void)
{
    arena_free(&arena);
}

static bool has_flag(struct span flags, char c)
{
    return span_find(flags, c) < flags.len;
}

/* A normal form is its own normal form, or two servers in a row would differ. */
static void assert_stable(struct span normal, struct span line)
{
    struct path again;

    ck_assert_msg(path_normalise(&again, normal, &arena) == PATH_OK, "%.*s", SPAN_ARG(line));
    ck_assert_msg(again.normal.ptr == normal.ptr && again.normal.len == normal.len, "%.*s",
                  SPAN_ARG(line));
    ck_assert_msg(!again.had_dots, "%.*s", SPAN_ARG(line));
}

static void check_row(struct span line)
{
    struct span rest = line, sent = corpus_cut(&rest, '\t'), normal = corpus_cut(&rest, '\t');
    char *bytes = malloc(sent.len + 1); /* exact, for the sanitizers */
    struct path p;

    sent = (struct span){bytes, corpus_unescape(bytes, sent)};
    enum path_fault fault = path_normalise(&p, sent, &arena);
    if (span_equal(normal, SPAN("400"))) {
        ck_assert_msg(fault == PATH_BAD, "%.*s", SPAN_ARG(line));
    } else {
        ck_assert_msg(fault == PATH_OK, "%.*s", SPAN_ARG(line));
        ck_assert_msg(span_equal(p.normal, normal), "%.*s: got %.*s", SPAN_ARG(line),
                      SPAN_ARG(p.normal));
        ck_assert_msg(p.had_dots == has_flag(rest, 'd'), "%.*s", SPAN_ARG(line));
        ck_assert_msg(p.has_encoded_slash == has_flag(rest, 's'), "%.*s", SPAN_ARG(line));
        if (span_equal(sent, normal))
            ck_assert_msg(p.normal.ptr == sent.ptr, "%.*s is copied", SPAN_ARG(line));
        assert_stable(p.normal, line);
    }
    free(bytes);
}

START_TEST(every_path_of_the_corpus_has_its_one_normal_form)
{
    struct span file = corpus_read("paths.tsv"), rest = file, line;
    int rows = 0;

    while (corpus_line(&rest, &line)) {
        if (line.len > 0 && line.ptr[0] == '#')
            continue;
        check_row(line);
        rows++;
    }
    ck_assert_int_gt(rows, 100);
    corpus_free(file);
}
END_TEST

/* The fast scan must not know less than the slow way: long paths too. */
START_TEST(long_paths_are_normalised_as_short_ones)
{
    static char sent[6000];
    struct path p;

    for (size_t i = 0; i < sizeof sent; i += 3)
        memcpy(sent + i, "/a/", 3);
    ck_assert_int_eq(path_normalise(&p, (struct span){sent, sizeof sent}, &arena), PATH_OK);
    ck_assert_uint_eq(p.normal.len, 4001);
    for (size_t i = 0; i < sizeof sent; i += 3)
        memcpy(sent + i, "/|b", 3);
    ck_assert_int_eq(path_normalise(&p, (struct span){sent, sizeof sent}, &arena), PATH_OK);
    ck_assert_uint_eq(p.normal.len, 10000);
    ck_assert(span_starts(p.normal, SPAN("/%7Cb/%7Cb")));
}
END_TEST

START_TEST(a_normal_path_costs_no_memory)
{
    struct path p;

    ck_assert_int_eq(path_normalise(&p, SPAN("/a/b%20c/.well-known/d.html"), &arena), PATH_OK);
    ck_assert_uint_eq(arena.used, 0);
    ck_assert_int_eq(path_normalise(&p, SPAN("/a/%C3%A9"), NULL), PATH_OK);
    static char sent[6000];
    for (size_t i = 0; i < sizeof sent; i += 15)
        memcpy(sent + i, "/.a%2F..b%20%5C", 15);
    ck_assert_int_eq(path_normalise(&p, (struct span){sent, sizeof sent}, NULL), PATH_OK);
    ck_assert_ptr_eq(p.normal.ptr, sent);
    ck_assert(p.has_encoded_slash && !p.had_dots);
}
END_TEST

START_TEST(without_memory_the_path_is_refused_not_guessed)
{
    struct path p;

    mem_fail_at(1, 1);
    ck_assert_int_eq(path_normalise(&p, SPAN("/a/../b"), &arena), PATH_MEMORY);
    ck_assert_ptr_null(percent_decode(&arena, SPAN("%41"), false).ptr);
    mem_fail_at(0, 0);
}
END_TEST

START_TEST(escapes_are_decoded_once_and_bad_ones_refused)
{
    ck_assert(span_equal(percent_decode(&arena, SPAN("a%2Fb%00+%2525"), false),
                         (struct span){"a/b\0+%25", 8}));
    ck_assert(span_equal(percent_decode(&arena, SPAN("a+b%2B"), true), SPAN("a b+")));
    ck_assert(span_equal(percent_decode(&arena, SPAN(""), true), SPAN("")));
    ck_assert_ptr_nonnull(percent_decode(&arena, (struct span){0}, true).ptr);
    ck_assert_ptr_null(percent_decode(&arena, SPAN("%4"), false).ptr);
    ck_assert_ptr_null(percent_decode(&arena, SPAN("%"), false).ptr);
    ck_assert_ptr_null(percent_decode(&arena, SPAN("%G0"), false).ptr);
}
END_TEST

START_TEST(query_names_are_compared_decoded)
{
    struct span query = SPAN("a=1&b&%63+d=x%20y&=empty&a=2&&bad%zz=3&e==f"), value;

    ck_assert(query_find(query, SPAN("a"), &value) && span_equal(value, SPAN("1")));
    ck_assert(query_find(query, SPAN("b"), &value) && value.len == 0);
    ck_assert(query_find(query, SPAN("c d"), &value) && span_equal(value, SPAN("x%20y")));
    ck_assert(query_find(query, SPAN(""), &value) && span_equal(value, SPAN("empty")));
    ck_assert(query_find(query, SPAN("e"), &value) && span_equal(value, SPAN("=f")));
    ck_assert(!query_find(query, SPAN("bad%zz"), &value));
    ck_assert(!query_find(query, SPAN("A"), &value));
    ck_assert(!query_find(SPAN(""), SPAN("a"), &value));
    ck_assert(!query_find(SPAN("&&"), SPAN(""), &value));
    ck_assert(!query_find(SPAN("ab=1"), SPAN("a"), &value));
    ck_assert(!query_find(SPAN("a=1"), SPAN("ab"), &value));
}
END_TEST

Suite *path_suite(void)
{
    Suite *s = suite_create("path");
    TCase *t = tcase_create("path");

    tcase_add_checked_fixture(t, NULL, teardown);
    tcase_add_test(t, every_path_of_the_corpus_has_its_one_normal_form);
    tcase_add_test(t, long_paths_are_normalised_as_short_ones);
    tcase_add_test(t, a_normal_path_costs_no_memory);
    tcase_add_test(t, without_memory_the_path_is_refused_not_guessed);
    tcase_add_test(t, escapes_are_decoded_once_and_bad_ones_refused);
    tcase_add_test(t, query_names_are_compared_decoded);
    suite_add_tcase(s, t);
    return s;
}
