/* [type NAME]: what headers say and which sections there are. */
#include "conf/reading.h"

enum { NAME_MAX_LENGTH = 40 };

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
                "a name is letters, digits, \".\", \"_\" and \"-\", and begins with a letter or "
                "digit");
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

struct conf_section *section_open(struct feeding *f, const struct text_line *l)
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
