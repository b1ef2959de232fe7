/* Splits values as their settings want them, and writes them again; see item.h. */
#include "conf/item.h"

bool setting_is_list(const struct setting *setting)
{
    switch (setting->type) {
    case SETTING_RANGE:
    case SETTING_WORDS:
    case SETTING_WORD_ORDER:
    case SETTING_NAMES:
    case SETTING_TOKENS:
    case SETTING_HOSTS:
    case SETTING_PATHS:
    case SETTING_ADDRESSES:
    case SETTING_NETS:
    case SETTING_FILES:
    case SETTING_LIST:
        return true;
    default:
        return false;
    }
}

bool setting_repeats(const struct setting *setting)
{
    return setting->type == SETTING_LINES || setting_is_list(setting);
}

bool setting_is_line(const struct setting *setting)
{
    return setting->type == SETTING_LINE || setting->type == SETTING_LIST ||
           setting->type == SETTING_LINES;
}

/* A host, or a request variable that stands for one. */
static bool is_host_or_variable(const struct setting *setting)
{
    return setting->type == SETTING_HOST && setting->words;
}

static bool is_rest(const struct setting *setting, unsigned word)
{
    if (setting->type == SETTING_TEXT || setting->type == SETTING_TEMPLATE ||
        (setting->flags & SETTING_REST_FIRST) || is_host_or_variable(setting))
        return true;
    return word == 2 && (setting->flags & SETTING_REST_THIRD);
}

static bool is_template(const struct setting *setting, unsigned word)
{
    return setting->type == SETTING_TEMPLATE || is_host_or_variable(setting) ||
           (word == 2 && (setting->flags & SETTING_REST_THIRD));
}

/* --- reading --------------------------------------------------------------- */

struct itemizing {
    struct scan scan;
    const struct setting *setting;
    const struct conf *conf;
    struct item **last;
    unsigned room; /* words the current item has room for */
};

static bool no_memory(struct itemizing *z)
{
    diagnostics_memory(z->scan.d);
    return false;
}

static bool refuse(struct itemizing *z, size_t offset, const char *why)
{
    diagnostics_say(z->scan.d, SEVERITY_ERROR, conf_value_at(z->scan.value, offset), "%s: %s",
                    z->setting->name, why);
    return false;
}

static bool is_special(const struct setting *setting, struct span word)
{
    for (const char *const *w = setting->words; w && *w; w++)
        if (span_equal(word, span_of(*w)))
            return true;
    return (setting->flags & SETTING_OFF) && span_equal(word, SPAN("off"));
}

/* Relative files, and paths of unix sockets, begin from the folder of their file. */
static bool resolve(struct itemizing *z, struct word *w, unsigned index)
{
    const struct setting *s = z->setting;
    bool is_file = s->type == SETTING_FILE || s->type == SETTING_FILES || s->type == SETTING_DIR ||
                   (index == 0 && (s->flags & SETTING_FILE_FIRST)) ||
                   (index == 1 && (s->flags & SETTING_FILE_SECOND));
    bool is_unix =
        (s->type == SETTING_ADDRESSES || (index == 0 && (s->flags & SETTING_UNIX_FIRST))) &&
        span_starts(w->text, SPAN("unix:")) && w->text.len > 5 && w->text.ptr[5] != '@';
    struct span path = is_unix ? span_after(w->text, 5) : w->text;

    if (!(is_file || is_unix) || path.len == 0 || path.ptr[0] == '/' || is_special(s, w->text))
        return true;
    path = conf_resolve(z->conf, z->scan.value->at.file, path);
    if (path.ptr && is_unix)
        path = arena_join(z->scan.arena, SPAN("unix:"), path);
    if (!path.ptr)
        return no_memory(z);
    w->text = path;
    return true;
}

static bool item_begin(struct itemizing *z, struct item **item)
{
    if (!(*item = arena_zalloc(z->scan.arena, sizeof **item)))
        return no_memory(z);
    (*item)->value = z->scan.value;
    *z->last = *item;
    z->last = &(*item)->next;
    z->room = 0;
    return true;
}

static bool item_add(struct itemizing *z, struct item *item, struct word w)
{
    if (item->count == z->room) {
        unsigned room = z->room ? z->room * 2 : 1;
        struct word *words = arena_alloc(z->scan.arena, room * sizeof *words);
        if (!words)
            return no_memory(z);
        if (item->count)
            memcpy(words, item->words, item->count * sizeof *words);
        item->words = words;
        z->room = room;
    }
    if (!resolve(z, &w, item->count))
        return false;
    item->words[item->count++] = w;
    return true;
}

static enum scanned next(struct itemizing *z, const struct item *item, struct word *w)
{
    unsigned index = item ? item->count : 0;

    if (is_rest(z->setting, index))
        return scan_rest(&z->scan, w, is_template(z->setting, index));
    return scan_next(&z->scan, w);
}

static bool extra_word(struct itemizing *z, size_t offset)
{
    return refuse(z, offset,
                  setting_is_list(z->setting)
                      ? "items are separated by commas; quote one with blanks in it"
                      : "one value only; quote one with blanks in it");
}

bool items_read(struct item **first, const struct conf *conf, const struct setting *setting,
                const struct conf_value *value, struct diagnostics *d)
{
    struct itemizing z = {
        .scan = {.arena = conf->arena,
                 .d = d,
                 .key = setting->name,
                 .value = value,
                 .commas = setting_is_list(setting)},
        .setting = setting,
        .conf = conf,
        .last = first,
    };
    struct item *item = NULL;
    enum scanned what;
    struct word w;

    *first = NULL;
    while ((what = next(&z, item, &w)) == SCAN_WORD || what == SCAN_COMMA) {
        if (what == SCAN_COMMA) {
            if (!item)
                return refuse(&z, w.offset, "an item is missing before this comma");
            item = NULL;
            continue;
        }
        if (item && !setting_is_line(setting))
            return extra_word(&z, w.offset);
        if (!item && !item_begin(&z, &item))
            return false;
        if (!item_add(&z, item, w))
            return false;
    }
    if (what == SCAN_END && !item)
        return refuse(&z, value->text.len ? value->text.len - 1 : 0,
                      "an item is missing after this comma");
    return what == SCAN_END;
}

/* --- writing --------------------------------------------------------------- */

static struct span append(struct arena *arena, struct span text, const char *between,
                          struct span more)
{
    if (!text.ptr || !more.ptr)
        return (struct span){0};
    if (text.len > 0)
        text = arena_join(arena, text, span_of(between));
    return text.ptr ? arena_join(arena, text, more) : text;
}

static struct span item_print(struct arena *arena, const struct setting *setting,
                              const struct item *item)
{
    struct span out = SPAN("");

    for (unsigned i = 0; i < item->count; i++) {
        const struct word *w = &item->words[i];
        struct span word = is_rest(setting, i) ? rest_print(arena, w, is_template(setting, i))
                                               : word_print(arena, w, setting_is_list(setting));
        out = append(arena, out, " ", word);
    }
    return out;
}

struct span items_print(struct arena *arena, const struct setting *setting,
                        const struct item *first)
{
    struct span out = SPAN("");

    for (const struct item *item = first; item; item = item->next)
        out = append(arena, out, ", ", item_print(arena, setting, item));
    return out;
}
