/* Open addressing with linear probing over a log.
 *
 * A slot has 32 bits of the hash beside the index, so a wrong entry of the log
 * is hardly ever looked at.  When the table is three quarters full one of twice
 * the size takes over: each addition moves a few users, in the order of the
 * log.  The old table stays whole until all are moved, and is asked second.
 *
 * Small sets take little.  Those of many users lie in large pages: which slot and
 * which entry is looked at is chance, and the way to a small page would cost more than the look.
 */
#include "modules/1mrc/users.h"

#include "base/fail.h"
#include "base/mem.h"

#include <assert.h>

enum {
    SLOTS_FIRST = 512,
    MOVES = 16,        /* users moved by an addition; done long before the table is full again */
    CHUNKS_FIRST = 16, /* each by itself; then as many as fill a large page */
    CHUNK_BYTES = USERS_CHUNK * sizeof(struct user_hash),
    CHUNKS_LARGE = MEM_LARGE / CHUNK_BYTES,
    TABLE_LARGE = MEM_LARGE / 4, /* bytes, from which on it has large pages */
};

struct users_log {
    uint32_t readers; /* the set and its shares */
    uint32_t chunk_count, chunk_room;
    struct user_hash **chunks;
};

static struct user_hash log_at(const struct users_log *log, uint32_t i)
{
    return log->chunks[i / USERS_CHUNK][i % USERS_CHUNK];
}

static void log_leave(struct users_log *log)
{
    if (!log || --log->readers > 0)
        return;
    for (uint32_t i = 0; i < log->chunk_count && i < CHUNKS_FIRST; i++)
        mem_free(log->chunks[i]);
    for (uint32_t i = CHUNKS_FIRST; i < log->chunk_count; i += CHUNKS_LARGE)
        mem_large_free(log->chunks[i], MEM_LARGE);
    mem_free(log->chunks);
    mem_free(log);
}

/* The next piece of the log: by itself, or of a large page that is begun with it. */
static struct user_hash *chunk_new(const struct users_log *log)
{
    if (log->chunk_count < CHUNKS_FIRST)
        return mem_alloc(CHUNK_BYTES);
    if ((log->chunk_count - CHUNKS_FIRST) % CHUNKS_LARGE == 0)
        return mem_large_alloc(MEM_LARGE);
    return log->chunks[log->chunk_count - 1] + USERS_CHUNK;
}

/* Makes room for the entry behind the first count. */
static int log_reserve(struct users *u)
{
    if (!u->log) {
        u->log = mem_zalloc(sizeof *u->log);
        if (!u->log)
            return FAIL_MEMORY;
        u->log->readers = 1;
    }
    struct users_log *log = u->log;
    if (u->count < log->chunk_count * (uint64_t)USERS_CHUNK)
        return 0;
    if (log->chunk_count == log->chunk_room) {
        uint32_t room = log->chunk_room ? 2 * log->chunk_room : CHUNKS_FIRST;
        void *more = mem_resize(log->chunks, room * sizeof *log->chunks);
        if (!more)
            return FAIL_MEMORY;
        log->chunks = more;
        log->chunk_room = room;
    }
    struct user_hash *chunk = chunk_new(log);
    if (!chunk)
        return FAIL_MEMORY;
    log->chunks[log->chunk_count++] = chunk;
    return 0;
}

static uint64_t slot_of(struct user_hash h, uint32_t index)
{
    return (h.a & ~(uint64_t)UINT32_MAX) | (index + 1);
}

static bool table_has(const struct users *u, const struct users_table *t, struct user_hash h)
{
    if (!t->slots)
        return false;
    for (uint32_t i = (uint32_t)h.b & t->mask;; i = (i + 1) & t->mask) {
        uint64_t slot = t->slots[i];
        if (slot == 0)
            return false;
        if ((slot ^ h.a) >> 32)
            continue;
        struct user_hash found = log_at(u->log, (uint32_t)slot - 1);
        if (found.a == h.a && found.b == h.b)
            return true;
    }
}

static void table_put(struct users_table *t, struct user_hash h, uint32_t index)
{
    uint32_t i = (uint32_t)h.b & t->mask;

    while (t->slots[i])
        i = (i + 1) & t->mask;
    t->slots[i] = slot_of(h, index);
}

static size_t slots_bytes(uint64_t slots)
{
    return slots * sizeof(uint64_t);
}

static uint64_t *slots_new(uint64_t slots)
{
    size_t bytes = slots_bytes(slots);

    return bytes < TABLE_LARGE ? mem_zalloc(bytes) : mem_large_alloc(bytes);
}

static void table_free(struct users_table *t)
{
    size_t bytes = t->slots ? slots_bytes((uint64_t)t->mask + 1) : 0;

    if (bytes < TABLE_LARGE)
        mem_free(t->slots);
    else
        mem_large_free(t->slots, bytes);
    *t = (struct users_table){0};
}

static void move_some(struct users *u)
{
    if (!u->old.slots)
        return;
    for (int n = 0; n < MOVES && u->moved < u->old_count; n++, u->moved++)
        table_put(&u->table, log_at(u->log, u->moved), u->moved);
    if (u->moved < u->old_count)
        return;
    table_free(&u->old);
}

/* Makes room for one more.  Without memory for a larger table the one we have
 * goes on until it is nearly full. */
static int table_reserve(struct users *u)
{
    uint64_t size = u->table.slots ? (uint64_t)u->table.mask + 1 : 0;

    if (u->count < size / 4 * 3)
        return 0;
    uint64_t *slots = NULL;
    uint64_t larger = size ? 2 * size : SLOTS_FIRST;
    if (larger <= UINT64_C(1) << 32)
        slots = slots_new(larger);
    if (!slots)
        return u->count < size / 16 * 15 ? 0 : FAIL_MEMORY;
    assert(!u->old.slots);
    u->old = u->table;
    u->old_count = u->count;
    u->moved = 0;
    u->table = (struct users_table){slots, (uint32_t)(larger - 1)};
    return 0;
}

uint64_t users_bytes(uint64_t count)
{
    uint64_t slots = SLOTS_FIRST;

    while (slots / 4 * 3 < count)
        slots *= 2;
    return slots_bytes(slots + slots / 2) + count * sizeof(struct user_hash) + CHUNK_BYTES +
           (count > CHUNKS_FIRST * USERS_CHUNK ? 3 * MEM_LARGE : 0);
}

void users_prefetch_entry(const struct users *u, struct user_hash h)
{
    if (!u->table.slots)
        return;
    uint64_t slot = u->table.slots[(uint32_t)h.b & u->table.mask];
    uint32_t i = (uint32_t)slot - 1;
    if (slot && (slot ^ h.a) >> 32 == 0)
        __builtin_prefetch(&u->log->chunks[i / USERS_CHUNK][i % USERS_CHUNK]);
}

bool users_has(const struct users *u, struct user_hash h)
{
    return table_has(u, &u->table, h) || table_has(u, &u->old, h);
}

int users_add(struct users *u, struct user_hash h, bool *added)
{
    int err;

    *added = false;
    if (users_has(u, h))
        return 0;
    if (u->count >= USERS_MOST)
        return FAIL_FULL;
    if ((err = log_reserve(u)) < 0 || (err = table_reserve(u)) < 0)
        return err;
    u->log->chunks[u->count / USERS_CHUNK][u->count % USERS_CHUNK] = h;
    table_put(&u->table, h, u->count++);
    move_some(u);
    *added = true;
    return 0;
}

void users_clear(struct users *u)
{
    log_leave(u->log);
    table_free(&u->table);
    table_free(&u->old);
    *u = (struct users){0};
}

int users_share(const struct users *u, struct users_share *out)
{
    *out = (struct users_share){0};
    if (u->count == 0)
        return 0;
    /* The chunks stay where they are; the list of them may not. */
    size_t size = u->log->chunk_count * sizeof *out->chunks;
    out->chunks = mem_alloc(size);
    if (!out->chunks)
        return FAIL_MEMORY;
    memcpy(out->chunks, u->log->chunks, size);
    out->log = u->log;
    out->log->readers++;
    out->count = u->count;
    return 0;
}

void users_share_drop(struct users_share *share)
{
    mem_free(share->chunks);
    log_leave(share->log);
    *share = (struct users_share){0};
}
