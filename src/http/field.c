/* Fields and their names.
 *
 * A known name is found by one look into a table of slots and one comparison:
 * length, first and last letter tell all of ours apart.
 */
#include "http/field.h"

#include "base/fail.h"
#include "http/chars.h"

#include <assert.h>

#define FIELD_ROW(id, text) [FIELD_##id] = SPAN_INIT(text),
static const struct span names[FIELD_COUNT] = {[FIELD_OTHER] = SPAN_INIT(""),
                                               FIELD_LIST(FIELD_ROW)};
#undef FIELD_ROW

static_assert(FIELD_COUNT <= 64, "struct fields keeps a bit for each");

/* Multipliers found by trying: no two names share a slot.  A new name that
 * shares one with another makes the test of this table fail, which then says
 * so; other multipliers (any odd ones under 64) are tried until it does not. */
static unsigned slot(struct span name)
{
    unsigned first = (uint8_t)name.ptr[0] | 0x20, last = (uint8_t)name.ptr[name.len - 1] | 0x20;

    return (35 * (unsigned)name.len + 27 * first + 59 * last) & 127;
}

static const uint8_t slots[128] = {
    [3] = FIELD_ACCEPT_RANGES,
    [5] = FIELD_ACCEPT_ENCODING,
    [9] = FIELD_FORWARDED,
    [10] = FIELD_COOKIE,
    [13] = FIELD_PROXY_AUTHENTICATE,
    [16] = FIELD_X_FORWARDED_PROTO,
    [19] = FIELD_UPGRADE,
    [20] = FIELD_X_FORWARDED_HOST,
    [28] = FIELD_CACHE_CONTROL,
    [35] = FIELD_IF_MATCH,
    [41] = FIELD_CONNECTION,
    [45] = FIELD_IF_MODIFIED_SINCE,
    [53] = FIELD_EXPECT,
    [54] = FIELD_VIA,
    [55] = FIELD_LAST_MODIFIED,
    [57] = FIELD_SERVER,
    [64] = FIELD_HOST,
    [65] = FIELD_REFERER,
    [67] = FIELD_PROXY_AUTHORIZATION,
    [70] = FIELD_SET_COOKIE,
    [73] = FIELD_TE,
    [76] = FIELD_TRANSFER_ENCODING,
    [77] = FIELD_RETRY_AFTER,
    [82] = FIELD_IF_NONE_MATCH,
    [83] = FIELD_CONTENT_LENGTH,
    [86] = FIELD_LOCATION,
    [87] = FIELD_ALLOW,
    [88] = FIELD_X_REQUEST_ID,
    [90] = FIELD_PROXY_CONNECTION,
    [92] = FIELD_CONTENT_TYPE,
    [94] = FIELD_CONTENT_ENCODING,
    [95] = FIELD_DATE,
    [97] = FIELD_VARY,
    [99] = FIELD_HTTP2_SETTINGS,
    [110] = FIELD_KEEP_ALIVE,
    [111] = FIELD_STRICT_TRANSPORT_SECURITY,
    [112] = FIELD_ETAG,
    [113] = FIELD_USER_AGENT,
    [114] = FIELD_IF_RANGE,
    [115] = FIELD_IF_UNMODIFIED_SINCE,
    [117] = FIELD_PROXY_STATUS,
    [119] = FIELD_TRAILER,
    [121] = FIELD_TRACEPARENT,
    [123] = FIELD_X_FORWARDED_FOR,
    [124] = FIELD_RANGE,
    [127] = FIELD_CONTENT_RANGE,
};

/* The eight or four bytes at p, letters in lower case.  OR makes lower-case
 * letters of upper-case ones and other bytes of a few more, none of them a
 * token's beside the '-', digits and letters that stand in our names. */
static uint64_t low8(const char *p)
{
    uint64_t word;

    memcpy(&word, p, sizeof word);
    return word | 0x2020202020202020;
}

static uint32_t low4(const char *p)
{
    uint32_t word;

    memcpy(&word, p, sizeof word);
    return word | 0x20202020;
}

/* Both are tokens of the same length. */
static bool same(const char *a, const char *b, size_t len)
{
    if (len >= 8) {
        size_t at = 0;
        for (; at + 8 < len; at += 8)
            if (low8(a + at) != low8(b + at))
                return false;
        return low8(a + len - 8) == low8(b + len - 8);
    }
    if (len >= 4)
        return low4(a) == low4(b) && low4(a + len - 4) == low4(b + len - 4);
    for (size_t i = 0; i < len; i++)
        if ((a[i] | 0x20) != (b[i] | 0x20))
            return false;
    return true;
}

enum field_id field_find_token(struct span name)
{
    enum field_id id = slots[slot(name)];

    return names[id].len == name.len && same(names[id].ptr, name.ptr, name.len) ? id : FIELD_OTHER;
}

enum field_id field_find(struct span name)
{
    return span_is_token(name) ? field_find_token(name) : FIELD_OTHER;
}

struct span field_name(enum field_id id)
{
    return names[id];
}

bool field_hop_by_hop(enum field_id id)
{
    switch (id) {
    case FIELD_CONNECTION:
    case FIELD_TRANSFER_ENCODING:
    case FIELD_UPGRADE:
    case FIELD_TE:
    case FIELD_KEEP_ALIVE:
    case FIELD_PROXY_CONNECTION:
    case FIELD_PROXY_AUTHENTICATE:
    case FIELD_PROXY_AUTHORIZATION:
    case FIELD_HTTP2_SETTINGS:
        return true;
    default:
        return false;
    }
}

const struct field *fields_get(const struct fields *f, enum field_id id)
{
    if (!(f->seen >> id & 1))
        return NULL;
    for (uint32_t i = 0; i < f->count; i++)
        if (f->list[i].id == id)
            return &f->list[i];
    return NULL;
}

const struct field *fields_find(const struct fields *f, struct span name)
{
    enum field_id id = field_find(name);

    if (id != FIELD_OTHER)
        return fields_get(f, id);
    for (uint32_t i = 0; i < f->count; i++)
        if (f->list[i].id == FIELD_OTHER && span_equal_nocase(f->list[i].name, name))
            return &f->list[i];
    return NULL;
}

unsigned fields_number(const struct fields *f, enum field_id id)
{
    unsigned number = 0;

    if (!(f->seen >> id & 1))
        return 0;
    for (uint32_t i = 0; i < f->count; i++)
        number += f->list[i].id == id;
    return number;
}

int fields_add(struct fields *f, enum field_id id, struct span name, struct span value)
{
    if (f->count == f->max)
        return FAIL_FULL;
    f->list[f->count++] = (struct field){name, value, (uint16_t)id};
    f->seen |= (uint64_t)1 << id;
    return 0;
}

/* The length of the member at the start of s: to the comma that is in no
 * quoted string.  A quote that is not closed runs to the end. */
static size_t member_len(struct span s)
{
    bool quoted = false;
    size_t i = 0;

    for (; i < s.len; i++) {
        if (s.ptr[i] == '"')
            quoted = !quoted;
        else if (quoted && s.ptr[i] == '\\' && i + 1 < s.len)
            i++;
        else if (!quoted && s.ptr[i] == ',')
            break;
    }
    return i;
}

bool field_item(struct span *rest, struct span *item)
{
    while (rest->len > 0) {
        size_t len = member_len(*rest);
        *item = span_trim(span_first(*rest, len));
        *rest = span_after(*rest, len < rest->len ? len + 1 : len);
        if (item->len > 0)
            return true;
    }
    return false;
}

bool fields_has_item(const struct fields *f, enum field_id id, struct span wanted)
{
    if (!(f->seen >> id & 1))
        return false;
    for (uint32_t i = 0; i < f->count; i++) {
        struct span rest = f->list[i].value, item;
        if (f->list[i].id != id)
            continue;
        while (field_item(&rest, &item))
            if (span_equal_nocase(item, wanted))
                return true;
    }
    return false;
}

static bool all_are(struct span s, int class)
{
    for (size_t i = 0; i < s.len; i++)
        if (!char_is(s.ptr[i], class))
            return false;
    return true;
}

bool span_is_token(struct span s)
{
    return s.len > 0 && all_are(s, CHAR_TOKEN);
}

bool span_is_field_value(struct span s)
{
    return all_are(s, CHAR_VALUE);
}
