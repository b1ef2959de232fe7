/* A stream of bytes to and from a peer; see wire.h. */
#include "net/wire_own.h"

#include "base/mem.h"

#include <assert.h>

static void wire_gather(struct io_sender *sender);
static void wire_gone(struct owner *owner);

enum { HOLDS_SPARE = 256 };

void wires_init(struct wires *all, struct io *io)
{
    *all = (struct wires){.io = io};
    slab_init(&all->holds, sizeof(struct wire_hold), 256);
    slab_init(&all->outs, sizeof(struct wire_out), 256);
    slab_init(&all->ciphers, sizeof(struct wire_cipher), 256);
}

void wires_free(struct wires *all)
{
    for (struct wire_hold *h; (h = all->spare);) {
        all->spare = h->next;
        slab_put(&all->holds, h, NULL);
    }
    slab_free(&all->holds);
    slab_free(&all->outs);
    slab_free(&all->ciphers);
    if (all->tls)
        all->layer->worker_free(all->tls);
    mem_free(all->record);
}

void wire_open(struct wire *w, struct wires *all, struct owner *owner, int fd)
{
    *w = (struct wire){
        .all = all, .sock = {.fd = -1}, .recv = {.owner = owner}, .hold = &all->nothing};
    if (fd >= 0)
        io_adopt(all->io, &w->sock, fd);
}

/* --- what is held ------------------------------------------------------------- */

static bool holds_nothing(const struct wire *w)
{
    return w->hold == &w->all->nothing;
}

struct wire_hold *wire_hold_get(struct wire *w)
{
    struct wire_hold *h = w->hold;

    if (!holds_nothing(w))
        return h;
    if ((h = w->all->spare)) {
        w->all->spare = h->next;
        w->all->spares--;
    } else if (!(h = slab_get(&w->all->holds, NULL))) {
        wire_failed(w, FAIL_MEMORY);
        return NULL;
    }
    *h = (struct wire_hold){0};
    w->hold = h;
    return h;
}

static void hold_free(struct wire *w)
{
    struct wires *all = w->all;
    struct wire_hold *h = w->hold;

    if (holds_nothing(w))
        return;
    w->hold = &all->nothing;
    if (all->spares < HOLDS_SPARE) {
        h->next = all->spare;
        all->spare = h;
        all->spares++;
    } else {
        slab_put(&all->holds, h, NULL);
    }
}

/* Idle again? */
static void hold_settle(struct wire *w)
{
    const struct wire_hold *h = w->hold;

    if (h->in.len == 0 && !h->out && !h->tls)
        hold_free(w);
}

/* --- reading ------------------------------------------------------------------ */

bool wire_stash_append(struct wire *w, struct span s)
{
    size_t used = w->hold->in.len;
    size_t need = used + s.len;

    if (need > w->hold->stash_size) {
        size_t size = w->hold->stash_size ? w->hold->stash_size : 512;
        while (size < need)
            size *= 2;
        char *bigger = mem_alloc(size);
        if (!bigger)
            return false;
        if (used)
            memcpy(bigger, w->hold->in.ptr, used);
        mem_free(w->hold->stash);
        w->hold->stash = bigger;
        w->hold->stash_size = (uint32_t)size;
    } else if (used && w->hold->in.ptr != w->hold->stash) {
        memmove(w->hold->stash, w->hold->in.ptr, used);
    }
    if (s.len)
        memcpy(w->hold->stash + used, s.ptr, s.len);
    io_count(&w->all->io->stats.copied, s.len);
    w->hold->in = (struct span){w->hold->stash, need};
    w->lent = false;
    return true;
}

static void stash_free(struct wire *w)
{
    mem_free(w->hold->stash);
    w->hold->stash = NULL;
    w->hold->stash_size = 0;
}

static void wire_received(struct wire *w)
{
    struct slice *s = &w->recv.slice;

    w->fin = w->fin || w->recv.fail == FAIL_CLOSED;
    if (w->hold->tls && (!w->recv.fail || w->recv.fail == FAIL_CLOSED)) {
        wire_tls_received(w, w->recv.fail ? (struct slice){0} : *s);
    } else if (w->recv.fail == FAIL_CLOSED) {
        w->eof = true;
    } else if (w->recv.fail == FAIL_CANCELLED) {
        return;
    } else if (w->recv.fail) {
        w->eof = true;
        wire_failed(w, w->recv.fail);
    } else if (!s->ptr) {
        w->piped = true;
    } else if (w->hold->in.len > 0) {
        if (!wire_stash_append(w, (struct span){s->ptr, s->len}))
            wire_failed(w, FAIL_MEMORY);
    } else if (wire_hold_get(w)) {
        w->hold->in = (struct span){s->ptr, s->len};
        w->lent = true;
    }
}

void wire_take(struct wire *w, size_t n)
{
    assert(n <= w->hold->in.len);
    if (n == 0 && holds_nothing(w))
        return;
    w->hold->in = span_after(w->hold->in, n);
    if (w->hold->tls && w->hold->in.len == 0)
        wire_tls_decrypt(w);
}

uint32_t wire_take_to(struct wire *w, struct flow *f, uint64_t n)
{
    if (n > w->hold->in.len)
        n = w->hold->in.len;
    struct buf *from = w->hold->tls ? w->hold->tls->from : w->recv.slice.buf;
    uint64_t copied_max = FLOW_COPY_MAX;
    if (f->depth && buf_plenty(f->pool)) /* it will stay for long */
        copied_max = IO_BUF_SIZE / 2;
    if (w->lent && n > copied_max && f->count < FLOW_SLICES && from) {
        struct slice s = {buf_ref(from), w->hold->in.ptr, (uint32_t)n};
        if (!flow_give(f, s)) {
            buf_unref(s.buf);
            return 0;
        }
        wire_take(w, (size_t)n);
        return (uint32_t)n;
    }
    uint32_t copied = flow_write(f, span_first(w->hold->in, (size_t)n));
    wire_take(w, copied);
    return copied;
}

void wire_want(struct wire *w, uint32_t room)
{
    if (w->hold->tls && !wire_tls_wants(w))
        return;
    /* What has come and was not looked at would be lost: its owner will run. */
    if (io_busy(&w->recv) || w->recv.done || w->eof || w->fail)
        return;
    io_recv(w->all->io, &w->recv, &w->sock, room);
}

void wire_want_piped(struct wire *w, uint32_t most)
{
    assert(!w->hold->tls && w->hold->in.len == 0);
    if (!io_busy(&w->recv) && !w->recv.done && !w->eof && !w->fail)
        io_recv_piped(w->all->io, &w->recv, &w->sock, most);
}

void wire_take_piped(struct wire *w, struct flow *f)
{
    struct slice s = w->recv.slice;

    buf_ref(s.buf);
    if (flow_give(f, s))
        w->piped = false;
    else
        buf_unref(s.buf);
}

int wire_settle_in(struct wire *w)
{
    if (w->hold->in.len == 0) {
        w->hold->in = (struct span){0};
        w->lent = false;
        if (w->hold->stash)
            stash_free(w);
        return 0;
    }
    if (!w->lent)
        return 0;
    /* wire_stash_append() counts what is in `in` as being in the stash already. */
    struct span rest = w->hold->in;
    w->hold->in = (struct span){0};
    if (wire_stash_append(w, rest))
        return 0;
    wire_failed(w, FAIL_MEMORY);
    return FAIL_MEMORY;
}

int wire_settle(struct wire *w)
{
    if (w->piped) { /* nobody has taken it, and it does not stay: the stream has a hole */
        w->piped = false;
        wire_failed(w, FAIL_CANCELLED);
    }
    if (holds_nothing(w))
        return 0;
    int err = w->hold->tls ? wire_tls_settle(w) : wire_settle_in(w);
    hold_settle(w);
    return err;
}

/* --- writing ------------------------------------------------------------------ */

struct wire_out *wire_out_get(struct wire *w)
{
    struct wire_out *out = w->hold->out;

    if (out)
        return out;
    if (!wire_hold_get(w))
        return NULL;
    if (!(out = slab_get(&w->all->outs, NULL))) {
        wire_failed(w, FAIL_MEMORY);
        return NULL;
    }
    owner_init(&out->owner, &w->all->io->owners, wire_gone);
    out->wire = w;
    out->sender = (struct io_sender){.gather = wire_gather};
    out->send = (struct io_op){.owner = w->recv.owner};
    out->bytes = 0;
    out->first = out->count = out->tail_room = 0;
    out->gathering = false;
    out->since = out->taken = out->looks = 0;
    out->cipher = NULL;
    out->cipher_bytes = 0;
    w->hold->out = out;
    return out;
}

static void wire_out_free(struct wire *w)
{
    struct wire_out *out = w->hold->out;

    while (out->count > 0)
        out_drop_first(out);
    if (out->cipher)
        wire_tls_drop_out(w);
    list_remove(&out->sender.node);
    owner_retire(&out->owner);
    slab_put(&w->all->outs, out, NULL);
    w->hold->out = NULL;
}

static void wire_gather(struct io_sender *sender)
{
    struct wire_out *out = container_of(sender, struct wire_out, sender);
    struct wire *w = out->wire;
    unsigned n = 0;

    if (io_busy(&out->send) || w->fail)
        return;
    out->send.owner = w->quiet ? &out->owner : w->recv.owner;
    if (w->hold->tls) {
        out->gathering = true;
        n = wire_tls_gather(w);
        out->gathering = false;
        if (n > 0 && w->hold->tls->notified && out->bytes == 0)
            io_send_more(w->all->io, &out->send, &w->sock, out->vecs, n);
        else if (n > 0)
            io_send(w->all->io, &out->send, &w->sock, out->vecs, n);
        return;
    }
    if (out->bytes == 0)
        return;
    struct wire_piece *p = out_at(out, 0);
    if (!p->buf) {
        uint32_t len = p->len < UINT32_MAX / 2 ? (uint32_t)p->len : UINT32_MAX / 2;
        io_send_file(w->all->io, &out->send, &w->sock, p->fd, p->offset, len);
        return;
    }
    if (!p->ptr) {
        bool more = w->finish || out->count > 1;
        io_send_piped(w->all->io, &out->send, &w->sock, p->buf, (uint32_t)p->len, more);
        return;
    }
    for (; n < out->count; n++) {
        p = out_at(out, n);
        if (!p->ptr)
            break;
        out->vecs[n] = (struct io_vec){(void *)(uintptr_t)p->ptr, (size_t)p->len};
    }
    if (w->finish || n < out->count) /* the end follows, or a file or pipe */
        io_send_more(w->all->io, &out->send, &w->sock, out->vecs, n);
    else
        io_send(w->all->io, &out->send, &w->sock, out->vecs, n);
}

static struct wire_piece *next_file(struct wire_out *out)
{
    for (unsigned i = 0; i < out->count; i++) {
        struct wire_piece *p = out_at(out, i);
        if (!p->buf)
            return p;
    }
    return NULL;
}

/* Whoever reads zeros learns in time that they are none of the file: a stream that is
 * to be reset costs less than a connection. */
void wire_file_failed(struct wire *w, int fail)
{
    struct wire_out *out = w->hold->out;
    struct wire_piece *p = out ? next_file(out) : NULL;

    if (!p || !p->cut || w->fail) {
        wire_failed(w, fail);
        return;
    }
    struct buf *zeros = wire_spare_buf();
    if (!zeros) {
        wire_failed(w, FAIL_MEMORY);
        return;
    }
    assert(p->len <= zeros->size);
    memset(zeros->base, 0, (size_t)p->len);
    p->buf = zeros;
    p->ptr = zeros->base;
    *p->cut = true;
    wire_push(w);
}

static void wire_sent(struct wire *w)
{
    struct wire_out *out = w->hold->out;

    if (out->send.fail) {
        if (out->send.fail == FAIL_IO && !w->hold->tls && !out_at(out, 0)->buf)
            wire_file_failed(w, FAIL_IO);
        else if (out->send.fail != FAIL_CANCELLED)
            wire_failed(w, out->send.fail);
        return;
    }
    w->moved = true;
    w->sent += out->send.count;
    if (w->hold->tls) {
        wire_tls_sent(w, out->send.count);
        return;
    }
    wire_out_sent(out, out->send.count);
    if (out->bytes > 0)
        wire_push(w);
}

/* bytes, not count: a buffer may have been opened and not written to. */
static bool all_gone(struct wire *w)
{
    const struct wire_out *out = w->hold->out;

    return out->bytes == 0 && !io_busy(&out->send) && (!w->hold->tls || wire_tls_quiet(w));
}

/* Most answers leave at once and whole, and nobody waits to hear it: that takes no step of
 * the connection, which would find nothing to do. */
static void wire_gone(struct owner *owner)
{
    struct wire_out *out = container_of(owner, struct wire_out, owner);
    struct wire *w = out->wire;

    if (!io_take(&out->send)) /* a step was faster */
        return;
    wire_sent(w);
    if (!w->quiet || w->fail || w->finish || !all_gone(w)) {
        owner_wake(w->recv.owner);
        return;
    }
    wire_out_free(w);
    hold_settle(w);
}

void wire_progress(struct wire *w)
{
    if (io_take(&w->recv))
        wire_received(w);
    if (w->hold->tls)
        wire_tls_progress(w);
    if (!w->hold->out)
        return;
    if (io_take(&w->hold->out->send))
        wire_sent(w);
    if (all_gone(w)) {
        wire_out_free(w);
        if (w->finish)
            wire_finish(w);
    }
}

/* A piece at the end; NULL when there is no place for one. */
static struct wire_piece *out_append(struct wire_out *out)
{
    if (out->count == WIRE_PIECES)
        return NULL;
    struct wire_piece *p = out_at(out, out->count++);
    *p = (struct wire_piece){.fd = -1};
    out->tail_room = 0;
    return p;
}

char *wire_room(struct wire *w, uint32_t n)
{
    struct wire_out *out = wire_out_get(w);

    assert(n <= IO_BUF_SIZE);
    if (!out)
        return NULL;
    if (out->tail_room < n) {
        struct buf *b = buf_get(&w->all->io->bufs);
        struct wire_piece *p = b ? out_append(out) : NULL;
        if (!p) {
            if (b)
                buf_unref(b);
            wire_failed(w, FAIL_MEMORY);
            return NULL;
        }
        p->buf = b;
        p->ptr = b->base;
        out->tail_room = b->size;
    }
    struct buf *b = out_at(out, out->count - 1)->buf;
    return b->base + (b->size - out->tail_room);
}

void wire_wrote(struct wire *w, uint32_t n)
{
    struct wire_out *out = w->hold->out;

    assert(n <= out->tail_room);
    out_at(out, out->count - 1)->len += n;
    out->tail_room -= n;
    out->bytes += n;
    wire_push(w);
}

bool wire_say(struct wire *w, struct span s)
{
    while (s.len > 0) {
        struct wire_out *out = wire_out_get(w);
        uint32_t part = out && out->tail_room ? out->tail_room : IO_BUF_SIZE;
        if (part > s.len)
            part = (uint32_t)s.len;
        char *at = wire_room(w, part);
        if (!at)
            return false;
        memcpy(at, s.ptr, part);
        wire_wrote(w, part);
        s = span_after(s, part);
    }
    return true;
}

bool wire_give(struct wire *w, struct slice s)
{
    struct wire_out *out = wire_out_get(w);
    struct wire_piece *p;

    /* Short ones join what is there: fewer pieces, and their buffer is free. */
    if (!s.ptr && (!out || !(p = out_append(out)))) {
        wire_failed(w, FAIL_MEMORY);
        buf_unref(s.buf);
        return false;
    }
    if (s.ptr && (s.len <= FLOW_COPY_MAX || !out || !(p = out_append(out)))) {
        bool said = wire_say(w, (struct span){s.ptr, s.len});
        buf_unref(s.buf);
        return said;
    }
    p->buf = s.buf;
    p->ptr = s.ptr;
    p->len = s.len;
    out->bytes += s.len;
    wire_push(w);
    return true;
}

bool wire_file(struct wire *w, struct wire_part part)
{
    struct wire_out *out = wire_out_get(w);
    struct wire_piece *p = out ? out_append(out) : NULL;

    if (!p) {
        wire_failed(w, FAIL_MEMORY);
        return false;
    }
    p->fd = part.fd;
    p->offset = part.offset;
    p->len = part.len;
    p->cut = part.cut;
    out->bytes += part.len;
    wire_push(w);
    return true;
}

uint64_t wire_waiting(const struct wire *w)
{
    const struct wire_out *out = w->hold->out;

    return out ? out->bytes + out->cipher_bytes : 0;
}

uint64_t wire_queued(const struct wire *w)
{
    return w->hold->out ? w->hold->out->bytes : 0;
}

/* Peers that take nothing must not use up the memory of those that do: a wire
 * may hold an eighth of what is left, so that something always is. */
static uint64_t wire_most(const struct wire *w)
{
    const struct buf_budget *budget = &w->all->io->budget;
    uint64_t most = io_busy(&w->hold->out->send) ? WIRE_LOW : WIRE_HIGH;
    uint64_t share = budget->max ? (budget->max - budget->used) / 8 : UINT64_MAX;

    if (share < IO_BUF_SIZE)
        share = IO_BUF_SIZE;
    return share < most ? share : most;
}

bool wire_has_room(const struct wire *w)
{
    const struct wire_out *out = w->hold->out;

    if (w->fail || w->finish)
        return false;
    if (!out)
        return true;
    if (out->count > WIRE_PIECES - 4)
        return false;
    uint64_t waiting = wire_waiting(w);
    return waiting < IO_BUF_SIZE || waiting < wire_most(w); /* the first is never too much */
}

void wire_finish(struct wire *w)
{
    w->finish = true;
    if (w->hold->tls && !w->fail && wire_tls_says_goodbye(w))
        return;
    if (w->hold->out || w->finished || w->fail || w->sock.fd < 0)
        return;
    w->finished = true;
    if (!w->leaving)
        io_shutdown(w->all->io, &w->sock);
}

void wire_leave(struct wire *w)
{
    w->leaving = true;
    wire_finish(w);
}

bool wire_moved(struct wire *w)
{
    bool moved = w->moved;

    w->moved = false;
    return moved;
}

/* --- the end ------------------------------------------------------------------- */

bool wire_sending(const struct wire *w)
{
    return w->hold->out && io_busy(&w->hold->out->send);
}

bool wire_busy(const struct wire *w)
{
    return io_busy(&w->recv) || (w->hold->out && io_busy(&w->hold->out->send)) ||
           (w->hold->tls && wire_tls_busy(w));
}

void wire_cancel(struct wire *w)
{
    wire_failed(w, FAIL_CANCELLED); /* what is queued stays where it is */
    if (io_busy(&w->recv) && !w->recv.cancelled)
        io_cancel(w->all->io, &w->recv);
    if (w->hold->out && io_busy(&w->hold->out->send) && !w->hold->out->send.cancelled)
        io_cancel(w->all->io, &w->hold->out->send);
}

void wire_drop(struct wire *w)
{
    if (w->hold->out && !io_busy(&w->hold->out->send))
        wire_out_free(w);
}

void wire_close(struct wire *w, bool reset)
{
    assert(!wire_busy(w));
    wire_drop(w);
    if (w->hold->tls)
        wire_tls_free(w);
    mem_free(w->hold->stash);
    hold_free(w);
    if (w->sock.fd < 0)
        return;
    if (reset)
        io_reset(w->all->io, &w->sock);
    else
        io_close(w->all->io, &w->sock);
}
