/* Names of all kinds: sections, tokens, hosts, paths, networks. */
#include "conf/conf.h"

#include "base/fail.h"

#include <stdio.h>

static int bad(const char **why, const char *text)
{
    *why = text;
    return FAIL_BAD;
}

/* An explanation made for the occasion. */
#define EXPLAIN(arena, why, ...) explain(arena_print(arena, __VA_ARGS__), why)

static int explain(struct span text, const char **why)
{
    *why = text.ptr ? text.ptr : "out of memory"; /* arena_print() terminates */
    return text.ptr ? FAIL_BAD : FAIL_MEMORY;
}

static bool is_alnum(char c)
{
    c = ascii_lower(c);
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

int value_name(struct span text, const char **why)
{
    bool fine = text.len > 0 && text.len <= 40 && is_alnum(text.ptr[0]);

    for (size_t i = 0; fine && i < text.len; i++)
        fine =
            is_alnum(text.ptr[i]) || text.ptr[i] == '.' || text.ptr[i] == '_' || text.ptr[i] == '-';
    return fine ? 0
                : bad(why, "a name is at most 40 letters, digits, \".\", \"_\" and \"-\", and "
                           "begins with a letter or digit");
}

/* RFC 9110, 5.6.2 */
int value_token(struct span text, const char **why)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    bool fine = text.len > 0;

    for (size_t i = 0; fine && i < text.len; i++)
        fine = is_alnum(text.ptr[i]) || (text.ptr[i] && strchr(others, text.ptr[i]));
    return fine ? 0 : bad(why, "not a token (letters, digits and !#$%&'*+-.^_`|~)");
}

/* --- hosts ----------------------------------------------------------------- */

static bool label_is_fine(struct span label)
{
    if (label.len == 0 || label.len > 63)
        return false;
    if (label.ptr[0] == '-' || label.ptr[label.len - 1] == '-')
        return false;
    for (size_t i = 0; i < label.len; i++)
        if (!is_alnum(label.ptr[i]) && label.ptr[i] != '-' && label.ptr[i] != '_')
            return false;
    return true;
}

static bool labels_are_fine(struct span name)
{
    if (name.len == 0 || name.len > 253)
        return false;
    for (;;) {
        size_t dot = span_find(name, '.');
        if (!label_is_fine(span_first(name, dot)))
            return false;
        if (dot == name.len)
            return true;
        name = span_after(name, dot + 1);
    }
}

static bool is_ascii(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((uint8_t)s.ptr[i] >= 0x80)
            return false;
    return true;
}

static bool is_ipv6(struct span s)
{
    struct address a;

    return s.len > 2 && s.ptr[0] == '[' && s.ptr[s.len - 1] == ']' &&
           address_parse_ip(&a, (struct span){s.ptr + 1, s.len - 2}) == 0 &&
           a.family == ADDRESS_IPV6;
}

static bool has_port(struct span s)
{
    size_t colon = span_find(s, ':');

    return colon < s.len && span_find(span_after(s, colon + 1), ':') == s.len - colon - 1;
}

int value_host(struct arena *arena, struct span text, bool wildcard, struct span *host,
               const char **why)
{
    struct span name = text;

    if (!is_ascii(text))
        return bad(why, "not ASCII: write the A-label (xn--...)");
    if (span_equal(text, SPAN("*")))
        return bad(why, "any host is what a route without host has");
    if (name.len > 0 && name.ptr[name.len - 1] == '.')
        name.len--;
    if (span_starts(name, SPAN("*."))) {
        if (!wildcard)
            return bad(why, "no wildcard here");
        name = span_after(name, 2);
    }
    if (has_port(name))
        return bad(why, "a host has no port; listeners have");
    if (!is_ipv6(name) && !labels_are_fine(name))
        return bad(why, wildcard ? "not a host: www.example.com or *.example.com" : "not a host");
    struct span whole = {text.ptr, (size_t)(name.ptr - text.ptr) + name.len};
    char *copy = arena_text(arena, whole);
    if (!copy) {
        *why = "out of memory";
        return FAIL_MEMORY;
    }
    for (size_t i = 0; i < whole.len; i++)
        copy[i] = ascii_lower(copy[i]);
    *host = (struct span){copy, whole.len};
    return 0;
}

/* --- paths ----------------------------------------------------------------- */

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_unreserved(int c)
{
    return c < 0x80 && (is_alnum((char)c) || c == '-' || c == '.' || c == '_' || c == '~');
}

/* RFC 3986, 3.3: what a segment may hold besides unreserved and escapes. */
static bool is_path_byte(char c)
{
    return c && (is_unreserved((uint8_t)c) || strchr("!$&'()*+,;=:@/", c));
}

static int escape_check(struct arena *arena, struct span s, size_t at, const char **why)
{
    int high = at + 2 < s.len ? hex(s.ptr[at + 1]) : -1, low = high < 0 ? -1 : hex(s.ptr[at + 2]);
    int c = high * 16 + low;

    if (high < 0 || low < 0)
        return bad(why, "% begins an escape of two hexadecimal digits; itself it is %25");
    if (c == 0)
        return bad(why, "%00 is refused in every request");
    if (is_unreserved(c))
        return EXPLAIN(arena, why, "never matches: paths are compared with %%%c%c decoded to %c",
                       s.ptr[at + 1], s.ptr[at + 2], c);
    return 0;
}

/* No dot segments, no empty ones but the last. */
static int segments_check(struct span s, const char **why)
{
    for (size_t at = 1; at <= s.len;) {
        size_t end = at + span_find(span_after(s, at), '/');
        struct span part = {s.ptr + at, end - at};
        if (part.len == 0 && end < s.len)
            return bad(why, "never matches: paths are compared with runs of / merged");
        if (span_equal(part, SPAN(".")) || span_equal(part, SPAN("..")))
            return bad(why, "never matches: paths are compared without dot segments");
        at = end + 1;
    }
    return 0;
}

/* Bytes of a path; `extra` are allowed besides. */
static int bytes_check(struct arena *arena, struct span s, const char *extra, const char **why)
{
    if (s.len == 0 || s.ptr[0] != '/')
        return bad(why, "a path begins with /");
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '%') {
            int err = escape_check(arena, s, i, why);
            if (err < 0)
                return err;
        } else if (c == '?' || c == '#') {
            return bad(why, "a path ends before ? and #");
        } else if (c == '*' && !strchr(extra, '*')) {
            return bad(why, "a literal * in a path is written %2A");
        } else if (!is_path_byte(c) && !(c && strchr(extra, c))) {
            return EXPLAIN(arena, why, "in a path this byte is written %%%02X", (uint8_t)c);
        }
    }
    return segments_check(s, why);
}

int value_path(struct arena *arena, struct span text, const char **why)
{
    return bytes_check(arena, text, "", why);
}

static bool is_capture_name(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!is_alnum(s.ptr[i]) && s.ptr[i] != '_' && s.ptr[i] != '-')
            return false;
    return s.len > 0;
}

struct captures {
    struct span names[8];
    unsigned count;
};

static int capture_check(struct captures *c, struct span name, const char **why)
{
    if (!is_capture_name(name))
        return bad(why, "the name in {} is letters, digits, \"_\" and \"-\"");
    if (c->count == COUNT_OF(c->names))
        return bad(why, "more than 8 {names}");
    for (unsigned i = 0; i < c->count; i++)
        if (span_equal(c->names[i], name))
            return bad(why, "a {name} stands twice");
    c->names[c->count++] = name;
    return 0;
}

static int segment_check(struct captures *c, struct span part, bool last, const char **why)
{
    bool has_star = span_find(part, '*') < part.len;
    bool has_brace = span_find(part, '{') < part.len || span_find(part, '}') < part.len;

    if (span_equal(part, SPAN("*")))
        return last ? 0 : bad(why, "* stands only at the end: /api/*; in between it is {name}");
    if (!has_brace)
        return has_star ? bad(why, "* is a whole last segment; a literal * is written %2A") : 0;
    if (part.len < 2 || part.ptr[0] != '{' || part.ptr[part.len - 1] != '}')
        return bad(why, "{name} is a whole segment; literal braces are written %7B and %7D");
    struct span name = {part.ptr + 1, part.len - 2};
    if (name.len > 0 && name.ptr[name.len - 1] == '*') {
        if (!last)
            return bad(why, "{name*} stands only at the end");
        name.len--;
    }
    return capture_check(c, name, why);
}

int value_route_path(struct arena *arena, struct span text, const char **why)
{
    struct captures captures = {0};
    int err = bytes_check(arena, text, "*{}", why);

    for (size_t at = 1; err == 0 && at <= text.len;) {
        size_t end = at + span_find(span_after(text, at), '/');
        struct span part = {text.ptr + at, end - at};
        err = segment_check(&captures, part, end == text.len, why);
        at = end + 1;
    }
    return err;
}

/* --- networks -------------------------------------------------------------- */

static bool clear_host_bits(struct net *n)
{
    unsigned bytes = n->family == ADDRESS_IPV4 ? 4 : 16;
    bool were_set = false;

    for (unsigned i = 0; i < bytes; i++) {
        unsigned keep = n->bits > i * 8 ? n->bits - i * 8 : 0;
        uint8_t mask = (uint8_t)(keep >= 8 ? 0xff : 0xff << (8 - keep));
        were_set = were_set || (n->ip[i] & ~mask & 0xff);
        n->ip[i] &= mask;
    }
    return were_set;
}

int value_net(struct arena *arena, struct span text, struct net *net, const char **why)
{
    static const char shape[] =
        "a network is 10.0.0.0/8, 2001:db8::/32, 192.0.2.7, private or unix";
    size_t slash = span_find(text, '/');
    char printed[ADDRESS_TEXT_MAX];
    struct address a;
    uint64_t bits;

    if (span_equal(text, SPAN("unix"))) {
        *net = (struct net){.family = ADDRESS_UNIX};
        return 0;
    }
    if (address_parse_ip(&a, span_first(text, slash)) < 0)
        return bad(why, shape);
    uint64_t most = a.family == ADDRESS_IPV4 ? 32 : 128;
    bits = most;
    if (slash < text.len && (!span_number(span_after(text, slash + 1), &bits) || bits > most))
        return EXPLAIN(arena, why, "after the / stands a number up to %u", (unsigned)most);
    *net = (struct net){.family = a.family, .bits = (uint8_t)bits};
    memcpy(net->ip, a.ip, sizeof net->ip);
    if (!clear_host_bits(net))
        return 0;
    memcpy(a.ip, net->ip, sizeof a.ip);
    size_t len = address_print_ip(&a, printed);
    return EXPLAIN(arena, why, "the network is %.*s/%u", (int)len, printed, (unsigned)bits);
}
