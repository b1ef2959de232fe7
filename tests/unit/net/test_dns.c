/* Answers of DNS: what is read, what is not believed. */
#include "base/fail.h"
#include "net/dns.h"
#include "net/lookup.h"
#include "tests/unit/suites.h"

#include <string.h>

enum { IN = 1 };

struct message {
    uint8_t bytes[4096];
    size_t len;
};

static void put(struct message *m, uint32_t n, unsigned bytes)
{
    while (bytes-- > 0)
        m->bytes[m->len++] = (uint8_t)(n >> 8 * bytes);
}

static void put_name(struct message *m, const char *name)
{
    while (*name) {
        size_t n = strcspn(name, ".");
        put(m, (uint32_t)n, 1);
        memcpy(m->bytes + m->len, name, n);
        m->len += n;
        name += n + (name[n] == '.');
    }
    put(m, 0, 1);
}

static void begin(struct message *m, unsigned rcode, const char *name, unsigned type)
{
    m->len = 0;
    put(m, 0x1234, 2);
    put(m, 0x8180 | rcode, 2);
    put(m, 1, 2);
    put(m, 0, 4);
    put(m, 0, 2);
    put_name(m, name);
    put(m, type, 2);
    put(m, IN, 2);
}

/* A record whose data follow; returns where their length stands. */
static size_t record(struct message *m, const char *owner, unsigned type, uint32_t ttl)
{
    unsigned where = type == DNS_SOA ? 9 : 7; /* the low byte of the section's count */

    m->bytes[where]++;
    put_name(m, owner);
    put(m, type, 2);
    put(m, IN, 2);
    put(m, ttl, 4);
    put(m, 0, 2);
    return m->len;
}

static void end(struct message *m, size_t data)
{
    m->bytes[data - 1] = (uint8_t)(m->len - data);
}

static void put_a(struct message *m, const char *owner, uint32_t ttl, uint32_t ip)
{
    size_t at = record(m, owner, DNS_A, ttl);
    put(m, ip, 4);
    end(m, at);
}

static void put_alias(struct message *m, const char *owner, uint32_t ttl, const char *to)
{
    size_t at = record(m, owner, DNS_CNAME, ttl);
    put_name(m, to);
    end(m, at);
}

static void put_srv(struct message *m, const char *owner, uint32_t ttl, unsigned priority,
                    const char *to)
{
    size_t at = record(m, owner, DNS_SRV, ttl);
    put(m, priority, 2);
    put(m, 5, 2);
    put(m, 8080, 2);
    put_name(m, to);
    end(m, at);
}

static void put_soa(struct message *m, uint32_t ttl, uint32_t minimum)
{
    size_t at = record(m, "test", DNS_SOA, ttl);
    put_name(m, "ns.test");
    put_name(m, "root.test");
    put(m, 1, 4);
    put(m, 3600, 4);
    put(m, 600, 4);
    put(m, 86400, 4);
    put(m, minimum, 4);
    end(m, at);
}

static int read(struct dns_answer *a, const struct message *m, uint16_t type)
{
    return dns_read(a, m->bytes, m->len, type);
}

START_TEST(all_addresses_count_and_the_least_time)
{
    struct message m;
    struct dns_answer a;

    begin(&m, 0, "app.test", DNS_A);
    put_a(&m, "app.test", 300, 0x0a000001);
    put_a(&m, "APP.Test", 60, 0x0a000002);
    ck_assert_int_eq(read(&a, &m, DNS_A), 0);
    ck_assert_uint_eq(a.count, 2);
    ck_assert_uint_eq(a.ttl, 60);
    ck_assert_uint_eq(a.list[1].ip.ip[3], 2);
    ck_assert_int_eq(a.list[0].ip.family, ADDRESS_IPV4);
}
END_TEST

START_TEST(aliases_are_followed_in_any_order_and_strangers_are_not_believed)
{
    struct message m;
    struct dns_answer a;

    begin(&m, 0, "app.test", DNS_A);
    put_a(&m, "real.test", 300, 0x0a000001);
    put_a(&m, "evil.test", 1, 0x0a000066);
    put_alias(&m, "other.test", 30, "real.test");
    put_alias(&m, "app.test", 100, "other.test");
    ck_assert_int_eq(read(&a, &m, DNS_A), 0);
    ck_assert_uint_eq(a.count, 1);
    ck_assert_uint_eq(a.list[0].ip.ip[3], 1);
    ck_assert_uint_eq(a.ttl, 30);

    begin(&m, 0, "app.test", DNS_A); /* in a circle */
    put_alias(&m, "app.test", 100, "other.test");
    put_alias(&m, "other.test", 100, "app.test");
    ck_assert_int_eq(read(&a, &m, DNS_A), FAIL_NOT_FOUND);
}
END_TEST

START_TEST(services_have_targets)
{
    struct message m;
    struct dns_answer a;

    begin(&m, 0, "_http._tcp.test", DNS_SRV);
    put_srv(&m, "_http._tcp.test", 7, 10, "One.test");
    put_srv(&m, "_http._tcp.test", 9, 20, "");
    ck_assert_int_eq(read(&a, &m, DNS_SRV), 0);
    ck_assert_uint_eq(a.count, 2);
    ck_assert_uint_eq(a.list[0].priority, 10);
    ck_assert_uint_eq(a.list[0].weight, 5);
    ck_assert_uint_eq(a.list[0].port, 8080);
    ck_assert_str_eq(a.list[0].target, "one.test");
    ck_assert_str_eq(a.list[1].target, "");
    ck_assert_uint_eq(a.ttl, 7);
}
END_TEST

START_TEST(of_more_services_than_fit_the_first_priorities_are_kept)
{
    struct message m;
    struct dns_answer a;
    unsigned best = 0;

    begin(&m, 0, "_x._tcp.a", DNS_SRV);
    for (unsigned i = 0; i < DNS_RECORDS_MAX + 3; i++)
        put_srv(&m, "_x._tcp.a", 60, i < DNS_RECORDS_MAX ? 10 : 1, "b");
    ck_assert_int_eq(read(&a, &m, DNS_SRV), 0);
    ck_assert_uint_eq(a.count, DNS_RECORDS_MAX);
    ck_assert_uint_eq(a.left_out, 3);
    for (unsigned i = 0; i < a.count; i++)
        best += a.list[i].priority == 1;
    ck_assert_uint_eq(best, 3);
}
END_TEST

START_TEST(an_address_without_room_takes_the_place_of_one_of_a_later_priority)
{
    struct lookup l = {0};
    struct found f = {.at.family = ADDRESS_IPV4, .priority = 10};

    for (unsigned i = 0; i <= LOOKUP_MAX; i++) {
        f.at.ip[3] = (uint8_t)i;
        lookup_add(&l, &f);
    }
    ck_assert_uint_eq(l.count, LOOKUP_MAX);
    ck_assert_uint_eq(l.left_out, 1);
    f = (struct found){.at.family = ADDRESS_IPV4, .at.ip = {10}, .priority = 9};
    lookup_add(&l, &f);
    ck_assert_uint_eq(l.count, LOOKUP_MAX);
    ck_assert_uint_eq(l.left_out, 2);
    ck_assert_uint_eq(l.found[0].priority, 9);
}
END_TEST

START_TEST(that_there_is_nothing_holds_as_long_as_the_zone_says)
{
    struct message m;
    struct dns_answer a;

    begin(&m, 3, "app.test", DNS_A);
    put_soa(&m, 3600, 20);
    ck_assert_int_eq(read(&a, &m, DNS_A), FAIL_NOT_FOUND);
    ck_assert_uint_eq(a.ttl, 20);
    begin(&m, 0, "app.test", DNS_AAAA);
    put_soa(&m, 10, 20);
    ck_assert_int_eq(read(&a, &m, DNS_AAAA), FAIL_NOT_FOUND);
    ck_assert_uint_eq(a.ttl, 10);
    begin(&m, 3, "app.test", DNS_A);
    ck_assert_int_eq(read(&a, &m, DNS_A), FAIL_NOT_FOUND);
    ck_assert_uint_eq(a.ttl, 0);
    begin(&m, 2, "app.test", DNS_A); /* SERVFAIL says nothing */
    ck_assert_int_eq(read(&a, &m, DNS_A), FAIL_BAD);
}
END_TEST

/* Cut anywhere, and with any byte changed, it is refused or read, never read beyond. */
START_TEST(what_is_cut_or_changed_does_no_harm)
{
    struct message m, other;
    struct dns_answer a;

    begin(&m, 0, "app.test", DNS_SRV);
    put_alias(&m, "app.test", 100, "real.test");
    put_srv(&m, "real.test", 300, 1, "t.test");
    m.bytes[m.len++] = 0;
    for (size_t n = 0; n < m.len - 1; n++) {
        uint8_t *exact = malloc(n ? n : 1);
        memcpy(exact, m.bytes, n);
        ck_assert_int_eq(dns_read(&a, exact, n, DNS_SRV), FAIL_BAD);
        free(exact);
    }
    for (size_t n = 0; n < m.len; n++)
        for (unsigned to = 0; to < 256; to++) {
            other = m;
            other.bytes[n] = (uint8_t)to;
            int err = read(&a, &other, DNS_SRV);
            ck_assert(err == 0 || err == FAIL_BAD || err == FAIL_NOT_FOUND);
        }
}
END_TEST

START_TEST(pointers_lead_back_and_end)
{
    struct message m;
    struct dns_answer a;

    begin(&m, 0, "app.test", DNS_A);
    m.bytes[7]++;
    put(&m, 0xc00c, 2); /* the question's name */
    put(&m, DNS_A, 2);
    put(&m, IN, 2);
    put(&m, 5, 4);
    put(&m, 4, 2);
    put(&m, 0x7f000001, 4);
    ck_assert_int_eq(read(&a, &m, DNS_A), 0);
    ck_assert_uint_eq(a.count, 1);
    m.bytes[m.len - 15] = (uint8_t)(m.len - 16); /* at itself */
    ck_assert_int_eq(read(&a, &m, DNS_A), FAIL_BAD);
    m.bytes[m.len - 15] = (uint8_t)m.len; /* forward, at the same name once more */
    put_name(&m, "app.test");
    ck_assert_int_eq(read(&a, &m, DNS_A), FAIL_BAD);
}
END_TEST

/* RFC 2181, 8: as if it were none. */
START_TEST(a_time_of_the_wrong_sign_is_none)
{
    struct message m;
    struct dns_answer a;

    begin(&m, 0, "app.test", DNS_A);
    put_a(&m, "app.test", 0x80000001, 0x0a000001);
    ck_assert_int_eq(read(&a, &m, DNS_A), 0);
    ck_assert_uint_eq(a.ttl, 0);
}
END_TEST

START_TEST(a_question_is_no_answer)
{
    struct message m;
    struct dns_answer a;

    begin(&m, 0, "app.test", DNS_A);
    put_a(&m, "app.test", 60, 0x0a000001);
    ck_assert_int_eq(read(&a, &m, DNS_A), 0);
    m.bytes[2] &= 0x7f;
    ck_assert_int_eq(read(&a, &m, DNS_A), FAIL_BAD);
}
END_TEST

/* Else "app" with "test" behind it and one label "app.test" would be one name. */
START_TEST(a_label_has_no_dot)
{
    struct message m;
    struct dns_answer a;

    begin(&m, 0, "app.test", DNS_A);
    put_a(&m, "app.test", 60, 0x0a000001);
    size_t owner = m.len - 4 - 10 - 10; /* before the address, numbers, and itself */
    ck_assert_uint_eq(m.bytes[owner], 3);
    m.bytes[owner] = 8;
    m.bytes[owner + 4] = '.';
    ck_assert_int_eq(read(&a, &m, DNS_A), FAIL_BAD);
}
END_TEST

START_TEST(an_address_is_found_once)
{
    struct lookup l = {.name = "localhost", .family = ADDRESS_IPV4};

    ck_assert(lookup_localhost(&l) && lookup_localhost(&l));
    ck_assert_uint_eq(l.count, 1);
    l = (struct lookup){.name = "localhost.example"};
    ck_assert(!lookup_localhost(&l));
    l = (struct lookup){.name = "localhost", .services = true};
    ck_assert(!lookup_localhost(&l));
}
END_TEST

Suite *dns_suite(void);

Suite *dns_suite(void)
{
    Suite *s = suite_create("dns");
    TCase *t = tcase_create("dns");

    tcase_add_test(t, all_addresses_count_and_the_least_time);
    tcase_add_test(t, aliases_are_followed_in_any_order_and_strangers_are_not_believed);
    tcase_add_test(t, services_have_targets);
    tcase_add_test(t, of_more_services_than_fit_the_first_priorities_are_kept);
    tcase_add_test(t, an_address_without_room_takes_the_place_of_one_of_a_later_priority);
    tcase_add_test(t, that_there_is_nothing_holds_as_long_as_the_zone_says);
    tcase_add_test(t, what_is_cut_or_changed_does_no_harm);
    tcase_add_test(t, pointers_lead_back_and_end);
    tcase_add_test(t, a_time_of_the_wrong_sign_is_none);
    tcase_add_test(t, a_question_is_no_answer);
    tcase_add_test(t, a_label_has_no_dot);
    tcase_add_test(t, an_address_is_found_once);
    suite_add_tcase(s, t);
    return s;
}
