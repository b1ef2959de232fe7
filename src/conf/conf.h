/* The configuration file: INI text to sections of entries with positions, and
 * sections to structs by way of settings tables.
 *
 * What sections exist and what they mean is gate/config.h's; this layer knows
 * the language only (syntax, quotes, joining, include, environment, values).
 */
#ifndef HEADGATE_CONF_CONF_H
#define HEADGATE_CONF_CONF_H

#include "conf/setting.h"
#include "conf/template.h"

enum { SOURCE_GROUPS_MAX = 64 };

/* What tells whether a file is another, or has changed, and who may read it. */
struct source_look {
    uint64_t device, inode, size;
    int64_t mtime_ns;
    uint32_t uid, gid, mode;
};

/* Who reads them: a process with that user, its group and those that the user is in beside it. */
struct source_identity {
    uint32_t uid;
    uint32_t groups[SOURCE_GROUPS_MAX];
    unsigned group_count;
};
bool identity_has_group(const struct source_identity *who, uint32_t gid);

/* Where files come from: the disk, or a test.  Returns FAIL_NOT_FOUND etc. */
struct source {
    int (*read)(void *data, struct arena *arena, const char *path, struct span *text);
    /* Expands a glob to sorted paths; a pattern may match nothing. */
    int (*glob)(void *data, struct arena *arena, const char *pattern, struct spans *paths);
    const char *(*environment)(void *data, const char *name); /* NULL: unset */
    /* All addresses of a name, port 0; may be NULL: no name has any. */
    int (*resolve)(void *data, struct arena *arena, const char *host, struct address **list,
                   unsigned *count);
    /* The folder that relative names begin from; may be NULL: they stay relative. */
    struct span (*folder)(void *data, struct arena *arena);
    /* What a file is, through links; NULL: nobody knows. */
    int (*look)(void *data, const char *path, struct source_look *look);
    /* Who a user with a group is; NULL for ourselves, and for the user's own. May be NULL. */
    int (*identity)(void *data, const char *user, const char *group, struct source_identity *who);
    void *data;
};
extern const struct source source_disk;

enum severity { SEVERITY_ERROR, SEVERITY_WARNING, SEVERITY_NOTICE };

struct diagnostic {
    struct diagnostic *next;
    enum severity severity;
    struct position at;
    struct span text;
};

enum { DIAGNOSTICS_MAX = 100 }; /* errors that are kept; more are counted */

/* Everything that is wrong.  All text is copied to the arena, so it outlives
 * the configuration it is about. */
struct diagnostics {
    struct arena *arena;
    struct diagnostic *first, **last;
    struct diagnostics_file *files; /* in the order they were read */
    unsigned errors, warnings, dropped;
    bool memory; /* there was none: an error without a place */
};
void diagnostics_file(struct diagnostics *d, const char *name);
void diagnostics_memory(struct diagnostics *d);
void diagnostics_say(struct diagnostics *d, enum severity severity, struct position at,
                     const char *format, ...) PRINTF_LIKE(4, 5);
/* "file:line:col: error: text"; sorts by the order of the files, line and column. */
void diagnostics_print(struct diagnostics *d, void (*line)(void *data, struct span text),
                       void *data);

/* A run of a value's bytes that stand together in the file. */
struct piece {
    size_t offset; /* in the value */
    unsigned line, column;
    bool fixed; /* of the environment: all of it stands at one place */
};

struct conf_value {
    struct conf_value *next; /* the key was repeated */
    struct span text;        /* joined, environment put in; quotes and $${ still there */
    struct position at;
    const struct piece *pieces;
    unsigned piece_count;
};

/* Where a byte of a value was written. */
struct position conf_value_at(const struct conf_value *value, size_t offset);

struct conf_entry {
    struct conf_entry *next;
    struct span key;
    struct position at;
    struct conf_value *values, **last; /* none if all were refused; last: where the next goes */
    bool used;                         /* some table knew it */
};
enum {
    SECTION_KEYS_MAX = 500 /* far more than there are; they are looked for one by one */
};
struct conf_section {
    struct conf_section *next;
    struct span type, name; /* name empty for [server] */
    struct position at;
    struct conf_entry *entries;
    unsigned entry_count;
    bool crowded; /* there were more, and that was said */
};
struct conf {
    struct arena *arena;
    const struct source *source;
    const char *path;              /* of the first file, as positions have it */
    struct conf_section *sections; /* in file order */
};

/* Reads `path` and what it includes.  All problems go to `d`; what could be
 * read is returned anyway so that more can be checked. */
void conf_read(struct conf *conf, struct arena *arena, const struct source *source,
               const char *path, struct diagnostics *d);

struct conf_entry *conf_find(const struct conf_section *section, const char *key);

/* Fills `into` (zeroed by the caller) from a section by a table; keys flagged
 * SETTING_INHERIT that it does not have are taken from `server` if that is not
 * NULL; then defaults.  Values go to conf->arena. Marks entries used. */
void conf_fill(struct conf *conf, struct conf_section *section, struct conf_section *server,
               const struct setting *table, void *into, struct diagnostics *d);

/* Fills the members of SETTING_INHERIT keys from [server] (or defaults), so
 * that what is wrong with them is said once, there. */
void conf_fill_inherited(struct conf *conf, struct conf_section *server,
                         const struct setting *table, void *into, struct diagnostics *d);

/* After all tables of a section were applied: unknown keys are errors with the
 * closest of `tables` (a NULL-terminated array of tables) suggested. Of
 * [server], all but the first count for their inherited keys only. */
void conf_unknown(struct conf_section *section, const struct setting *const tables[],
                  struct diagnostics *d);

/* The value's position; the section's if the key is NULL or not there. */
struct position conf_at(const struct conf_section *section, const char *key);

/* Says something about a key of a section (its value's position; the
 * section's if it is not there). */
void conf_say(const struct conf_section *section, const char *key, enum severity severity,
              struct diagnostics *d, const char *format, ...) PRINTF_LIKE(5, 6);

/* The closest of some words to what was written, or NULL when none is close. */
MUST_USE const char *suggest(struct span written, const char *const *words, size_t count);

/* -T (of [server], all but the first table count for their inherited keys
 * only): one section as it is in effect, each key under "# file:line" or
 * "# default"; what it prints reads back the same. */
void conf_print(const struct conf *conf, const struct conf_section *section,
                const struct conf_section *server, const struct setting *const tables[],
                void (*line)(void *data, struct span text), void *data);

/* --help-settings */
void setting_help(const char *section, const struct setting *table,
                  void (*line)(void *data, struct span text), void *data);

/* A path as written in a file: relative ones begin from its folder.  ptr NULL: no memory. */
struct span conf_resolve(const struct conf *conf, const char *file, struct span path);

/* Values on their own, for parsers of SETTING_LINE*: 0, or FAIL_BAD or
 * FAIL_MEMORY with *why, a static text or one in the arena. */
int value_bool(struct span text, bool *yes, const char **why);
extern const char value_zero[]; /* why, of durations and sizes: what is meant may be off */
int value_duration(struct span text, uint64_t *ns, const char **why);
int value_size(struct span text, uint64_t *bytes, const char **why);
int value_count(struct span text, uint64_t *n, const char **why);
int value_percent(struct span text, uint64_t *thousandths, const char **why);
int value_rate(struct span text, struct rate *rate, const char **why);
int value_ranges(struct arena *arena, struct span text, struct ranges *ranges, const char **why);
int value_net(struct arena *arena, struct span text, struct net *net, const char **why);
int value_host(struct arena *arena, struct span text, bool wildcard, struct span *host,
               const char **why);
int value_name(struct span text, const char **why);
int value_token(struct span text, const char **why);
int value_path(struct arena *arena, struct span text, const char **why);
int value_route_path(struct arena *arena, struct span text, const char **why);

#endif
