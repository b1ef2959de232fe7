/* Memory that is freed all at once; see arena.h. */
#include "base/arena.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>

enum { ARENA_ALIGN = 16, ARENA_BLOCK = 4096 };

struct arena_block {
    struct arena_block *next;
    char *end;
};

#define BLOCK_HEADER ((sizeof(struct arena_block) + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1))

static bool arena_grow(struct arena *a, size_t size)
{
    size_t block_size = a->block_size ? a->block_size : ARENA_BLOCK;
    size_t want = size > block_size - BLOCK_HEADER ? size + BLOCK_HEADER : block_size;
    struct arena_block *block;

    if (size > SIZE_MAX - BLOCK_HEADER || !(block = mem_alloc(want)))
        return false;
    block->next = NULL;
    block->end = (char *)block + want;
    if (a->last)
        a->last->next = block;
    else
        a->first = block;
    a->last = block;
    a->at = (char *)block + BLOCK_HEADER;
    a->end = block->end;
    return true;
}

void *arena_alloc(struct arena *a, size_t size)
{
    if (size > SIZE_MAX - ARENA_ALIGN)
        return NULL;
    size = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    if (a->used_max && size > a->used_max - a->used)
        return NULL;
    if (size > (size_t)(a->end - a->at) && !arena_grow(a, size))
        return NULL;
    void *at = a->at;
    a->at += size;
    a->used += size;
    return at;
}

void *arena_zalloc(struct arena *a, size_t size)
{
    void *at = arena_alloc(a, size);
    return at ? memset(at, 0, size) : NULL;
}

struct span arena_copy(struct arena *a, struct span s)
{
    return arena_join(a, s, (struct span){0});
}

struct span arena_join(struct arena *a, struct span first, struct span second)
{
    char *at = arena_alloc(a, first.len + second.len);

    if (!at)
        return (struct span){0};
    if (first.len)
        memcpy(at, first.ptr, first.len);
    if (second.len)
        memcpy(at + first.len, second.ptr, second.len);
    return (struct span){at, first.len + second.len};
}

char *arena_text(struct arena *a, struct span s)
{
    char *at = arena_alloc(a, s.len + 1);

    if (!at)
        return NULL;
    if (s.len)
        memcpy(at, s.ptr, s.len);
    at[s.len] = '\0';
    return at;
}

struct span arena_print(struct arena *a, const char *format, ...)
{
    va_list args, again;
    struct span out = {0};

    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    char *at = n < 0 ? NULL : arena_alloc(a, (size_t)n + 1);
    if (at) {
        vsnprintf(at, (size_t)n + 1, format, again);
        out = (struct span){at, (size_t)n};
    }
    va_end(again);
    va_end(args);
    return out;
}

void arena_reset(struct arena *a)
{
    a->used = 0;
    if (!a->first)
        return;
    for (struct arena_block *b = a->first->next, *next; b; b = next) {
        next = b->next;
        mem_free(b);
    }
    a->first->next = NULL;
    a->last = a->first;
    a->at = (char *)a->first + BLOCK_HEADER;
    a->end = a->first->end;
}

void arena_free(struct arena *a)
{
    for (struct arena_block *b = a->first, *next; b; b = next) {
        next = b->next;
        mem_free(b);
    }
    *a = (struct arena){.block_size = a->block_size, .used_max = a->used_max};
}
