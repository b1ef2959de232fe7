/* The inner loops of HTTP/1: many bytes at a time where the CPU can. */
#ifndef HEADGATE_HTTP_H1_SCAN_H
#define HEADGATE_HTTP_H1_SCAN_H

#include "http/field.h"

#include <stdatomic.h>

enum h1_lines_end {
    LINES_END,  /* the empty line has been read; at is behind it */
    LINES_MORE, /* the bytes ran out within a line */
    LINES_BAD,  /* a line is no field line (RFC 9112, 5) */
    LINES_FULL, /* there is one more line than fields_max; at is its start */
};

struct h1_lines {
    const char *begin; /* of the head; `at` is somewhere in it */
    const char *at, *end;
    struct fields *fields;  /* lines are added to it, with their ids */
    uint32_t fields_max;    /* at most fields->max */
    uint32_t host_name_len; /* so many bytes of the last Host make a good name, as
                             * host_is_valid() sees it; 0 says nothing */
    uint64_t twice;         /* bit id is set when a field of that id came again */
};

/* Both are the end of the bytes when there is no such byte. */
struct h1_target_marks {
    const char *mark; /* the first '?' or '%' before stop, else stop or behind it */
    const char *stop; /* the first byte that no target has */
};

struct h1_scanner {
    struct span name;
    enum h1_lines_end (*lines)(struct h1_lines *l);
    struct h1_target_marks (*target)(const char *begin, const char *at, const char *end);
};

extern _Atomic(const struct h1_scanner *) h1_scanner_chosen;
const struct h1_scanner *h1_scanner_choose(void);

/* The one in use. */
static inline const struct h1_scanner *h1_scanner(void)
{
    const struct h1_scanner *s = atomic_load_explicit(&h1_scanner_chosen, memory_order_relaxed);

    return s ? s : h1_scanner_choose();
}

#endif
