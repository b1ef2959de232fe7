/* Memory that is freed all at once.
 *
 * Allocation is a bump of a pointer.  Resetting keeps the first block, so an
 * arena that is used again and again stops allocating.
 */
#ifndef HEADGATE_BASE_ARENA_H
#define HEADGATE_BASE_ARENA_H

#include "base/span.h"

struct arena_block;

struct arena {
    char *at, *end;
    struct arena_block *first, *last;
    size_t block_size; /* of new blocks, bytes; 0 means 4096 */
    size_t used;       /* bytes handed out since the last reset */
    size_t used_max;   /* refuse beyond this; 0 means no limit */
};

/* 16-byte aligned, not zeroed; NULL when memory or used_max is exhausted. */
void *arena_alloc(struct arena *a, size_t size);
void *arena_zalloc(struct arena *a, size_t size);

/* A copy; an empty span stays valid.  ptr is NULL when there is no memory. */
struct span arena_copy(struct arena *a, struct span s);
struct span arena_join(struct arena *a, struct span first, struct span second);
char *arena_text(struct arena *a, struct span s); /* terminated */
struct span arena_print(struct arena *a, const char *format, ...) PRINTF_LIKE(2, 3);

void arena_reset(struct arena *a); /* forgets everything, keeps one block */
void arena_free(struct arena *a);  /* a zeroed arena is a valid empty one */

#endif
