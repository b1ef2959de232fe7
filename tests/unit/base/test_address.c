/* Addresses to and from text, and the networks that hold them. */
#include "base/address.h"
#include "base/fail.h"
#include "tests/unit/suites.h"

#include <string.h>

static struct span text_of(const char *text)
{
    return (struct span){text, strlen(text)};
}

static struct address parsed(const char *text)
{
    struct address a;

    ck_assert_int_eq(address_parse(&a, text_of(text)), 0);
    return a;
}

static struct address parsed_ip(const char *text)
{
    struct address a;

    ck_assert_int_eq(address_parse_ip(&a, text_of(text)), 0);
    return a;
}

static void assert_ip(const struct address *a, const char *want)
{
    char text[ADDRESS_TEXT_MAX];
    size_t len = address_print_ip(a, text);

    ck_assert_uint_eq(len, strlen(want));
    ck_assert_mem_eq(text, want, len);
}

START_TEST(what_is_printed_is_what_was_read)
{
    static const char *const texts[] = {
        "10.0.0.1:80",         "0.0.0.0:65535",    "[::1]:80",
        "[2001:db8::ff]:8443", "unix:/run/a.sock", "unix:@abstract",
    };
    char text[ADDRESS_TEXT_MAX];

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct address a = parsed(texts[i]);
        size_t len = address_print(&a, text);
        ck_assert_uint_eq(len, strlen(texts[i]));
        ck_assert_mem_eq(text, texts[i], len);
    }
}
END_TEST

START_TEST(what_is_no_address_is_refused)
{
    static const char *const texts[] = {
        "",          "10.0.0.1",     "10.0.0.1:", "10.0.0.1:65536", "10.0.0.1:-1", "10.0.0.256:80",
        "10.0.0:80", "[::1]",        "[::1]80",   "::1:80x",        "[::1:80",     "name:80",
        "unix:",     "10.0.0.1:80 ",
    };
    struct address a;

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        ck_assert_msg(address_parse(&a, text_of(texts[i])) < 0, "\"%s\" was read", texts[i]);
    ck_assert_int_lt(address_parse_ip(&a, text_of("10.0.0.1:80")), 0);
    ck_assert_int_lt(address_parse_ip(&a, text_of("[::1]")), 0);
    ck_assert_int_lt(address_parse_ip(&a, SPAN("10.0.0.1\0")), 0);
    ck_assert_int_lt(address_parse_ip(&a, SPAN("::1\0:2")), 0);
    ck_assert_int_lt(address_parse(&a, SPAN("10.0.0.1\0.2:80")), 0);
}
END_TEST

START_TEST(an_ipv4_client_of_a_dual_stack_socket_is_an_ipv4_client)
{
    struct address mapped = parsed("[::ffff:192.0.2.7]:4711"), plain = parsed("192.0.2.7:4711");
    struct address other = parsed("[2001:db8::ffff:c000:207]:4711");

    ck_assert(!address_equal(&mapped, &plain));
    address_unmap(&mapped);
    ck_assert(address_equal(&mapped, &plain));
    assert_ip(&mapped, "192.0.2.7");
    address_unmap(&other);
    assert_ip(&other, "2001:db8::ffff:c000:207");
}
END_TEST

START_TEST(localhost_is_this_machine_without_asking_anybody)
{
    static const char *const others[] = {"", "localhos", "mylocalhost", "localhost.example",
                                         "ocalhost"};
    struct address found[2];

    ck_assert_uint_eq(address_localhost(text_of("localhost"), found), 2);
    assert_ip(&found[0], "127.0.0.1");
    assert_ip(&found[1], "::1");
    ck_assert_uint_eq(address_localhost(text_of("LocalHost"), found), 2);
    ck_assert_uint_eq(address_localhost(text_of("a.localhost"), found), 2);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        ck_assert_msg(address_localhost(text_of(others[i]), found) == 0, "%s", others[i]);
}
END_TEST

START_TEST(a_network_holds_what_begins_with_its_bits)
{
    static const struct {
        const char *net;
        uint8_t bits;
        const char *ip;
        bool held;
    } cases[] = {
        {"10.0.0.0", 8, "10.255.0.1", true},
        {"10.0.0.0", 8, "11.0.0.1", false},
        {"192.0.2.128", 25, "192.0.2.200", true},
        {"192.0.2.128", 25, "192.0.2.127", false},
        {"192.0.2.7", 32, "192.0.2.7", true},
        {"192.0.2.7", 32, "192.0.2.6", false},
        {"0.0.0.0", 0, "203.0.113.1", true},
        {"0.0.0.0", 0, "2001:db8::1", false},
        {"2001:db8::", 32, "2001:db8:1::1", true},
        {"2001:db8::", 32, "2001:db9::1", false},
        {"10.0.0.0", 8, "::ffff:10.1.2.3", true},
        {"10.0.0.0", 8, "::ffff:11.1.2.3", false},
        {"::", 0, "2001:db8::1", true},
        {"fc00::", 7, "fdff::1", true},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct address base = parsed_ip(cases[i].net), a = parsed_ip(cases[i].ip);
        struct net n = {.family = base.family, .bits = cases[i].bits};
        memcpy(n.ip, base.ip, sizeof n.ip);
        ck_assert_msg(net_contains(&n, &a) == cases[i].held, "%s/%u and %s", cases[i].net,
                      cases[i].bits, cases[i].ip);
    }
}
END_TEST

START_TEST(the_net_of_unix_peers_holds_only_those)
{
    struct net n = {.family = ADDRESS_UNIX};
    struct address peer = parsed("unix:/run/a.sock"), ip = parsed("10.0.0.1:80");

    ck_assert(net_contains(&n, &peer));
    ck_assert(!net_contains(&n, &ip));
    n = (struct net){.family = ADDRESS_IPV4};
    ck_assert(!net_contains(&n, &peer));
}
END_TEST

Suite *address_suite(void)
{
    Suite *suite = suite_create("address");
    TCase *tcase = tcase_create("address");

    tcase_add_test(tcase, what_is_printed_is_what_was_read);
    tcase_add_test(tcase, what_is_no_address_is_refused);
    tcase_add_test(tcase, an_ipv4_client_of_a_dual_stack_socket_is_an_ipv4_client);
    tcase_add_test(tcase, localhost_is_this_machine_without_asking_anybody);
    tcase_add_test(tcase, a_network_holds_what_begins_with_its_bits);
    tcase_add_test(tcase, the_net_of_unix_peers_holds_only_those);
    suite_add_tcase(suite, tcase);
    return suite;
}
