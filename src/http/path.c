/* Paths in their one normal form (RFC 3986, 6.2.2), and percent escapes.
 *
 * Most paths are normal already, which one look at each byte proves.  The
 * others are written anew, segment by segment: a segment is known to be a dot
 * segment only once its escapes are decoded, so it is written first and taken
 * back then.
 */
#include "http/chars.h"
#include "http/target.h"

/* Is it "." or "..", perhaps with parameters, which some servers cut off
 * before they look (and others after decoding "%3B")? */
static bool looks_like_dots(const char *at, const char *end)
{
    size_t dots = 0;

    while (at < end && *at == '.') {
        dots++;
        at++;
    }
    if (dots < 1 || dots > 2)
        return false;
    return at == end || *at == ';' || (end - at >= 3 && memcmp(at, "%3B", 3) == 0);
}

static bool is_dots(const char *at, const char *end, size_t dots)
{
    return (size_t)(end - at) == dots && memcmp(at, "..", dots) == 0;
}

/* Does a part that begins here look like dots?  It ends at a separator, encoded or not. */
static bool dots_begin(struct span s, size_t at)
{
    struct span rest = span_after(s, at);
    size_t dots = rest.len > 1 && rest.ptr[1] == '.' ? 2 : 1;

    rest = span_after(rest, dots);
    return rest.len == 0 || rest.ptr[0] == '/' || rest.ptr[0] == ';' ||
           span_starts(rest, SPAN("%3B")) || span_starts(rest, SPAN("%2F")) ||
           span_starts(rest, SPAN("%5C"));
}

/* The byte of an escape that would be written just so; -1 otherwise. */
static int normal_escape(struct span s, size_t at)
{
    int byte = char_escaped(s, at);

    if (byte <= 0 || char_is((char)byte, CHAR_UNRESERVED) || s.ptr[at + 1] >= 'a' ||
        s.ptr[at + 2] >= 'a')
        return -1;
    return byte;
}

/* Is it in normal form already?  Then all is known about it. */
static bool is_normal(struct span s, bool *has_encoded_slash)
{
    const char *at = s.ptr, *const end = s.ptr + s.len;
    const char *part = NULL; /* begins behind the last separator */
    int byte;

    for (;; at++) {
        while (at < end && char_is(*at, CHAR_PLAIN))
            at++;
        if (at == end)
            return true;
        size_t i = (size_t)(at - s.ptr);
        if (*at == '/') {
            if (i > 0 && at[-1] == '/')
                return false;
            part = at + 1;
        } else if (*at == '.') {
            if (part == at && dots_begin(s, i))
                return false;
        } else if (*at == '%' && (byte = normal_escape(s, i)) > 0) {
            at += 2;
            if (byte == '/' || byte == '\\') {
                *has_encoded_slash = true;
                part = at + 1;
            }
        } else {
            return false;
        }
    }
}

/* What remains to be allowed for when some bytes become escapes. */
static size_t room_for(struct span s)
{
    size_t room = s.len;

    for (size_t i = 0; i < s.len; i++)
        room += char_is(s.ptr[i], CHAR_PLAIN) ? 0 : 2;
    return room;
}

/* What has been written: at `out` a path that begins with '/', `segment`
 * behind its last '/'. */
struct writing {
    char *out, *at, *segment;
    struct path *path;
};

static void put(struct writing *w, char c)
{
    *w->at++ = c;
}

static void put_escape(struct writing *w, uint8_t byte)
{
    static const char digits[] = "0123456789ABCDEF";

    put(w, '%');
    put(w, digits[byte >> 4]);
    put(w, digits[byte & 15]);
}

/* One segment of s from i on, decoded; returns where it ends, or s.len + 1 for
 * a bad one.  What lies between separators, encoded ones too, may not
 * look like dots unless the whole segment is exactly that. */
static size_t put_segment(struct writing *w, struct span s, size_t i)
{
    const char *part = w->at;
    bool parts = false;

    while (i < s.len && s.ptr[i] != '/') {
        char c = s.ptr[i];
        if (c == '%') {
            int byte = char_escaped(s, i);
            if (byte <= 0)
                return s.len + 1;
            bool separator = byte == '/' || byte == '\\';
            if (separator && looks_like_dots(part, w->at))
                return s.len + 1;
            if (char_is((char)byte, CHAR_UNRESERVED))
                put(w, (char)byte);
            else
                put_escape(w, (uint8_t)byte);
            if (separator) {
                part = w->at;
                parts = w->path->has_encoded_slash = true;
            }
            i += 3;
            continue;
        }
        if (char_is(c, CHAR_PLAIN) || c == '.')
            put(w, c);
        else if (char_is(c, CHAR_TARGET) && c != '\\')
            put_escape(w, (uint8_t)c);
        else
            return s.len + 1;
        i++;
    }
    if (looks_like_dots(part, w->at) &&
        (parts || (!is_dots(part, w->at, 1) && !is_dots(part, w->at, 2))))
        return s.len + 1;
    return i;
}

/* Takes back the segment just written when it was "." or "..", the one before
 * it too for the latter; false above the root. */
static bool remove_dots(struct writing *w)
{
    bool up = is_dots(w->segment, w->at, 2);

    if (!up && !is_dots(w->segment, w->at, 1))
        return true;
    w->path->had_dots = true;
    w->at = w->segment;
    if (!up)
        return true;
    if (w->at == w->out + 1)
        return false;
    w->at--;
    while (w->at[-1] != '/')
        w->at--;
    return true;
}

/* After a dot segment, `at` stands behind a '/' already. */
static bool write_normal(struct writing *w, struct span s)
{
    size_t i = 0;

    put(w, '/');
    while (i < s.len) {
        if (s.ptr[i] == '/') {
            if (w->at[-1] != '/')
                put(w, '/');
            i++;
            continue;
        }
        w->segment = w->at;
        i = put_segment(w, s, i);
        if (i > s.len || !remove_dots(w))
            return false;
    }
    return true;
}

enum path_fault path_normalise(struct path *p, struct span sent, struct arena *arena)
{
    char few[512];
    struct writing w = {.out = few, .at = few, .segment = few, .path = p};

    *p = (struct path){.normal = sent};
    if (sent.len == 0 || sent.ptr[0] != '/')
        return span_equal(sent, SPAN("*")) ? PATH_OK : PATH_BAD;
    if (is_normal(sent, &p->has_encoded_slash))
        return PATH_OK;
    p->has_encoded_slash = false;
    size_t room = room_for(sent);
    if (room > sizeof few && !(w.out = arena_alloc(arena, room)))
        return PATH_MEMORY;
    w.at = w.segment = w.out;
    if (!write_normal(&w, sent))
        return PATH_BAD;
    p->normal = (struct span){w.out, (size_t)(w.at - w.out)};
    if (w.out == few)
        p->normal = arena_copy(arena, p->normal);
    return p->normal.ptr ? PATH_OK : PATH_MEMORY;
}

struct span percent_decode(struct arena *arena, struct span s, bool plus_is_space)
{
    size_t first = 0, n = 0;

    while (first < s.len && s.ptr[first] != '%' && !(plus_is_space && s.ptr[first] == '+'))
        first++;
    if (first == s.len)
        return s.ptr ? s : SPAN("");
    char *out = arena_alloc(arena, s.len);
    if (!out)
        return (struct span){0};
    for (size_t i = 0; i < s.len; i++) {
        int byte = (uint8_t)s.ptr[i];
        if (s.ptr[i] == '%') {
            if ((byte = char_escaped(s, i)) < 0)
                return (struct span){0};
            i += 2;
        } else if (plus_is_space && s.ptr[i] == '+') {
            byte = ' ';
        }
        out[n++] = (char)byte;
    }
    return (struct span){out, n};
}

/* Is this name, as sent, that one, decoded? */
static bool decodes_to(struct span sent, struct span name)
{
    size_t at = 0;

    for (size_t i = 0; i < sent.len; i++, at++) {
        int byte = sent.ptr[i] == '+' ? ' ' : (uint8_t)sent.ptr[i];
        if (sent.ptr[i] == '%' && (byte = char_escaped(sent, i)) >= 0)
            i += 2;
        if (byte < 0 || at == name.len || (uint8_t)name.ptr[at] != byte)
            return false;
    }
    return at == name.len;
}

bool query_find(struct span query, struct span name, struct span *value)
{
    while (query.len > 0) {
        struct span pair = span_first(query, span_find(query, '&'));
        size_t equals = span_find(pair, '=');

        query = span_after(query, pair.len < query.len ? pair.len + 1 : pair.len);
        if (pair.len > 0 && decodes_to(span_first(pair, equals), name)) {
            *value = span_after(pair, equals < pair.len ? equals + 1 : equals);
            return true;
        }
    }
    return false;
}
