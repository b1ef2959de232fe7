/* The allocator's seam: malloc and a countdown to failure per thread. */
#include "base/mem.h"

#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>

static _Thread_local struct {
    uint64_t count;
    uint64_t fail_at; /* as a value of count; 0 never */
    uint64_t every;
    int64_t live;
} mem;

static bool mem_fails(void)
{
    mem.count++;
    if (mem.fail_at == 0 || mem.count < mem.fail_at)
        return false;
    if (mem.count == mem.fail_at)
        return true;
    return mem.every != 0 && (mem.count - mem.fail_at) % mem.every == 0;
}

static void *mem_counted(void *new)
{
    mem.live += new != NULL;
    return new;
}

void *mem_alloc(size_t size)
{
    return mem_fails() ? NULL : mem_counted(malloc(size ? size : 1));
}

void *mem_zalloc(size_t size)
{
    return mem_fails() ? NULL : mem_counted(calloc(1, size ? size : 1));
}

void *mem_resize(void *old, size_t size)
{
    if (mem_fails())
        return NULL;
    void *new = realloc(old, size ? size : 1);
    return old ? new : mem_counted(new);
}

void mem_free(void *old)
{
    mem.live -= old != NULL;
    free(old);
}

static void *map(size_t size)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return at == MAP_FAILED ? NULL : at;
}

/* The system aligns to pages only.  Mostly the next mapping is next to the
 * last one, so when that was aligned so is this. */
static char *map_aligned(size_t size, size_t align)
{
    char *at = map(size);

    if (!at || (uintptr_t)at % align == 0)
        return at;
    munmap(at, size);
    if (!(at = map(size + align)))
        return NULL;
    size_t before = (align - (uintptr_t)at % align) % align;
    if (before > 0)
        munmap(at, before);
    munmap(at + before + size, align - before);
    return at + before;
}

void *mem_block_alloc(void)
{
    return mem_fails() ? NULL : mem_counted(map_aligned(MEM_BLOCK, MEM_BLOCK));
}

void mem_block_free(void *block)
{
    mem.live -= block != NULL;
    if (block)
        munmap(block, MEM_BLOCK);
}

static size_t large(size_t size)
{
    return (size + MEM_LARGE - 1) / MEM_LARGE * MEM_LARGE;
}

void *mem_large_alloc(size_t size)
{
    void *at = mem_fails() ? NULL : mem_counted(map_aligned(large(size), MEM_LARGE));

#ifdef MADV_HUGEPAGE
    if (at)
        (void)madvise(at, large(size), MADV_HUGEPAGE); /* it is a hint */
#endif
    return at;
}

void mem_large_free(void *at, size_t size)
{
    mem.live -= at != NULL;
    if (at)
        munmap(at, large(size));
}

void mem_fail_at(uint64_t n, uint64_t every)
{
    mem.fail_at = n ? mem.count + n : 0;
    mem.every = every;
}

uint64_t mem_count(void)
{
    return mem.count;
}

int64_t mem_live(void)
{
    return mem.live;
}
