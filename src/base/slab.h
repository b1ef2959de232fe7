/* Objects of one size, kept for reuse instead of going back to the system. */
#ifndef HEADGATE_BASE_SLAB_H
#define HEADGATE_BASE_SLAB_H

#include <stddef.h>
#include <stdint.h>

struct slab_item;

struct slab {
    struct slab_item *free;
    size_t size;
    uint32_t kept, kept_max;
    uint32_t out; /* in use */
};

void slab_init(struct slab *s, size_t size, uint32_t kept_max);
void slab_free(struct slab *s); /* none may be out */

/* Not zeroed: what the last user left may still be there. *fresh (may be NULL)
 * says that it is new, and zeroed. NULL when there is no memory. */
void *slab_get(struct slab *s, int *fresh);

/* A kept object keeps what it owns; `discard` (may be NULL) frees that when
 * the object itself goes back to the system. */
void slab_put(struct slab *s, void *item, void (*discard)(void *item));
void slab_drain(struct slab *s, void (*discard)(void *item));

#endif
