#include "http/target.h"

#include <check.h>

static bool takes(const char *text)
{
    struct target t;

    return target_parse(&t, span_of(text));
}

START_TEST(the_origin_form_is_split_at_the_first_question_mark)
{
    struct target t;

    ck_assert(target_parse(&t, SPAN("/a/b?c=d?e")));
    ck_assert_int_eq(t.form, TARGET_ORIGIN);
    ck_assert(span_equal(t.path, SPAN("/a/b")) && span_equal(t.query, SPAN("c=d?e")));
    ck_assert(t.has_query);
    ck_assert(target_parse(&t, SPAN("/?")) && t.has_query && t.query.len == 0);
    ck_assert(target_parse(&t, SPAN("/")) && !t.has_query);
    ck_assert(target_parse(&t, SPAN("//a/b")) && span_equal(t.path, SPAN("//a/b")));
}
END_TEST

START_TEST(the_absolute_form_names_its_authority)
{
    struct target t;

    ck_assert(target_parse(&t, SPAN("HTTP://A.example:80/x?y")));
    ck_assert_int_eq(t.form, TARGET_ABSOLUTE);
    ck_assert(span_equal(t.scheme, SPAN("HTTP")));
    ck_assert(span_equal(t.authority, SPAN("A.example:80")));
    ck_assert(span_equal(t.path, SPAN("/x")) && span_equal(t.query, SPAN("y")));
    ck_assert(target_parse(&t, SPAN("https://a")) && span_equal(t.path, SPAN("/")));
    ck_assert(target_parse(&t, SPAN("https://a?q")) && span_equal(t.path, SPAN("/")));
    ck_assert(span_equal(t.query, SPAN("q")));
    ck_assert(target_parse(&t, SPAN("http://[::1]:8080/")));
    ck_assert(span_equal(t.authority, SPAN("[::1]:8080")));
}
END_TEST

START_TEST(asterisk_and_authority_are_told_apart)
{
    struct target t;

    ck_assert(target_parse(&t, SPAN("*")) && t.form == TARGET_ASTERISK);
    ck_assert(target_parse(&t, SPAN("a.example:443")) && t.form == TARGET_AUTHORITY);
    ck_assert(span_equal(t.authority, SPAN("a.example:443")));
    ck_assert(takes("[::1]:443"));
    ck_assert(!takes("a.example"));
    ck_assert(!takes("a.example:"));
    ck_assert(!takes("[::1]"));
    ck_assert(!takes(":443"));
}
END_TEST

START_TEST(malformed_targets_are_refused)
{
    static const char *const bad[] = {
        "",
        "**",
        "a/b",
        "/a b",
        "/a\tb",
        "/a#b",
        "/a\x7f",
        "/a\x80",
        "/%",
        "/%4",
        "/%zz",
        "/?a#b",
        "/?a b",
        "/?\x01",
        "/?\xff",
        "ftp://a/",
        "http://",
        "http:///a",
        "http://a b",
        "http://u@a",
        "http://a:b/",
        "http://a:99999",
        "http://[::1",
        "http:/a",
        "://a",
        "http://a/#",
        "http://[v1.x]",
        "http://a%41/",
        "?a",
    };

    for (size_t i = 0; i < COUNT_OF(bad); i++)
        ck_assert_msg(!takes(bad[i]), "%s", bad[i]);
    ck_assert(takes("/?100%&a={|}\\^"));
}
END_TEST

static void assert_host(const char *sent, const char *name, const char *port)
{
    char scratch[256];
    struct span n, p, authority = span_of(sent);

    ck_assert_msg(host_parse(authority, scratch, &n, &p), "%s", sent);
    ck_assert_msg(span_equal(n, span_of(name)), "%s: %.*s", sent, SPAN_ARG(n));
    ck_assert_msg(span_equal(p, span_of(port)), "%s: %.*s", sent, SPAN_ARG(p));
}

START_TEST(hosts_are_split_and_put_in_lower_case)
{
    struct span authority = SPAN("a.example."), name, port;

    assert_host("a.example", "a.example", "");
    assert_host("A.Example.:8080", "a.example", "8080");
    assert_host("a_b-c.d~1:", "a_b-c.d~1", "");
    assert_host("127.0.0.1:65535", "127.0.0.1", "65535");
    assert_host("[2001:DB8::1]:80", "[2001:db8::1]", "80");
    assert_host("[::ffff:1.2.3.4]", "[::ffff:1.2.3.4]", "");
    assert_host("", "", "");
    ck_assert(host_parse(authority, NULL, &name, &port)); /* nothing to change, nothing written */
    ck_assert_ptr_eq(name.ptr, authority.ptr);
}
END_TEST

START_TEST(a_capital_anywhere_is_put_in_lower_case)
{
    for (size_t len = 1; len <= 40; len++)
        for (size_t at = 0; at < len; at++)
            for (const char *c = "AMZ"; *c; c++) {
                char sent[40], wanted[41], scratch[256];
                memset(sent, "az-9"[at % 4], sizeof sent);
                memcpy(wanted, sent, sizeof sent);
                sent[at] = *c;
                wanted[at] = ascii_lower(*c);
                struct span got = host_name_normalise((struct span){sent, len}, scratch);
                ck_assert(span_equal(got, (struct span){wanted, len}));
                struct span again = host_name_normalise((struct span){wanted, len}, NULL);
                ck_assert_ptr_eq(again.ptr, wanted); /* nothing to do */
            }
}
END_TEST

START_TEST(malformed_hosts_are_refused)
{
    static const char *const bad[] = {
        "a b",    "a,b",    "a@b",     "a/b",    "a?b",     "a\x80",          "a%41",
        "a\tb",   "a:b",    "a:-1",    "a:+1",   "a:65536", "a:000080",       "a:8 0",
        ":80",    ":",      ".",       "..",     ".a",      "a..b",           "a..",
        "[]",     "[::1",   "::1",     "[::1]x", "[::1]:x", "[fe80::1%eth0]", "[1.2.3.4]",
        "[v1.a]", "a]",     "[a",      "a:1:2",  "a;b",     "a\\b",           "\"a\"",
        "a#b",    "[::1]]", "[[::1]]",
    };
    char longest[300];
    struct span name, port;

    for (size_t i = 0; i < COUNT_OF(bad); i++)
        ck_assert_msg(!host_is_valid(span_of(bad[i])), "%s", bad[i]);
    memset(longest, 'A', sizeof longest);
    ck_assert(host_is_valid((struct span){longest, 255}));
    ck_assert(!host_is_valid((struct span){longest, 256}));
    char scratch[256];
    ck_assert(host_parse((struct span){longest, 255}, scratch, &name, &port));
    ck_assert(name.len == 255 && scratch[254] == 'a');
}
END_TEST

Suite *target_suite(void)
{
    Suite *s = suite_create("target");
    TCase *t = tcase_create("target");

    tcase_add_test(t, the_origin_form_is_split_at_the_first_question_mark);
    tcase_add_test(t, the_absolute_form_names_its_authority);
    tcase_add_test(t, asterisk_and_authority_are_told_apart);
    tcase_add_test(t, malformed_targets_are_refused);
    tcase_add_test(t, hosts_are_split_and_put_in_lower_case);
    tcase_add_test(t, a_capital_anywhere_is_put_in_lower_case);
    tcase_add_test(t, malformed_hosts_are_refused);
    suite_add_tcase(s, t);
    return s;
}
