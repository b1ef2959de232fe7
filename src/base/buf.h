/* Reference-counted buffers for content, pieces of them, and pools.
 *
 * Content is the only thing that is counted.  A buf belongs to one worker, so
 * the count is a plain integer.  Where the memory goes when the count reaches
 * zero is the buf's own affair (release): back to a pool, or to the engine.
 */
#ifndef HEADGATE_BASE_BUF_H
#define HEADGATE_BASE_BUF_H

#include "base/span.h"

struct buf {
    struct buf *next; /* for whoever holds the only reference, and for lending */
    void (*release)(struct buf *buf);
    void *pool; /* the release function's */
    char *base;
    uint32_t size; /* bytes at base */
    uint32_t refs;
};

static inline struct buf *buf_ref(struct buf *b)
{
    b->refs++;
    return b;
}

static inline void buf_unref(struct buf *b)
{
    if (--b->refs == 0)
        b->release(b);
}

/* Some bytes of a buf.  Whoever holds a slice holds one reference, unless the
 * slice is said to be lent.  Bytes that wait in a pipe of the engine's have no
 * address: ptr is NULL, and they can only be sent or dropped, in order. */
struct slice {
    struct buf *buf;
    const char *ptr;
    uint32_t len;
};

/* Equal buffers for one worker: up to `max` exist at a time, freed ones are
 * kept for the next.  A ceiling shared with other pools is `budget`. */
struct buf_budget {
    uint64_t used, max; /* bytes; of one worker; max 0 is no limit */
    uint64_t refused;   /* statistics: how often it was reached */
};

struct buf_pool {
    struct buf *free;
    struct buf_budget *budget; /* may be NULL */
    uint32_t size;
    uint32_t kept, kept_max; /* free ones; more are returned to the system */
    uint32_t out;            /* in use now */
};

void buf_pool_init(struct buf_pool *p, uint32_t size, uint32_t kept_max, struct buf_budget *budget);
void buf_pool_free(struct buf_pool *p); /* none may be out */

/* With one reference; NULL when memory or the budget is exhausted. */
struct buf *buf_get(struct buf_pool *p);

/* The last eighth of the budget is not for content: peers that take nothing
 * could use up all of it, and nobody else would be heard or answered. */
bool buf_scarce(const struct buf_pool *p);

/* More than half of the budget is left: for what is good to have, and no more than that. */
bool buf_plenty(const struct buf_pool *p);

#endif
