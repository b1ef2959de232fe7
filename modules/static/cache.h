/* Open files, kept for a moment: per worker, small ones with their bytes.
 *
 * Whoever needs a file asks for its entry and waits until it is settled.  The
 * operations belong to the entry, so an exchange may end while they run.
 */
#ifndef HEADGATE_STATIC_CACHE_H
#define HEADGATE_STATIC_CACHE_H

#include "gate/module.h"

enum file_state { FILE_NEW, FILE_ROOT, FILE_OPENING, FILE_READING, FILE_SETTLED };

enum { FILE_SMALL = 64 * 1024, FILE_ENTRIES_MAX = 1024, FILE_TAG_MAX = 40 };

/* How a path is looked up: part of the key. */
struct file_root {
    struct span path;
    unsigned open_flags; /* IO_OPEN_* */
    uint64_t cache_ns;   /* how long stat is believed; VALUE_OFF: not at all */
};

struct file_entry {
    struct owner owner;
    struct link_node bucket;  /* of the cache's hash */
    struct link_node used;    /* least recently used first */
    struct link_node waiting; /* struct file_waiter */
    struct file_cache *cache;
    struct io_file op;
    struct span root, path; /* own copies, terminated: the key */
    unsigned open_flags;
    uint32_t users; /* exchanges that hold it */
    enum file_state state;
    uint64_t checked; /* when it was looked up: io_now() */
    int fail;         /* of a settled one: 0, or why there is none */
    int root_fd, fd;  /* fd is -1 again when all of it is in `bytes` */
    struct io_stat stat;
    char *bytes; /* of a small file; NULL: only the descriptor */
    uint32_t bytes_read;
    bool stale;             /* another has taken its place; freed by its last user */
    char tag[FILE_TAG_MAX]; /* ETag */
    uint8_t tag_len;
    char modified[CLOCK_HTTP_LEN];
};

/* In the exchange's state; leaves the list when the exchange ends. */
struct file_waiter {
    struct link_node node;
    struct exchange *x;
};

struct file_cache {
    struct worker *worker;
    struct link_node buckets[256];
    struct link_node used;
    uint32_t count;
    uint32_t open, open_max; /* entries that hold a descriptor */
    uint64_t bytes, bytes_max;
};

void file_cache_init(struct file_cache *cache, struct worker *w, uint64_t bytes_max);
void file_cache_limit(struct file_cache *cache, uint64_t bytes_max);
void file_cache_free(struct file_cache *cache);

/* The entry for a path below a root, held until file_release().  When it is
 * not settled yet, `waiter` is woken once it is.  NULL: no memory. */
struct file_entry *file_get(struct file_cache *cache, const struct file_root *root,
                            struct span path, struct file_waiter *waiter);
void file_release(struct file_entry *e);

static inline bool file_settled(const struct file_entry *e)
{
    return e->state == FILE_SETTLED;
}

#endif
