/* What the parts of the reader share: read.c (lines through inih), section.c
 * (headers) and include.c (files). */
#ifndef HEADGATE_CONF_READING_H
#define HEADGATE_CONF_READING_H

#include "conf/text.h"

struct file {
    struct file *next;
    const struct file *includer;
    const char *name;
    struct position included; /* where; file NULL for the first */
    unsigned level;
};

struct include { /* one to be read when the file that asks for it ended */
    struct include *next;
    struct span pattern;
    struct position at;
};

/* Sections by type and name, so that a hundred thousand of them are read in no time. */
struct known {
    struct known *next;
    uint32_t hash;
    struct conf_section *section;
};

struct reading {
    struct conf *conf;
    struct diagnostics *d;
    struct file *files; /* all that were read, the latest first */
    struct known **buckets;
    uint32_t bucket_count, section_count; /* a power of two, or 0 */
    struct conf_section **last;
    const struct file *server_opened; /* [server] was, in this file */
};

/* The lines of one file, on their way through inih. */
struct feeding {
    struct reading *r;
    const struct file *file;
    struct text_line **lines;
    struct conf_section **sections; /* that the header at a line opened; NULL: to be ignored */
    size_t count, next, handled;
    bool header_said;
    struct include *includes, **last;
};

static inline struct arena *arena_of(const struct feeding *f)
{
    return f->r->conf->arena;
}

static inline struct position line_at(const struct feeding *f, const struct text_line *l,
                                      size_t offset)
{
    return piece_at(f->file->name, l->pieces, l->piece_count, offset);
}

#define SAY(f, line, offset, ...)                                                                  \
    diagnostics_say((f)->r->d, SEVERITY_ERROR, line_at(f, line, offset), __VA_ARGS__)

/* The section that a header opens; NULL: its keys are to be ignored, and why was said. */
struct conf_section *section_open(struct feeding *f, const struct text_line *l);

/* Runs all lines of a file through inih. */
void feed(struct feeding *f, struct text_line *first);

#endif
