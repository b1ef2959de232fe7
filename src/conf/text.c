/* Splits a file into logical lines; see text.h.
 *
 * A logical line is one physical line, or several joined by a backslash at
 * the end.  Each keeps its pieces, so that whoever finds a mistake in it later
 * can still say where it stands.
 */
#include "conf/text.h"

#include "base/utf8.h"

struct physical {
    struct span text; /* without the line end */
    unsigned line;
};

struct splitting {
    struct arena *arena;
    const char *file;
    struct span rest;
    unsigned line; /* of rest */
    struct diagnostics *d;
};

static bool next_physical(struct splitting *s, struct physical *p)
{
    if (s->rest.len == 0)
        return false;
    size_t end = span_find(s->rest, '\n');
    bool ended = end < s->rest.len;
    p->text = span_first(s->rest, end);
    p->line = s->line++;
    s->rest = span_after(s->rest, ended ? end + 1 : end);
    if (ended && p->text.len > 0 && p->text.ptr[p->text.len - 1] == '\r')
        p->text.len--;
    return true;
}

static size_t indentation(struct span s)
{
    return (size_t)(span_trim(s).ptr - s.ptr);
}

static bool is_comment(struct span s)
{
    struct span t = span_trim(s);

    return t.len > 0 && (t.ptr[0] == '#' || t.ptr[0] == ';');
}

static bool continues(struct span s)
{
    return s.len > 0 && s.ptr[s.len - 1] == '\\' && !is_comment(s);
}

/* Says what is wrong with the bytes of a line, the first only. */
static bool bytes_are_fine(struct splitting *s, const struct physical *p)
{
    for (size_t i = 0, n; i < p->text.len; i += n) {
        uint8_t c = (uint8_t)p->text.ptr[i];
        struct position at = {s->file, p->line, (unsigned)i + 1};

        if ((n = utf8_length(span_after(p->text, i))) == 0) {
            diagnostics_say(s->d, SEVERITY_ERROR, at, "byte 0x%02x is not UTF-8", c);
            return false;
        }
        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            diagnostics_say(s->d, SEVERITY_ERROR, at, "control character 0x%02x", c);
            return false;
        }
    }
    return true;
}

/* A logical line being put together. */
struct joining {
    struct text_line *line;
    struct piece *pieces;
    char *text;
    size_t len, count;
};

static void join(struct joining *j, struct physical p, bool more)
{
    size_t indent = indentation(p.text);

    j->pieces[j->count++] = (struct piece){j->len, p.line, (unsigned)indent + 1, false};
    p.text = span_after(p.text, indent);
    if (p.text.len)
        memcpy(j->text + j->len, p.text.ptr, p.text.len);
    j->len += p.text.len;
    if (more)
        j->text[j->len - 1] = ' '; /* the backslash and what stands between the two */
}

/* How many physical lines the one that starts with `first` has, and how long they are. */
static size_t measure(struct splitting s, struct physical first, size_t *len)
{
    size_t count = 1;

    *len = first.text.len;
    for (struct physical p = first; continues(p.text); count++) {
        if (!next_physical(&s, &p) || is_comment(p.text))
            break;
        *len += p.text.len;
    }
    return count;
}

/* Joins what follows a line that ends in a backslash. */
static bool join_all(struct splitting *s, struct joining *j, struct physical p)
{
    bool fine = true;

    for (;;) {
        struct splitting ahead = *s;
        struct physical next;
        bool more = continues(p.text);
        bool there = more && next_physical(&ahead, &next);

        fine = bytes_are_fine(s, &p) && fine;
        join(j, p, more);
        if (!more)
            return fine;
        if (!there) {
            struct position at = {s->file, p.line, (unsigned)p.text.len};
            diagnostics_say(s->d, SEVERITY_ERROR, at, "nothing follows the \\ that joins lines");
            return false;
        }
        if (is_comment(next.text)) {
            struct position at = {s->file, next.line, (unsigned)indentation(next.text) + 1};
            diagnostics_say(s->d, SEVERITY_ERROR, at,
                            "a comment cannot stand inside a joined line");
            return false;
        }
        *s = ahead;
        p = next;
    }
}

static bool is_too_long(struct splitting *s, struct physical p, size_t len)
{
    if (len <= TEXT_LINE_MAX)
        return false;
    diagnostics_say(s->d, SEVERITY_ERROR, (struct position){s->file, p.line, 1},
                    "a line of %zu bytes: at most %d", len, TEXT_LINE_MAX);
    return true;
}

/* Takes the first n bytes away, as a line of nothing but a backslash leaves them. */
static void drop_first(struct joining *j, size_t n)
{
    for (size_t i = 0; i < j->count; i++) {
        size_t *offset = &j->pieces[i].offset;
        *offset = *offset > n ? *offset - n : 0;
    }
    j->text += n;
    j->len -= n;
}

/* NULL: no memory. */
static struct text_line *logical_line(struct splitting *s, struct physical p)
{
    size_t len, count = measure(*s, p, &len);
    struct joining j = {
        .line = arena_zalloc(s->arena, sizeof *j.line),
        .pieces = arena_alloc(s->arena, count * sizeof *j.pieces),
        .text = arena_alloc(s->arena, len),
    };

    if (!j.line || !j.pieces || !j.text)
        return NULL;
    bool too_long = is_too_long(s, p, len);
    j.line->bad = !join_all(s, &j, p) || too_long;
    while (j.len > 0 && (j.text[j.len - 1] == ' ' || j.text[j.len - 1] == '\t'))
        j.len--;
    drop_first(&j, indentation((struct span){j.text, j.len}));
    j.line->text = (struct span){j.text, j.len};
    j.line->pieces = j.pieces;
    j.line->piece_count = (unsigned)j.count;
    return j.line;
}

bool text_split(struct text_line **first, struct arena *arena, const char *file, struct span text,
                struct diagnostics *d)
{
    struct splitting s = {arena, file, text, 1, d};
    struct text_line **last = first;
    struct physical p;

    *first = NULL;
    if (span_starts(text, SPAN("\xef\xbb\xbf")))
        s.rest = span_after(text, 3);
    while (next_physical(&s, &p)) {
        if (is_comment(p.text)) {
            bytes_are_fine(&s, &p);
            continue;
        }
        if (span_trim(p.text).len == 0)
            continue;
        if (!(*last = logical_line(&s, p)))
            return false;
        last = &(*last)->next;
    }
    return true;
}

static const struct piece *piece_find(const struct piece *pieces, unsigned count, size_t offset)
{
    unsigned low = 0, high = count;

    while (high - low > 1) {
        unsigned middle = low + (high - low) / 2;
        if (pieces[middle].offset <= offset)
            low = middle;
        else
            high = middle;
    }
    return &pieces[low];
}

struct position piece_at(const char *file, const struct piece *pieces, unsigned count,
                         size_t offset)
{
    if (count == 0)
        return (struct position){file, 0, 0};
    const struct piece *p = piece_find(pieces, count, offset);
    unsigned into = p->fixed || offset < p->offset ? 0 : (unsigned)(offset - p->offset);

    return (struct position){file, p->line, p->column + into};
}

bool piece_fixed(const struct piece *pieces, unsigned count, size_t offset)
{
    return count > 0 && piece_find(pieces, count, offset)->fixed;
}
