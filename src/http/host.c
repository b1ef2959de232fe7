/* Host and :authority values (RFC 9110, 7.2; RFC 3986, 3.2.2).
 *
 * Names are what DNS and people use: letters, digits, '-', '.', '_', '~'.  RFC 3986
 * would also allow escapes and punctuation in a name; no host is called so, and
 * servers disagree about them, so they are refused.
 */
#include "http/chars.h"
#include "http/target.h"

#include "base/address.h"

enum { NAME_MAX_BYTES = 255 };

/* How many bytes make a name: labels, none empty, with dots between and perhaps one
 * behind for the root.  Ends before the first byte that does not fit. */
static size_t name_len(struct span s)
{
    const char *at = s.ptr, *end = s.ptr + s.len;

    for (;;) {
        const char *label = at;
        while (at < end && char_is(*at, CHAR_LABEL))
            at++;
        if (at == label || at == end || *at != '.')
            return (size_t)(at - s.ptr);
        at++;
    }
}

/* "[::1]"; no zone and no IPvFuture (RFC 3986, 3.2.2). */
static bool literal_is_valid(struct span s)
{
    struct span inside = {s.ptr + 1, s.len - 2};
    struct address address;

    for (size_t i = 0; i < inside.len; i++)
        if (!char_is(inside.ptr[i], CHAR_HEX) && inside.ptr[i] != ':' && inside.ptr[i] != '.')
            return false;
    return address_parse_ip(&address, inside) == 0 && address.family == ADDRESS_IPV6;
}

/* May be empty: "port = *DIGIT" (RFC 3986, 3.2.3). */
bool host_port_is_valid(struct span s)
{
    unsigned number = 0;

    if (s.len > 5)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        unsigned digit = (unsigned)(uint8_t)s.ptr[i] - '0';
        if (digit > 9)
            return false;
        number = number * 10 + digit;
    }
    return number <= 65535;
}

/* Name and port, both checked.  A name that is empty has no port either. */
static bool split(struct span authority, struct span *name, struct span *port)
{
    bool literal = authority.len > 0 && authority.ptr[0] == '[';
    size_t len = literal ? span_find(authority, ']') + 1 : name_len(authority);

    if (len > (literal ? authority.len : NAME_MAX_BYTES))
        return false;
    *name = span_first(authority, len);
    *port = span_after(authority, len);
    if (literal && !literal_is_valid(*name))
        return false;
    if (port->len == 0)
        return true;
    *port = span_after(*port, 1);
    return authority.ptr[len] == ':' && len > 0 && host_port_is_valid(*port);
}

bool host_is_valid(struct span authority)
{
    struct span name, port;

    return split(authority, &name, &port);
}

/* Eight at a time; what it is asked about is ASCII. */
static bool has_capital(struct span s)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t bytes, found = 0;

    if (s.len < 8) {
        for (size_t i = 0; i < s.len; i++)
            found |= (unsigned)(uint8_t)s.ptr[i] - 'A' < 26;
        return found != 0;
    }
    for (size_t i = 0, last = s.len - 8;; i = i + 8 < last ? i + 8 : last) {
        memcpy(&bytes, s.ptr + i, 8);
        found |= (bytes + ones * (0x80 - 'A')) & ~(bytes + ones * (0x80 - 'Z' - 1));
        if (i == last)
            return (found & (ones << 7)) != 0;
    }
}

struct span host_name_normalise(struct span name, char scratch[256])
{
    if (name.len > 0 && name.ptr[name.len - 1] == '.')
        name.len--;
    if (!has_capital(name))
        return name;
    for (size_t i = 0; i < name.len; i++)
        scratch[i] = ascii_lower(name.ptr[i]);
    return (struct span){scratch, name.len};
}

bool host_parse(struct span authority, char scratch[256], struct span *name, struct span *port)
{
    if (!split(authority, name, port))
        return false;
    *name = host_name_normalise(*name, scratch);
    return true;
}
