/* Lines of a route in a language of their own: edits of fields, conditions,
 * error pages. */
#include "gate/loading.h"

/* --- response_header, request_header ------------------------------------------ */

static const struct {
    struct span word;
    enum edit_kind kind;
} edit_words[] = {
    {SPAN_INIT("set"), EDIT_SET},
    {SPAN_INIT("add"), EDIT_ADD},
    {SPAN_INIT("default"), EDIT_DEFAULT},
    {SPAN_INIT("remove"), EDIT_REMOVE},
};

/* What frames a message, or belongs to one connection, is not for editing. */
static bool edit_refused(enum field_id id)
{
    return id == FIELD_CONTENT_LENGTH || id == FIELD_TRANSFER_ENCODING || id == FIELD_TRAILER ||
           field_hop_by_hop(id);
}

static bool edit_kind(struct loading *l, const struct line *line, const char *key,
                      struct edit *edit)
{
    static const char *const words[] = {"set", "add", "default", "remove"};
    struct span word = line->words.list[0];

    for (size_t i = 0; i < COUNT_OF(edit_words); i++)
        if (span_equal(word, edit_words[i].word)) {
            edit->kind = edit_words[i].kind;
            return true;
        }
    diagnostics_say(l->d, SEVERITY_ERROR, line->at,
                    "%s: \"%.*s\" is none of set, add, default, remove%s", key,
                    SPAN_ARG(span_first(word, 60)), did_you_mean(l, word, words, COUNT_OF(words)));
    return false;
}

static bool edit_name(struct loading *l, const struct line *line, const char *key,
                      struct edit *edit)
{
    struct span name = line->words.list[1];
    bool is_request = strcmp(key, "request_header") == 0;

    if (edit->kind == EDIT_REMOVE && name.len > 1 && name.ptr[name.len - 1] == '*') {
        edit->kind = EDIT_REMOVE_PREFIX;
        name.len--;
    }
    if (!span_is_token(name) || span_find(name, '*') < name.len)
        return loading_say_word(l, line, 1, key, "not a field name");
    edit->name = name;
    if (edit->kind == EDIT_REMOVE_PREFIX)
        return true;
    edit->id = (uint16_t)field_find(name);
    if (edit_refused(edit->id))
        return loading_say_word(l, line, 1, key, "this field belongs to the connection");
    if (is_request && edit->id == FIELD_HOST)
        return loading_say_word(l, line, 1, key, "Host is set by host_header");
    return true;
}

static bool edit_value(struct loading *l, const struct line *line, const char *key,
                       struct edit *edit)
{
    bool removes = edit->kind == EDIT_REMOVE || edit->kind == EDIT_REMOVE_PREFIX;
    const char *why;
    size_t where;

    if (removes)
        return line->words.count == 2 ||
               loading_say_word(l, line, 2, key, "remove takes a name only");
    if (line->words.count < 3)
        return loading_say_word(l, line, 1, key, "the value is missing; the empty text is \"\"");
    int err = template_parse(&edit->value, &l->config->arena, line->words.list[2], &why, &where);
    if (err == FAIL_MEMORY)
        diagnostics_memory(l->d);
    else if (err < 0)
        diagnostics_say(l->d, SEVERITY_ERROR, line->places[2], "%s: %s", key, why);
    for (unsigned i = 0; err == 0 && i < edit->value->count; i++)
        if (edit->value->parts[i].variable == VARIABLE_NONE &&
            !span_is_field_value(edit->value->parts[i].text))
            return loading_say_word(l, line, 2, key, "a control character");
    return err == 0;
}

static bool edit_removes_server(const struct edit *e)
{
    return (e->kind == EDIT_REMOVE && e->id == FIELD_SERVER) ||
           (e->kind == EDIT_REMOVE_PREFIX && e->name.len <= 6 &&
            span_equal_nocase(e->name, span_first(SPAN("server"), e->name.len)));
}

void edits_load(struct loading *l, const char *key, const struct lines *lines, struct edits *edits)
{
    if (lines->count == 0 || !(edits->list = loading_zalloc(l, lines->count * sizeof *edits->list)))
        return;
    for (unsigned i = 0; i < lines->count; i++) {
        const struct line *line = &lines->list[i];
        struct edit edit = {0};
        if (!edit_kind(l, line, key, &edit))
            continue;
        if (line->words.count < 2) {
            loading_say_word(l, line, 0, key, "the field's name is missing");
            continue;
        }
        if (!edit_name(l, line, key, &edit) || !edit_value(l, line, key, &edit))
            continue;
        edits->list[edits->count++] = edit;
        edits->removes_server = edits->removes_server || edit_removes_server(&edit);
    }
}

/* --- match_header, match_query ------------------------------------------------- */

static struct condition condition_split(struct span text)
{
    struct condition c = {.kind = CONDITION_PRESENT, .name = text};
    size_t equals = span_find(text, '=');

    if (equals < text.len) {
        char before = equals > 0 ? text.ptr[equals - 1] : '\0';
        c.kind = before == '!'   ? CONDITION_NOT_EQUAL
                 : before == '^' ? CONDITION_PREFIX
                                 : CONDITION_EQUAL;
        c.name.len = equals - (c.kind != CONDITION_EQUAL);
        c.value = span_after(text, equals + 1);
    } else if (text.len > 0 && text.ptr[0] == '!') {
        c.kind = CONDITION_ABSENT;
        c.name = span_after(text, 1);
    }
    return c;
}

void conditions_load(struct loading *l, const char *key, const struct lines *lines, bool in_query,
                     struct conditions *conditions)
{
    struct condition *list;

    if (lines->count == 0)
        return;
    if (!(list = loading_zalloc(l, (conditions->count + lines->count) * sizeof *list)))
        return;
    if (conditions->count)
        memcpy(list, conditions->list, conditions->count * sizeof *list);
    conditions->list = list;
    for (unsigned i = 0; i < lines->count; i++) {
        const struct line *line = &lines->list[i];
        struct condition c = condition_split(line->words.list[0]);
        c.in_query = in_query;
        if (c.name.len == 0 || (!in_query && !span_is_token(c.name))) {
            loading_say_word(l, line, 0, key,
                             "a condition is NAME, !NAME, NAME=V, NAME!=V or NAME^=PREFIX");
            continue;
        }
        c.id = in_query ? 0 : (uint16_t)field_find(c.name);
        list[conditions->count++] = c;
    }
}

/* --- error_page ------------------------------------------------------------------ */

enum { ERROR_PAGE_MAX = 64 << 10 };

static struct span type_of(struct span path)
{
    static const struct {
        struct span end, type;
    } rows[] = {
        {SPAN_INIT(".html"), SPAN_INIT("text/html; charset=utf-8")},
        {SPAN_INIT(".htm"), SPAN_INIT("text/html; charset=utf-8")},
        {SPAN_INIT(".json"), SPAN_INIT("application/json")},
        {SPAN_INIT(".xml"), SPAN_INIT("application/xml")},
        {SPAN_INIT(".svg"), SPAN_INIT("image/svg+xml")},
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (path.len > rows[i].end.len &&
            span_equal_nocase(span_after(path, path.len - rows[i].end.len), rows[i].end))
            return rows[i].type;
    return SPAN("text/plain; charset=utf-8");
}

static unsigned statuses_count(struct span list)
{
    unsigned n = 1;

    for (size_t i = 0; i < list.len; i++)
        n += list.ptr[i] == ',';
    return n;
}

static void error_page_load(struct loading *l, const struct line *line, struct error_pages *pages)
{
    struct span rest = line->words.list[0], body;

    if (line->words.count != 2) {
        diagnostics_say(l->d, SEVERITY_ERROR, line->at,
                        "error_page: write 503[,504...] and one file; no blank after a comma");
        return;
    }
    if (!loading_file(l, line->places[1], "error_page", line->words.list[1], ERROR_PAGE_MAX, &body))
        return;
    while (rest.len > 0) {
        size_t end = span_find(rest, ',');
        uint64_t status;
        if (!span_number(span_first(rest, end), &status) || status < 400 || status > 599) {
            loading_say_word(l, line, 0, "error_page",
                             "statuses from 400 to 599, with commas between");
            return;
        }
        pages->list[pages->count++] = (struct error_page){
            .status = (int)status, .body = body, .type = type_of(line->words.list[1])};
        rest = span_after(rest, end < rest.len ? end + 1 : end);
    }
}

void error_pages_load(struct loading *l, const struct lines *lines, struct error_pages *pages)
{
    unsigned count = 0;

    for (unsigned i = 0; i < lines->count; i++)
        count += statuses_count(lines->list[i].words.list[0]);
    if (count == 0 || !(pages->list = loading_zalloc(l, count * sizeof *pages->list)))
        return;
    for (unsigned i = 0; i < lines->count; i++)
        error_page_load(l, &lines->list[i], pages);
}
