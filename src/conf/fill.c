/* Fills structs from sections by tables.
 *
 * A value becomes items (conf/item.h), and each type has one function from an
 * item to what it stands for (conf/type.c).  Lists are arrays of such.
 */
#include "conf/type.h"

#include <assert.h>

/* The text of the member types that are lists is the same. */
struct array {
    void *list;
    unsigned count;
};
#define SAME_AS_ARRAY(type)                                                                        \
    static_assert(sizeof(type) == sizeof(struct array) &&                                          \
                      offsetof(type, count) == offsetof(struct array, count),                      \
                  #type " is filled as an array")
SAME_AS_ARRAY(struct spans);
SAME_AS_ARRAY(struct ranges);
SAME_AS_ARRAY(struct nets);
SAME_AS_ARRAY(struct addresses);
SAME_AS_ARRAY(struct lines);

static bool is_number(const struct setting *s)
{
    return s->type == SETTING_COUNT || s->type == SETTING_DURATION || s->type == SETTING_SIZE ||
           s->type == SETTING_PERCENT;
}

/* The word off: where nothing else stands. */
static bool is_off(const struct setting *s, const struct item *item)
{
    const struct word *w = &item->words[0];
    bool literal = s->type == SETTING_TEXT || s->type == SETTING_TEMPLATE;

    return (s->flags & SETTING_OFF) && item->count == 1 && span_equal(w->text, SPAN("off")) &&
           !(literal && w->quoted);
}

/* private: loopback, RFC 1918, link-local and unique local addresses. */
static struct item *private_items(struct filling *f, const struct item *like)
{
    static const char *const nets[] = {"127.0.0.0/8",    "10.0.0.0/8",     "172.16.0.0/12",
                                       "192.168.0.0/16", "169.254.0.0/16", "::1/128",
                                       "fe80::/10",      "fc00::/7"};
    struct item *items = arena_zalloc(f->conf->arena, COUNT_OF(nets) * sizeof *items);
    struct word *words = arena_zalloc(f->conf->arena, COUNT_OF(nets) * sizeof *words);

    if (!items || !words)
        return NULL;
    for (size_t i = 0; i < COUNT_OF(nets); i++) {
        words[i] = like->words[0];
        words[i].text = span_of(nets[i]);
        items[i] = *like;
        items[i].words = &words[i];
        items[i].next = i + 1 < COUNT_OF(nets) ? &items[i + 1] : like->next;
    }
    return items;
}

static bool no_memory(struct filling *f)
{
    diagnostics_memory(f->d);
    return false;
}

static bool expand_private(struct filling *f, struct item **at)
{
    for (; *at; at = &(*at)->next) {
        if (!span_equal((*at)->words[0].text, SPAN("private")))
            continue;
        if (!(*at = private_items(f, *at)))
            return no_memory(f);
    }
    return true;
}

static unsigned items_count(const struct item *item)
{
    unsigned n = 0;

    for (; item; item = item->next)
        n++;
    return n;
}

static void fill_words(struct filling *f, const struct item *item, uint64_t *bits)
{
    uint64_t all = 0;
    int index;

    for (; item; item = item->next)
        if (type_rows[SETTING_WORD].fill(f, item, &index))
            all |= UINT64_C(1) << index;
    *bits = all;
}

static void fill_list(struct filling *f, const struct item *item, void *member)
{
    const struct type_row *row = &type_rows[f->setting->type];
    struct array array = {.list = arena_zalloc(f->conf->arena, items_count(item) * row->size)};

    if (!array.list) {
        diagnostics_memory(f->d);
        return;
    }
    for (; item; item = item->next)
        if (row->fill(f, item, (char *)array.list + array.count * row->size))
            array.count++;
    memcpy(member, &array, sizeof array);
}

/* All values of a key to items; false: something was refused or no memory. */
static bool items_of(struct filling *f, const struct conf_value *value, struct item **first)
{
    struct item **last = first;
    bool fine = true;

    *first = NULL;
    for (; value; value = value->next) {
        struct item *items;
        fine = items_read(&items, f->conf, f->setting, value, f->d) && fine;
        *last = items;
        while (*last)
            last = &(*last)->next;
    }
    return fine;
}

static void fill_member(struct filling *f, const struct conf_value *value, void *member)
{
    const struct setting *s = f->setting;
    struct item *first;
    bool fine = items_of(f, value, &first);

    if (first && !first->next && is_off(s, first)) {
        if (is_number(s))
            *(uint64_t *)member = VALUE_OFF;
        return;
    }
    if (s->type == SETTING_NETS && !expand_private(f, &first))
        return;
    if (s->type == SETTING_WORDS)
        fill_words(f, first, member);
    else if (setting_repeats(s))
        fill_list(f, first, member); /* what can be read of it, so that more is checked */
    else if (fine)
        type_rows[s->type].fill(f, first, member);
}

/* --- sections -------------------------------------------------------------- */

static bool set_twice(struct filling *f, const struct conf_value *first)
{
    if (setting_repeats(f->setting) || !first->next)
        return false;
    diagnostics_say(f->d, SEVERITY_ERROR, first->next->at, "%s is set twice; the first is at %s:%u",
                    f->setting->name, first->at.file, first->at.line);
    return true;
}

/* A scalar's values, which should be one: each may have mistakes of its own. */
static void fill_each(struct filling *f, const struct conf_value *value, void *member)
{
    for (; value; value = value->next) {
        struct conf_value *one = arena_alloc(f->conf->arena, sizeof *one);
        if (!one) {
            diagnostics_memory(f->d);
            return;
        }
        *one = *value;
        one->next = NULL;
        fill_member(f, one, member);
    }
}

static void fill_fallback(struct filling *f, void *member)
{
    struct conf_value value = {.text = span_of(f->setting->fallback)};

    if (f->setting->fallback)
        fill_member(f, &value, member);
}

static void fill_entry(struct filling *f, struct conf_entry *e, void *member)
{
    e->used = true;
    if (f->setting->type == SETTING_BOOL) /* what cannot be read is as if it were not there */
        fill_fallback(f, member);
    if (f->setting->flags & SETTING_LATER)
        diagnostics_say(f->d, SEVERITY_ERROR, e->at, "%s is not supported by this build",
                        f->setting->name);
    else if (e->values && !set_twice(f, e->values))
        fill_member(f, e->values, member);
    else
        fill_each(f, e->values, member);
}

static void say_missing(struct filling *f, const struct conf_section *s)
{
    diagnostics_say(f->d, SEVERITY_ERROR, s->at, "[%.*s%s%.*s] needs %s", SPAN_ARG(s->type),
                    s->name.len ? " " : "", SPAN_ARG(s->name), f->setting->name);
}

void conf_fill(struct conf *conf, struct conf_section *section, struct conf_section *server,
               const struct setting *table, void *into, struct diagnostics *d)
{
    for (const struct setting *s = table; s && s->name; s++) {
        struct filling f = {conf, s, d};
        void *member = (char *)into + s->offset;
        struct conf_entry *e = conf_find(section, s->name);

        if (s->flags & SETTING_READER)
            continue;
        if (!e && (s->flags & SETTING_INHERIT))
            e = conf_find(server, s->name);
        if (e)
            fill_entry(&f, e, member);
        else if (s->flags & SETTING_LATER)
            continue;
        else if (s->flags & SETTING_REQUIRED)
            say_missing(&f, section);
        else
            fill_fallback(&f, member);
    }
}

void conf_fill_inherited(struct conf *conf, struct conf_section *server,
                         const struct setting *table, void *into, struct diagnostics *d)
{
    for (const struct setting *s = table; s && s->name; s++) {
        struct filling f = {conf, s, d};
        void *member = (char *)into + s->offset;
        struct conf_entry *e = conf_find(server, s->name);

        if (!(s->flags & SETTING_INHERIT))
            continue;
        if (e)
            fill_entry(&f, e, member);
        else if (!(s->flags & SETTING_LATER))
            fill_fallback(&f, member);
    }
}

/* --- keys nobody knows ----------------------------------------------------- */

static bool counts(const struct setting *s, bool only_inherited)
{
    return !only_inherited || (s->flags & SETTING_INHERIT);
}

static void say_unknown(const struct conf_section *section, const struct conf_entry *e,
                        const struct setting *const tables[], struct diagnostics *d)
{
    bool is_server = span_equal(section->type, SPAN("server"));
    const char *words[256];
    size_t count = 0;

    for (size_t t = 0; tables[t]; t++)
        for (const struct setting *s = tables[t]; s->name && count < COUNT_OF(words); s++)
            if (counts(s, is_server && t > 0))
                words[count++] = s->name;
    const char *close = suggest(e->key, words, count);
    diagnostics_say(d, SEVERITY_ERROR, e->at, "[%.*s] has no key %.*s%s%s%s",
                    SPAN_ARG(section->type), SPAN_ARG(e->key), close ? "; did you mean \"" : "",
                    close ? close : "", close ? "\"?" : "");
}

void conf_unknown(struct conf_section *section, const struct setting *const tables[],
                  struct diagnostics *d)
{
    for (const struct conf_entry *e = section->entries; e; e = e->next)
        if (!e->used)
            say_unknown(section, e, tables, d);
}
