/* Bytes that belong to someone else: a pointer and a length, not terminated.
 *
 * A span never owns.  Whoever hands one out says how long it stays valid.
 */
#ifndef HEADGATE_BASE_SPAN_H
#define HEADGATE_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

struct span {
    const char *ptr;
    size_t len;
};

/* SPAN is for expressions, SPAN_INIT for static tables. */
#define SPAN(literal) ((struct span){(literal), sizeof(literal) - 1})
#define SPAN_INIT(literal)                                                                        \
    {                                                                                             \
        (literal), sizeof(literal) - 1                                                            \
    }

/* For printf("%.*s", SPAN_ARG(s)). */
#define SPAN_ARG(s) (int)(s).len, (s).ptr

static inline struct span span_of(const char *text)
{
    return (struct span){text, text ? strlen(text) : 0};
}

static inline bool span_equal(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline char ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* Equal but for the case of ASCII letters. */
static inline bool span_equal_nocase(struct span a, struct span b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (ascii_lower(a.ptr[i]) != ascii_lower(b.ptr[i]))
            return false;
    return true;
}

static inline bool span_starts(struct span s, struct span prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

/* Copies it, and returns where it ends.  For texts, which are short: a call of the C library
 * for each would cost more than the copying. */
static inline char *span_put(char *at, struct span s)
{
    const char *from = s.ptr;
    size_t n = s.len;

    if (n >= 16) {
        for (size_t i = 0; i + 16 <= n; i += 16)
            memcpy(at + i, from + i, 16);
        memcpy(at + n - 16, from + n - 16, 16); /* overlaps the last but one */
    } else if (n >= 8) {
        memcpy(at, from, 8);
        memcpy(at + n - 8, from + n - 8, 8);
    } else if (n >= 4) {
        memcpy(at, from, 4);
        memcpy(at + n - 4, from + n - 4, 4);
    } else {
        for (size_t i = 0; i < n; i++)
            at[i] = from[i];
    }
    return at + n;
}

/* What is left after the first n bytes; n may not exceed the length. */
static inline struct span span_after(struct span s, size_t n)
{
    return (struct span){s.ptr + n, s.len - n};
}

static inline struct span span_first(struct span s, size_t n)
{
    return (struct span){s.ptr, n < s.len ? n : s.len};
}

/* The position of c, or the length if it does not occur. */
static inline size_t span_find(struct span s, char c)
{
    const char *at = s.len ? memchr(s.ptr, c, s.len) : NULL;
    return at ? (size_t)(at - s.ptr) : s.len;
}

/* Without leading and trailing SP and HTAB (the OWS of RFC 9110, 5.6.3). */
static inline struct span span_trim(struct span s)
{
    while (s.len > 0 && (s.ptr[0] == ' ' || s.ptr[0] == '\t'))
        s = span_after(s, 1);
    while (s.len > 0 && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
        s.len--;
    return s;
}

/* A whole decimal number without sign; false when it is empty, has another
 * byte in it or does not fit. */
static inline bool span_number(struct span s, uint64_t *out)
{
    uint64_t n = 0;

    if (s.len == 0)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return false;
        uint64_t digit = (uint64_t)(s.ptr[i] - '0');
        if (n > (UINT64_MAX - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    *out = n;
    return true;
}

#endif
