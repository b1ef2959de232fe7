/* Lines of a file to entries of sections: drives inih over stand-ins.
 *
 * inih cuts long lines, comments and separators in ways this language does
 * not (a CSP header has " ;" in it), so it never sees a line.  For the N-th
 * logical line of a file it is handed "[sN]" or "kN = #N", and its handler
 * looks N up.  A header is followed by an entry of its own, since inih says
 * nothing about a section without keys.
 */
#include "conf/reading.h"
#include "conf/word.h"

#include <ini.h>
#include <stdio.h>

/* --- entries --------------------------------------------------------------- */

static bool is_key_byte(char c, bool first)
{
    return (c >= 'a' && c <= 'z') || (!first && ((c >= '0' && c <= '9') || c == '_'));
}

/* Splits "key = value" of a line; false: it is not one, and that was said.  Even then the
 * key is there if it could be read. */
static bool entry_parse(struct feeding *f, const struct text_line *l, struct span *key,
                        size_t *value)
{
    struct span s = l->text;
    size_t equals = span_find(s, '='), colon = span_find(s, ':'), n = 0;
    struct span name = span_trim(span_first(s, colon < equals ? colon : equals));

    while (n < name.len && is_key_byte(name.ptr[n], n == 0))
        n++;
    *key = n == name.len ? name : (struct span){0};
    if (colon < equals) {
        SAY(f, l, colon, "key and value are separated by =, never by :");
        return false;
    }
    if (equals == s.len) {
        SAY(f, l, 0, "neither [section] nor key = value nor a comment: there is no =");
        return false;
    }
    if (key->len == 0) {
        SAY(f, l, (size_t)(name.ptr - s.ptr) + n,
            "a key is small letters, digits and \"_\", and begins with a letter");
        return false;
    }
    struct span rest = span_trim(span_after(s, equals + 1));
    if (rest.len == 0) {
        SAY(f, l, equals, "%.*s has no value; the empty text is \"\"", SPAN_ARG(*key));
        return false;
    }
    *value = (size_t)(rest.ptr - s.ptr);
    return true;
}

/* The pieces of a line's end from `offset` on; false: no memory. */
static bool value_pieces(struct feeding *f, const struct text_line *l, size_t offset,
                         struct conf_value *v)
{
    struct piece *pieces = arena_alloc(arena_of(f), l->piece_count * sizeof *pieces);
    unsigned count = 0;

    if (!pieces)
        return false;
    for (unsigned i = 0; i < l->piece_count; i++) {
        struct piece p = l->pieces[i];
        bool last = i + 1 == l->piece_count;
        if (!last && l->pieces[i + 1].offset <= offset)
            continue;
        if (p.offset < offset)
            p.column += (unsigned)(offset - p.offset);
        p.offset = p.offset < offset ? 0 : p.offset - offset;
        pieces[count++] = p;
    }
    v->pieces = pieces;
    v->piece_count = count;
    return true;
}

/* The entry of a key, made if there is none; NULL: no memory, or too many, and that was said. */
static struct conf_entry *entry_of(struct feeding *f, struct conf_section *s, struct span key,
                                   struct position at)
{
    struct conf_entry **e = &s->entries;

    while (*e && !span_equal((*e)->key, key))
        e = &(*e)->next;
    if (*e)
        return *e;
    if (s->entry_count == SECTION_KEYS_MAX) {
        if (!s->crowded)
            diagnostics_say(f->r->d, SEVERITY_ERROR, at,
                            "[%.*s] has more than %d different keys; this one and all others "
                            "that are new are not looked at",
                            SPAN_ARG(s->type), SECTION_KEYS_MAX);
        s->crowded = true;
        return NULL;
    }
    if (!(*e = arena_zalloc(arena_of(f), sizeof **e))) {
        diagnostics_memory(f->r->d);
        return NULL;
    }
    s->entry_count++;
    (*e)->key = key;
    (*e)->at = at;
    return *e;
}

/* [server] include: remembers what to read when this file has ended. */
static void include_later(struct feeding *f, const struct conf_value *value)
{
    struct scan scan = {
        .arena = arena_of(f), .d = f->r->d, .key = "include", .value = value, .commas = true};
    enum scanned what, before = SCAN_COMMA;
    struct word w;

    while ((what = scan_next(&scan, &w)) == SCAN_WORD || what == SCAN_COMMA) {
        if (what == before) {
            diagnostics_say(f->r->d, SEVERITY_ERROR, conf_value_at(value, w.offset), "include: %s",
                            what == SCAN_COMMA ? "an item is missing before the comma"
                                               : "items are separated by commas");
            return;
        }
        before = what;
        if (what == SCAN_COMMA)
            continue;
        struct include *new = arena_zalloc(arena_of(f), sizeof *new);
        if (!new) {
            diagnostics_memory(f->r->d);
            return;
        }
        new->pattern = w.text;
        new->at = conf_value_at(value, w.offset);
        *f->last = new;
        f->last = &new->next;
    }
    if (what == SCAN_END && before == SCAN_COMMA)
        diagnostics_say(f->r->d, SEVERITY_ERROR, conf_value_at(value, value->text.len - 1),
                        "include: an item is missing after the comma");
}

static void entry_add(struct feeding *f, struct conf_section *s, const struct text_line *l)
{
    struct diagnostics *d = f->r->d;
    struct span key;
    size_t offset = 0;
    bool fine = entry_parse(f, l, &key, &offset);

    if (key.len == 0)
        return;
    struct conf_entry *e = entry_of(f, s, key, line_at(f, l, (size_t)(key.ptr - l->text.ptr)));
    if (!e)
        return;
    if (!fine) {
        e->used = true; /* it is there, if badly: nobody misses it, nothing more to say about it */
        return;
    }
    struct conf_value *v = arena_zalloc(arena_of(f), sizeof *v);
    if (!v || !value_pieces(f, l, offset, v)) {
        diagnostics_memory(d);
        return;
    }
    v->text = span_after(l->text, offset);
    v->at = line_at(f, l, offset);
    if (!environment_expand(v, arena_of(f), f->r->conf->source, d)) {
        e->used = true;
        return;
    }
    if (span_trim(v->text).len == 0) {
        diagnostics_say(d, SEVERITY_ERROR, v->at, "%.*s has no value; the empty text is \"\"",
                        SPAN_ARG(key));
        e->used = true;
        return;
    }
    if (!e->values)
        e->last = &e->values;
    *e->last = v;
    e->last = &v->next;
    if (span_equal(s->type, SPAN("server")) && span_equal(key, SPAN("include"))) {
        e->used = true;
        include_later(f, v);
    }
}

/* --- through inih ---------------------------------------------------------- */

static bool is_header(const struct text_line *l)
{
    return l->text.len > 0 && l->text.ptr[0] == '[';
}

/* inih asks for a line, as fgets() would give it. */
static char *stand_in(char *line, int size, void *data)
{
    struct feeding *f = data;

    if (f->next == f->count)
        return NULL;
    if (is_header(f->lines[f->next]) && !f->header_said) {
        snprintf(line, (size_t)size, "[s%zu]\n", f->next);
        f->header_said = true;
        return line;
    }
    snprintf(line, (size_t)size, "k%zu = #%zu\n", f->next, f->next);
    f->next++;
    f->header_said = false;
    return line;
}

/* The number in "s12" and "#12"; the count when there is none. */
static size_t number_of(const struct feeding *f, const char *text)
{
    uint64_t n;

    if (text[0] == '\0' || !span_number(span_of(text + 1), &n) || n >= f->count)
        return f->count;
    return (size_t)n;
}

static int stand_in_handled(void *data, const char *section, const char *key, const char *value)
{
    struct feeding *f = data;
    size_t header = number_of(f, section), line = value ? number_of(f, value) : f->count;

    (void)key;
    if (line == f->count)
        return 0;
    f->handled++;
    const struct text_line *l = f->lines[line];
    if (is_header(l)) {
        f->sections[line] = section_open(f, l);
        return 1;
    }
    if (header == f->count) {
        if (!l->bad)
            SAY(f, l, 0, "a key before the first [section]");
        return 1;
    }
    if (f->sections[header] && !l->bad)
        entry_add(f, f->sections[header], l);
    return 1;
}

static bool feeding_init(struct feeding *f, struct text_line *first)
{
    for (struct text_line *l = first; l; l = l->next)
        f->count++;
    f->lines = arena_alloc(arena_of(f), f->count * sizeof(struct text_line *));
    f->sections = arena_zalloc(arena_of(f), f->count * sizeof(struct conf_section *));
    if (!f->lines || !f->sections)
        return false;
    size_t i = 0;
    for (struct text_line *l = first; l; l = l->next)
        f->lines[i++] = l;
    return true;
}

void feed(struct feeding *f, struct text_line *first)
{
    if (!feeding_init(f, first) || ini_parse_stream(stand_in, f, stand_in_handled, f) == -2)
        diagnostics_memory(f->r->d);
    else if (f->handled != f->count)
        diagnostics_say(f->r->d, SEVERITY_ERROR, (struct position){f->file->name, 1, 1},
                        "inih lost %zu of %zu lines: is it another version?", f->count - f->handled,
                        f->count);
}

/* --- looking at what was read ---------------------------------------------- */

struct position conf_value_at(const struct conf_value *value, size_t offset)
{
    return piece_at(value->at.file, value->pieces, value->piece_count, offset);
}

struct conf_entry *conf_find(const struct conf_section *section, const char *key)
{
    struct conf_entry *e = section ? section->entries : NULL;

    while (e && !span_equal(e->key, span_of(key)))
        e = e->next;
    return e;
}

struct position conf_at(const struct conf_section *section, const char *key)
{
    const struct conf_entry *e = key ? conf_find(section, key) : NULL;

    if (e)
        return e->values ? e->values->at : e->at;
    return section ? section->at : (struct position){0};
}
