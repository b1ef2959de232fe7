/* What the challenge's GET /stats answers, read.
 *
 * Just enough JSON for one flat object of numbers, words and strings.  The sum
 * is compared bit by bit later, so numbers are read by base/number.h, which
 * rounds correctly.
 */
#include "stats_json.h"

#include "base/number.h"

enum found { FOUND_TOTAL = 1, FOUND_USERS = 2, FOUND_SUM = 4, FOUND_AVG = 8, FOUND_ALL = 15 };

enum kind { KIND_NUMBER, KIND_TRUE, KIND_FALSE, KIND_NULL, KIND_STRING };

struct value {
    enum kind kind;
    struct span text; /* of a number */
    double number;
};

static void skip_blanks(struct span *s)
{
    while (s->len > 0 && memchr(" \t\r\n", s->ptr[0], 4))
        *s = span_after(*s, 1);
}

static bool take(struct span *s, char c)
{
    skip_blanks(s);
    if (s->len == 0 || s->ptr[0] != c)
        return false;
    *s = span_after(*s, 1);
    return true;
}

/* Escapes stay as they are: no key we know has any. */
static bool take_string(struct span *s, struct span *content)
{
    if (!take(s, '"'))
        return false;
    for (size_t i = 0; i < s->len; i++) {
        if (s->ptr[i] == '\\') {
            i++;
        } else if (s->ptr[i] == '"') {
            *content = span_first(*s, i);
            *s = span_after(*s, i + 1);
            return true;
        }
    }
    return false;
}

static bool take_word(struct span *s, struct span word)
{
    if (!span_starts(*s, word))
        return false;
    *s = span_after(*s, word.len);
    return true;
}

static bool take_value(struct span *s, struct value *v)
{
    size_t used;

    skip_blanks(s);
    *v = (struct value){.kind = KIND_STRING};
    if (s->len > 0 && s->ptr[0] == '"')
        return take_string(s, &v->text);
    v->kind = KIND_TRUE;
    if (take_word(s, SPAN("true")))
        return true;
    v->kind = KIND_FALSE;
    if (take_word(s, SPAN("false")))
        return true;
    v->kind = KIND_NULL;
    if (take_word(s, SPAN("null")))
        return true;
    v->kind = KIND_NUMBER;
    if (number_read(*s, &used, &v->number) < 0)
        return false;
    v->text = span_first(*s, used);
    *s = span_after(*s, used);
    return true;
}

static bool as_count(const struct value *v, uint64_t *out)
{
    return v->kind == KIND_NUMBER && span_number(v->text, out);
}

static bool as_number(const struct value *v, double *out)
{
    *out = v->number;
    return v->kind == KIND_NUMBER || v->kind == KIND_NULL;
}

/* False when a key we know has a value of the wrong kind. */
static bool member(struct stats *s, struct span key, const struct value *v, unsigned *found)
{
    if (span_equal(key, SPAN("totalRequests"))) {
        *found |= FOUND_TOTAL;
        return as_count(v, &s->total);
    }
    if (span_equal(key, SPAN("uniqueUsers"))) {
        *found |= FOUND_USERS;
        return as_count(v, &s->users);
    }
    if (span_equal(key, SPAN("sum"))) {
        *found |= FOUND_SUM;
        return as_number(v, &s->sum);
    }
    if (span_equal(key, SPAN("avg"))) {
        *found |= FOUND_AVG;
        return as_number(v, &s->avg);
    }
    if (span_equal(key, SPAN("uniqueUsersExact")))
        s->users_estimated = v->kind == KIND_FALSE;
    if (span_equal(key, SPAN("sumOverflow")))
        s->sum_overflow = v->kind == KIND_TRUE;
    return true;
}

int stats_parse(struct stats *s, struct span text, const char **why)
{
    unsigned found = 0;
    struct span key;
    struct value value;

    *s = (struct stats){0};
    *why = "it is not a flat JSON object";
    if (!take(&text, '{'))
        return FAIL_BAD;
    if (!take(&text, '}')) {
        do {
            if (!take_string(&text, &key) || !take(&text, ':') || !take_value(&text, &value))
                return FAIL_BAD;
            if (!member(s, key, &value, &found)) {
                *why = "totalRequests or uniqueUsers is not a whole number, or sum or avg is none";
                return FAIL_BAD;
            }
        } while (take(&text, ','));
        if (!take(&text, '}'))
            return FAIL_BAD;
    }
    skip_blanks(&text);
    if (text.len > 0)
        return FAIL_BAD;
    *why = "it lacks totalRequests, uniqueUsers, sum or avg";
    return found == FOUND_ALL ? 0 : FAIL_BAD;
}
