/* Files, an environment and what was said, all in memory. */
#ifndef HEADGATE_TESTS_CONF_FAKE_H
#define HEADGATE_TESTS_CONF_FAKE_H

#include "conf/conf.h"

struct fake_file {
    const char *path;
    struct span text;
};

enum { FAKE_FILES_MAX = 24 };

struct fake {
    struct fake_file files[FAKE_FILES_MAX]; /* up to the first without a path */
    const char *variables[8][2];
    struct source source;
    struct arena arena, said;
    struct diagnostics d;
    struct conf conf;
};

void fake_init(struct fake *f);
void fake_free(struct fake *f);
void fake_file(struct fake *f, const char *path, struct span text); /* text is the caller's */
void fake_variable(struct fake *f, const char *name, const char *value);

/* Reads "a.ini". */
void fake_read(struct fake *f);

/* All that was said, a line each; valid until fake_free(). */
const char *fake_said(struct fake *f);

/* What `print` prints, a line each. */
struct printed {
    struct arena *arena;
    struct span text;
};
void printed_line(void *data, struct span text);

#endif
