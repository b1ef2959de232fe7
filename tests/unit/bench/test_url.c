/* URLs are taken apart as RFC 3986 says, and what could break a request is refused. */
#include "bench/url.h"

#include <check.h>

static const struct {
    const char *text, *host, *authority, *target;
    unsigned port;
} good[] = {
    {"http://localhost", "localhost", "localhost", "/", 80},
    {"http://localhost:8080", "localhost", "localhost:8080", "/", 8080},
    {"http://localhost:8080/", "localhost", "localhost:8080", "/", 8080},
    {"HTTP://a.example.com/x/y?z=1&q=%20", "a.example.com", "a.example.com", "/x/y?z=1&q=%20", 80},
    {"http://127.0.0.1:65535/a", "127.0.0.1", "127.0.0.1:65535", "/a", 65535},
    {"http://[::1]:81/a", "::1", "[::1]:81", "/a", 81},
    {"http://[2001:db8::7]", "2001:db8::7", "[2001:db8::7]", "/", 80},
    {"http://a/x:y@z", "a", "a", "/x:y@z", 80},
};

START_TEST(a_url_is_taken_apart)
{
    const char *why;
    struct url url;

    ck_assert_msg(url_parse(&url, span_of(good[_i].text), &why) == 0, "%s", good[_i].text);
    ck_assert_str_eq(url.host, good[_i].host);
    ck_assert(span_equal(url.authority, span_of(good[_i].authority)));
    ck_assert(span_equal(url.target, span_of(good[_i].target)));
    ck_assert_uint_eq(url.port, good[_i].port);
}
END_TEST

static const char *const bad[] = {
    "",
    "localhost:8080",
    "ftp://a/",
    "https://a/",
    "http://",
    "http:///x",
    "http://:80/",
    "http://a:0/",
    "http://a:/",
    "http://a:65536/",
    "http://a:8x/",
    "http://a:1:2/",
    "http://::1/",
    "http://[::1",
    "http://[::1]x/",
    "http://[::1]:/",
    "http://user@a/",
    "http://a b/",
    "http://a/x y",
    "http://a/x\r\nX: y",
    "http://a/x#y",
    "http://a?x",
    "http://a/\xc3\xa9",
};

START_TEST(what_is_no_url_or_would_break_a_request_is_refused)
{
    const char *why = NULL;
    struct url url;

    ck_assert_msg(url_parse(&url, span_of(bad[_i]), &why) < 0, "%s", bad[_i]);
    ck_assert_ptr_nonnull(why);
}
END_TEST

Suite *url_suite(void);
Suite *url_suite(void)
{
    Suite *suite = suite_create("url");
    TCase *tests = tcase_create("url");

    tcase_add_loop_test(tests, a_url_is_taken_apart, 0, (int)COUNT_OF(good));
    tcase_add_loop_test(tests, what_is_no_url_or_would_break_a_request_is_refused, 0,
                        (int)COUNT_OF(bad));
    suite_add_tcase(suite, tests);
    return suite;
}
