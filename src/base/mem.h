/* Allocation, so that a test can make the n-th one fail.
 *
 * Everything that is not an arena, slab or pool's own business comes from
 * here.  NULL means out of memory and is never our mistake: callers refuse
 * the one thing they were doing and stay up.
 */
#ifndef HEADGATE_BASE_MEM_H
#define HEADGATE_BASE_MEM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* What threads write lies so far apart, so that they do not wait for each other. */
enum { CACHE_LINE = 64 };

void *mem_alloc(size_t size);
void *mem_zalloc(size_t size);
void *mem_resize(void *old, size_t size); /* on failure the old one stays */
void mem_free(void *old);                 /* NULL is fine */

/* Zeros, by the C library.  Where the compiler knows the size of some hundred bytes it
 * makes a string instruction of memset, which takes longer to begin than this does in all. */
static inline void mem_clear(void *at, size_t size)
{
    __asm__("" : "+r"(size));
    memset(at, 0, size);
}

/* MEM_BLOCK bytes at a multiple of MEM_BLOCK, zeroed, straight from the system
 * and straight back to it: what was freed in between others is not lost. */
enum { MEM_BLOCK = 64 * 1024 };
void *mem_block_alloc(void);
void mem_block_free(void *block);

/* Zeroed, for what is large and looked at here and there: in pages of 2 MB where the system
 * has them, because finding one of 4 KB can take longer than what it holds.  Whole
 * multiples of MEM_LARGE are taken. */
enum { MEM_LARGE = 2 * 1024 * 1024 };
void *mem_large_alloc(size_t size);
void mem_large_free(void *at, size_t size); /* NULL is fine */

/* For tests: the n-th allocation of this thread from now on fails (1 is the
 * next one), and after it every `every`-th if that is not 0.  0, 0 ends it. */
void mem_fail_at(uint64_t n, uint64_t every);

/* How many allocations this thread has made; for tests and benchmarks. */
uint64_t mem_count(void);

/* Allocations less frees of this thread: what is not given back yet, where
 * no other thread frees. */
int64_t mem_live(void);

#endif
