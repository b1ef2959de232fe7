/* The match_header and match_query lines of routes.
 *
 * A line speaks of one value: that of the first field, or query parameter, of
 * its name.  `NAME!=V` holds also where there is none.  Having just one value
 * is what makes it decidable that two routes can never match one request, or
 * that one always matches where another does.
 */
#include "gate/route_table.h"

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Takes one byte of a query value as it is after decoding (WHATWG URL, 5.1:
 * `+` is a space, a broken escape is itself). */
static char query_byte(struct span *s)
{
    char c = s->ptr[0];

    if (c == '%' && s->len >= 3 && hex(s->ptr[1]) >= 0 && hex(s->ptr[2]) >= 0) {
        c = (char)(hex(s->ptr[1]) << 4 | hex(s->ptr[2]));
        *s = span_after(*s, 3);
        return c;
    }
    *s = span_after(*s, 1);
    return c == '+' ? ' ' : c;
}

/* Does `sent` begin with `text`, and is that all of it? */
static bool begins(struct span sent, struct span text, bool encoded, bool whole)
{
    for (size_t i = 0; i < text.len; i++) {
        if (sent.len == 0)
            return false;
        char c = sent.ptr[0];
        if (encoded)
            c = query_byte(&sent);
        else
            sent = span_after(sent, 1);
        if (c != text.ptr[i])
            return false;
    }
    return !whole || sent.len == 0;
}

static bool value_of(const struct condition *c, const struct route_query *q, struct span *value)
{
    const struct field *f;

    if (c->in_query)
        return query_find(q->query, c->name, value);
    if (!q->request)
        return false;
    if (c->id != FIELD_OTHER)
        f = fields_get(&q->request->fields, (enum field_id)c->id);
    else
        f = fields_find(&q->request->fields, c->name);
    if (f)
        *value = f->value;
    return f != NULL;
}

static bool holds(const struct condition *c, const struct route_query *q)
{
    struct span value = {0};
    bool there = value_of(c, q, &value);

    switch (c->kind) {
    case CONDITION_PRESENT:
        return there;
    case CONDITION_ABSENT:
        return !there;
    case CONDITION_EQUAL:
        return there && begins(value, c->value, c->in_query, true);
    case CONDITION_NOT_EQUAL:
        return !there || !begins(value, c->value, c->in_query, true);
    case CONDITION_PREFIX:
        return there && begins(value, c->value, c->in_query, false);
    }
    return false;
}

bool conditions_hold(const struct conditions *c, const struct route_query *q)
{
    for (unsigned i = 0; i < c->count; i++)
        if (!holds(&c->list[i], q))
            return false;
    return true;
}

static bool same_subject(const struct condition *a, const struct condition *b)
{
    if (a->in_query != b->in_query)
        return false;
    return a->in_query ? span_equal(a->name, b->name) : span_equal_nocase(a->name, b->name);
}

/* Every value that fulfils b fulfils a; both speak of the same subject. */
static bool follows(const struct condition *a, const struct condition *b)
{
    switch (a->kind) {
    case CONDITION_PRESENT:
        return b->kind == CONDITION_PRESENT || b->kind == CONDITION_EQUAL ||
               b->kind == CONDITION_PREFIX;
    case CONDITION_ABSENT:
        return b->kind == CONDITION_ABSENT;
    case CONDITION_EQUAL:
        return b->kind == CONDITION_EQUAL && span_equal(a->value, b->value);
    case CONDITION_NOT_EQUAL:
        return b->kind == CONDITION_ABSENT ||
               (b->kind == CONDITION_NOT_EQUAL && span_equal(a->value, b->value)) ||
               (b->kind == CONDITION_EQUAL && !span_equal(a->value, b->value)) ||
               (b->kind == CONDITION_PREFIX && !span_starts(a->value, b->value));
    case CONDITION_PREFIX:
        return (b->kind == CONDITION_EQUAL || b->kind == CONDITION_PREFIX) &&
               span_starts(b->value, a->value);
    }
    return false;
}

/* No value fulfils both; both speak of the same subject. */
static bool excludes(const struct condition *a, const struct condition *b)
{
    switch (a->kind) {
    case CONDITION_PRESENT:
        return b->kind == CONDITION_ABSENT;
    case CONDITION_ABSENT:
        return b->kind == CONDITION_PRESENT || b->kind == CONDITION_EQUAL ||
               b->kind == CONDITION_PREFIX;
    case CONDITION_EQUAL:
        return b->kind == CONDITION_ABSENT ||
               (b->kind == CONDITION_EQUAL && !span_equal(a->value, b->value)) ||
               (b->kind == CONDITION_NOT_EQUAL && span_equal(a->value, b->value)) ||
               (b->kind == CONDITION_PREFIX && !span_starts(a->value, b->value));
    case CONDITION_NOT_EQUAL:
        return b->kind == CONDITION_EQUAL && span_equal(a->value, b->value);
    case CONDITION_PREFIX:
        return b->kind == CONDITION_ABSENT ||
               (b->kind == CONDITION_EQUAL && !span_starts(b->value, a->value)) ||
               (b->kind == CONDITION_PREFIX && !span_starts(a->value, b->value) &&
                !span_starts(b->value, a->value));
    }
    return false;
}

bool conditions_exclude(const struct conditions *a, const struct conditions *b)
{
    for (unsigned i = 0; i < a->count; i++)
        for (unsigned j = 0; j < b->count; j++)
            if (same_subject(&a->list[i], &b->list[j]) && excludes(&a->list[i], &b->list[j]))
                return true;
    return false;
}

bool conditions_follow(const struct conditions *a, const struct conditions *b)
{
    for (unsigned i = 0; i < a->count; i++) {
        bool found = false;
        for (unsigned j = 0; j < b->count && !found; j++)
            found = same_subject(&a->list[i], &b->list[j]) && follows(&a->list[i], &b->list[j]);
        if (!found)
            return false;
    }
    return true;
}
