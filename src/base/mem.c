/* The allocator's seam: malloc and a countdown to failure per thread. */
#include "base/mem.h"

#include <stdbool.h>
#include <stdlib.h>

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
