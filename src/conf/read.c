/* Files to sections of entries: drives inih over stand-ins.
 *
 * inih cuts long lines, comments and separators in ways this language does
 * not (a CSP header has " ;" in it), so it never sees a line.  For the N-th
 * logical line of a file it is handed "[sN]" or "kN = #N", and its handler
 * looks N up.  A header is followed by an entry of its own, since inih says
 * nothing about a section without keys.
 */
#include "conf/text.h"
#include "conf/word.h"

#include "base/fail.h"

#include <ini.h>
#include <stdio.h>
#include <stdlib.h>

enum { LEVELS_MAX = 8, NAME_MAX_LENGTH = 40 };

struct file {
    struct file *next;
    const struct file *includer;
    const char *name;
    struct position included; /* where; file NULL for the first */
    unsigned level;
};

struct include { /* one to be read when the file that asks for it ended */
    struct include *next;
    struct span pattern;
    struct position at;
};

/* Sections by type and name, so that a hundred thousand of them are read in no time. */
struct known {
    struct known *next;
    uint32_t hash;
    struct conf_section *section;
};

struct reading {
    struct conf *conf;
    struct diagnostics *d;
    struct file *files; /* all that were read, the latest first */
    struct known **buckets;
    uint32_t bucket_count, section_count; /* a power of two, or 0 */
    struct conf_section **last;
    const struct file *server_opened; /* [server] was, in this file */
};

/* The lines of one file, on their way through inih. */
struct feeding {
    struct reading *r;
    const struct file *file;
    struct text_line **lines;
    struct conf_section **sections; /* that the header at a line opened; NULL: to be ignored */
    size_t count, next, handled;
    bool header_said;
    struct include *includes, **last;
};

static struct arena *arena_of(const struct feeding *f)
{
    return f->r->conf->arena;
}

static struct position line_at(const struct feeding *f, const struct text_line *l, size_t offset)
{
    return piece_at(f->file->name, l->pieces, l->piece_count, offset);
}

#define SAY(f, line, offset, ...)                                                                  \
    diagnostics_say((f)->r->d, SEVERITY_ERROR, line_at(f, line, offset), __VA_ARGS__)

/* --- headers --------------------------------------------------------------- */

static bool is_name_byte(char c)
{
    c = ascii_lower(c);
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

/* The length of a NAME at the start of s; 0: none. */
static size_t name_length(struct span s)
{
    size_t n = 0;

    if (s.len == 0 || s.ptr[0] == '.' || s.ptr[0] == '_' || s.ptr[0] == '-')
        return 0;
    while (n < s.len && is_name_byte(s.ptr[n]))
        n++;
    return n;
}

/* Splits "[type NAME]"; false: it is not one, and that was said. */
static bool header_parse(struct feeding *f, const struct text_line *l, struct span *type,
                         struct span *name)
{
    struct span s = l->text;
    size_t at = 1, close = span_find(s, ']');

    *name = (struct span){0};
    if (close == s.len) {
        SAY(f, l, s.len, "a section ends in ]");
        return false;
    }
    while (at < close && s.ptr[at] >= 'a' && s.ptr[at] <= 'z')
        at++;
    *type = (struct span){s.ptr + 1, at - 1};
    size_t blanks = at;
    while (blanks < close && (s.ptr[blanks] == ' ' || s.ptr[blanks] == '\t'))
        blanks++;
    if (type->len == 0 || (blanks == at && at < close) || (blanks > at && blanks == close)) {
        SAY(f, l, at, "a section is [type] or [type NAME], type in small letters");
        return false;
    }
    if (blanks > at) {
        struct span rest = {s.ptr + blanks, close - blanks};
        name->ptr = rest.ptr;
        name->len = name_length(rest);
        if (name->len < rest.len) {
            SAY(f, l, blanks + name->len,
                "a name is letters, digits, \".\", \"_\" and \"-\", and begins with one of the "
                "first two");
            return false;
        }
        if (name->len > NAME_MAX_LENGTH) {
            SAY(f, l, blanks + NAME_MAX_LENGTH, "a name of %zu characters: at most %d", name->len,
                NAME_MAX_LENGTH);
            return false;
        }
    }
    if (close + 1 < s.len) {
        SAY(f, l, close + 1, "something stands after the ] of a section");
        return false;
    }
    return true;
}

static uint32_t section_hash(struct span type, struct span name)
{
    uint32_t hash = 2166136261u; /* FNV-1a */

    for (size_t i = 0; i < type.len; i++)
        hash = (hash ^ (uint8_t)type.ptr[i]) * 16777619u;
    hash = (hash ^ ' ') * 16777619u;
    for (size_t i = 0; i < name.len; i++)
        hash = (hash ^ (uint8_t)name.ptr[i]) * 16777619u;
    return hash;
}

static struct conf_section *section_find(const struct reading *r, struct span type,
                                         struct span name)
{
    uint32_t hash = section_hash(type, name);

    if (r->bucket_count == 0)
        return NULL;
    for (const struct known *k = r->buckets[hash & (r->bucket_count - 1)]; k; k = k->next)
        if (k->hash == hash && span_equal(k->section->type, type) &&
            span_equal(k->section->name, name))
            return k->section;
    return NULL;
}

static bool buckets_grow(struct reading *r)
{
    uint32_t count = r->bucket_count ? r->bucket_count * 4 : 64;
    struct known **buckets = arena_zalloc(r->conf->arena, count * sizeof *buckets);

    if (!buckets)
        return false;
    for (uint32_t i = 0; i < r->bucket_count; i++)
        for (struct known *k = r->buckets[i], *next; k; k = next) {
            next = k->next;
            k->next = buckets[k->hash & (count - 1)];
            buckets[k->hash & (count - 1)] = k;
        }
    r->buckets = buckets;
    r->bucket_count = count;
    return true;
}

static bool section_remember(struct reading *r, struct conf_section *s)
{
    struct known *k = arena_zalloc(r->conf->arena, sizeof *k);

    if (!k || (r->section_count == r->bucket_count && !buckets_grow(r)))
        return false;
    uint32_t hash = section_hash(s->type, s->name);
    struct known **bucket = &r->buckets[hash & (r->bucket_count - 1)];
    *k = (struct known){*bucket, hash, s};
    *bucket = k;
    r->section_count++;
    return true;
}

/* Only [server] may be opened again, and only by another file. */
static struct conf_section *section_again(struct feeding *f, const struct text_line *l,
                                          struct conf_section *old)
{
    struct reading *r = f->r;
    bool is_server = span_equal(old->type, SPAN("server")) && old->name.len == 0;

    if (is_server && r->server_opened != f->file) {
        r->server_opened = f->file;
        return old;
    }
    SAY(f, l, 0, "[%.*s%s%.*s] is opened twice; the first is at %s:%u", SPAN_ARG(old->type),
        old->name.len ? " " : "", SPAN_ARG(old->name), old->at.file, old->at.line);
    return NULL;
}

static struct conf_section *section_open(struct feeding *f, const struct text_line *l)
{
    struct span type, name;
    struct conf_section *s;

    if (l->bad || !header_parse(f, l, &type, &name))
        return NULL;
    if ((s = section_find(f->r, type, name)))
        return section_again(f, l, s);
    if (!(s = arena_zalloc(arena_of(f), sizeof *s))) {
        diagnostics_memory(f->r->d);
        return NULL;
    }
    s->type = type;
    s->name = name;
    s->at = line_at(f, l, 0);
    if (!section_remember(f->r, s)) {
        diagnostics_memory(f->r->d);
        return NULL;
    }
    if (span_equal(type, SPAN("server")))
        f->r->server_opened = f->file;
    *f->r->last = s;
    f->r->last = &s->next;
    return s;
}

/* --- entries --------------------------------------------------------------- */

static bool is_key_byte(char c, bool first)
{
    return (c >= 'a' && c <= 'z') || (!first && ((c >= '0' && c <= '9') || c == '_'));
}

/* Splits "key = value" of a line; false: it is not one, and that was said. */
static bool entry_parse(struct feeding *f, const struct text_line *l, struct span *key,
                        size_t *value)
{
    struct span s = l->text;
    size_t equals = span_find(s, '='), colon = span_find(s, ':'), n = 0;

    if (colon < equals) {
        SAY(f, l, colon, "key and value are separated by =, never by :");
        return false;
    }
    if (equals == s.len) {
        SAY(f, l, 0, "neither [section] nor key = value nor a comment: there is no =");
        return false;
    }
    *key = span_trim(span_first(s, equals));
    while (n < key->len && is_key_byte(key->ptr[n], n == 0))
        n++;
    if (n < key->len || n == 0) {
        SAY(f, l, (size_t)(key->ptr - s.ptr) + n,
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

static struct conf_entry *entry_of(struct feeding *f, struct conf_section *s, struct span key,
                                   struct position at)
{
    struct conf_entry **e = &s->entries;

    while (*e && !span_equal((*e)->key, key))
        e = &(*e)->next;
    if (!*e && (*e = arena_zalloc(arena_of(f), sizeof **e))) {
        (*e)->key = key;
        (*e)->at = at;
    }
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
    size_t offset;

    if (!entry_parse(f, l, &key, &offset))
        return;
    struct conf_value *v = arena_zalloc(arena_of(f), sizeof *v);
    struct conf_entry *e = entry_of(f, s, key, line_at(f, l, (size_t)(key.ptr - l->text.ptr)));
    if (!v || !e || !value_pieces(f, l, offset, v)) {
        diagnostics_memory(d);
        return;
    }
    v->text = span_after(l->text, offset);
    v->at = line_at(f, l, offset);
    if (!environment_expand(v, arena_of(f), f->r->conf->source, d)) {
        e->used = true; /* nothing more to say about it */
        e->bad = true;
        return;
    }
    if (span_trim(v->text).len == 0) {
        diagnostics_say(d, SEVERITY_ERROR, v->at, "%.*s has no value; the empty text is \"\"",
                        SPAN_ARG(key));
        e->bad = true;
        return;
    }
    struct conf_value **last = &e->values;
    while (*last)
        last = &(*last)->next;
    *last = v;
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

/* --- files ----------------------------------------------------------------- */

static void read_file(struct reading *r, const struct file *file);

static const struct file *already_read(const struct reading *r, const char *name)
{
    for (const struct file *f = r->files; f; f = f->next)
        if (strcmp(f->name, name) == 0)
            return f;
    return NULL;
}

static bool is_includer(const struct file *file, const struct file *of)
{
    for (; of; of = of->includer)
        if (of == file)
            return true;
    return false;
}

static void include_one(struct reading *r, const struct file *by, const struct include *include,
                        struct span path)
{
    struct file *file = arena_zalloc(r->conf->arena, sizeof *file);
    const char *name = arena_text(r->conf->arena, path);

    if (!file || !name) {
        diagnostics_memory(r->d);
        return;
    }
    const struct file *before = already_read(r, name);
    if (before) {
        diagnostics_say(r->d, SEVERITY_ERROR, include->at, "include: %s %s", name,
                        is_includer(before, by) ? "includes itself" : "is included twice");
        return;
    }
    if (by->level == LEVELS_MAX) {
        diagnostics_say(r->d, SEVERITY_ERROR, include->at, "include: more than %d levels",
                        LEVELS_MAX);
        return;
    }
    *file = (struct file){r->files, by, name, include->at, by->level + 1};
    r->files = file;
    read_file(r, file);
}

static bool is_pattern(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] == '*' || s.ptr[i] == '?' || s.ptr[i] == '[')
            return true;
    return false;
}

static void include_all(struct reading *r, const struct file *by, const struct include *include)
{
    const struct source *source = r->conf->source;
    struct arena *arena = r->conf->arena;
    struct span path = conf_join(arena, by->name, include->pattern);
    char *text = path.ptr ? arena_text(arena, path) : NULL;
    struct spans found = {0};

    if (!text) {
        diagnostics_memory(r->d);
        return;
    }
    if (!is_pattern(include->pattern)) {
        include_one(r, by, include, path);
        return;
    }
    int err = source->glob ? source->glob(source->data, arena, text, &found) : 0;
    if (err == FAIL_MEMORY)
        diagnostics_memory(r->d);
    else if (err < 0)
        diagnostics_say(r->d, SEVERITY_ERROR, include->at, "include: %s: %s", text, fail_text(err));
    for (unsigned i = 0; err == 0 && i < found.count; i++)
        include_one(r, by, include, found.list[i]);
}

static bool read_text(struct reading *r, const struct file *file, struct span *text)
{
    const struct source *source = r->conf->source;
    int err = source->read(source->data, r->conf->arena, file->name, text);

    if (err == 0)
        return true;
    if (err == FAIL_MEMORY)
        diagnostics_memory(r->d);
    else if (file->included.file)
        diagnostics_say(r->d, SEVERITY_ERROR, file->included, "include: %s: %s", file->name,
                        fail_text(err));
    else
        diagnostics_say(r->d, SEVERITY_ERROR, (struct position){0}, "%s: %s", file->name,
                        fail_text(err));
    return false;
}

static void read_file(struct reading *r, const struct file *file)
{
    struct feeding f = {.r = r, .file = file, .last = &f.includes};
    struct text_line *lines;
    struct span text;

    if (!read_text(r, file, &text))
        return;
    diagnostics_file(r->d, file->name);
    if (!text_split(&lines, r->conf->arena, file->name, text, r->d) || !feeding_init(&f, lines)) {
        diagnostics_memory(r->d);
        return;
    }
    if (ini_parse_stream(stand_in, &f, stand_in_handled, &f) == -2)
        diagnostics_memory(r->d);
    else if (f.handled != f.count)
        diagnostics_say(r->d, SEVERITY_ERROR, (struct position){file->name, 1, 1},
                        "inih lost %zu of %zu lines: is it another version?", f.count - f.handled,
                        f.count);
    for (const struct include *i = f.includes; i; i = i->next)
        include_all(r, file, i);
}

void conf_read(struct conf *conf, struct arena *arena, const struct source *source,
               const char *path, struct diagnostics *d)
{
    struct reading r = {.conf = conf, .d = d, .last = &conf->sections};
    struct file *file = arena_zalloc(arena, sizeof *file);

    *conf = (struct conf){.arena = arena, .source = source};
    struct span name = conf_join(arena, "", span_of(path));
    if (!file || !name.ptr || !(file->name = arena_text(arena, name))) {
        diagnostics_memory(d);
        return;
    }
    conf->path = file->name;
    r.files = file;
    read_file(&r, file);
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
