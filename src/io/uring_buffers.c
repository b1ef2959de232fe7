/* Groups of buffers that the kernel takes from when data has arrived.
 *
 * A receive does not name a buffer, it names a group.  The kernel picks one at
 * the moment there is something to put into it, so a connection that waits
 * holds none.  The group is a ring in memory shared with the kernel: it takes
 * from the head, we put back at the tail with two stores and no system call.
 */
#include "io/uring.h"

#include "base/mem.h"

#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define WATCHED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WATCHED 1
#endif
#endif

#ifdef WATCHED
#include <sanitizer/asan_interface.h>
#else
/* So that AddressSanitizer reports who reads a buffer after giving it back. */
#define ASAN_POISON_MEMORY_REGION(at, len)   ((void)(at), (void)(len))
#define ASAN_UNPOISON_MEMORY_REGION(at, len) ((void)(at), (void)(len))
#endif

static void group_put(struct group *g, struct ring_buf *b)
{
    ASAN_POISON_MEMORY_REGION(b->buf.base, g->size);
    io_uring_buf_ring_add(g->ring, b->buf.base, g->size, b->id, io_uring_buf_ring_mask(g->count),
                          0);
    io_uring_buf_ring_advance(g->ring, 1);
}

static void ring_buf_release(struct buf *buf)
{
    struct ring_buf *b = container_of(buf, struct ring_buf, buf);

    b->group->out--;
    group_put(b->group, b);
}

struct ring_buf *group_taken(struct group *g, unsigned flags)
{
    unsigned id = flags >> IORING_CQE_BUFFER_SHIFT;

    assert(id < g->count);
    struct ring_buf *b = &g->bufs[id];
    assert(b->buf.refs == 0);
    ASAN_UNPOISON_MEMORY_REGION(b->buf.base, g->size);
    b->buf.refs = 1;
    b->buf.next = NULL;
    g->out++;
    return b;
}

static int group_allocate(struct group *g)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    g->ring_memory = mem_zalloc(g->count * sizeof(struct io_uring_buf) + page);
    g->memory = mem_alloc((size_t)g->count * g->size);
    g->bufs = mem_zalloc(g->count * sizeof *g->bufs);
    if (!g->ring_memory || !g->memory || !g->bufs)
        return FAIL_MEMORY;
    g->ring = (void *)(((uintptr_t)g->ring_memory + page - 1) & ~(uintptr_t)(page - 1));
    return 0;
}

static void group_deallocate(struct group *g)
{
    if (g->memory)
        ASAN_UNPOISON_MEMORY_REGION(g->memory, (size_t)g->count * g->size);
    mem_free(g->ring_memory);
    mem_free(g->memory);
    mem_free(g->bufs);
    *g = (struct group){0};
}

int group_open(struct group *g, struct ring *ring, uint16_t id, uint32_t count, uint32_t size)
{
    *g = (struct group){.count = count, .size = size, .id = id};
    if (group_allocate(g) < 0) {
        group_deallocate(g);
        return FAIL_MEMORY;
    }
    struct io_uring_buf_reg reg = {
        .ring_addr = (uint64_t)(uintptr_t)g->ring,
        .ring_entries = count,
        .bgid = id,
    };
    int error = io_uring_register_buf_ring(&ring->uring, &reg, 0);
    if (error < 0) {
        group_deallocate(g);
        return fail_from_errno(-error);
    }
    io_uring_buf_ring_init(g->ring);
    for (uint32_t i = 0; i < count; i++) {
        struct ring_buf *b = &g->bufs[i];
        *b = (struct ring_buf){
            .buf = {.release = ring_buf_release,
                    .base = g->memory + (size_t)i * size,
                    .size = size},
            .group = g,
            .id = (uint16_t)i,
        };
        group_put(g, b);
    }
    return 0;
}

void group_close(struct group *g, struct ring *ring)
{
    if (!g->count)
        return;
    assert(g->out == 0);
    io_uring_unregister_buf_ring(&ring->uring, g->id);
    group_deallocate(g);
}
