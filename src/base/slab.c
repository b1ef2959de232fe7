/* Objects of one size; see slab.h. */
#include "base/slab.h"

#include "base/mem.h"
#include "base/span.h"

#include <assert.h>

/* The link of a free one: of a large one behind the object, so that what it
 * owns survives; of a small one in its place. */
struct slab_item {
    struct slab_item *next;
};

/* At the start of MEM_BLOCK bytes; which one an object lives in is seen from
 * its address. */
struct slab_block {
    struct link_node node; /* of slab.blocks or slab.full */
    struct slab_item *free;
    uint32_t used;  /* objects out */
    uint32_t fresh; /* places that were ever given out; the others are untouched */
};

enum { ALIGN = 8, SMALL_MAX = 1024, BLOCK_HEAD = sizeof(struct slab_block) };

static size_t round_up(size_t size, size_t to)
{
    return (size + to - 1) / to * to;
}

void slab_init(struct slab *s, size_t size, uint32_t kept_max)
{
    bool small = size <= SMALL_MAX;

    size = round_up(size, small ? ALIGN : 16);
    *s = (struct slab){.size = size, .kept_max = kept_max};
    if (small)
        s->per_block = (uint32_t)((MEM_BLOCK - BLOCK_HEAD) / size);
    list_init(&s->blocks);
    list_init(&s->full);
}

/* --- small ones --------------------------------------------------------------------- */

static struct slab_block *block_of(void *item)
{
    return (struct slab_block *)((uintptr_t)item & ~(uintptr_t)(MEM_BLOCK - 1));
}

static void *block_place(const struct slab *s, struct slab_block *b, uint32_t i)
{
    return (char *)b + BLOCK_HEAD + i * s->size;
}

static struct slab_block *block_new(struct slab *s)
{
    struct slab_block *b = mem_block_alloc();

    if (!b)
        return NULL;
    list_append(&s->blocks, &b->node);
    s->kept += s->per_block;
    return b;
}

static void block_move(struct slab_block *b, struct link_node *to)
{
    list_remove(&b->node);
    list_prepend(to, &b->node);
}

/* From the first block that has a place: the last ones become empty. */
static void *small_get(struct slab *s, int *fresh)
{
    struct slab_block *b;
    void *item;

    if (!list_empty(&s->blocks))
        b = container_of(s->blocks.next, struct slab_block, node);
    else if (!(b = block_new(s)))
        return NULL;
    if (fresh)
        *fresh = b->free == NULL;
    if (b->free) {
        item = b->free;
        b->free = b->free->next;
    } else {
        item = block_place(s, b, b->fresh++);
    }
    if (++b->used == s->per_block)
        block_move(b, &s->full);
    s->kept--;
    return item;
}

static void block_end(struct slab *s, struct slab_block *b)
{
    s->kept -= s->per_block;
    list_remove(&b->node);
    mem_block_free(b);
}

static void small_put(struct slab *s, void *item)
{
    struct slab_block *b = block_of(item);
    struct slab_item *link = item;

    link->next = b->free;
    b->free = link;
    s->kept++;
    if (b->used-- == s->per_block)
        block_move(b, &s->blocks);
    if (b->used == 0 && s->kept >= s->kept_max + s->per_block)
        block_end(s, b);
}

static void small_drain(struct slab *s)
{
    struct link_node *next;

    for (struct link_node *n = s->blocks.next; n != &s->blocks; n = next) {
        struct slab_block *b = container_of(n, struct slab_block, node);
        next = n->next;
        if (b->used == 0)
            block_end(s, b);
    }
}

/* Nothing is written down while objects come and go: who is out is seen from
 * who is free. */
static void block_each(const struct slab *s, struct slab_block *b,
                       void (*visit)(void *item, void *data), void *data)
{
    uint64_t is_free[MEM_BLOCK / ALIGN / 64] = {0};

    for (const struct slab_item *i = b->free; i; i = i->next) {
        size_t n = (size_t)((const char *)i - (const char *)block_place(s, b, 0)) / s->size;
        is_free[n / 64] |= UINT64_C(1) << n % 64;
    }
    for (uint32_t n = 0; n < b->fresh; n++)
        if (!(is_free[n / 64] >> n % 64 & 1))
            visit(block_place(s, b, n), data);
}

void slab_each(struct slab *s, void (*visit)(void *item, void *data), void *data)
{
    struct link_node *heads[] = {&s->full, &s->blocks};

    for (int i = 0; i < 2; i++)
        for (struct link_node *n = heads[i]->next; n != heads[i]; n = n->next)
            block_each(s, container_of(n, struct slab_block, node), visit, data);
}

/* --- large ones --------------------------------------------------------------------- */

static struct slab_item *large_link(const struct slab *s, void *item)
{
    return (struct slab_item *)(void *)((char *)item + s->size);
}

static void *large_object(const struct slab *s, struct slab_item *link)
{
    return (char *)link - s->size;
}

static void *large_get(struct slab *s, int *fresh)
{
    struct slab_item *link = s->free;

    if (fresh)
        *fresh = link == NULL;
    if (!link)
        return mem_zalloc(s->size + sizeof(struct slab_item));
    s->free = link->next;
    s->kept--;
    return large_object(s, link);
}

static void large_put(struct slab *s, void *item, void (*discard)(void *item))
{
    if (s->kept >= s->kept_max) {
        if (discard)
            discard(item);
        mem_free(item);
        return;
    }
    struct slab_item *link = large_link(s, item);
    link->next = s->free;
    s->free = link;
    s->kept++;
}

static void large_drain(struct slab *s, void (*discard)(void *item))
{
    while (s->free) {
        void *item = large_object(s, s->free);
        s->free = s->free->next;
        if (discard)
            discard(item);
        mem_free(item);
    }
    s->kept = 0;
}

/* --- both ----------------------------------------------------------------------------- */

void *slab_get(struct slab *s, int *fresh)
{
    void *item = s->per_block ? small_get(s, fresh) : large_get(s, fresh);

    s->out += item != NULL;
    return item;
}

void slab_put(struct slab *s, void *item, void (*discard)(void *item))
{
    s->out--;
    if (s->per_block)
        small_put(s, item);
    else
        large_put(s, item, discard);
}

void slab_drain(struct slab *s, void (*discard)(void *item))
{
    if (s->per_block)
        small_drain(s);
    else
        large_drain(s, discard);
}

void slab_free(struct slab *s)
{
    assert(s->out == 0);
    if (s->size > 0)
        slab_drain(s, NULL);
}
