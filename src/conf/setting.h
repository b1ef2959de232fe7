/* Settings tables: what a section may say, and where it goes.
 *
 * One table per kind of section and per handler.  It fills the struct, checks
 * types and ranges, prints --help-settings, feeds -T, and a test holds the
 * manual against it.  Defaults are text in the language of the file, so that
 * there is one parser and one way to write them.
 */
#ifndef HEADGATE_CONF_SETTING_H
#define HEADGATE_CONF_SETTING_H

#include "base/address.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/span.h"

/* `off` where SETTING_OFF allows it, for durations, sizes and counts; for all
 * other types it leaves the member zero.  `auto` (SETTING_AUTO) is VALUE_AUTO. */
#define VALUE_OFF  UINT64_MAX
#define VALUE_AUTO (UINT64_MAX - 1)

enum setting_type {     /* the member it fills */
    SETTING_END,
    SETTING_BOOL,       /* bool */
    SETTING_COUNT,      /* uint64_t */
    SETTING_OCTAL,      /* uint64_t: 0660 */
    SETTING_DURATION,   /* uint64_t, nanoseconds */
    SETTING_SIZE,       /* uint64_t, bytes */
    SETTING_PERCENT,    /* uint64_t, thousandths of a percent: 20% is 20000 */
    SETTING_RATE,       /* struct rate */
    SETTING_RANGE,      /* struct ranges: 200, 200-299, a list of them */
    SETTING_WORD,       /* int: index into words */
    SETTING_WORDS,      /* uint64_t: bit i is words[i]; a list */
    SETTING_WORD_ORDER, /* struct spans: a list of the words, in the order written */
    SETTING_NAME,       /* struct span: [A-Za-z0-9][A-Za-z0-9._-]{0,39} */
    SETTING_NAMES,      /* struct spans */
    SETTING_TOKEN,      /* struct span: an RFC 9110 token (method, field name, upgrade token) */
    SETTING_TOKENS,     /* struct spans */
    SETTING_HOST,       /* struct span, lower case */
    SETTING_HOSTS,      /* struct spans */
    SETTING_PATH,       /* struct span: a plain absolute path */
    SETTING_PATHS,      /* struct spans: route paths (CONFIG 2), checked, as written */
    SETTING_ADDRESSES,  /* struct addresses */
    SETTING_NETS,       /* struct nets */
    SETTING_FILE,       /* struct span: absolute after resolving against its file's folder */
    SETTING_FILES,      /* struct spans */
    SETTING_DIR,        /* struct span */
    SETTING_TEXT,       /* struct span */
    SETTING_TEMPLATE,   /* struct template * */
    SETTING_LINE,       /* struct line: a scalar of several words, for a parser of its own */
    SETTING_LIST,       /* struct lines: split at commas, each item for a parser of its own */
    SETTING_LINES,      /* struct lines: one item per line, commas belong to it */
};

enum {
    SETTING_REQUIRED = 1 << 0,
    SETTING_OFF = 1 << 1,     /* the word `off` is a value */
    SETTING_AUTO = 1 << 2,    /* the word `auto` is a value */
    SETTING_RESTART = 1 << 3, /* a change takes effect at restart */
    SETTING_INHERIT = 1 << 4, /* may also stand in [server], as the default */
    SETTING_LATER = 1 << 5,   /* known to the language, refused by this build */
    /* Of SETTING_LINE, LIST and LINES: the first or second word is a file, or
     * the first may be unix:PATH; relative ones are resolved.  A word that is
     * one of `words` is no file. */
    SETTING_FILE_FIRST = 1 << 6,
    SETTING_FILE_SECOND = 1 << 7,
    SETTING_UNIX_FIRST = 1 << 8,
    /* Of the same types: the whole line is one text; or from the third word on
     * it is one template, to be read with template_parse(). */
    SETTING_REST_FIRST = 1 << 9,
    SETTING_REST_THIRD = 1 << 10,
    SETTING_READER = 1 << 11, /* the reader's own (include): nothing to fill */
    /* Of the same types: behind the first word stand options, name=value or bare, each once.
     * The first may be one, too, if it is a name=value. */
    SETTING_OPTIONS = 1 << 12,
};

struct rate {
    uint64_t amount, per_ns; /* 500/10s; 128b/s */
};
struct range {
    uint32_t from, to;
};
struct ranges {
    struct range *list;
    unsigned count;
};
struct spans {
    struct span *list;
    unsigned count;
};
struct nets {
    struct net *list;
    unsigned count;
};

/* Where a value was written; file is NULL for a default. */
struct position {
    const char *file;
    unsigned line, column; /* from 1; column in bytes */
};

/* ":80" is all IPv4 and IPv6: `any` is set, and address.port. */
struct listen_address {
    struct address address;
    bool any;
    struct span text;
    struct position at;
};
struct addresses {
    struct listen_address *list;
    unsigned count;
};

/* A value for a parser of its own: its text, and the same split into words
 * with quotes resolved, each with where it was written. */
struct line {
    struct span text;
    struct spans words;
    struct position *places; /* of the words */
    struct position at;
};
struct lines {
    struct line *list;
    unsigned count;
};

struct setting {
    const char *name;
    enum setting_type type;
    unsigned flags;
    size_t offset;             /* SETTING_MEMBER */
    const char *fallback;      /* as one would write it; NULL: the member stays zero */
    uint64_t min, max;         /* of numbers; max 0 is no maximum */
    const char *const *words;  /* of SETTING_WORD*, variables beside SETTING_HOST; NULL-terminated */
    const char *const *later;  /* words of the language that this build refuses */
    const char *help;          /* one sentence */
};

/* The offset of a member, refusing to compile if it is not of the given type. */
#define SETTING_MEMBER(s, m, t) (offsetof(s, m) + 0 * sizeof((t *){&((s *)0)->m}))

#endif
