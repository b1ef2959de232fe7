/* Fields and their names.
 *
 * A known name is found by one look into a table of slots and one comparison:
 * length, first and last letter tell all of ours apart.
 */
#include "http/field.h"

#include "http/chars.h"
#include "http/field_slots.h"

#include <assert.h>

#define FIELD_ROW(id, text) [FIELD_##id] = SPAN_INIT(text),
const struct span field_names[FIELD_COUNT] = {[FIELD_OTHER] = SPAN_INIT(""), FIELD_LIST(FIELD_ROW)};
#undef FIELD_ROW

static_assert(FIELD_COUNT <= 64, "struct fields keeps a bit for each");

/* No two names share a slot: the multipliers of field_slot() were found by trying.
 * A new name that shares one with another makes the test of this table fail, which then
 * says so; other multipliers are tried until it does not. */
const uint8_t field_slots[128] = {
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

enum field_id field_find_token(struct span name)
{
    return field_look_up(name);
}

enum field_id field_find(struct span name)
{
    return span_is_token(name) ? field_find_token(name) : FIELD_OTHER;
}

struct span field_name(enum field_id id)
{
    return field_names[id];
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

/* Those of the kinds below that nothing else here looks at. */
static bool name_may_trail(struct span name)
{
    static const struct span never[] = {
        SPAN_INIT("authorization"), SPAN_INIT("www-authenticate"), SPAN_INIT("max-forwards"),
        SPAN_INIT("content-md5"),   SPAN_INIT("content-language"), SPAN_INIT("content-location"),
        SPAN_INIT("age"),           SPAN_INIT("expires"),          SPAN_INIT("pragma"),
        SPAN_INIT("x-real-ip"),
    };

    for (size_t i = 0; i < COUNT_OF(never); i++)
        if (span_equal_nocase(name, never[i]))
            return false;
    return true;
}

/* RFC 9110, 6.5.1: what frames, routes, authenticates, modifies the request or
 * describes the content may not come after it. */
bool field_may_trail(enum field_id id, struct span name)
{
    switch (id) {
    case FIELD_OTHER:
        return name_may_trail(name);
    case FIELD_DATE:
    case FIELD_SERVER:
    case FIELD_VIA:
    case FIELD_ETAG:
    case FIELD_LAST_MODIFIED:
    case FIELD_PROXY_STATUS:
    case FIELD_X_REQUEST_ID:
    case FIELD_TRACEPARENT:
        return true;
    default:
        return false;
    }
}

bool field_is_disguised(const struct field *f)
{
    char name[64];

    if (f->id != FIELD_OTHER || f->name.len > sizeof name || span_find(f->name, '_') == f->name.len)
        return false;
    for (size_t i = 0; i < f->name.len; i++)
        name[i] = f->name.ptr[i] == '_' ? '-' : f->name.ptr[i];
    return field_find((struct span){name, f->name.len}) != FIELD_OTHER;
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
    return fields_pass(f, &(struct field){name, value, (uint16_t)id, false});
}

/* The length of what stands at the start of s: to the separator that is in no
 * quoted string.  A quote that is not closed runs to the end. */
static size_t member_len(struct span s, char separator)
{
    bool quoted = false;
    size_t i = 0;

    for (; i < s.len; i++) {
        if (s.ptr[i] == '"')
            quoted = !quoted;
        else if (quoted && s.ptr[i] == '\\' && i + 1 < s.len)
            i++;
        else if (!quoted && s.ptr[i] == separator)
            break;
    }
    return i;
}

/* The first len bytes are an item, the separator behind it goes.  False: it is empty. */
static bool take_item(struct span *rest, struct span *item, size_t len)
{
    *item = span_trim(span_first(*rest, len));
    *rest = span_after(*rest, len < rest->len ? len + 1 : len);
    return item->len > 0;
}

bool field_item(struct span *rest, struct span *item)
{
    while (rest->len > 0)
        if (take_item(rest, item, member_len(*rest, ',')))
            return true;
    return false;
}

bool field_parameter(struct span *rest, struct span *item)
{
    while (rest->len > 0)
        if (take_item(rest, item, member_len(*rest, ';')))
            return true;
    return false;
}

bool field_piece(struct span *rest, struct span *item)
{
    while (rest->len > 0)
        if (take_item(rest, item, span_find(*rest, ',')))
            return true;
    return false;
}

/* The length of the quoted string at the start of s; 0: it is not closed. */
static size_t quoted_len(struct span s)
{
    for (size_t i = 1; i < s.len; i++) {
        if (s.ptr[i] == '"')
            return i + 1;
        i += s.ptr[i] == '\\';
    }
    return 0;
}

/* Every quote opens where a value begins and closes where it ends (RFC 7239, 4): who reads
 * quotes in another way would find other elements. */
static bool values_are_quoted_well(struct span s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] != '"')
            continue;
        size_t len = i > 0 && s.ptr[i - 1] == '=' ? quoted_len(span_after(s, i)) : 0;
        i += len;
        if (len == 0 || (i < s.len && !memchr(",; \t", s.ptr[i], 4)))
            return false;
    }
    return true;
}

struct span field_hops(const struct field *f)
{
    struct span rest = f->value, hops = f->value, piece;

    if (f->id == FIELD_FORWARDED)
        return values_are_quoted_well(hops) ? hops : (struct span){0};
    while (field_piece(&rest, &piece)) {
        bool whole = piece.ptr[0] == '"' && quoted_len(piece) == piece.len;
        if (!whole && span_find(piece, '"') < piece.len)
            hops = span_trim(rest);
    }
    return hops;
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

bool field_passes_interim(const struct fields *fields, const struct field *f)
{
    enum field_id id = (enum field_id)f->id;

    return !field_hop_by_hop(id) && id != FIELD_CONTENT_LENGTH && id != FIELD_TRAILER &&
           !fields_has_item(fields, FIELD_CONNECTION, f->name);
}

static inline bool all_are(struct span s, int class)
{
    const char *at = s.ptr, *end = s.ptr + s.len;

    while (at < end && char_is(*at, class))
        at++;
    return at == end;
}

bool span_is_token(struct span s)
{
    return s.len > 0 && all_are(s, CHAR_TOKEN);
}

/* Every value that is written passes here. */
bool span_is_field_value(struct span s)
{
    uint64_t found;

    if (s.len < 8)
        return all_are(s, CHAR_VALUE);
    const char *at = s.ptr, *last = s.ptr + s.len - 8;
    for (found = char_controls8(last); at < last; at += 8)
        found |= char_controls8(at);
    return !found || all_are(s, CHAR_VALUE);
}
