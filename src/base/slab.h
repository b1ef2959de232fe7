/* Objects of one size, kept for reuse instead of going back to the system.
 *
 * Small ones live together in blocks, with nothing in between: an idle
 * connection costs its own size and no more.  A block that is empty goes back
 * to the system as a whole, so that a crowd leaves no memory behind.
 */
#ifndef HEADGATE_BASE_SLAB_H
#define HEADGATE_BASE_SLAB_H

#include "base/list.h"

#include <stddef.h>
#include <stdint.h>

struct slab_item;

struct slab {
    struct slab_item *free;  /* large ones */
    struct link_node blocks; /* of small ones, those with a free place */
    struct link_node full;   /* the others */
    size_t size;
    uint32_t kept, kept_max;
    uint32_t out;       /* in use */
    uint32_t per_block; /* 0: large ones, each by itself */
};

void slab_init(struct slab *s, size_t size, uint32_t kept_max);
void slab_free(struct slab *s); /* none may be out */

/* Not zeroed: what the last user of a large one left is still there. *fresh
 * (may be NULL) says that it is new, and zeroed. NULL when there is no memory. */
void *slab_get(struct slab *s, int *fresh);

/* A kept large object keeps what it owns; `discard` (may be NULL) frees that
 * when the object itself goes back to the system.  Small ones own nothing. */
void slab_put(struct slab *s, void *item, void (*discard)(void *item));
void slab_drain(struct slab *s, void (*discard)(void *item));

/* Calls visit() for each small object that is out; which may neither get nor put one. */
void slab_each(struct slab *s, void (*visit)(void *item, void *data), void *data);

#endif
