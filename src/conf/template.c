/* "https://${host}${uri}" to parts; see template.h. */
#include "conf/template.h"

#include "base/fail.h"
#include "conf/conf.h"

static const char *const variable_names[] = {
#define VARIABLE_NAME(name) [VARIABLE_##name] = #name,
    [VARIABLE_NONE] = "",
    VARIABLE_LIST(VARIABLE_NAME)
#undef VARIABLE_NAME
        [VARIABLE_path_name] = "path.NAME",
    [VARIABLE_query_name] = "query.NAME",
    [VARIABLE_header_name] = "header.NAME",
    [VARIABLE_cookie_name] = "cookie.NAME",
};

struct parsing {
    struct arena *arena;
    struct template *t;
    char *literal; /* text that is not yet a part */
    size_t literal_len;
    const char **why;
    size_t *where;
};

static int refuse(struct parsing *p, const char *why, size_t where)
{
    *p->why = why;
    *p->where = where;
    return FAIL_BAD;
}

static void literal_end(struct parsing *p)
{
    struct span text = {p->literal, p->literal_len};

    if (text.len == 0)
        return;
    p->t->parts[p->t->count++] = (struct template_part){.text = text};
    p->literal += p->literal_len;
    p->literal_len = 0;
}

/* One of the plain names, or one of path. query. header. cookie. with a NAME. */
static bool variable_find(struct span name, struct template_part *part)
{
    size_t dot = span_find(name, '.');

    for (size_t v = 1; v < COUNT_OF(variable_names); v++) {
        struct span known = span_of(variable_names[v]);
        size_t known_dot = span_find(known, '.');
        if (known_dot == known.len ? !span_equal(name, known)
                                   : dot != known_dot || dot + 1 >= name.len ||
                                         !span_starts(known, span_first(name, dot + 1)))
            continue;
        part->variable = (enum variable)v;
        part->text = dot < name.len ? span_after(name, dot + 1) : (struct span){0};
        return true;
    }
    return false;
}

static int variable_unknown(struct parsing *p, struct span name, size_t where)
{
    const char *close = suggest(name, variable_names + 1, COUNT_OF(variable_names) - 1);
    struct span text =
        arena_print(p->arena, "there is no variable ${%.*s}%s%s%s", SPAN_ARG(span_first(name, 60)),
                    close ? "; did you mean \"${" : "", close ? close : "", close ? "}\"?" : "");

    return text.ptr ? refuse(p, text.ptr, where) : FAIL_MEMORY;
}

static bool name_is_fine(const struct template_part *part)
{
    const char *why;

    switch (part->variable) {
    case VARIABLE_header_name:
    case VARIABLE_cookie_name:
        return value_token(part->text, &why) == 0;
    default:
        return true;
    }
}

/* A variable at `at`, of source; its end in *end. */
static int variable_parse(struct parsing *p, size_t at, size_t *end)
{
    struct span inside = span_after(p->t->source, at + 2);
    size_t close = span_find(inside, '}'), colon;
    struct template_part part = {0};

    if (close == inside.len)
        return refuse(p, "there is no } after this ${", at);
    inside.len = close;
    for (colon = 0; colon < inside.len; colon++)
        if (span_starts(span_after(inside, colon), SPAN(":-")))
            break;
    if (colon < inside.len)
        part.fallback = span_after(inside, colon + 2);
    inside.len = colon;
    if (!variable_find(inside, &part))
        return variable_unknown(p, inside, at);
    if (!name_is_fine(&part))
        return refuse(p, "not a field name", at + 2 + (size_t)(part.text.ptr - inside.ptr));
    literal_end(p);
    p->t->parts[p->t->count++] = part;
    p->t->constant = false;
    *end = at + 2 + close + 1;
    return 0;
}

static int parse(struct parsing *p)
{
    struct span s = p->t->source;

    for (size_t at = 0; at < s.len;) {
        struct span rest = span_after(s, at);
        if (span_starts(rest, SPAN("${"))) {
            int err = variable_parse(p, at, &at);
            if (err < 0)
                return err;
            continue;
        }
        bool escaped = span_starts(rest, SPAN("$${")); /* a literal ${ */
        size_t n = escaped ? 2 : 1;
        at += escaped;
        memcpy(p->literal + p->literal_len, s.ptr + at, n);
        p->literal_len += n;
        at += n;
    }
    literal_end(p);
    return 0;
}

/* Between two variables stands at most one literal. */
static size_t parts_max(struct span s)
{
    size_t variables = 0;

    for (size_t i = 0; i < s.len; i++)
        variables += s.ptr[i] == '$';
    return 2 * variables + 1;
}

int template_parse(struct template **out, struct arena *arena, struct span text, const char **why,
                   size_t *where)
{
    struct template *t = arena_zalloc(arena, sizeof *t);
    struct parsing p = {.arena = arena, .t = t, .why = why, .where = where};

    *why = "out of memory";
    *where = 0;
    if (!t)
        return FAIL_MEMORY;
    t->source = text;
    t->constant = true;
    t->parts = arena_alloc(arena, parts_max(text) * sizeof *t->parts);
    p.literal = arena_alloc(arena, text.len);
    if (!t->parts || !p.literal)
        return FAIL_MEMORY;
    int err = parse(&p);
    if (err == 0)
        *out = t;
    return err;
}
