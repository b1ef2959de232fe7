/* What each type makes of an item; see type.h. */
#include "conf/type.h"

#include "base/fail.h"

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
    if ((err = number_parse(f->setting->type, text, &n, &why)) < 0) {
        if (why == value_zero && (f->setting->flags & SETTING_OFF))
            why = "never 0: for none the word is off";
        return failed(f, item, err, why);
    }
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
    bool yes;
    int err = value_bool(item->words[0].text, &yes, &why);

    if (err < 0)
        return failed(f, item, err, why);
    *(bool *)out = yes;
    return true;
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

/* A host, or one of the words that may stand for it. */
static bool fill_host(struct filling *f, const struct item *item, void *out)
{
    const char *why;

    for (size_t i = 0; f->setting->words && f->setting->words[i]; i++)
        if (span_equal(item->words[0].text, span_of(f->setting->words[i])))
            return fill_span(f, item, out);
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

    *a = (struct listen_address){.text = text,
                                 .at = conf_value_at(item->value, item->words[0].offset)};
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

static struct span option_name(struct span word)
{
    return span_first(word, span_find(word, '='));
}

static bool is_option(const struct line *line, unsigned word)
{
    return word > 0 || span_find(line->words.list[0], '=') < line->words.list[0].len;
}

static void check_options(struct filling *f, const struct line *line)
{
    for (unsigned i = 1; i < line->words.count; i++) {
        struct span word = line->words.list[i], name = option_name(word);
        unsigned first = 0;
        while (!is_option(line, first) || !span_equal(option_name(line->words.list[first]), name))
            first++;
        if (first < i)
            diagnostics_say(f->d, SEVERITY_ERROR, line->places[i],
                            "%s: \"%.*s\": this option is there twice; the first is \"%.*s\" at "
                            "%s:%u:%u",
                            f->setting->name, SPAN_ARG(span_first(word, 60)),
                            SPAN_ARG(span_first(line->words.list[first], 60)),
                            line->places[first].file, line->places[first].line,
                            line->places[first].column);
    }
}

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
    if (f->setting->flags & SETTING_OPTIONS)
        check_options(f, line);
    return true;
}

/* --- by type --------------------------------------------------------------- */

const struct type_row type_rows[] = {
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
