/* Addresses to and from text; see address.h. */
#include "base/address.h"

#include "base/fail.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>

int address_parse_ip(struct address *a, struct span text)
{
    char copy[INET6_ADDRSTRLEN];

    if (text.len == 0 || text.len >= sizeof copy || span_find(text, '\0') < text.len)
        return FAIL_BAD;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    *a = (struct address){0};
    if (inet_pton(AF_INET, copy, a->ip) == 1)
        a->family = ADDRESS_IPV4;
    else if (inet_pton(AF_INET6, copy, a->ip) == 1)
        a->family = ADDRESS_IPV6;
    else
        return FAIL_BAD;
    return 0;
}

static int address_parse_unix(struct address *a, struct span path)
{
    if (path.len == 0 || path.len > ADDRESS_PATH_MAX)
        return FAIL_BAD;
    *a = (struct address){.family = ADDRESS_UNIX, .path_len = (uint8_t)path.len};
    memcpy(a->path, path.ptr, path.len);
    if (a->path[0] == '@')
        a->path[0] = '\0';
    return 0;
}

int address_parse(struct address *a, struct span text)
{
    uint64_t port;
    struct span host = text;

    if (span_starts(text, SPAN("unix:")))
        return address_parse_unix(a, span_after(text, 5));
    size_t colon = text.len;
    while (colon > 0 && text.ptr[colon - 1] != ':')
        colon--;
    if (colon == 0 || !span_number(span_after(text, colon), &port) || port > UINT16_MAX)
        return FAIL_BAD;
    host.len = colon - 1;
    bool brackets = host.len >= 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']';
    if (brackets)
        host = (struct span){host.ptr + 1, host.len - 2};
    int err = address_parse_ip(a, host);
    if (err < 0)
        return err;
    if (brackets != (a->family == ADDRESS_IPV6))
        return FAIL_BAD;
    a->port = (uint16_t)port;
    return 0;
}

/* The C library's prints by way of a format, which costs as much as parsing a request. */
static size_t print_ipv4(const uint8_t ip[4], char *out)
{
    char *at = out;

    for (unsigned i = 0; i < 4; i++) {
        unsigned n = ip[i];
        if (n >= 100)
            *at++ = (char)('0' + n / 100);
        if (n >= 10)
            *at++ = (char)('0' + n / 10 % 10);
        *at++ = (char)('0' + n % 10);
        *at++ = i < 3 ? '.' : '\0';
    }
    return (size_t)(at - out) - 1;
}

size_t address_print_ip(const struct address *a, char out[ADDRESS_TEXT_MAX])
{
    static_assert(ADDRESS_TEXT_MAX >= INET6_ADDRSTRLEN, "an address fits its text");

    switch (a->family) {
    case ADDRESS_IPV4:
        return print_ipv4(a->ip, out);
    case ADDRESS_IPV6:
        inet_ntop(AF_INET6, a->ip, out, ADDRESS_TEXT_MAX);
        break;
    case ADDRESS_UNIX:
        memcpy(out, "unix:", 6);
        break;
    default:
        memcpy(out, "-", 2);
        break;
    }
    return strlen(out);
}

size_t address_print(const struct address *a, char out[ADDRESS_TEXT_MAX])
{
    char ip[ADDRESS_TEXT_MAX];

    address_print_ip(a, ip);
    if (a->family == ADDRESS_UNIX) {
        size_t len = a->path_len;
        memcpy(out, "unix:", 5);
        memcpy(out + 5, a->path, len);
        if (len > 0 && a->path[0] == '\0')
            out[5] = '@';
        return 5 + len;
    }
    const char *format = a->family == ADDRESS_IPV6 ? "[%.64s]:%u" : "%.64s:%u";
    return (size_t)snprintf(out, ADDRESS_TEXT_MAX, format, ip, (unsigned)a->port);
}

unsigned address_localhost(struct span host, struct address found[2])
{
    const struct span name = SPAN("localhost");

    if (host.len < name.len)
        return 0;
    size_t before = host.len - name.len;
    struct span last = {host.ptr + before, name.len};
    if (!span_equal_nocase(last, name) || (before > 0 && host.ptr[before - 1] != '.'))
        return 0;
    found[0] = (struct address){.family = ADDRESS_IPV4, .ip = {127, 0, 0, 1}};
    found[1] = (struct address){.family = ADDRESS_IPV6, .ip = {[15] = 1}};
    return 2;
}

static bool ip_is_mapped(const struct address *a)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

    return a->family == ADDRESS_IPV6 && memcmp(a->ip, mapped, sizeof mapped) == 0;
}

void address_unmap(struct address *a)
{
    if (!ip_is_mapped(a))
        return;
    a->family = ADDRESS_IPV4;
    a->scope = 0;
    memmove(a->ip, a->ip + 12, 4);
    memset(a->ip + 4, 0, 12);
}

bool address_equal(const struct address *a, const struct address *b)
{
    if (a->family != b->family)
        return false;
    switch (a->family) {
    case ADDRESS_IPV4:
        return a->port == b->port && memcmp(a->ip, b->ip, 4) == 0;
    case ADDRESS_IPV6:
        return a->port == b->port && a->scope == b->scope && memcmp(a->ip, b->ip, 16) == 0;
    case ADDRESS_UNIX:
        return a->path_len == b->path_len && memcmp(a->path, b->path, a->path_len) == 0;
    default:
        return true;
    }
}

bool net_contains(const struct net *n, const struct address *a)
{
    const uint8_t *ip = a->ip;
    uint8_t family = a->family;

    if (n->family == ADDRESS_UNIX || family == ADDRESS_UNIX)
        return n->family == family;
    if (n->family == ADDRESS_IPV4 && ip_is_mapped(a)) {
        ip += 12;
        family = ADDRESS_IPV4;
    }
    if (n->family != family)
        return false;
    unsigned whole = n->bits / 8, rest = n->bits % 8;
    if (memcmp(n->ip, ip, whole) != 0)
        return false;
    return rest == 0 || ((n->ip[whole] ^ ip[whole]) & (0xff << (8 - rest)) & 0xff) == 0;
}
