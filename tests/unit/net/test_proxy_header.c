/* The PROXY protocol, both versions: what is accepted, what is not, what is written. */
#include "base/fail.h"
#include "net/proxy_header.h"
#include "tests/unit/suites.h"

#define V2(command, family, len) "\r\n\r\n\0\r\nQUIT\n" command family len
#define BYTES(literal)                                                                             \
    (struct span)                                                                                  \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }

/* The same answer whole and byte by byte, whatever follows. */
static int parse(struct proxy_header *h, enum proxy_versions versions, struct span in)
{
    int whole = proxy_parse(h, versions, in);

    for (size_t n = 0; n < in.len; n++) {
        struct proxy_header part;
        int got = proxy_parse(&part, versions, span_first(in, n));
        if (whole > 0 && n < (size_t)whole)
            ck_assert_int_eq(got, 0);
        else if (whole > 0)
            ck_assert_int_eq(got, whole);
        else if (whole == 0)
            ck_assert_int_eq(got, 0);
        else
            ck_assert_int_le(got, 0);
    }
    return whole;
}

static void assert_address(const struct address *a, const char *want)
{
    char text[ADDRESS_TEXT_MAX];
    size_t len = address_print(a, text);

    ck_assert_uint_eq(len, strlen(want));
    ck_assert_mem_eq(text, want, len);
}

START_TEST(a_line_names_both_ends)
{
    struct proxy_header h;
    struct span in = BYTES("PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\nGET / HTTP/1.1\r\n");

    ck_assert_int_eq(parse(&h, PROXY_V1, in), 45);
    ck_assert(!h.local);
    assert_address(&h.source, "192.0.2.7:56324");
    assert_address(&h.destination, "198.51.100.1:443");
    ck_assert_int_eq(parse(&h, PROXY_ANY, BYTES("PROXY TCP6 2001:db8::7 ::1 1 65535\r\n")), 36);
    assert_address(&h.source, "[2001:db8::7]:1");
    ck_assert_int_eq(parse(&h, PROXY_V1, BYTES("PROXY UNKNOWN\r\n")), 15);
    ck_assert(h.local);
    ck_assert_int_gt(parse(&h, PROXY_V1, BYTES("PROXY UNKNOWN ff::1 ::1 what ever\r\n")), 0);
    ck_assert(h.local);
}
END_TEST

START_TEST(the_binary_form_names_both_ends)
{
    struct proxy_header h;

    ck_assert_int_eq(parse(&h, PROXY_V2,
                           BYTES(V2("\x21", "\x11",
                                    "\x00\x0c") "\xc0\x00\x02\x07\xc6\x33\x64\x01\xdc\x04\x01\xbb"
                                                "GET")),
                     28);
    ck_assert(!h.local);
    assert_address(&h.source, "192.0.2.7:56324");
    assert_address(&h.destination, "198.51.100.1:443");
    ck_assert_int_eq(
        parse(&h, PROXY_ANY,
              BYTES(V2("\x21", "\x21", "\x00\x24") "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07"
                                                   "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"
                                                   "\x00\x01\xff\xff")),
        52);
    assert_address(&h.source, "[2001:db8::7]:1");
    assert_address(&h.destination, "[::1]:65535");
}
END_TEST

/* Type, length, value: nobody here needs any. */
START_TEST(what_is_appended_is_passed_over)
{
    struct proxy_header h;

    ck_assert_int_eq(parse(&h, PROXY_V2,
                           BYTES(V2("\x21", "\x11",
                                    "\x00\x11") "\xc0\x00\x02\x07\xc6\x33\x64\x01\xdc\x04\x01\xbb"
                                                "\x05\x00\x02id")),
                     33);
    assert_address(&h.source, "192.0.2.7:56324");
}
END_TEST

START_TEST(a_check_of_health_is_nobodys)
{
    struct proxy_header h;

    ck_assert_int_eq(parse(&h, PROXY_V2, BYTES(V2("\x20", "\x00", "\x00\x00"))), 16);
    ck_assert(h.local);
    ck_assert_int_eq(parse(&h, PROXY_V2, BYTES(V2("\x20", "\x11", "\x00\x02") "ab")), 18);
    ck_assert(h.local);
    ck_assert_int_eq(parse(&h, PROXY_V2, BYTES(V2("\x21", "\x00", "\x00\x00"))), 16);
    ck_assert(h.local);
}
END_TEST

START_TEST(anything_else_is_refused)
{
    static const struct span bad[] = {
        SPAN_INIT("GET / HTTP/1.1\r\n\r\n"),
        SPAN_INIT("PROXY\r\n"),
        SPAN_INIT("PROXY \r\n"),
        SPAN_INIT("proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n"),
        SPAN_INIT("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n"),
        SPAN_INIT("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\r\n"),
        SPAN_INIT("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n"),
        SPAN_INIT("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n"),
        SPAN_INIT("PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n"),
        SPAN_INIT("PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n"),
        SPAN_INIT("PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n"),
        SPAN_INIT("PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n"),
        SPAN_INIT("PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n"),
        SPAN_INIT("PROXY TCP4 1.2.3.4\0.5 1.2.3.4 1 2\r\n"),
        SPAN_INIT("PROXY TCP4 1.2.3.4 1.2.3.4\0 1 2\r\n"),
        SPAN_INIT("PROXY TCP4 ::1 ::1 1 2\r\n"),
        SPAN_INIT("PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n"),
        SPAN_INIT("PROXY TCP4 1.2.3.4 ::1 1 2\r\n"),
        SPAN_INIT("PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n"),
        SPAN_INIT("PROXY UNKNOWN 012345678901234567890123456789012345678901234567890123456789"
                  "0123456789012345678901234567890123456789\r\n"),
        SPAN_INIT(V2("\x11", "\x11", "\x00\x0c") "123456789012"),
        SPAN_INIT(V2("\x22", "\x11", "\x00\x0c") "123456789012"),
        SPAN_INIT(V2("\x21", "\x11", "\x00\x0b") "12345678901"),
        SPAN_INIT(V2("\x21", "\x21", "\x00\x0c") "123456789012"),
        SPAN_INIT(V2("\x21", "\x31", "\x00\x0c") "123456789012"),
        SPAN_INIT(V2("\x21", "\x11", "\xff\xff")),
        SPAN_INIT("\r\n\r\n\0\r\nQUIX\n\x20\0\0\0"),
    };
    struct proxy_header h;

    for (size_t i = 0; i < COUNT_OF(bad); i++)
        ck_assert_msg(parse(&h, PROXY_ANY, bad[i]) == FAIL_BAD, "number %zu", i);
}
END_TEST

START_TEST(only_the_versions_asked_for_are_accepted)
{
    struct proxy_header h;

    ck_assert_int_eq(parse(&h, PROXY_V2, BYTES("PROXY UNKNOWN\r\n")), FAIL_BAD);
    ck_assert_int_eq(parse(&h, PROXY_V1, BYTES(V2("\x20", "\x00", "\x00\x00"))), FAIL_BAD);
}
END_TEST

/* The longest of each version, too. */
START_TEST(what_is_written_reads_back)
{
    static const char *const pairs[][2] = {
        {"192.0.2.7:1", "198.51.100.1:443"},
        {"255.255.255.255:65535", "255.255.255.255:65535"},
        {"[ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe]:65535",
         "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"},
    };
    char out[PROXY_WRITTEN_MAX];

    for (size_t i = 0; i < COUNT_OF(pairs); i++)
        for (int v = PROXY_V1; v <= PROXY_V2; v++) {
            struct proxy_header h = {0}, back;
            ck_assert_int_eq(address_parse(&h.source, span_of(pairs[i][0])), 0);
            ck_assert_int_eq(address_parse(&h.destination, span_of(pairs[i][1])), 0);
            size_t len = proxy_write(&h, (enum proxy_versions)v, out);
            ck_assert_uint_le(len, sizeof out);
            ck_assert_int_eq(parse(&back, (enum proxy_versions)v, (struct span){out, len}),
                             (int)len);
            assert_address(&back.source, pairs[i][0]);
            assert_address(&back.destination, pairs[i][1]);
        }
}
END_TEST

START_TEST(ends_of_two_kinds_are_unknown)
{
    char out[PROXY_WRITTEN_MAX];
    struct proxy_header h = {0}, back;

    ck_assert_int_eq(address_parse(&h.source, SPAN("192.0.2.7:1")), 0);
    ck_assert_int_eq(address_parse(&h.destination, SPAN("[::1]:1")), 0);
    for (int v = PROXY_V1; v <= PROXY_V2; v++) {
        size_t len = proxy_write(&h, (enum proxy_versions)v, out);
        ck_assert_int_eq(parse(&back, PROXY_ANY, (struct span){out, len}), (int)len);
        ck_assert(back.local);
    }
}
END_TEST

Suite *proxy_header_suite(void)
{
    Suite *s = suite_create("proxy_header");
    TCase *t = tcase_create("proxy_header");

    tcase_add_test(t, a_line_names_both_ends);
    tcase_add_test(t, the_binary_form_names_both_ends);
    tcase_add_test(t, what_is_appended_is_passed_over);
    tcase_add_test(t, a_check_of_health_is_nobodys);
    tcase_add_test(t, anything_else_is_refused);
    tcase_add_test(t, only_the_versions_asked_for_are_accepted);
    tcase_add_test(t, what_is_written_reads_back);
    tcase_add_test(t, ends_of_two_kinds_are_unknown);
    suite_add_tcase(s, t);
    return s;
}
