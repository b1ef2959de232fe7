/* Content on its way in one direction; see flow.h. */
#include "base/flow.h"

#include "base/fail.h"

#include <assert.h>

static struct slice *flow_at(struct flow *f, unsigned i)
{
    return &f->slices[(f->first + i) % FLOW_SLICES];
}

void flow_init(struct flow *f, struct buf_pool *pool, uint32_t limit)
{
    /* The slices need no clearing: count says which are real. */
    f->pool = pool;
    f->producer = f->consumer = NULL;
    f->total = 0;
    f->bytes = 0;
    f->limit = limit;
    f->first = f->count = 0;
    f->starved = f->ended = false;
    f->fail = 0;
    f->tail_room = 0;
    f->depth = NULL;
}

void flow_deepen(struct flow *f, struct flow_depth *depth, uint32_t more)
{
    *depth = (struct flow_depth){.more = more};
    f->depth = depth;
    f->limit += more;
    f->starved = false;
    if (f->producer)
        owner_wake(f->producer);
}

/* The first buffer behind the ring takes the place in it that is free. */
static void flow_refill(struct flow *f)
{
    struct flow_depth *d = f->depth;
    struct buf *b = d->first;
    bool last = b == d->last;
    uint32_t len = last ? d->last_len : b->size;

    *flow_at(f, f->count++) = (struct slice){.buf = b, .ptr = b->base, .len = len};
    f->tail_room = b->size - len;
    d->first = b->next;
    b->next = NULL;
    if (last)
        d->last = NULL;
}

static void flow_drop_first(struct flow *f)
{
    buf_unref(flow_at(f, 0)->buf);
    f->first = (uint8_t)((f->first + 1) % FLOW_SLICES);
    f->count--;
    if (f->depth && f->depth->first)
        flow_refill(f);
    if (f->count == 0)
        f->tail_room = 0;
}

void flow_clear(struct flow *f)
{
    while (f->count > 0)
        flow_drop_first(f);
    f->bytes = 0;
}

/* Without plenty of memory it is as shallow as others. */
static uint32_t flow_room_deep(const struct flow *f)
{
    uint32_t limit = buf_plenty(f->pool) ? f->limit : f->limit - f->depth->more;

    return limit > f->bytes ? limit - f->bytes : 0;
}

uint32_t flow_room(struct flow *f)
{
    uint32_t room = f->limit > f->bytes ? f->limit - f->bytes : 0;

    if (f->depth)
        room = flow_room_deep(f);
    else if (f->count == FLOW_SLICES && room > f->tail_room)
        room = f->tail_room;
    if (room < f->limit / 2)
        f->starved = true;
    return room;
}

uint64_t flow_allows(const struct flow *f)
{
    uint64_t taken = f->total - f->bytes;

    return f->depth && buf_plenty(f->pool) ? taken + f->depth->more : taken;
}

static void flow_grew(struct flow *f, uint32_t n)
{
    f->bytes += n;
    f->total += n;
    if (f->consumer)
        owner_wake(f->consumer);
}

static void flow_shrank(struct flow *f)
{
    if (f->starved && f->bytes <= f->limit / 2 && (f->count <= FLOW_SLICES / 2 || f->depth)) {
        f->starved = false;
        if (f->producer)
            owner_wake(f->producer);
    }
}

/* Copies to what is behind the ring. */
static uint32_t flow_copy_behind(struct flow *f, struct span s)
{
    struct flow_depth *d = f->depth;
    uint32_t copied = 0;

    while (s.len > 0) {
        if (!d->last || d->last_len == d->last->size) {
            struct buf *b = buf_scarce(f->pool) ? NULL : buf_get(f->pool);
            if (!b)
                break;
            *(d->last ? &d->last->next : &d->first) = b;
            d->last = b;
            d->last_len = 0;
        }
        uint32_t room = d->last->size - d->last_len, n = s.len < room ? (uint32_t)s.len : room;
        memcpy(d->last->base + d->last_len, s.ptr, n);
        d->last_len += n;
        copied += n;
        s = span_after(s, n);
    }
    return copied;
}

/* Copies behind the last slice, or into a fresh buffer. */
static uint32_t flow_copy(struct flow *f, struct span s)
{
    uint32_t copied = 0;

    while (s.len > 0) {
        if (f->tail_room == 0) {
            if (f->count == FLOW_SLICES && f->depth)
                return copied + flow_copy_behind(f, s);
            if (f->count == FLOW_SLICES || buf_scarce(f->pool))
                break;
            struct buf *b = buf_get(f->pool);
            if (!b)
                break;
            *flow_at(f, f->count++) = (struct slice){.buf = b, .ptr = b->base};
            f->tail_room = b->size;
        }
        struct slice *tail = flow_at(f, f->count - 1u);
        uint32_t n = s.len < f->tail_room ? (uint32_t)s.len : f->tail_room;
        memcpy(tail->buf->base + (tail->buf->size - f->tail_room), s.ptr, n);
        tail->len += n;
        f->tail_room -= n;
        copied += n;
        s = span_after(s, n);
    }
    return copied;
}

uint32_t flow_write(struct flow *f, struct span s)
{
    uint32_t room = flow_room(f);

    if (f->depth && f->limit > f->bytes) /* what was allowed when there was plenty may come now */
        room = f->limit - f->bytes;
    uint32_t copied = flow_copy(f, span_first(s, room));
    if (copied > 0)
        flow_grew(f, copied);
    return copied;
}

bool flow_give(struct flow *f, struct slice s)
{
    if (s.len == 0) {
        buf_unref(s.buf);
        return true;
    }
    if (s.ptr && (s.len <= FLOW_COPY_MAX || f->count == FLOW_SLICES)) {
        uint32_t copied = flow_copy(f, (struct span){s.ptr, s.len});
        if (copied == s.len) {
            buf_unref(s.buf);
            flow_grew(f, copied);
            return true;
        }
        /* Out of buffers half way: the rest goes by reference if a slot is left. */
        f->bytes += copied;
        f->total += copied;
        s.ptr += copied;
        s.len -= copied;
    }
    if (f->count == FLOW_SLICES)
        return false;
    *flow_at(f, f->count++) = s;
    f->tail_room = 0;
    flow_grew(f, s.len);
    return true;
}

struct span flow_peek(const struct flow *f)
{
    const struct slice *s = &f->slices[f->first];

    return f->count ? (struct span){s->ptr, s->len} : (struct span){0};
}

void flow_take(struct flow *f, uint32_t n)
{
    assert(n <= f->bytes);
    f->bytes -= n;
    while (n > 0) {
        struct slice *s = flow_at(f, 0);
        uint32_t part = n < s->len ? n : s->len;
        if (s->ptr)
            s->ptr += part;
        s->len -= part;
        n -= part;
        /* An emptied copy buffer is dropped too: its room is not worth a buffer. */
        if (s->len == 0)
            flow_drop_first(f);
    }
    flow_shrank(f);
}

struct slice flow_pop(struct flow *f, uint32_t max)
{
    struct slice *s = flow_at(f, 0);
    struct slice out = {0};

    if (f->count == 0 || max == 0)
        return out;
    out = (struct slice){buf_ref(s->buf), s->ptr, max < s->len ? max : s->len};
    flow_take(f, out.len);
    return out;
}

void flow_end(struct flow *f)
{
    if (f->ended)
        return;
    f->ended = true;
    if (f->consumer)
        owner_wake(f->consumer);
}

void flow_break(struct flow *f, int fail)
{
    if (f->ended)
        return;
    f->fail = (int8_t)fail;
    flow_end(f);
}

bool flow_move(struct flow *to, struct flow *from)
{
    while (from->bytes > 0) {
        uint32_t room = flow_room(to);
        if (room == 0 || to->ended)
            break;
        struct span first = flow_peek(from);
        if (first.len <= FLOW_COPY_MAX) {
            uint32_t n = flow_write(to, first);
            if (n == 0)
                break;
            flow_take(from, n);
            continue;
        }
        if (to->count == FLOW_SLICES)
            break;
        struct slice s = flow_pop(from, room);
        if (s.len <= FLOW_COPY_MAX && to->count == FLOW_SLICES) {
            buf_unref(s.buf);
            break;
        }
        if (!flow_give(to, s)) {
            buf_unref(s.buf);
            flow_break(to, FAIL_MEMORY);
            break;
        }
    }
    if (!flow_done(from))
        return false;
    if (from->fail)
        flow_break(to, from->fail);
    else
        flow_end(to);
    return true;
}

void flow_check(const struct flow *f)
{
    uint32_t bytes = 0;

    assert(f->count <= FLOW_SLICES);
    for (unsigned i = 0; i < f->count; i++) {
        const struct slice *s = &f->slices[(f->first + i) % FLOW_SLICES];
        assert(s->len > 0 && s->buf && s->buf->refs > 0);
        bytes += s->len;
    }
    if (f->depth && f->depth->first) {
        assert(f->count == FLOW_SLICES && f->tail_room == 0);
        for (const struct buf *b = f->depth->first; b != f->depth->last; b = b->next)
            bytes += b->size;
        bytes += f->depth->last_len;
    }
    assert(bytes == f->bytes);
    assert(!f->fail || f->ended);
}
