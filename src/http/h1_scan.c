/* Field lines to fields.
 *
 * A line is a name of token characters, a colon, and a value up to the first
 * control that is no HTAB, which must be the CR of CRLF (RFC 9112, 2.2 and 5).  So
 * two questions are asked of the bytes: where does the token end, and where
 * is the next control?  Bare CR, bare LF, NUL, whitespace before the colon
 * and obs-fold all fail one of them; nothing looks for them in particular.
 */
#include "http/h1_scan.h"

#include "http/chars.h"
#include "http/h1_parse.h"

#include <stdatomic.h>

#define ALWAYS_INLINE inline __attribute__((always_inline))

/* The first byte from at on that ends what is asked for; end when none does. */
typedef const char *find_fn(const char *at, const char *end);

static ALWAYS_INLINE const char *name_end_scalar(const char *at, const char *end)
{
    while (at < end && char_is(*at, CHAR_TOKEN))
        at++;
    return at;
}

static ALWAYS_INLINE const char *value_end_scalar(const char *at, const char *end)
{
    while (at < end && char_is(*at, CHAR_VALUE))
        at++;
    return at;
}

/* A line that begins with no token character: the empty one, or none. */
static ALWAYS_INLINE enum h1_lines_end last_line(struct h1_lines *l, const char *at)
{
    l->at = at;
    if (at == l->end)
        return LINES_MORE;
    if (*at != '\r')
        return LINES_BAD;
    if (l->end - at < 2)
        return LINES_MORE;
    if (at[1] != '\n')
        return LINES_BAD;
    l->at = at + 2;
    return LINES_END;
}

static ALWAYS_INLINE bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static ALWAYS_INLINE void add(struct h1_lines *l, struct span name, const char *value,
                              const char *end)
{
    struct fields *f = l->fields;
    enum field_id id = field_find_token(name);
    uint64_t bit = (uint64_t)1 << id;

    while (end > value && is_blank(end[-1]))
        end--;
    l->twice |= f->seen & bit;
    f->seen |= bit;
    f->list[f->count++] = (struct field){name, {value, (size_t)(end - value)}, (uint16_t)id};
}

static ALWAYS_INLINE enum h1_lines_end lines(struct h1_lines *l, find_fn *name_end,
                                             find_fn *value_end)
{
    const char *at = l->at, *const end = l->end;

    for (;;) {
        const char *colon = name_end(at, end);
        if (colon == at)
            return last_line(l, at);
        l->at = at;
        if (l->fields->count >= l->fields_max)
            return LINES_FULL;
        if (colon == end)
            return LINES_MORE;
        if (*colon != ':')
            return LINES_BAD;
        const char *value = colon + 1;
        while (value < end && is_blank(*value))
            value++;
        const char *cr = value_end(value, end);
        if (cr == end)
            return LINES_MORE;
        if (*cr != '\r')
            return LINES_BAD;
        if (end - cr < 2)
            return LINES_MORE;
        if (cr[1] != '\n')
            return LINES_BAD;
        add(l, (struct span){at, (size_t)(colon - at)}, value, cr);
        at = cr + 2;
    }
}

static enum h1_lines_end lines_scalar(struct h1_lines *l)
{
    return lines(l, name_end_scalar, value_end_scalar);
}

static const struct h1_scanner scanners[] = {
    {SPAN_INIT("scalar"), lines_scalar},
};

/* Written once, at the first head or when a test asks for another: every
 * thread would write the same. */
static _Atomic(const struct h1_scanner *) chosen;

const struct h1_scanner *h1_scanner(void)
{
    const struct h1_scanner *s = atomic_load_explicit(&chosen, memory_order_relaxed);

    if (!s) {
        s = &scanners[0];
        atomic_store_explicit(&chosen, s, memory_order_relaxed);
    }
    return s;
}

bool h1_scanner_use(struct span name)
{
    for (size_t i = 0; i < COUNT_OF(scanners); i++)
        if (span_equal(scanners[i].name, name)) {
            atomic_store_explicit(&chosen, &scanners[i], memory_order_relaxed);
            return true;
        }
    return false;
}

const char *h1_scanner_name(void)
{
    return h1_scanner()->name.ptr;
}
