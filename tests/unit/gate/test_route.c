/* Routes: the rules one by one. */
#include "tests/unit/gate/routes.h"

#include "base/mem.h"

#include <check.h>
#include <stdio.h>

static struct set set_of(const struct route_text *t, size_t n)
{
    struct set s = {0};

    for (size_t i = 0; i < n; i++)
        set_add(&s, &t[i]);
    return s;
}

static void expect(struct set *s, struct ask a, const char *name)
{
    struct route_match m = ask(s, a);
    struct span got = m.route ? m.route->name : SPAN("none");

    ck_assert_msg(span_equal(got, span_of(name ? name : "none")), "%s%s went to %.*s",
                  a.host ? a.host : "", a.path, SPAN_ARG(got));
}

#define ROUTES(...)                                                                                \
    const struct route_text texts[] = {__VA_ARGS__};                                               \
    struct set s = set_of(texts, COUNT_OF(texts));                                                 \
    set_compile(&s);                                                                               \
    ck_assert_ptr_nonnull(s.router)
#define ASK(...)                                                                                   \
    (struct ask)                                                                                   \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

START_TEST(exact_host_beats_longest_wildcard_beats_any)
{
    ROUTES({.name = "any"}, {.name = "short", .hosts = "*.x"}, {.name = "long", .hosts = "*.b.x"},
           {.name = "exact", .hosts = "a.b.x"});

    ck_assert_uint_eq(s.d.errors, 0);
    expect(&s, ASK(.host = "a.b.x", .path = "/"), "exact");
    expect(&s, ASK(.host = "c.a.b.x", .path = "/"), "long");
    expect(&s, ASK(.host = "b.x", .path = "/"), "short"); /* *.b.x is not b.x */
    expect(&s, ASK(.host = "x", .path = "/"), "any");
    expect(&s, ASK(.path = "/"), "any");
    expect(&s, ASK(.host = ".x", .path = "/"), "any");
    expect(&s, ASK(.host = "ax", .path = "/"), "any");
    arena_free(&s.arena);
}
END_TEST

START_TEST(paths_match_as_the_manual_says)
{
    ROUTES({.name = "exact", .paths = "/hello"}, {.name = "prefix", .paths = "/api/*"},
           {.name = "orders", .paths = "/users/{id}/orders"},
           {.name = "files", .paths = "/files/{rest*}"}, {.name = "root", .paths = "/"});

    ck_assert_uint_eq(s.d.errors, 0);
    expect(&s, ASK(.path = "/hello"), "exact");
    expect(&s, ASK(.path = "/hello/"), NULL);
    expect(&s, ASK(.path = "/hell"), NULL);
    expect(&s, ASK(.path = "/hello1"), NULL);
    expect(&s, ASK(.path = "/api"), "prefix");
    expect(&s, ASK(.path = "/api/"), "prefix");
    expect(&s, ASK(.path = "/api/a/b"), "prefix");
    expect(&s, ASK(.path = "/apis"), NULL);
    expect(&s, ASK(.path = "/"), "root");
    expect(&s, ASK(.path = "/users/7/orders"), "orders");
    expect(&s, ASK(.path = "/users//orders"), NULL);
    expect(&s, ASK(.path = "/users/7/orders/"), NULL);
    expect(&s, ASK(.path = "/users/7/8/orders"), NULL);
    expect(&s, ASK(.path = "/files"), "files");
    expect(&s, ASK(.path = "/files/a/b"), "files");
    expect(&s, ASK(.path = "/filesystem-of-more-than-eight"), NULL);
    arena_free(&s.arena);
}
END_TEST

START_TEST(captures_have_the_names_of_the_route_that_won)
{
    ROUTES({.name = "get", .paths = "/u/{id}/{what}", .methods = "GET"},
           {.name = "post", .paths = "/u/{user}/{thing}", .methods = "POST"},
           {.name = "rest", .paths = "/f/{a}/{rest*}"});

    struct route_match m = ask(&s, ASK(.method = "POST", .path = "/u/seven/of-more-than-8"));
    ck_assert_uint_eq(m.captures, 2);
    ck_assert(span_equal(m.capture[0].name, SPAN("user")));
    ck_assert(span_equal(m.capture[0].value, SPAN("seven")));
    ck_assert(span_equal(m.capture[1].value, SPAN("of-more-than-8")));
    m = ask(&s, ASK(.path = "/f/x/y/z/"));
    ck_assert_uint_eq(m.captures, 2);
    ck_assert(span_equal(m.capture[1].name, SPAN("rest")));
    ck_assert(span_equal(m.capture[1].value, SPAN("y/z/")));
    m = ask(&s, ASK(.path = "/f/x"));
    ck_assert_uint_eq(m.captures, 2);
    ck_assert_uint_eq(m.capture[1].value.len, 0);
    arena_free(&s.arena);
}
END_TEST

START_TEST(a_literal_path_whose_condition_fails_gives_way)
{
    ROUTES({.name = "literal", .paths = "/a/b", .match = "x=1"},
           {.name = "named", .paths = "/a/{n}", .listeners = "1"},
           {.name = "deep", .paths = "/{n}/b"}, {.name = "all", .hosts = "h", .methods = "PUT"});

    expect(&s, ASK(.path = "/a/b", .field = "X", .value = "1"), "literal");
    expect(&s, ASK(.path = "/a/b", .listener = 1), "named");
    expect(&s, ASK(.path = "/a/b"), "deep");
    expect(&s, ASK(.host = "h", .path = "/a/b"), "deep");
    expect(&s, ASK(.method = "PUT", .host = "h", .path = "/a/b"), "all");
    struct route_match m = ask(&s, ASK(.path = "/a/b"));
    ck_assert_uint_eq(m.captures, 1); /* what /a/{n} captured is forgotten */
    ck_assert(span_equal(m.capture[0].value, SPAN("a")));
    arena_free(&s.arena);
}
END_TEST

START_TEST(more_conditions_win)
{
    ROUTES({.name = "plain"}, {.name = "one", .match = "x"}, {.name = "two", .match = "x ?q=a+b"},
           {.name = "get", .methods = "GET", .listeners = "0", .match = "x ?q=a+b"});

    ck_assert_uint_eq(s.d.errors, 0);
    expect(&s, ASK(.path = "/"), "plain");
    expect(&s, ASK(.path = "/", .field = "x", .value = ""), "one");
    arena_free(&s.arena);
}
END_TEST

START_TEST(query_values_are_compared_decoded)
{
    ROUTES({.name = "equal", .match = "?q=a/b"}, {.name = "prefix", .match = "?q^=a/bc ?q^=a"},
           {.name = "else", .match = "?q!=a/b", .paths = "/not"});

    expect(&s, ASK(.path = "/", .query = "q=a%2fb"), "equal");
    expect(&s, ASK(.path = "/", .query = "p=1&q=a/b"), "equal");
    expect(&s, ASK(.path = "/", .query = "q=a%2Fb%63d"), "prefix");
    expect(&s, ASK(.path = "/", .query = "q=a%2"), NULL);
    expect(&s, ASK(.path = "/not", .query = "q=a%2Fb"), "equal");
    expect(&s, ASK(.path = "/not"), "else");
    arena_free(&s.arena);
}
END_TEST

START_TEST(another_method_is_405_and_names_those_that_would_do)
{
    ROUTES({.name = "get", .paths = "/a", .methods = "GET"},
           {.name = "put", .paths = "/{n}", .methods = "PUT PURGE"},
           {.name = "far", .paths = "/a", .methods = "DELETE", .listeners = "1"});

    struct route_match m = ask(&s, ASK(.method = "POST", .path = "/a"));
    ck_assert_ptr_null(m.route);
    ck_assert_uint_eq(m.methods_other,
                      1u << METHOD_GET | 1u << METHOD_HEAD | 1u << METHOD_PUT | 1u << METHOD_OTHER);
    m = ask(&s, ASK(.method = "BREW", .path = "/b"));
    ck_assert_uint_eq(m.methods_other, 1u << METHOD_PUT | 1u << METHOD_OTHER);
    m = ask(&s, ASK(.method = "POST", .path = "/b/c"));
    ck_assert_uint_eq(m.methods_other, 0);
    expect(&s, ASK(.method = "PURGE", .path = "/a"), "put");
    expect(&s, ASK(.method = "HEAD", .path = "/a"), "get");

    struct route_methods all;
    router_methods(s.router, &(struct route_query){.path = SPAN("/a")}, &all);
    ck_assert_uint_eq(all.bits,
                      1u << METHOD_GET | 1u << METHOD_HEAD | 1u << METHOD_PUT | 1u << METHOD_OTHER);
    ck_assert_uint_eq(all.count, 1);
    ck_assert(span_equal(all.names[0], SPAN("PURGE")));
    arena_free(&s.arena);
}
END_TEST

START_TEST(escapes_of_a_route_are_brought_to_the_normal_form)
{
    ROUTES({.name = "tilde", .paths = "/%7euser"}, {.name = "star", .paths = "/%2a"},
           {.name = "slash", .paths = "/a%2fb"}, {.name = "utf8", .paths = "/caf\xc3\xa9"});

    expect(&s, ASK(.path = "/~user"), "tilde");
    expect(&s, ASK(.path = "/*"), "star");
    expect(&s, ASK(.path = "/%2A"), "star");
    expect(&s, ASK(.path = "/b"), NULL);
    expect(&s, ASK(.path = "/a%2Fb"), "slash");
    expect(&s, ASK(.path = "/caf%C3%A9"), "utf8");
    arena_free(&s.arena);
}
END_TEST

static unsigned errors_of(const struct route_text *t, size_t n)
{
    struct set s = set_of(t, n);

    set_compile(&s);
    unsigned errors = s.d.errors;
    arena_free(&s.arena);
    return errors;
}

START_TEST(equal_routes_are_an_error_unless_they_never_meet)
{
    static const struct {
        unsigned errors;
        struct route_text pair[2];
    } cases[] = {
        {1, {{.name = "a", .paths = "/x"}, {.name = "b", .paths = "/x"}}},
        {1, {{.name = "a", .paths = "/{n}"}, {.name = "b", .paths = "/{m}"}}},
        {1, {{.name = "a", .hosts = "h i"}, {.name = "b", .hosts = "i h"}}},
        {1, {{.name = "a", .methods = "GET"}, {.name = "b", .methods = "HEAD"}}},
        {1, {{.name = "a", .methods = "GET"}, {.name = "b", .match = "x=1"}}},
        {1, {{.name = "a", .methods = "PURGE"}, {.name = "b", .methods = "PURGE GET"}}},
        {1, {{.name = "a", .listeners = "0"}, {.name = "b", .listeners = "0 1"}}},
        {1, {{.name = "a", .match = "x=1"}, {.name = "b", .match = "y=2"}}},
        {1, {{.name = "a", .match = "x!=1"}, {.name = "b", .match = "x!=2"}}},
        {1, {{.name = "a", .match = "x^=1"}, {.name = "b", .match = "x^=12"}}},
        {1, {{.name = "a", .match = "x=1"}, {.name = "b", .match = "?x=2"}}},
        {0, {{.name = "a", .paths = "/x"}, {.name = "b", .paths = "/{n}"}}},
        {0, {{.name = "a", .methods = "GET"}, {.name = "b", .methods = "POST"}}},
        {0, {{.name = "a", .methods = "PURGE"}, {.name = "b", .methods = "BREW"}}},
        {0, {{.name = "a", .listeners = "0"}, {.name = "b", .listeners = "1"}}},
        {0, {{.name = "a", .match = "x=1"}, {.name = "b", .match = "X=2"}}},
        {0, {{.name = "a", .match = "x=1"}, {.name = "b", .match = "x!=1"}}},
        {0, {{.name = "a", .match = "x"}, {.name = "b", .match = "!x"}}},
        {0, {{.name = "a", .match = "x^=ab"}, {.name = "b", .match = "x=a"}}},
        {0, {{.name = "a", .match = "x^=ab"}, {.name = "b", .match = "x^=ac"}}},
        {0, {{.name = "a", .match = "x=1"}, {.name = "b"}}},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++)
        ck_assert_msg(errors_of(cases[i].pair, 2) == cases[i].errors, "case %zu", i);
}
END_TEST

START_TEST(paths_that_cannot_be_compiled_are_errors)
{
    static const struct route_text names = {.name = "a", .paths = "/{a}/{b}/{a}"};
    static const struct route_text many = {.name = "b",
                                           .paths = "/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i*}"};
    char deep[300] = "";

    for (size_t i = 0; i < 258; i++)
        deep[i] = "/x"[i & 1];
    ck_assert_uint_eq(errors_of(&names, 1), 1);
    ck_assert_uint_eq(errors_of(&many, 1), 1);
    ck_assert_uint_eq(errors_of(&(struct route_text){.name = "c", .paths = deep}, 1), 1);
    deep[256] = 0;
    ck_assert_uint_eq(errors_of(&(struct route_text){.name = "c", .paths = deep}, 1), 0);
}
END_TEST

START_TEST(shadowed_routes_are_warnings_that_name_the_other)
{
    ROUTES({.name = "first", .match = "x^=a x^=ab"}, {.name = "hidden", .match = "x=abc"},
           {.name = "odd", .paths = "/odd", .match = "x=1 x=2"},
           {.name = "half", .paths = "/* /half", .match = "x=abcd"},
           {.name = "narrow", .listeners = "0 1", .methods = "GET", .paths = "/n"},
           {.name = "wide", .methods = "GET", .paths = "/n"},
           {.name = "both", .listeners = "0 1", .match = "x=1 y", .paths = "/m"},
           {.name = "less", .match = "x=1 y=1", .paths = "/m"});

    ck_assert_uint_eq(s.d.errors, 0);
    ck_assert_uint_eq(s.d.warnings, 4);
    const char *expected[] = {"\"hidden\" never answers: all its requests go to route \"first\"",
                              "\"odd\" never answers: its conditions contradict",
                              "\"wide\" never answers: all its requests go to route \"narrow\"",
                              "\"less\" never answers: all its requests go to route \"both\""};
    unsigned at = 0;
    for (struct diagnostic *d = s.d.first; d; d = d->next, at++) {
        char text[256];
        snprintf(text, sizeof text, "%.*s", SPAN_ARG(d->text));
        ck_assert_msg(strstr(text, expected[at]), "%s", text);
    }
    arena_free(&s.arena);
}
END_TEST

START_TEST(no_memory_is_no_router_and_no_leak)
{
    const struct route_text texts[] = {{.name = "a", .hosts = "x *.x", .paths = "/a/{b}/c /d"},
                                       {.name = "b", .paths = "/a/b /c /d /e /f /g /{h*}"}};

    for (uint64_t n = 1;; n++) {
        struct set s = set_of(texts, 2);
        s.arena.end = s.arena.at; /* so that each block counts */
        mem_fail_at(n, 0);
        set_compile(&s);
        mem_fail_at(0, 0);
        bool done = s.router != NULL;
        arena_free(&s.arena);
        if (done) {
            ck_assert_uint_gt(n, 3);
            break;
        }
    }
}
END_TEST

Suite *route_suite(void)
{
    Suite *suite = suite_create("route");
    TCase *t = tcase_create("route");

    tcase_add_test(t, exact_host_beats_longest_wildcard_beats_any);
    tcase_add_test(t, paths_match_as_the_manual_says);
    tcase_add_test(t, captures_have_the_names_of_the_route_that_won);
    tcase_add_test(t, a_literal_path_whose_condition_fails_gives_way);
    tcase_add_test(t, more_conditions_win);
    tcase_add_test(t, query_values_are_compared_decoded);
    tcase_add_test(t, another_method_is_405_and_names_those_that_would_do);
    tcase_add_test(t, escapes_of_a_route_are_brought_to_the_normal_form);
    tcase_add_test(t, equal_routes_are_an_error_unless_they_never_meet);
    tcase_add_test(t, paths_that_cannot_be_compiled_are_errors);
    tcase_add_test(t, shadowed_routes_are_warnings_that_name_the_other);
    tcase_add_test(t, no_memory_is_no_router_and_no_leak);
    suite_add_tcase(suite, t);
    return suite;
}
