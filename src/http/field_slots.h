/* Looking up a field name, to be inlined where every nanosecond is counted. */
#ifndef HEADGATE_HTTP_FIELD_SLOTS_H
#define HEADGATE_HTTP_FIELD_SLOTS_H

#include "http/field.h"

extern const uint8_t field_slots[128];
extern const struct span field_names[FIELD_COUNT];

/* Length, first and last letter tell all our names apart. */
static inline unsigned field_slot(struct span name)
{
    unsigned first = (uint8_t)name.ptr[0] | 0x20, last = (uint8_t)name.ptr[name.len - 1] | 0x20;

    return (35 * (unsigned)name.len + 27 * first + 59 * last) & 127;
}

/* The eight or four bytes at p, letters in lower case.  OR makes lower-case
 * letters of upper-case ones and other bytes of a few more, none of them a
 * token's beside the '-', digits and letters that stand in our names. */
static inline uint64_t field_low8(const char *p)
{
    uint64_t word;

    memcpy(&word, p, sizeof word);
    return word | 0x2020202020202020;
}

static inline uint32_t field_low4(const char *p)
{
    uint32_t word;

    memcpy(&word, p, sizeof word);
    return word | 0x20202020;
}

/* Both are tokens of the same length. */
static inline bool field_same(const char *a, const char *b, size_t len)
{
    if (len >= 8) {
        for (size_t at = 0; at + 8 < len; at += 8)
            if (field_low8(a + at) != field_low8(b + at))
                return false;
        return field_low8(a + len - 8) == field_low8(b + len - 8);
    }
    if (len >= 4)
        return field_low4(a) == field_low4(b) && field_low4(a + len - 4) == field_low4(b + len - 4);
    for (size_t i = 0; i < len; i++)
        if ((a[i] | 0x20) != (b[i] | 0x20))
            return false;
    return true;
}

/* Of a token.  Every request has a Host, and often little else. */
static inline __attribute__((always_inline)) enum field_id field_look_up(struct span name)
{
    if (name.len == 4 && field_low4(name.ptr) == field_low4("host"))
        return FIELD_HOST;
    enum field_id id = field_slots[field_slot(name)];
    struct span known = field_names[id];

    return known.len == name.len && field_same(known.ptr, name.ptr, name.len) ? id : FIELD_OTHER;
}

#endif
