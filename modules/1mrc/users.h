/* A set of users that remembers the order they came in.
 *
 * Hashes are kept in a log of chunks that never move, and found through a
 * table of indexes into it.  The table grows a few entries at a time, so no
 * addition takes long, and the first n users of a set can be read by another
 * thread while more are added: a share.
 *
 * A zeroed set is empty.
 */
#ifndef HEADGATE_MODULES_1MRC_USERS_H
#define HEADGATE_MODULES_1MRC_USERS_H

#include "modules/1mrc/hash.h"

enum { USERS_CHUNK = 1024 }; /* hashes */
#define USERS_MOST UINT64_C(2000000000)

struct users_log; /* the chunks, counted by those who read them */

struct users_table {
    uint64_t *slots; /* 0: empty; else a tag above and index + 1 below */
    uint32_t mask;
};

struct users {
    struct users_log *log;
    uint32_t count;
    struct users_table table, old; /* old: being moved over; slots NULL when not */
    uint32_t old_count, moved;
};

/* Adds a user; *added tells whether it is new.  FAIL_MEMORY (or FAIL_FULL
 * beyond USERS_MOST): nothing has changed. */
MUST_USE int users_add(struct users *u, struct user_hash h, bool *added);

/* It will be asked for soon: the memory may come meanwhile. */
static inline void users_prefetch(const struct users *u, struct user_hash h)
{
    if (u->table.slots)
        __builtin_prefetch(&u->table.slots[(uint32_t)h.b & u->table.mask]);
}

/* That memory is here: now the user's entry, if it has one. */
void users_prefetch_entry(const struct users *u, struct user_hash h);

/* The most that a set of so many takes, also while its table grows. */
uint64_t users_bytes(uint64_t count);

bool users_has(const struct users *u, struct user_hash h);
void users_clear(struct users *u);

/* The users a set has now, for another thread to read.  To be dropped on the
 * set's own thread; the set may be cleared before that. */
struct users_share {
    struct users_log *log;
    const struct user_hash **chunks;
    uint64_t count;
};
MUST_USE int users_share(const struct users *u, struct users_share *out);
void users_share_drop(struct users_share *share);

static inline struct user_hash users_share_at(const struct users_share *share, uint64_t i)
{
    return share->chunks[i / USERS_CHUNK][i % USERS_CHUNK];
}

#endif
