/* Objects of one size; see slab.h.  The link of a free one lies behind the
 * object, so that what it owns survives. */
#include "base/slab.h"

#include "base/mem.h"

#include <assert.h>

struct slab_item {
    struct slab_item *next;
};

static struct slab_item *slab_link(const struct slab *s, void *item)
{
    return (struct slab_item *)(void *)((char *)item + s->size);
}

static void *slab_object(const struct slab *s, struct slab_item *link)
{
    return (char *)link - s->size;
}

void slab_init(struct slab *s, size_t size, uint32_t kept_max)
{
    size = (size + 15) & ~(size_t)15;
    *s = (struct slab){.size = size, .kept_max = kept_max};
}

void *slab_get(struct slab *s, int *fresh)
{
    struct slab_item *link = s->free;
    void *item;

    if (fresh)
        *fresh = link == NULL;
    if (link) {
        s->free = link->next;
        s->kept--;
        item = slab_object(s, link);
    } else if (!(item = mem_zalloc(s->size + sizeof(struct slab_item)))) {
        return NULL;
    }
    s->out++;
    return item;
}

void slab_put(struct slab *s, void *item, void (*discard)(void *item))
{
    s->out--;
    if (s->kept >= s->kept_max) {
        if (discard)
            discard(item);
        mem_free(item);
        return;
    }
    struct slab_item *link = slab_link(s, item);
    link->next = s->free;
    s->free = link;
    s->kept++;
}

void slab_drain(struct slab *s, void (*discard)(void *item))
{
    while (s->free) {
        void *item = slab_object(s, s->free);
        s->free = s->free->next;
        if (discard)
            discard(item);
        mem_free(item);
    }
    s->kept = 0;
}

void slab_free(struct slab *s)
{
    assert(s->out == 0);
    slab_drain(s, NULL);
}
