/* A JSON reader that looks for two keys.
 *
 * It goes over the content once.  Strings are checked (escapes, surrogates,
 * UTF-8) as they are passed and decoded only if they are wanted and have
 * escapes, so the common event is read without copying a byte.
 *
 * Functions answer false after setting `why`, the reason for the client.
 */
#include "modules/1mrc/event.h"

#include "base/fail.h"
#include "base/number.h"

struct reader {
    const char *at, *end;
    const char *why;
};

/* What stands between the quotes. */
struct text {
    struct span raw;
    bool escaped;
};

static bool refuse(struct reader *r, const char *why)
{
    if (!r->why)
        r->why = why;
    return false;
}

/* Something else stands here, or nothing any more. */
static bool refuse_here(struct reader *r, const char *why)
{
    return refuse(r, r->at == r->end ? "the content ends early" : why);
}

static void skip_space(struct reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t'))
        r->at++;
}

/* The next byte that is not space; 0, which no JSON has there, at the end. */
static char peek(struct reader *r)
{
    skip_space(r);
    return r->at < r->end ? *r->at : 0;
}

static bool expect(struct reader *r, char c, const char *why)
{
    if (peek(r) != c)
        return refuse_here(r, why);
    r->at++;
    return true;
}

/* --- strings ---------------------------------------------------------------- */

/* How many of eight bytes come before one that needs a look: a quote, a
 * backslash, a control character or one beyond ASCII.  The usual trick: x - 1
 * borrows through the top bit of a byte that is 0, and can be wrong only about
 * bytes that follow such a one. */
static unsigned plain_bytes(const char *at)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), tops = ones << 7;
    uint64_t x;

    memcpy(&x, at, sizeof x);
    if (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)
        x = __builtin_bswap64(x);
    uint64_t quote = x ^ (ones * '"'), backslash = x ^ (ones * '\\');
    uint64_t look = (x | (x - ones * 0x20) | (quote - ones) | (backslash - ones)) & tops;
    return look ? (unsigned)__builtin_ctzll(look) / 8 : 8;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Four hex digits; -1 when they are not. */
static int hex_four(const char *at, const char *end)
{
    int n = 0;

    if (end - at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(at[i]);
        if (digit < 0)
            return -1;
        n = n << 4 | digit;
    }
    return n;
}

static bool is_high_surrogate(int unit)
{
    return unit >= 0xd800 && unit <= 0xdbff;
}

static bool is_low_surrogate(int unit)
{
    return unit >= 0xdc00 && unit <= 0xdfff;
}

/* At a backslash.  RFC 8259, 7; a surrogate without its partner is no
 * character, so it cannot be part of anybody's id. */
static bool skip_escape(struct reader *r)
{
    char c = ++r->at < r->end ? *r->at++ : 0;

    if (c != 'u') {
        if (c == 0 || !strchr("\"\\/bfnrt", c))
            return refuse(r, "a string has an escape that JSON does not know");
        return true;
    }
    int unit = hex_four(r->at, r->end);
    if (unit < 0)
        return refuse(r, "a string has \\u without four hex digits");
    r->at += 4;
    if (is_low_surrogate(unit))
        return refuse(r, "a string has half of a surrogate pair");
    if (!is_high_surrogate(unit))
        return true;
    if (r->end - r->at < 6 || r->at[0] != '\\' || r->at[1] != 'u' ||
        !is_low_surrogate(hex_four(r->at + 2, r->end)))
        return refuse(r, "a string has half of a surrogate pair");
    r->at += 6;
    return true;
}

/* At a byte beyond ASCII.  RFC 3629, 4: the first byte gives the length and,
 * against overlong forms, surrogates and what is above U+10FFFF, the range of
 * the second. */
static bool skip_utf8(struct reader *r)
{
    const unsigned char *p = (const unsigned char *)r->at;
    size_t left = (size_t)(r->end - r->at);
    size_t more = p[0] >= 0xf0 ? 3 : p[0] >= 0xe0 ? 2 : 1;
    unsigned from = 0x80, to = 0xbf;

    if (p[0] == 0xe0)
        from = 0xa0;
    else if (p[0] == 0xed)
        to = 0x9f;
    else if (p[0] == 0xf0)
        from = 0x90;
    else if (p[0] == 0xf4)
        to = 0x8f;
    if (p[0] < 0xc2 || p[0] > 0xf4 || left <= more || p[1] < from || p[1] > to)
        return refuse(r, "a string is not UTF-8");
    for (size_t i = 2; i <= more; i++)
        if (p[i] < 0x80 || p[i] > 0xbf)
            return refuse(r, "a string is not UTF-8");
    r->at += more + 1;
    return true;
}

/* At the opening quote; leaves r behind the closing one. */
static bool read_string(struct reader *r, struct text *t)
{
    const char *start = ++r->at;

    t->escaped = false;
    for (;;) {
        for (unsigned plain = 8; plain == 8 && r->end - r->at >= 8;)
            r->at += plain = plain_bytes(r->at);
        if (r->at == r->end)
            return refuse(r, "the content ends in a string");
        unsigned char c = (unsigned char)*r->at;
        if (c == '"')
            break;
        if (c < 0x20)
            return refuse(r, "a string has a control character");
        if (c == '\\') {
            t->escaped = true;
            if (!skip_escape(r))
                return false;
        } else if (c >= 0x80) {
            if (!skip_utf8(r))
                return false;
        } else {
            r->at++;
        }
    }
    t->raw = (struct span){start, (size_t)(r->at - start)};
    r->at++;
    return true;
}

static size_t put_utf8(char *to, uint32_t c)
{
    if (c < 0x80) {
        to[0] = (char)c;
        return 1;
    }
    size_t more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const unsigned char lead[] = {0, 0xc0, 0xe0, 0xf0};
    to[0] = (char)(lead[more] | c >> (6 * more));
    for (size_t i = 1; i <= more; i++)
        to[i] = (char)(0x80 | ((c >> (6 * (more - i))) & 0x3f));
    return more + 1;
}

/* One character of a checked string, from behind its backslash. */
static uint32_t escaped_character(const char **at, const char *end)
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    char c = *(*at)++;

    if (c != 'u') {
        const char *found = strchr(from, c);
        return (uint32_t)(found ? to[found - from] : c);
    }
    uint32_t unit = (uint32_t)hex_four(*at, end);
    *at += 4;
    if (!is_high_surrogate((int)unit))
        return unit;
    uint32_t low = (uint32_t)hex_four(*at + 2, end);
    *at += 6;
    return 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
}

/* Decodes a checked string into room for max bytes; false when it is longer. */
static bool decode(struct span raw, char *to, size_t max, size_t *len)
{
    const char *at = raw.ptr, *end = raw.ptr + raw.len;
    size_t n = 0;

    while (at < end) {
        char bytes[4];
        size_t count = 1;
        bytes[0] = *at++;
        if (bytes[0] == '\\')
            count = put_utf8(bytes, escaped_character(&at, end));
        if (count > max - n)
            return false;
        memcpy(to + n, bytes, count);
        n += count;
    }
    *len = n;
    return true;
}

/* --- values ----------------------------------------------------------------- */

static bool skip_number(struct reader *r)
{
    size_t used;
    double value;
    int err = number_read((struct span){r->at, (size_t)(r->end - r->at)}, &used, &value);

    if (err != 0 && err != FAIL_FULL) /* too large is still a number, and none of ours */
        return refuse(r, "a value is not JSON");
    r->at += used;
    return true;
}

static bool skip_word(struct reader *r, struct span word)
{
    if (!span_starts((struct span){r->at, (size_t)(r->end - r->at)}, word))
        return refuse(r, "a value is not JSON");
    r->at += word.len;
    return true;
}

static bool skip_value(struct reader *r, unsigned depth);

/* Behind the opening bracket or brace. */
static bool skip_members(struct reader *r, bool object, unsigned depth)
{
    const char close = object ? '}' : ']';
    struct text key;

    if (peek(r) == close) {
        r->at++;
        return true;
    }
    for (;;) {
        if (object) {
            if (peek(r) != '"')
                return refuse_here(r, "a key is not a string");
            if (!read_string(r, &key) || !expect(r, ':', "a key without a colon"))
                return false;
        }
        if (!skip_value(r, depth))
            return false;
        if (peek(r) == close) {
            r->at++;
            return true;
        }
        if (!expect(r, ',', "a comma is missing"))
            return false;
    }
}

static bool skip_value(struct reader *r, unsigned depth)
{
    struct text ignored;

    switch (peek(r)) {
    case '"':
        return read_string(r, &ignored);
    case '{':
    case '[':
        if (depth == EVENT_DEPTH_MAX)
            return refuse(r, "values are nested too deeply");
        return skip_members(r, *r->at++ == '{', depth + 1);
    case 't':
        return skip_word(r, SPAN("true"));
    case 'f':
        return skip_word(r, SPAN("false"));
    case 'n':
        return skip_word(r, SPAN("null"));
    default:
        return skip_number(r);
    }
}

/* --- the event -------------------------------------------------------------- */

static bool read_user(struct reader *r, char *scratch, size_t user_max, struct event *out)
{
    struct text t;

    if (out->user.ptr)
        return refuse(r, "userId is there twice");
    if (peek(r) != '"')
        return refuse_here(r, "userId is not a string");
    if (!read_string(r, &t))
        return false;
    out->user = t.raw;
    if (t.escaped) {
        out->user.ptr = scratch;
        if (!decode(t.raw, scratch, user_max, &out->user.len))
            return refuse(r, "userId is too long");
    }
    if (out->user.len == 0)
        return refuse(r, "userId is empty");
    if (out->user.len > user_max)
        return refuse(r, "userId is too long");
    return true;
}

static bool read_value(struct reader *r, bool *have, struct event *out)
{
    size_t used;

    if (*have)
        return refuse(r, "value is there twice");
    skip_space(r);
    int err = number_read((struct span){r->at, (size_t)(r->end - r->at)}, &used, &out->value);
    if (err)
        return refuse(r, err == FAIL_FULL ? "value is beyond the range of a double"
                                          : "value is not a number");
    r->at += used;
    *have = true;
    return true;
}

/* The key itself: its few bytes decoded if it has escapes. */
static struct span key_of(struct text t, char *room, size_t size)
{
    if (!t.escaped)
        return t.raw;
    struct span key = {room, 0};
    if (!decode(t.raw, room, size, &key.len))
        key.len = 0; /* longer than any we know */
    return key;
}

static bool read_members(struct reader *r, char *scratch, size_t user_max, struct event *out)
{
    bool have_value = false;
    char room[8];
    struct text t;

    if (peek(r) == '}')
        return refuse(r, "userId is missing");
    do {
        if (peek(r) != '"')
            return refuse_here(r, "a key is not a string");
        if (!read_string(r, &t) || !expect(r, ':', "a key without a colon"))
            return false;
        struct span key = key_of(t, room, sizeof room);
        bool ok = span_equal(key, SPAN("userId"))  ? read_user(r, scratch, user_max, out)
                  : span_equal(key, SPAN("value")) ? read_value(r, &have_value, out)
                                                   : skip_value(r, 0);
        if (!ok)
            return false;
    } while (peek(r) == ',' && r->at++);
    if (!expect(r, '}', "a comma or the closing brace is missing"))
        return false;
    if (!out->user.ptr)
        return refuse(r, "userId is missing");
    return have_value || refuse(r, "value is missing");
}

const char *event_read(struct span content, char *scratch, size_t user_max, struct event *out)
{
    struct reader r = {content.ptr, content.ptr + content.len, NULL};

    *out = (struct event){0};
    if (!expect(&r, '{', "the content is not a JSON object"))
        return r.why;
    if (!read_members(&r, scratch, user_max, out))
        return r.why;
    peek(&r);
    return r.at == r.end ? NULL : "something follows the JSON object";
}
