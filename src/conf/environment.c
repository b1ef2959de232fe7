/* ${NAME} and ${NAME:-text}: puts the environment into values.
 *
 * What is put in is literal: quotes, backslashes and comment signs in it mean
 * nothing (its pieces are `fixed`), and ${ in it is escaped so that it can
 * never become a request variable.  Blanks and commas do separate, so that a
 * list can come from the environment.
 */
#include "conf/text.h"

/* One ${NAME} or ${NAME:-text} in a value. */
struct reference {
    size_t start, end; /* in the value */
    struct span name, fallback;
    bool has_fallback;
};

static bool is_name_byte(char c, bool first)
{
    return (c >= 'A' && c <= 'Z') || c == '_' || (!first && c >= '0' && c <= '9');
}

enum found { FOUND_NONE, FOUND_REFERENCE, FOUND_BAD };

/* Finds the next reference at or after *at; stops at a malformed one. */
static enum found next_reference(struct span s, size_t at, struct reference *r, const char **why)
{
    for (; at + 2 < s.len; at++) {
        if (s.ptr[at] != '$')
            continue;
        if (s.ptr[at + 1] == '$' && s.ptr[at + 2] == '{') {
            at += 2; /* a literal ${ */
            continue;
        }
        if (s.ptr[at + 1] == '{' && is_name_byte(s.ptr[at + 2], true))
            break;
    }
    if (at + 2 >= s.len)
        return FOUND_NONE;
    size_t end = at + 2;
    while (end < s.len && is_name_byte(s.ptr[end], false))
        end++;
    *r = (struct reference){.start = at, .end = end};
    r->name = (struct span){s.ptr + at + 2, end - at - 2};
    struct span rest = span_after(s, end);
    size_t close = span_find(rest, '}');
    *why = close == rest.len ? "there is no } after this ${" : NULL;
    if (*why)
        return FOUND_BAD;
    r->end = end + close + 1;
    if (close == 0)
        return FOUND_REFERENCE;
    *why = span_starts(rest, SPAN(":-"))
               ? NULL
               : "the environment is written ${NAME} or ${NAME:-text}, NAME in capitals";
    if (*why)
        return FOUND_BAD;
    r->has_fallback = true;
    r->fallback = (struct span){rest.ptr + 2, close - 2};
    if (span_find(r->fallback, '$') < r->fallback.len)
        *why = "a $ in the text of ${NAME:-text}";
    return *why ? FOUND_BAD : FOUND_REFERENCE;
}

struct expansion {
    struct conf_value *value;
    struct arena *arena;
    const struct source *source;
    struct diagnostics *d;
    char *text; /* NULL while only measuring */
    struct piece *pieces;
    size_t len, count;
    bool refused;
};

static void refuse(struct expansion *e, size_t offset, const char *format, struct span name)
{
    if (!e->text)
        diagnostics_say(e->d, SEVERITY_ERROR, conf_value_at(e->value, offset), format,
                        SPAN_ARG(name));
    e->refused = true;
}

static void put_byte(struct expansion *e, char c)
{
    if (e->text)
        e->text[e->len] = c;
    e->len++;
}

static void put_piece(struct expansion *e, size_t offset, struct position at, bool fixed)
{
    if (e->text)
        e->pieces[e->count] = (struct piece){offset, at.line, at.column, fixed};
    e->count++;
}

/* Bytes of the file, with all the pieces they have there. */
static void put_written(struct expansion *e, size_t from, size_t to)
{
    const struct conf_value *v = e->value;

    if (from == to)
        return;
    put_piece(e, e->len, conf_value_at(v, from), false);
    for (unsigned i = 0; i < v->piece_count; i++) {
        size_t offset = v->pieces[i].offset;
        if (offset > from && offset < to)
            put_piece(e, e->len + offset - from, conf_value_at(v, offset), false);
    }
    for (size_t i = from; i < to; i++)
        put_byte(e, v->text.ptr[i]);
}

static void put_literal(struct expansion *e, struct span s, size_t offset)
{
    put_piece(e, e->len, conf_value_at(e->value, offset), true);
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '$' && i + 1 < s.len && s.ptr[i + 1] == '{')
            put_byte(e, '$');
        put_byte(e, s.ptr[i]);
    }
}

static bool has_control(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (((uint8_t)s.ptr[i] < 0x20 && s.ptr[i] != '\t') || s.ptr[i] == 0x7f)
            return true;
    return false;
}

/* What a reference stands for; false: refused or no memory. */
static bool look_up(struct expansion *e, const struct reference *r, struct span *out)
{
    char *name = arena_text(e->arena, r->name);

    if (!name) {
        diagnostics_memory(e->d);
        return false;
    }
    *out = span_of(e->source->environment ? e->source->environment(e->source->data, name) : NULL);
    if (out->len == 0 && r->has_fallback) {
        *out = r->fallback;
        return true;
    }
    if (out->len == 0) {
        refuse(e, r->start, "the environment has no %.*s; ${NAME:-text} gives a text for that case",
               r->name);
        return false;
    }
    if (has_control(*out)) {
        refuse(e, r->start, "%.*s of the environment has a line end or control character in it",
               r->name);
        return false;
    }
    char next = r->end < e->value->text.len ? e->value->text.ptr[r->end] : '\0';
    if (out->ptr[out->len - 1] == '$' && (next == '$' || next == '{')) {
        refuse(e, r->start, "%.*s of the environment ends in $ right before another $ or {",
               r->name);
        return false;
    }
    return true;
}

static void expand(struct expansion *e)
{
    struct span s = e->value->text;
    struct reference r;
    const char *why;
    size_t at = 0;
    enum found found;

    e->len = e->count = 0;
    while ((found = next_reference(s, at, &r, &why)) == FOUND_REFERENCE) {
        struct span text;
        put_written(e, at, r.start);
        if (look_up(e, &r, &text))
            put_literal(e, text, r.start);
        else
            e->refused = true;
        at = r.end;
    }
    if (found == FOUND_BAD) {
        refuse(e, r.start, "%.*s", span_of(why));
        return;
    }
    put_written(e, at, s.len);
}

bool environment_expand(struct conf_value *value, struct arena *arena, const struct source *source,
                        struct diagnostics *d)
{
    struct expansion e = {.value = value, .arena = arena, .source = source, .d = d};
    struct reference r;
    const char *why;

    if (next_reference(value->text, 0, &r, &why) == FOUND_NONE)
        return true;
    expand(&e); /* once to measure and to find what is wrong, once to write */
    if (e.refused)
        return false;
    if (e.len > TEXT_LINE_MAX) {
        diagnostics_say(d, SEVERITY_ERROR, value->at,
                        "a value of %zu bytes with the environment put in: at most %d", e.len,
                        TEXT_LINE_MAX);
        return false;
    }
    e.pieces = arena_alloc(arena, e.count * sizeof *e.pieces);
    e.text = arena_alloc(arena, e.len);
    if (!e.pieces || !e.text) {
        diagnostics_memory(d);
        return false;
    }
    expand(&e);
    if (e.refused)
        return false;
    value->text = (struct span){e.text, e.len};
    value->pieces = e.pieces;
    value->piece_count = (unsigned)e.count;
    return true;
}
