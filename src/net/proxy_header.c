/* The PROXY protocol; see proxy_header.h. */
#include "net/proxy_header.h"

#include "base/fail.h"

#include <stdio.h>

enum {
    V1_LINE_MAX = 107, /* with CR and LF */
    V2_HEAD = 16,      /* signature, version and command, family, length */
    V2_IPV4 = 12,      /* two addresses, two ports */
    V2_IPV6 = 36,
    V2_UNIX = 216,
    V2_UNIX_PATH = 108,
};

enum { V2_LOCAL = 0x20, V2_PROXY = 0x21, V2_TCP4 = 0x11, V2_TCP6 = 0x21, V2_STREAM = 0x31 };

static const char v2_signature[12] = "\r\n\r\n\0\r\nQUIT\n";

/* --- version 1 -------------------------------------------------------------------------- */

/* Words are separated by one blank each. */
static struct span next_word(struct span *rest)
{
    size_t end = span_find(*rest, ' ');
    struct span word = span_first(*rest, end);

    *rest = end < rest->len ? span_after(*rest, end + 1) : (struct span){0};
    return word;
}

static bool v1_port(struct address *a, struct span word)
{
    uint64_t port;

    if (!span_number(word, &port) || port > UINT16_MAX || (word.len > 1 && word.ptr[0] == '0'))
        return false;
    a->port = (uint16_t)port;
    return true;
}

static bool v1_line(struct proxy_header *h, struct span line)
{
    struct span family = next_word(&line);

    if (span_equal(family, SPAN("UNKNOWN"))) {
        h->local = true;
        return true;
    }
    uint8_t want = span_equal(family, SPAN("TCP4"))   ? ADDRESS_IPV4
                   : span_equal(family, SPAN("TCP6")) ? ADDRESS_IPV6
                                                      : ADDRESS_NONE;
    if (address_parse_ip(&h->source, next_word(&line)) < 0 || h->source.family != want ||
        address_parse_ip(&h->destination, next_word(&line)) < 0 || h->destination.family != want)
        return false;
    return v1_port(&h->source, next_word(&line)) && v1_port(&h->destination, line);
}

static int v1_parse(struct proxy_header *h, struct span in)
{
    const struct span begin = SPAN("PROXY ");
    struct span line = span_first(in, V1_LINE_MAX);
    size_t end = span_find(line, '\n');

    if (!span_starts(in, span_first(begin, in.len)))
        return FAIL_BAD;
    if (end == line.len)
        return line.len < V1_LINE_MAX ? 0 : FAIL_BAD;
    if (end <= begin.len || span_find(line, '\r') != end - 1)
        return FAIL_BAD;
    line = span_first(span_after(line, begin.len), end - 1 - begin.len);
    return v1_line(h, line) ? (int)end + 1 : FAIL_BAD;
}

/* --- version 2 -------------------------------------------------------------------------- */

static uint16_t read_16(const char *at)
{
    const unsigned char *b = (const unsigned char *)at;

    return (uint16_t)(b[0] << 8 | b[1]);
}

static void v2_ip(struct address *a, uint8_t family, const char *ip, const char *port)
{
    *a = (struct address){.family = family, .port = read_16(port)};
    memcpy(a->ip, ip, family == ADDRESS_IPV4 ? 4 : 16);
}

/* False: shorter than its family needs.  What is appended to them is nobody's here. */
static bool v2_addresses(struct proxy_header *h, unsigned char family, struct span s)
{
    size_t ip = family == V2_TCP4 ? 4 : 16;
    uint8_t kind = family == V2_TCP4 ? ADDRESS_IPV4 : ADDRESS_IPV6;

    switch (family) {
    case V2_TCP4:
    case V2_TCP6:
        if (s.len < (family == V2_TCP4 ? V2_IPV4 : V2_IPV6))
            return false;
        v2_ip(&h->source, kind, s.ptr, s.ptr + 2 * ip);
        v2_ip(&h->destination, kind, s.ptr + ip, s.ptr + 2 * ip + 2);
        return true;
    case V2_STREAM:
        h->source.family = h->destination.family = ADDRESS_UNIX;
        return s.len >= V2_UNIX;
    default: /* datagrams, and what nobody has specified: a receiver is to take it for unknown */
        h->local = true;
        return true;
    }
}

static int v2_parse(struct proxy_header *h, struct span in)
{
    if (memcmp(in.ptr, v2_signature, in.len < sizeof v2_signature ? in.len : sizeof v2_signature))
        return FAIL_BAD;
    if (in.len < V2_HEAD)
        return 0;
    unsigned char command = (unsigned char)in.ptr[12], family = (unsigned char)in.ptr[13];
    size_t len = read_16(in.ptr + 14);
    if ((command != V2_LOCAL && command != V2_PROXY) || V2_HEAD + len > PROXY_HEADER_MAX)
        return FAIL_BAD;
    if (in.len < V2_HEAD + len)
        return 0;
    h->local = command == V2_LOCAL;
    if (!h->local && !v2_addresses(h, family, span_first(span_after(in, V2_HEAD), len)))
        return FAIL_BAD;
    return (int)(V2_HEAD + len);
}

/* --- both ------------------------------------------------------------------------------- */

int proxy_parse(struct proxy_header *h, enum proxy_versions versions, struct span in)
{
    *h = (struct proxy_header){0};
    if (in.len == 0)
        return 0;
    if (in.ptr[0] == 'P' && versions & PROXY_V1)
        return v1_parse(h, in);
    if (in.ptr[0] == '\r' && versions & PROXY_V2)
        return v2_parse(h, in);
    return FAIL_BAD;
}

static bool sayable(const struct proxy_header *h)
{
    uint8_t family = h->source.family;

    return !h->local && family == h->destination.family &&
           (family == ADDRESS_IPV4 || family == ADDRESS_IPV6);
}

static size_t v1_write(const struct proxy_header *h, char out[PROXY_WRITTEN_MAX])
{
    char line[PROXY_WRITTEN_MAX + 1], source[ADDRESS_TEXT_MAX], destination[ADDRESS_TEXT_MAX];
    int len;

    if (sayable(h)) {
        int a = (int)address_print_ip(&h->source, source);
        int b = (int)address_print_ip(&h->destination, destination);
        len = snprintf(line, sizeof line, "PROXY TCP%c %.*s %.*s %u %u\r\n",
                       h->source.family == ADDRESS_IPV4 ? '4' : '6', a, source, b, destination,
                       (unsigned)h->source.port, (unsigned)h->destination.port);
    } else {
        len = snprintf(line, sizeof line, "PROXY UNKNOWN\r\n");
    }
    memcpy(out, line, (size_t)len);
    return (size_t)len;
}

static char *put_16(char *at, unsigned n)
{
    *at++ = (char)(n >> 8 & 0xff);
    *at++ = (char)(n & 0xff);
    return at;
}

static char *put(char *at, const void *bytes, size_t n)
{
    memcpy(at, bytes, n);
    return at + n;
}

static size_t v2_write(const struct proxy_header *h, char out[PROXY_WRITTEN_MAX])
{
    bool addresses = sayable(h), four = h->source.family == ADDRESS_IPV4;
    size_t ip = four ? 4 : 16;
    char *at = put(out, v2_signature, sizeof v2_signature);

    *at++ = addresses ? V2_PROXY : V2_LOCAL;
    *at++ = !addresses ? 0 : four ? V2_TCP4 : V2_TCP6;
    at = put_16(at, !addresses ? 0 : four ? V2_IPV4 : V2_IPV6);
    if (addresses) {
        at = put(at, h->source.ip, ip);
        at = put(at, h->destination.ip, ip);
        at = put_16(at, h->source.port);
        at = put_16(at, h->destination.port);
    }
    return (size_t)(at - out);
}

size_t proxy_write(const struct proxy_header *h, enum proxy_versions version,
                   char out[PROXY_WRITTEN_MAX])
{
    return version == PROXY_V1 ? v1_write(h, out) : v2_write(h, out);
}
