/* Numbers with units: what a duration, a size, a share, a rate and a range look like. */
#include "conf/conf.h"

#include "base/fail.h"

struct unit {
    struct span name;
    uint64_t factor;
};

static const struct unit duration_units[] = {
    {SPAN_INIT("d"), 24 * 3600 * UINT64_C(1000000000)},
    {SPAN_INIT("h"), 3600 * UINT64_C(1000000000)},
    {SPAN_INIT("m"), 60 * UINT64_C(1000000000)},
    {SPAN_INIT("s"), UINT64_C(1000000000)},
    {SPAN_INIT("ms"), 1000000},
    {SPAN_INIT("us"), 1000},
};

static const struct unit size_units[] = {
    {SPAN_INIT("b"), 1},
    {SPAN_INIT("k"), 1 << 10},
    {SPAN_INIT("m"), 1 << 20},
    {SPAN_INIT("g"), 1 << 30},
};

/* Far from where sums of two would overflow. */
static const uint64_t value_max = UINT64_C(1) << 62;

const char value_zero[] = "never 0";

static int bad(const char **why, const char *text)
{
    *why = text;
    return FAIL_BAD;
}

/* Takes the digits off the front of s. */
static struct span take_digits(struct span *s)
{
    size_t n = 0;

    while (n < s->len && s->ptr[n] >= '0' && s->ptr[n] <= '9')
        n++;
    struct span digits = span_first(*s, n);
    *s = span_after(*s, n);
    return digits;
}

static struct span take_letters(struct span *s)
{
    size_t n = 0;

    while (n < s->len && s->ptr[n] >= 'a' && s->ptr[n] <= 'z')
        n++;
    struct span letters = span_first(*s, n);
    *s = span_after(*s, n);
    return letters;
}

static const struct unit *unit_find(const struct unit *units, size_t count, struct span name)
{
    for (size_t i = 0; i < count; i++)
        if (span_equal(units[i].name, name))
            return &units[i];
    return NULL;
}

int value_bool(struct span text, bool *yes, const char **why)
{
    *yes = span_equal(text, SPAN("yes"));
    if (!*yes && !span_equal(text, SPAN("no")))
        return bad(why, "write yes or no");
    return 0;
}

int value_count(struct span text, uint64_t *n, const char **why)
{
    if (!span_number(text, n))
        return bad(why, "a count is digits only: no unit, no sign");
    if (*n > value_max)
        return bad(why, "too large");
    return 0;
}

int value_duration(struct span text, uint64_t *ns, const char **why)
{
    static const char needs_unit[] = "a duration needs a unit: us, ms, s, m, h or d";
    const struct unit *before = NULL;
    struct span rest = text;
    uint64_t n;

    *ns = 0;
    do {
        if (!span_number(take_digits(&rest), &n))
            return bad(why, "a duration is a number and a unit: 500ms, 10s, 1m30s");
        struct span name = take_letters(&rest);
        const struct unit *unit = unit_find(duration_units, COUNT_OF(duration_units), name);
        if (!unit)
            return bad(why, needs_unit);
        if (before && unit <= before)
            return bad(why, "the units of a duration go from large to small: 1m30s");
        if (n > (value_max - *ns) / unit->factor)
            return bad(why, "too large");
        *ns += n * unit->factor;
        before = unit;
    } while (rest.len > 0);
    if (*ns == 0)
        return bad(why, value_zero);
    return 0;
}

/* A number and one of the units of sizes; without a unit if `bare`. */
static int take_size(struct span *rest, uint64_t *bytes, bool bare, const char **why)
{
    uint64_t n;

    if (!span_number(take_digits(rest), &n))
        return bad(why, "a size is a number and a unit: 64k");
    struct span name = take_letters(rest);
    const struct unit *unit = unit_find(size_units, COUNT_OF(size_units), name);
    uint64_t factor = unit ? unit->factor : 1;
    if (!unit && !(bare && name.len == 0))
        return bad(why, "a size needs a unit: b, k, m or g");
    if (n > value_max / factor)
        return bad(why, "too large");
    *bytes = n * factor;
    if (*bytes == 0)
        return bad(why, value_zero);
    return 0;
}

int value_size(struct span text, uint64_t *bytes, const char **why)
{
    struct span rest = text;
    int err = take_size(&rest, bytes, false, why);

    if (err == 0 && rest.len > 0)
        return bad(why, "a size is a number and a unit: 64k");
    return err;
}

int value_percent(struct span text, uint64_t *thousandths, const char **why)
{
    static const char shape[] = "a share is written 20% or 0.5%";
    struct span rest = text, fraction = {0};
    uint64_t whole, part = 0;

    if (!span_number(take_digits(&rest), &whole))
        return bad(why, shape);
    if (rest.len > 0 && rest.ptr[0] == '.') {
        rest = span_after(rest, 1);
        fraction = take_digits(&rest);
        if (fraction.len == 0 || fraction.len > 3)
            return bad(why, "a share has one to three digits after the point");
        span_number(fraction, &part);
        for (size_t i = fraction.len; i < 3; i++)
            part *= 10;
    }
    if (!span_equal(rest, SPAN("%")))
        return bad(why, shape);
    if (whole > 100 || whole * 1000 + part > 100000)
        return bad(why, "more than 100%");
    *thousandths = whole * 1000 + part;
    return 0;
}

int value_rate(struct span text, struct rate *rate, const char **why)
{
    struct span rest = text;
    uint64_t n = 1;
    int err = take_size(&rest, &rate->amount, true, why);

    if (err < 0)
        return err;
    if (rest.len == 0 || rest.ptr[0] != '/')
        return bad(why, "a rate is written 128b/s or 500/10s");
    rest = span_after(rest, 1);
    struct span digits = take_digits(&rest);
    if (digits.len > 0 && !span_number(digits, &n))
        return bad(why, "too large");
    const struct unit *unit = unit_find(duration_units, COUNT_OF(duration_units), rest);
    if (!unit || n == 0)
        return bad(why, "a rate ends in a time: 128b/s or 500/10s");
    if (n > value_max / unit->factor)
        return bad(why, "too large");
    rate->per_ns = n * unit->factor;
    return 0;
}

static int range_parse(struct span text, struct range *range, const char **why)
{
    size_t dash = span_find(text, '-');
    struct span last = dash < text.len ? span_after(text, dash + 1) : text;
    uint64_t from, to;

    if (!span_number(span_first(text, dash), &from) || !span_number(last, &to) || to > UINT32_MAX)
        return bad(why, "a range is written 200 or 200-299");
    if (from > to)
        return bad(why, "a range goes from the smaller to the larger");
    *range = (struct range){(uint32_t)from, (uint32_t)to};
    return 0;
}

int value_ranges(struct arena *arena, struct span text, struct ranges *ranges, const char **why)
{
    size_t count = 1;

    for (size_t i = 0; i < text.len; i++)
        count += text.ptr[i] == ',';
    struct range *list = arena_alloc(arena, count * sizeof *list);
    if (!list) {
        *why = "out of memory";
        return FAIL_MEMORY;
    }
    *ranges = (struct ranges){.list = list};
    for (size_t at = 0; ranges->count < count;) {
        size_t end = at + span_find(span_after(text, at), ',');
        struct span one = span_trim((struct span){text.ptr + at, end - at});
        int err = range_parse(one, &list[ranges->count], why);
        if (err < 0)
            return err;
        ranges->count++;
        at = end + 1;
    }
    return 0;
}
