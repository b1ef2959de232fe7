/* Values as words: blanks, commas, quotes, and what may not stand there. */
#ifndef HEADGATE_CONF_WORD_H
#define HEADGATE_CONF_WORD_H

#include "conf/conf.h"

struct word {
    struct span text; /* quotes resolved */
    size_t offset;    /* where it begins in the value */
    bool quoted;
};

/* Reads a value from left to right. */
struct scan {
    struct arena *arena;
    struct diagnostics *d; /* NULL: says nothing */
    const char *key;
    const struct conf_value *value;
    bool commas; /* separate */
    size_t at;
};

enum scanned { SCAN_END, SCAN_WORD, SCAN_COMMA, SCAN_BAD };

/* SCAN_BAD: said so; the rest of the value is not worth looking at. */
enum scanned scan_next(struct scan *s, struct word *w);

/* All that is left as one text, with quotes only around the whole of it.  A
 * template keeps its $${ and ${variables}.  SCAN_END: nothing is left. */
enum scanned scan_rest(struct scan *s, struct word *w, bool template);

/* What scan_next() (or scan_rest()) reads as `text` again; ptr NULL: no memory. */
struct span word_print(struct arena *arena, const struct word *w, bool commas);
struct span rest_print(struct arena *arena, const struct word *w, bool template);

#endif
