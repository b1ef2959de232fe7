/* -T and --help-settings: tables and sections as text.
 *
 * A value is printed as its items are read, so that the output reads back the
 * same wherever it is saved: files are absolute, the environment is put in.
 */
#include "conf/item.h"

struct printing {
    const struct conf *conf;
    void (*line)(void *data, struct span text);
    void *data;
};

static void put(const struct printing *p, struct span text)
{
    p->line(p->data, text.ptr ? text : SPAN("# out of memory"));
}

static void print_place(const struct printing *p, struct position at)
{
    put(p, arena_print(p->conf->arena, "# %s:%u", at.file, at.line));
}

static void print_value(const struct printing *p, const struct setting *s,
                        const struct conf_value *value)
{
    struct arena *arena = p->conf->arena;
    struct diagnostics d = {.arena = arena};
    struct item *items;
    struct span text = {0};

    if (items_read(&items, p->conf, s, value, &d))
        text = items_print(arena, s, items);
    if (text.ptr)
        text = arena_print(arena, "%s = %.*s", s->name, SPAN_ARG(text));
    print_place(p, value->at);
    put(p, text);
}

static void print_fallback(const struct printing *p, const struct setting *s)
{
    put(p, SPAN("# default"));
    put(p, arena_print(p->conf->arena, "%s = %s", s->name, s->fallback));
}

static void print_setting(const struct printing *p, const struct conf_section *section,
                          const struct conf_section *server, const struct setting *s)
{
    const struct conf_entry *e = conf_find(section, s->name);

    if (s->flags & (SETTING_LATER | SETTING_READER))
        return;
    if (!e && (s->flags & SETTING_INHERIT))
        e = conf_find(server, s->name);
    if (e)
        for (const struct conf_value *v = e->values; v; v = v->next)
            print_value(p, s, v);
    else if (s->fallback)
        print_fallback(p, s);
}

void conf_print(const struct conf *conf, const struct conf_section *section,
                const struct conf_section *server, const struct setting *const tables[],
                void (*line)(void *data, struct span text), void *data)
{
    struct printing p = {conf, line, data};

    put(&p, section->name.len ? arena_print(conf->arena, "[%.*s %.*s]", SPAN_ARG(section->type),
                                            SPAN_ARG(section->name))
                              : arena_print(conf->arena, "[%.*s]", SPAN_ARG(section->type)));
    bool is_server = span_equal(section->type, SPAN("server"));
    for (size_t t = 0; tables[t]; t++)
        for (const struct setting *s = tables[t]; s->name; s++)
            if (!is_server || t == 0 || (s->flags & SETTING_INHERIT))
                print_setting(&p, section, server, s);
}

/* --- help ------------------------------------------------------------------ */

static const char *const type_names[] = {
    [SETTING_BOOL] = "yes or no",
    [SETTING_COUNT] = "count",
    [SETTING_OCTAL] = "octal",
    [SETTING_DURATION] = "duration",
    [SETTING_SIZE] = "size",
    [SETTING_PERCENT] = "share",
    [SETTING_RATE] = "rate",
    [SETTING_RANGE] = "list of ranges",
    [SETTING_WORD] = "",
    [SETTING_WORDS] = "list of",
    [SETTING_WORD_ORDER] = "list of",
    [SETTING_NAME] = "name",
    [SETTING_NAMES] = "list of names",
    [SETTING_TOKEN] = "token",
    [SETTING_TOKENS] = "list of tokens",
    [SETTING_HOST] = "host",
    [SETTING_HOSTS] = "list of hosts",
    [SETTING_PATH] = "path",
    [SETTING_PATHS] = "list of paths",
    [SETTING_ADDRESSES] = "list of addresses",
    [SETTING_NETS] = "list of nets",
    [SETTING_FILE] = "file",
    [SETTING_FILES] = "list of files",
    [SETTING_DIR] = "directory",
    [SETTING_TEXT] = "text",
    [SETTING_TEMPLATE] = "template",
    [SETTING_LINE] = "words",
    [SETTING_LIST] = "list",
    [SETTING_LINES] = "lines",
};

/* Help is written before there is a configuration; a line is short. */
struct help_line {
    char text[512];
    size_t len;
};

static void add(struct help_line *h, const char *text)
{
    size_t len = strlen(text), room = sizeof h->text - h->len;

    if (len > room)
        len = room;
    memcpy(h->text + h->len, text, len);
    h->len += len;
}

static void add_words(struct help_line *h, const struct setting *s)
{
    const char *const *words = setting_is_line(s) ? NULL : s->words;

    for (size_t i = 0; words && words[i]; i++) {
        add(h, h->text[h->len - 1] != '(' ? " " : "");
        add(h, words[i]);
    }
    if (s->flags & SETTING_AUTO)
        add(h, ", auto");
    if (s->flags & SETTING_OFF)
        add(h, ", off");
}

static void help_one(const struct setting *s, void (*line)(void *data, struct span text),
                     void *data)
{
    struct help_line head = {.len = 0}, help = {.len = 0};

    add(&head, "  ");
    add(&head, s->name);
    add(&head, " (");
    add(&head, type_names[s->type]);
    add_words(&head, s);
    add(&head, ")");
    if (s->fallback) {
        add(&head, " = ");
        add(&head, s->fallback);
    }
    add(&head, s->flags & SETTING_REQUIRED ? "  required" : "");
    add(&head, s->flags & SETTING_INHERIT ? "  also in [server]" : "");
    add(&head, s->flags & SETTING_RESTART ? "  at restart" : "");
    line(data, (struct span){head.text, head.len});
    add(&help, "      ");
    add(&help, s->help ? s->help : "");
    line(data, (struct span){help.text, help.len});
}

void setting_help(const char *section, const struct setting *table,
                  void (*line)(void *data, struct span text), void *data)
{
    line(data, span_of(section));
    for (const struct setting *s = table; s && s->name; s++)
        if (!(s->flags & SETTING_LATER))
            help_one(s, line, data);
}
