/* Pools of equal buffers; see buf.h. */
#include "base/buf.h"

#include "base/mem.h"

#include <assert.h>

static void buf_discard(struct buf_pool *p, struct buf *b)
{
    if (p->budget)
        p->budget->used -= p->size;
    mem_free(b);
}

/* What one pool keeps no other can have: with little left, none is kept. */
static bool buf_worth_keeping(const struct buf_pool *p)
{
    const struct buf_budget *b = p->budget;

    return p->kept < p->kept_max && (!b || !b->max || b->max - b->used > b->max / 4);
}

static void buf_release(struct buf *b)
{
    struct buf_pool *p = b->pool;

    p->out--;
    if (!buf_worth_keeping(p)) {
        buf_discard(p, b);
        return;
    }
    p->kept++;
    b->next = p->free;
    p->free = b;
}

void buf_pool_init(struct buf_pool *p, uint32_t size, uint32_t kept_max, struct buf_budget *budget)
{
    *p = (struct buf_pool){.size = size, .kept_max = kept_max, .budget = budget};
}

void buf_pool_free(struct buf_pool *p)
{
    assert(p->out == 0);
    while (p->free) {
        struct buf *b = p->free;
        p->free = b->next;
        buf_discard(p, b);
    }
    p->kept = 0;
}

static struct buf *buf_new(struct buf_pool *p)
{
    struct buf_budget *budget = p->budget;

    if (budget && budget->max && p->size > budget->max - budget->used) {
        budget->refused++;
        return NULL;
    }
    struct buf *b = mem_alloc(sizeof *b + p->size);
    if (!b)
        return NULL;
    if (budget)
        budget->used += p->size;
    *b = (struct buf){
        .release = buf_release, .pool = p, .base = (char *)b + sizeof *b, .size = p->size};
    return b;
}

struct buf *buf_get(struct buf_pool *p)
{
    struct buf *b = p->free;

    if (b) {
        p->free = b->next;
        p->kept--;
    } else if (!(b = buf_new(p))) {
        return NULL;
    }
    b->next = NULL;
    b->refs = 1;
    p->out++;
    return b;
}

/* More than one part of so many is left. */
static bool budget_has_more(const struct buf_pool *p, unsigned parts)
{
    const struct buf_budget *b = p->budget;

    return !b || !b->max || b->max - b->used + (uint64_t)p->kept * p->size > b->max / parts;
}

bool buf_scarce(const struct buf_pool *p)
{
    return !budget_has_more(p, 8);
}

bool buf_plenty(const struct buf_pool *p)
{
    return budget_has_more(p, 2);
}
