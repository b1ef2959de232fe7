/* What a request asks of a file; see negotiate.h. */
#include "modules/static/negotiate.h"

/* --- codings ---------------------------------------------------------------------------- */

/* A weight of zero, in any of its spellings: "0", "0.0", "0.000". */
static bool weight_is_zero(struct span params)
{
    size_t at = span_find(params, 'q');

    if (at + 1 >= params.len || params.ptr[at + 1] != '=')
        return false;
    for (size_t i = at + 2; i < params.len; i++)
        if (params.ptr[i] >= '1' && params.ptr[i] <= '9')
            return false;
    return true;
}

unsigned codings_accepted(const struct fields *fields)
{
    static const struct span names[CODING_COUNT] = {
        [CODING_BR] = SPAN_INIT("br"),
        [CODING_GZIP] = SPAN_INIT("gzip"),
        [CODING_ZSTD] = SPAN_INIT("zstd"),
    };
    unsigned accepted = 0, refused = 0;
    bool any = false;

    for (unsigned i = 0; i < fields->count; i++) {
        struct span rest = fields->list[i].value, item;
        if (fields->list[i].id != FIELD_ACCEPT_ENCODING)
            continue;
        while (field_item(&rest, &item)) {
            size_t end = span_find(item, ';');
            struct span name = span_trim(span_first(item, end));
            bool zero = weight_is_zero(span_after(item, end));
            if (span_equal(name, SPAN("*")))
                any = !zero;
            for (unsigned c = 0; c < CODING_COUNT; c++)
                if (span_equal_nocase(name, names[c])) {
                    if (zero)
                        refused |= 1u << c;
                    else
                        accepted |= 1u << c;
                }
        }
    }
    return any ? ((1u << CODING_COUNT) - 1) & ~refused : accepted & ~refused;
}

/* --- conditions -------------------------------------------------------------------------- */

/* Our tags are strong; a weak comparison ignores the other's W/. */
static bool tag_matches(struct span item, struct span etag, bool weak)
{
    if (span_equal(item, SPAN("*")))
        return true;
    if (span_starts(item, SPAN("W/"))) {
        if (!weak)
            return false;
        item = span_after(item, 2);
    }
    return span_equal(item, etag);
}

static bool tags_match(const struct fields *fields, enum field_id id, struct span etag, bool weak)
{
    for (unsigned i = 0; i < fields->count; i++) {
        struct span rest = fields->list[i].value, item;
        if (fields->list[i].id != id)
            continue;
        while (field_item(&rest, &item))
            if (tag_matches(item, etag, weak))
                return true;
    }
    return false;
}

static bool date_field(const struct fields *fields, enum field_id id, int64_t *s)
{
    const struct field *f = fields_get(fields, id);

    return f && clock_parse_http(f->value, s);
}

int conditions_check(const struct fields *fields, enum method method, const struct validator *v)
{
    bool read = method == METHOD_GET || method == METHOD_HEAD;
    int64_t date;

    if (fields_get(fields, FIELD_IF_MATCH)) {
        if (!tags_match(fields, FIELD_IF_MATCH, v->etag, false))
            return 412;
    } else if (date_field(fields, FIELD_IF_UNMODIFIED_SINCE, &date) && v->modified_s > date) {
        return 412;
    }
    if (fields_get(fields, FIELD_IF_NONE_MATCH)) {
        if (tags_match(fields, FIELD_IF_NONE_MATCH, v->etag, true))
            return read ? 304 : 412;
    } else if (read && date_field(fields, FIELD_IF_MODIFIED_SINCE, &date) &&
               v->modified_s <= date) {
        return 304;
    }
    return 0;
}

/* --- ranges --------------------------------------------------------------------------------- */

static bool range_still_valid(const struct fields *fields, const struct validator *v)
{
    const struct field *f = fields_get(fields, FIELD_IF_RANGE);
    int64_t date;

    if (!f)
        return true;
    if (f->value.len > 0 && (f->value.ptr[0] == '"' || f->value.ptr[0] == 'W'))
        return span_equal(f->value, v->etag);
    return clock_parse_http(f->value, &date) && date == v->modified_s;
}

enum range_outcome range_find(const struct fields *fields, const struct validator *v, uint64_t size,
                              uint64_t *offset, uint64_t *len)
{
    const struct field *f = fields_get(fields, FIELD_RANGE);
    uint64_t first, last;

    if (!f || fields_number(fields, FIELD_RANGE) > 1 || !span_starts(f->value, SPAN("bytes=")))
        return RANGE_NONE;
    struct span spec = span_trim(span_after(f->value, 6));
    size_t dash = span_find(spec, '-');
    if (dash == spec.len || span_find(spec, ',') < spec.len || !range_still_valid(fields, v))
        return RANGE_NONE;
    struct span from = span_first(spec, dash), to = span_after(spec, dash + 1);
    if (from.len == 0) { /* the last so many */
        if (!span_number(to, &last))
            return RANGE_NONE;
        if (last == 0 || size == 0)
            return RANGE_UNSATISFIABLE;
        *len = last < size ? last : size;
        *offset = size - *len;
        return RANGE_ONE;
    }
    if (!span_number(from, &first))
        return RANGE_NONE;
    last = size ? size - 1 : 0;
    if (to.len > 0) {
        uint64_t asked;
        if (!span_number(to, &asked) || asked < first)
            return RANGE_NONE;
        if (asked < last)
            last = asked;
    }
    if (first >= size)
        return RANGE_UNSATISFIABLE;
    *offset = first;
    *len = last - first + 1;
    return RANGE_ONE;
}

/* --- types ------------------------------------------------------------------------------------ */

struct type_row {
    struct span extension, type;
};

static const struct type_row types[] = {
    {SPAN_INIT("html"), SPAN_INIT("text/html; charset=utf-8")},
    {SPAN_INIT("htm"), SPAN_INIT("text/html; charset=utf-8")},
    {SPAN_INIT("css"), SPAN_INIT("text/css; charset=utf-8")},
    {SPAN_INIT("js"), SPAN_INIT("text/javascript; charset=utf-8")},
    {SPAN_INIT("mjs"), SPAN_INIT("text/javascript; charset=utf-8")},
    {SPAN_INIT("json"), SPAN_INIT("application/json")},
    {SPAN_INIT("map"), SPAN_INIT("application/json")},
    {SPAN_INIT("webmanifest"), SPAN_INIT("application/manifest+json")},
    {SPAN_INIT("xml"), SPAN_INIT("application/xml")},
    {SPAN_INIT("txt"), SPAN_INIT("text/plain; charset=utf-8")},
    {SPAN_INIT("md"), SPAN_INIT("text/markdown; charset=utf-8")},
    {SPAN_INIT("csv"), SPAN_INIT("text/csv; charset=utf-8")},
    {SPAN_INIT("svg"), SPAN_INIT("image/svg+xml")},
    {SPAN_INIT("png"), SPAN_INIT("image/png")},
    {SPAN_INIT("jpg"), SPAN_INIT("image/jpeg")},
    {SPAN_INIT("jpeg"), SPAN_INIT("image/jpeg")},
    {SPAN_INIT("gif"), SPAN_INIT("image/gif")},
    {SPAN_INIT("webp"), SPAN_INIT("image/webp")},
    {SPAN_INIT("avif"), SPAN_INIT("image/avif")},
    {SPAN_INIT("ico"), SPAN_INIT("image/vnd.microsoft.icon")},
    {SPAN_INIT("woff"), SPAN_INIT("font/woff")},
    {SPAN_INIT("woff2"), SPAN_INIT("font/woff2")},
    {SPAN_INIT("ttf"), SPAN_INIT("font/ttf")},
    {SPAN_INIT("otf"), SPAN_INIT("font/otf")},
    {SPAN_INIT("pdf"), SPAN_INIT("application/pdf")},
    {SPAN_INIT("wasm"), SPAN_INIT("application/wasm")},
    {SPAN_INIT("zip"), SPAN_INIT("application/zip")},
    {SPAN_INIT("gz"), SPAN_INIT("application/gzip")},
    {SPAN_INIT("mp3"), SPAN_INIT("audio/mpeg")},
    {SPAN_INIT("ogg"), SPAN_INIT("audio/ogg")},
    {SPAN_INIT("mp4"), SPAN_INIT("video/mp4")},
    {SPAN_INIT("webm"), SPAN_INIT("video/webm")},
};

struct span type_of(struct span name, const struct lines *more)
{
    size_t dot = name.len;

    while (dot > 0 && name.ptr[dot - 1] != '.' && name.ptr[dot - 1] != '/')
        dot--;
    if (dot == 0 || name.ptr[dot - 1] != '.')
        return SPAN("application/octet-stream");
    struct span extension = span_after(name, dot);
    for (unsigned i = 0; i < more->count; i++)
        if (span_equal_nocase(more->list[i].words.list[0], extension))
            return more->list[i].words.list[1];
    for (size_t i = 0; i < COUNT_OF(types); i++)
        if (span_equal_nocase(types[i].extension, extension))
            return types[i].type;
    return SPAN("application/octet-stream");
}
