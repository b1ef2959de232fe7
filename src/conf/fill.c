/* Fills structs from sections by tables.
 *
 * A value becomes items (conf/item.h), and each type has one function from an
 * item to what it stands for.  Lists are arrays of such.
 */
#include "conf/item.h"

#include "base/fail.h"

#include <assert.h>

struct filling {
    struct conf *conf;
    const struct setting *setting;
    struct diagnostics *d;
};

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

static struct position item_at(const struct item *item)
{
    return conf_value_at(item->value, item->words[0].offset);
}

static void refuse(struct filling *f, const struct item *item, const char *why)
{
    struct word shown = item->words[0];
    struct span text = span_first(shown.text, 60);

    diagnostics_say(f->d, SEVERITY_ERROR, item_at(item), "%s: \"%.*s\": %s", f->setting->name,
                    SPAN_ARG(text), why);
}

/* After a value_*() or an allocation that failed. */
static bool failed(struct filling *f, const struct item *item, int err, const char *why)
{
    if (err == FAIL_MEMORY)
        diagnostics_memory(f->d);
    else
        refuse(f, item, why);
    return false;
}

/* --- numbers --------------------------------------------------------------- */

static int number_parse(enum setting_type type, struct span text, uint64_t *n, const char **why)
{
    switch (type) {
    case SETTING_DURATION:
        return value_duration(text, n, why);
    case SETTING_SIZE:
        return value_size(text, n, why);
    case SETTING_PERCENT:
        return value_percent(text, n, why);
    default:
        return value_count(text, n, why);
    }
}

/* A number as one would write it. */
static struct span number_print(struct arena *arena, enum setting_type type, uint64_t n)
{
    static const struct {
        uint64_t factor;
        const char *name;
    } times[] = {{UINT64_C(86400000000000), "d"},
                 {UINT64_C(3600000000000), "h"},
                 {UINT64_C(60000000000), "m"},
                 {1000000000, "s"},
                 {1000000, "ms"},
                 {1000, "us"}},
      sizes[] = {{1 << 30, "g"}, {1 << 20, "m"}, {1 << 10, "k"}, {1, "b"}};
    bool is_time = type == SETTING_DURATION;

    if (!is_time && type != SETTING_SIZE)
        return arena_print(arena, type == SETTING_PERCENT ? "%llu%%" : "%llu",
                           (unsigned long long)(type == SETTING_PERCENT ? n / 1000 : n));
    for (size_t i = 0; i < (is_time ? COUNT_OF(times) : COUNT_OF(sizes)); i++) {
        uint64_t factor = is_time ? times[i].factor : sizes[i].factor;
        if (n % factor == 0)
            return arena_print(arena, "%llu%s", (unsigned long long)(n / factor),
                               is_time ? times[i].name : sizes[i].name);
    }
    return SPAN("?");
}

static bool in_range(struct filling *f, const struct item *item, uint64_t n)
{
    const struct setting *s = f->setting;
    bool small = n < s->min, large = s->max && n > s->max;

    if (!small && !large)
        return true;
    struct span limit = number_print(f->conf->arena, s->type, small ? s->min : s->max);
    struct span why =
        arena_print(f->conf->arena, "at %s %.*s", small ? "least" : "most", SPAN_ARG(limit));
    return failed(f, item, why.ptr ? FAIL_BAD : FAIL_MEMORY, why.ptr);
}

static bool fill_number(struct filling *f, const struct item *item, void *out)
{
    struct span text = item->words[0].text;
    const char *why;
    uint64_t n;
    int err;

    if ((f->setting->flags & SETTING_AUTO) && span_equal(text, SPAN("auto"))) {
        *(uint64_t *)out = VALUE_AUTO;
        return true;
    }
    if ((err = number_parse(f->setting->type, text, &n, &why)) < 0)
        return failed(f, item, err, why);
    if (!in_range(f, item, n))
        return false;
    *(uint64_t *)out = n;
    return true;
}

static bool fill_octal(struct filling *f, const struct item *item, void *out)
{
    struct span text = item->words[0].text;
    uint64_t n = 0;
    bool fine = text.len > 0 && text.len <= 5;

    for (size_t i = 0; fine && i < text.len; i++) {
        fine = text.ptr[i] >= '0' && text.ptr[i] <= '7';
        n = n * 8 + (uint64_t)(text.ptr[i] - '0');
    }
    if (!fine || n > 0777)
        return failed(f, item, FAIL_BAD, "a mode is octal, up to 0777");
    *(uint64_t *)out = n;
    return true;
}

static bool fill_bool(struct filling *f, const struct item *item, void *out)
{
    const char *why;
    int err = value_bool(item->words[0].text, out, &why);

    return err == 0 || failed(f, item, err, why);
}

static bool fill_rate(struct filling *f, const struct item *item, void *out)
{
    const char *why;
    int err = value_rate(item->words[0].text, out, &why);

    return err == 0 || failed(f, item, err, why);
}

static bool fill_range(struct filling *f, const struct item *item, void *out)
{
    struct ranges ranges;
    const char *why;
    int err = value_ranges(f->conf->arena, item->words[0].text, &ranges, &why);

    if (err < 0)
        return failed(f, item, err, why);
    *(struct range *)out = ranges.list[0];
    return true;
}

/* --- words ----------------------------------------------------------------- */

static size_t words_count(const char *const *words)
{
    size_t n = 0;

    while (words && words[n])
        n++;
    return n;
}

static size_t words_find(const char *const *words, struct span text)
{
    size_t n = 0;

    while (words && words[n] && !span_equal(text, span_of(words[n])))
        n++;
    return n;
}

/* "one of these", or the closest of them. */
static void word_unknown(struct filling *f, const struct item *item)
{
    const struct setting *s = f->setting;
    size_t count = words_count(s->words);
    struct span text = item->words[0].text, all = SPAN("");
    const char *close = suggest(text, s->words, count);

    for (size_t i = 0; i < count && all.ptr; i++)
        all = arena_print(f->conf->arena, "%.*s%s%s", SPAN_ARG(all), i ? ", " : "", s->words[i]);
    if (all.ptr && (s->flags & SETTING_OFF))
        all = arena_print(f->conf->arena, "%.*s, off", SPAN_ARG(all));
    if (!all.ptr) {
        diagnostics_memory(f->d);
        return;
    }
    diagnostics_say(f->d, SEVERITY_ERROR, item_at(item), "%s: \"%.*s\" is none of %.*s%s%s%s",
                    s->name, SPAN_ARG(span_first(text, 60)), SPAN_ARG(all),
                    close ? "; did you mean \"" : "", close ? close : "", close ? "\"?" : "");
}

static bool word_index(struct filling *f, const struct item *item, size_t *index)
{
    const struct setting *s = f->setting;
    struct span text = item->words[0].text;

    *index = words_find(s->words, text);
    if (*index < words_count(s->words))
        return true;
    if (words_find(s->later, text) < words_count(s->later))
        refuse(f, item, "not supported by this build");
    else
        word_unknown(f, item);
    return false;
}

static bool fill_word(struct filling *f, const struct item *item, void *out)
{
    size_t index;

    if (!word_index(f, item, &index))
        return false;
    *(int *)out = (int)index;
    return true;
}

static bool fill_word_order(struct filling *f, const struct item *item, void *out)
{
    size_t index;

    if (!word_index(f, item, &index))
        return false;
    *(struct span *)out = span_of(f->setting->words[index]);
    return true;
}

/* --- texts ----------------------------------------------------------------- */

static bool fill_span(struct filling *f, const struct item *item, void *out)
{
    struct span text = item->words[0].text;

    if (f->setting->type != SETTING_TEXT && text.len == 0)
        return failed(f, item, FAIL_BAD, "empty");
    *(struct span *)out = text;
    return true;
}

static bool fill_name(struct filling *f, const struct item *item, void *out)
{
    const char *why;
    int err = value_name(item->words[0].text, &why);

    return err == 0 ? fill_span(f, item, out) : failed(f, item, err, why);
}

static bool fill_token(struct filling *f, const struct item *item, void *out)
{
    const char *why;
    int err = value_token(item->words[0].text, &why);

    return err == 0 ? fill_span(f, item, out) : failed(f, item, err, why);
}

static bool fill_host(struct filling *f, const struct item *item, void *out)
{
    const char *why;
    int err = value_host(f->conf->arena, item->words[0].text, f->setting->type == SETTING_HOSTS,
                         out, &why);

    return err == 0 || failed(f, item, err, why);
}

static bool fill_path(struct filling *f, const struct item *item, void *out)
{
    struct span text = item->words[0].text;
    const char *why;
    int err = f->setting->type == SETTING_PATHS ? value_route_path(f->conf->arena, text, &why)
                                                : value_path(f->conf->arena, text, &why);

    return err == 0 ? fill_span(f, item, out) : failed(f, item, err, why);
}

static bool fill_template(struct filling *f, const struct item *item, void *out)
{
    const struct word *w = &item->words[0];
    const char *why = "out of memory";
    size_t where = 0;
    int err = template_parse(out, f->conf->arena, w->text, &why, &where);

    if (err == FAIL_MEMORY)
        diagnostics_memory(f->d);
    else if (err < 0)
        diagnostics_say(f->d, SEVERITY_ERROR,
                        conf_value_at(item->value, w->offset + w->quoted + where), "%s: %s",
                        f->setting->name, why);
    return err == 0;
}

/* --- addresses ------------------------------------------------------------- */

/* "name:80": gate resolves it.  Family NONE, and the port. */
static bool is_named(struct arena *arena, struct span text, struct address *a)
{
    size_t colon = span_find(text, ':');
    struct span host;
    const char *why;
    uint64_t port;

    if (colon == text.len || !span_number(span_after(text, colon + 1), &port) ||
        port > UINT16_MAX || value_host(arena, span_first(text, colon), false, &host, &why) < 0)
        return false;
    *a = (struct address){.port = (uint16_t)port};
    return true;
}

static bool fill_address(struct filling *f, const struct item *item, void *out)
{
    struct listen_address *a = out;
    struct span text = item->words[0].text;

    *a = (struct listen_address){.text = text};
    a->any = text.len > 0 && text.ptr[0] == ':';
    if (a->any) {
        uint64_t port;
        if (!span_number(span_after(text, 1), &port) || port > UINT16_MAX)
            return failed(f, item, FAIL_BAD, "after the : stands a port up to 65535");
        a->address.port = (uint16_t)port;
    } else if (address_parse(&a->address, text) < 0 &&
               !is_named(f->conf->arena, text, &a->address)) {
        return failed(f, item, FAIL_BAD,
                      "an address is :80, 10.0.0.1:80, [::1]:80, unix:/path or unix:@name");
    }
    if (a->address.family != ADDRESS_UNIX && a->address.port == 0)
        return failed(f, item, FAIL_BAD, "port 0");
    return true;
}

static bool fill_net(struct filling *f, const struct item *item, void *out)
{
    const char *why;
    int err = value_net(f->conf->arena, item->words[0].text, out, &why);

    return err == 0 || failed(f, item, err, why);
}

/* --- lines ----------------------------------------------------------------- */

static bool fill_line(struct filling *f, const struct item *item, void *out)
{
    struct arena *arena = f->conf->arena;
    struct line *line = out;

    *line = (struct line){.at = item_at(item)};
    line->words.list = arena_alloc(arena, item->count * sizeof *line->words.list);
    line->places = arena_alloc(arena, item->count * sizeof *line->places);
    line->text =
        items_print(arena, f->setting, &(struct item){.words = item->words, .count = item->count});
    if (!line->words.list || !line->places || !line->text.ptr)
        return failed(f, item, FAIL_MEMORY, NULL);
    line->words.count = item->count;
    for (unsigned i = 0; i < item->count; i++) {
        line->words.list[i] = item->words[i].text;
        line->places[i] = conf_value_at(item->value, item->words[i].offset);
    }
    return true;
}

/* --- by type --------------------------------------------------------------- */

struct type_row {
    bool (*fill)(struct filling *f, const struct item *item, void *out);
    size_t size; /* of what it fills: a member, or an element of a list */
};

static const struct type_row types[] = {
    [SETTING_BOOL] = {fill_bool, sizeof(bool)},
    [SETTING_COUNT] = {fill_number, sizeof(uint64_t)},
    [SETTING_OCTAL] = {fill_octal, sizeof(uint64_t)},
    [SETTING_DURATION] = {fill_number, sizeof(uint64_t)},
    [SETTING_SIZE] = {fill_number, sizeof(uint64_t)},
    [SETTING_PERCENT] = {fill_number, sizeof(uint64_t)},
    [SETTING_RATE] = {fill_rate, sizeof(struct rate)},
    [SETTING_RANGE] = {fill_range, sizeof(struct range)},
    [SETTING_WORD] = {fill_word, sizeof(int)},
    [SETTING_WORDS] = {fill_word, sizeof(int)},
    [SETTING_WORD_ORDER] = {fill_word_order, sizeof(struct span)},
    [SETTING_NAME] = {fill_name, sizeof(struct span)},
    [SETTING_NAMES] = {fill_name, sizeof(struct span)},
    [SETTING_TOKEN] = {fill_token, sizeof(struct span)},
    [SETTING_TOKENS] = {fill_token, sizeof(struct span)},
    [SETTING_HOST] = {fill_host, sizeof(struct span)},
    [SETTING_HOSTS] = {fill_host, sizeof(struct span)},
    [SETTING_PATH] = {fill_path, sizeof(struct span)},
    [SETTING_PATHS] = {fill_path, sizeof(struct span)},
    [SETTING_ADDRESSES] = {fill_address, sizeof(struct listen_address)},
    [SETTING_NETS] = {fill_net, sizeof(struct net)},
    [SETTING_FILE] = {fill_span, sizeof(struct span)},
    [SETTING_FILES] = {fill_span, sizeof(struct span)},
    [SETTING_DIR] = {fill_span, sizeof(struct span)},
    [SETTING_TEXT] = {fill_span, sizeof(struct span)},
    [SETTING_TEMPLATE] = {fill_template, sizeof(struct template *)},
    [SETTING_LINE] = {fill_line, sizeof(struct line)},
    [SETTING_LIST] = {fill_line, sizeof(struct line)},
    [SETTING_LINES] = {fill_line, sizeof(struct line)},
};

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

static bool expand_private(struct filling *f, struct item **at)
{
    for (; *at; at = &(*at)->next) {
        if (!span_equal((*at)->words[0].text, SPAN("private")))
            continue;
        if (!(*at = private_items(f, *at)))
            return failed(f, NULL, FAIL_MEMORY, NULL);
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
        if (fill_word(f, item, &index))
            all |= UINT64_C(1) << index;
    *bits = all;
}

static void fill_list(struct filling *f, const struct item *item, void *member)
{
    const struct type_row *row = &types[f->setting->type];
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
        types[s->type].fill(f, first, member);
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

static void fill_entry(struct filling *f, struct conf_entry *e, void *member)
{
    e->used = true;
    if (f->setting->flags & SETTING_LATER)
        diagnostics_say(f->d, SEVERITY_ERROR, e->at, "%s is not supported by this build",
                        f->setting->name);
    else if (e->values && !set_twice(f, e->values))
        fill_member(f, e->values, member);
}

static void fill_fallback(struct filling *f, void *member)
{
    struct conf_value value = {.text = span_of(f->setting->fallback)};

    if (f->setting->fallback)
        fill_member(f, &value, member);
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
