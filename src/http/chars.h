/* What each byte may be in HTTP, one bit a class. */
#ifndef HEADGATE_HTTP_CHARS_H
#define HEADGATE_HTTP_CHARS_H

#include "base/span.h"

enum {
    CHAR_TOKEN = 1,      /* tchar (RFC 9110, 5.6.2) */
    CHAR_VALUE = 2,      /* field value: no control but HTAB (RFC 9110, 5.5) */
    CHAR_TARGET = 4,     /* visible ASCII but '#': what we take in a target */
    CHAR_UNRESERVED = 8, /* RFC 3986, 2.3 */
    CHAR_PLAIN = 16, /* may stand in a normal path, and says nothing there: pchar but '%', '.' */
    CHAR_LABEL = 32, /* in a label of a host name as people use them: unreserved but '.' */
    CHAR_HEX = 64,
    CHAR_DIGIT = 128,
};

extern const uint8_t http_chars[256];

static inline bool char_is(char c, int class)
{
    return (http_chars[(uint8_t)c] & class) != 0;
}

/* Which of eight bytes may be no CHAR_VALUE, at their top bits: HTAB is among them.
 * Adding to the lower seven bits of a byte carries into its own top bit and no further. */
static inline uint64_t char_controls8(const char *at)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), tops = ones << 7;
    uint64_t bytes, low;

    memcpy(&bytes, at, sizeof bytes);
    low = bytes & ~tops;
    return (~(low + ones * 0x60) | (low + ones)) & ~bytes & tops;
}

/* Of a character that is CHAR_HEX. */
static inline unsigned char_hex(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a' + 10);
}

/* Two hexadecimal digits after a '%' at s[at]; -1 when they are not there. */
static inline int char_escaped(struct span s, size_t at)
{
    if (s.len - at < 3 || !char_is(s.ptr[at + 1], CHAR_HEX) || !char_is(s.ptr[at + 2], CHAR_HEX))
        return -1;
    return (int)(char_hex(s.ptr[at + 1]) << 4 | char_hex(s.ptr[at + 2]));
}

#endif
