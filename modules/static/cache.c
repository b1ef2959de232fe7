/* Open files, kept for a moment; see cache.h. */
#include "modules/static/cache.h"

#include <assert.h>
#include <stdio.h>

static void file_step(struct owner *owner);

static struct io *cache_io(const struct file_cache *cache)
{
    return worker_io(cache->worker);
}

static uint32_t key_hash(struct span root, struct span path, unsigned flags)
{
    uint32_t h = 2166136261u ^ flags; /* FNV-1a */

    for (size_t i = 0; i < root.len; i++)
        h = (h ^ (uint8_t)root.ptr[i]) * 16777619u;
    for (size_t i = 0; i < path.len; i++)
        h = (h ^ (uint8_t)path.ptr[i]) * 16777619u;
    return h;
}

void file_cache_init(struct file_cache *cache, struct worker *w, uint64_t bytes_max)
{
    *cache = (struct file_cache){
        .worker = w,
        .bytes_max = bytes_max,
        .open_max = worker_descriptors_spare(w),
    };
    list_init(&cache->used);
    for (size_t i = 0; i < COUNT_OF(cache->buckets); i++)
        list_init(&cache->buckets[i]);
}

/* --- an entry's end --------------------------------------------------------------------- */

static void file_forget(struct file_entry *e)
{
    struct file_cache *cache = e->cache;

    if (e->stale)
        return;
    e->stale = true;
    list_remove(&e->bucket);
    list_remove(&e->used);
    cache->count--;
}

static void file_close(struct file_entry *e)
{
    if (e->fd < 0)
        return;
    io_file_close(cache_io(e->cache), e->fd);
    e->fd = -1;
    e->cache->open--;
}

static void file_free(struct file_entry *e)
{
    struct file_cache *cache = e->cache;

    assert(!io_busy(&e->op.op) && e->users == 0);
    file_forget(e);
    file_close(e);
    if (e->root_fd >= 0)
        io_file_close(cache_io(cache), e->root_fd);
    if (e->bytes)
        cache->bytes -= e->stat.size;
    owner_retire(&e->owner);
    mem_free(e->bytes);
    mem_free((char *)(uintptr_t)e->root.ptr);
    mem_free(e);
}

static void file_free_if_unused(struct file_entry *e)
{
    if (e->stale && e->users == 0 && !io_busy(&e->op.op))
        file_free(e);
}

void file_release(struct file_entry *e)
{
    e->users--;
    file_free_if_unused(e);
}

void file_cache_free(struct file_cache *cache)
{
    for (size_t i = 0; i < COUNT_OF(cache->buckets); i++)
        while (!list_empty(&cache->buckets[i])) {
            struct file_entry *e = container_of(cache->buckets[i].next, struct file_entry, bucket);
            if (io_busy(&e->op.op)) /* a helper thread is still at it */
                io_turn(cache_io(cache), NS_PER_MS);
            else
                file_free(e);
        }
}

/* Makes room, also for some bytes more: the least recently used that nobody
 * holds goes first, and stays if its going would not help. */
static void cache_trim(struct file_cache *cache, const struct file_entry *keep, uint64_t more)
{
    struct link_node *next;

    for (struct link_node *n = cache->used.next; n != &cache->used; n = next) {
        struct file_entry *e = container_of(n, struct file_entry, used);
        next = n->next;
        bool many = cache->count > FILE_ENTRIES_MAX;
        bool large = cache->bytes + more > cache->bytes_max;
        bool open = cache->open > cache->open_max;
        if (!many && !large && !open)
            return;
        if (e == keep || e->users > 0 || io_busy(&e->op.op))
            continue;
        if (many || (large && e->bytes) || (open && e->fd >= 0))
            file_free(e);
    }
}

void file_cache_limit(struct file_cache *cache, uint64_t bytes_max)
{
    cache->bytes_max = bytes_max;
    cache_trim(cache, NULL, 0);
}

/* --- looking a file up -------------------------------------------------------------------- */

/* Is it so for as long as the file stays as it is? */
static bool fail_lasts(int fail)
{
    switch (fail) {
    case 0:
    case FAIL_NOT_FOUND:
    case FAIL_NOT_DIR:
    case FAIL_IS_DIR:
    case FAIL_ACCESS:
    case FAIL_LOOP:
    case FAIL_BAD:
        return true;
    default:
        return false;
    }
}

static void file_settle(struct file_entry *e, int fail)
{
    struct link_node *node;

    e->fail = fail;
    e->state = FILE_SETTLED;
    if (fail || e->bytes) /* a descriptor is scarcer than memory */
        file_close(e);
    if (!fail_lasts(fail))
        file_forget(e);
    if (e->root_fd >= 0) {
        io_file_close(cache_io(e->cache), e->root_fd);
        e->root_fd = -1;
    }
    while ((node = list_pop(&e->waiting)))
        exchange_wake(container_of(node, struct file_waiter, node)->x);
}

static void file_start(struct file_entry *e, enum io_file_call call, int dir, const char *path,
                       unsigned flags)
{
    e->op.call = (uint8_t)call;
    e->op.dir = dir;
    e->op.path = path;
    e->op.flags = (uint8_t)flags;
    io_file(cache_io(e->cache), &e->op);
}

static void file_opened(struct file_entry *e)
{
    const struct io_stat *s = &e->op.stat;

    e->fd = e->op.fd;
    e->cache->open++;
    e->stat = *s;
    if (!s->regular) {
        file_settle(e, s->directory ? FAIL_IS_DIR : FAIL_ACCESS);
        return;
    }
    int n = snprintf(e->tag, sizeof e->tag, "\"%llx-%llx\"", (unsigned long long)s->size,
                     (unsigned long long)s->mtime_ns);
    e->tag_len = (uint8_t)n;
    clock_http(e->modified, s->mtime_ns / (int64_t)NS_PER_S);
    bool small = s->size > 0 && s->size <= FILE_SMALL && s->size <= e->cache->bytes_max;
    if (small)
        cache_trim(e->cache, e, s->size);
    if (!small || e->cache->bytes + s->size > e->cache->bytes_max ||
        !(e->bytes = mem_alloc(s->size))) {
        file_settle(e, 0);
        return;
    }
    e->cache->bytes += s->size;
    e->state = FILE_READING;
    e->op.fd = e->fd;
    e->op.base = e->bytes;
    e->op.len = (uint32_t)s->size;
    e->op.offset = 0;
    file_start(e, IO_FILE_READ, -1, NULL, 0);
}

/* A file that shrank under our eyes is an error now, and looked at anew at once. */
static void file_read(struct file_entry *e)
{
    if (e->op.op.fail == 0 && e->op.op.count > 0)
        e->bytes_read += e->op.op.count;
    if (e->op.op.fail || e->op.op.count == 0) {
        e->cache->bytes -= e->stat.size;
        mem_free(e->bytes);
        e->bytes = NULL;
        file_settle(e, e->op.op.fail ? e->op.op.fail : FAIL_IO);
        return;
    }
    if (e->bytes_read == e->stat.size) {
        file_settle(e, 0);
        return;
    }
    e->op.base = e->bytes + e->bytes_read;
    e->op.len = (uint32_t)e->stat.size - e->bytes_read;
    e->op.offset = e->bytes_read;
    file_start(e, IO_FILE_READ, -1, NULL, 0);
}

static void file_step(struct owner *owner)
{
    struct file_entry *e = container_of(owner, struct file_entry, owner);
    struct file_cache *cache = e->cache;

    if (!io_take(&e->op.op))
        return;
    if (e->state != FILE_READING && e->op.op.fail) {
        file_settle(e, e->op.op.fail);
    } else if (e->state == FILE_ROOT) {
        e->root_fd = e->op.fd;
        e->state = FILE_OPENING;
        file_start(e, IO_FILE_OPEN, e->root_fd, e->path.len ? e->path.ptr : ".", e->open_flags);
    } else if (e->state == FILE_OPENING) {
        file_opened(e);
    } else if (e->state == FILE_READING) {
        file_read(e);
    }
    file_free_if_unused(e);
    cache_trim(cache, NULL, 0); /* which may free it, too */
}

static struct file_entry *file_new(struct file_cache *cache, const struct file_root *root,
                                   struct span path)
{
    struct file_entry *e = mem_zalloc(sizeof *e);
    char *text = mem_alloc(root->path.len + path.len + 2);

    if (!e || !text) {
        mem_free(e);
        mem_free(text);
        return NULL;
    }
    memcpy(text, root->path.ptr, root->path.len);
    text[root->path.len] = '\0';
    e->root = (struct span){text, root->path.len};
    text += root->path.len + 1;
    memcpy(text, path.ptr, path.len);
    text[path.len] = '\0';
    e->path = (struct span){text, path.len};
    e->open_flags = root->open_flags;
    e->cache = cache;
    e->fd = e->root_fd = -1;
    e->checked = io_now(cache_io(cache));
    owner_init(&e->owner, &cache_io(cache)->owners, file_step);
    e->op.op.owner = &e->owner;
    list_init(&e->waiting);
    list_append(
        &cache->buckets[key_hash(root->path, path, root->open_flags) % COUNT_OF(cache->buckets)],
        &e->bucket);
    list_append(&cache->used, &e->used);
    cache->count++;
    e->state = FILE_ROOT;
    file_start(e, IO_FILE_OPEN, -1, e->root.ptr, IO_OPEN_DIR);
    return e;
}

static struct file_entry *file_find(struct file_cache *cache, const struct file_root *root,
                                    struct span path)
{
    struct link_node *head =
        &cache->buckets[key_hash(root->path, path, root->open_flags) % COUNT_OF(cache->buckets)];

    for (struct link_node *n = head->next; n != head; n = n->next) {
        struct file_entry *e = container_of(n, struct file_entry, bucket);
        if (e->open_flags == root->open_flags && span_equal(e->path, path) &&
            span_equal(e->root, root->path))
            return e;
    }
    return NULL;
}

struct file_entry *file_get(struct file_cache *cache, const struct file_root *root,
                            struct span path, struct file_waiter *waiter)
{
    struct file_entry *e = file_find(cache, root, path);
    uint64_t now = io_now(cache_io(cache));

    if (e && file_settled(e) &&
        (root->cache_ns == VALUE_OFF || now - e->checked > root->cache_ns)) {
        file_forget(e);
        file_free_if_unused(e);
        e = NULL;
    }
    if (e) {
        list_remove(&e->used);
        list_append(&cache->used, &e->used);
    } else if (!(e = file_new(cache, root, path))) {
        return NULL;
    }
    e->users++;
    if (!file_settled(e))
        list_append(&e->waiting, &waiter->node);
    return e;
}
