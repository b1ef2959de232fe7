/* The text of one file as logical lines: checked, joined, comments gone. */
#ifndef HEADGATE_CONF_TEXT_H
#define HEADGATE_CONF_TEXT_H

#include "conf/conf.h"

enum { TEXT_LINE_MAX = 64 << 10 };

struct text_line {
    struct text_line *next;
    struct span text;           /* without indentation and trailing blanks */
    const struct piece *pieces; /* where its bytes stand in the file */
    unsigned piece_count;
    bool bad; /* something in it was refused: only its kind may be looked at */
};

/* Blank lines and comments are left out.  What is wrong goes to `d`, under
 * the name `file`; false: no memory. */
MUST_USE bool text_split(struct text_line **first, struct arena *arena, const char *file,
                         struct span text, struct diagnostics *d);

/* Where byte `offset` of a text with these pieces stands. */
struct position piece_at(const char *file, const struct piece *pieces, unsigned count,
                         size_t offset);

/* Whether byte `offset` came from the environment: it is literal then. */
bool piece_fixed(const struct piece *pieces, unsigned count, size_t offset);

/* Puts the environment into a value (text, pieces and all); false: refused or
 * no memory, and said so. */
MUST_USE bool environment_expand(struct conf_value *value, struct arena *arena,
                                 const struct source *source, struct diagnostics *d);

/* A path as written in `file`, without resolving it all the way to the root. */
struct span conf_join(struct arena *arena, const char *file, struct span path);

#endif
