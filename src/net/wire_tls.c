/* A wire that speaks TLS: what wire.c does with plain bytes, with records between.
 *
 * Inward, ciphertext is decrypted a buffer at a time, when what came before
 * was taken; what is left over when the step ends is kept as ciphertext.
 * Outward, what was said in a turn is put together to records when it is
 * gathered, so that many small pieces are one record, and leave in one send.
 * Files are read piece by piece, the next one while the last is being sent.
 */
#include "net/wire_own.h"

#include "base/mem.h"

enum {
    /* Steps of handshakes in one turn, two of which are a full one: a crowd of
     * new clients does not hold up those who are there. */
    HANDSHAKES_TURN = 8,
    FILE_ROOM = 4 * TLS_RECORD_MAX,
    CIPHER_MAX = WIRE_HIGH,
    CIPHER_SLICES_SPARE = 4, /* more than a record needs */
};

/* --- coming and going --------------------------------------------------------------- */

static int tls_worker_get(struct wires *all, const struct tls_layer *layer)
{
    if (all->tls)
        return 0;
    if (!all->record && !(all->record = mem_alloc(TLS_RECORD_MAX)))
        return FAIL_MEMORY;
    all->layer = layer;
    return layer->worker_new(&all->tls);
}

static bool cipher_keep(struct wire_tls *t, struct span s);
static void first_heard(struct wire *w, struct span s);

/* What has come already, behind a header in the clear, is the first of the records. */
static int tls_behind(struct wire *w)
{
    struct wire_tls *t = w->hold->tls;
    struct span in = w->hold->in;

    if (in.len == 0)
        return 0;
    if (w->lent) {
        t->cipher = in;
        t->cipher_lent = true;
    } else if (!cipher_keep(t, in)) {
        return FAIL_MEMORY;
    }
    w->hold->in = (struct span){0};
    w->lent = false;
    first_heard(w, in);
    wire_tls_decrypt(w);
    return w->fail;
}

int wire_accept_tls(struct wire *w, struct tls_set *set)
{
    const struct tls_layer *layer = set->list[0]->layer;
    struct wire_tls *t;
    int err = tls_worker_get(w->all, layer);

    if (err < 0)
        return err;
    if (!wire_hold_get(w) || !(t = mem_zalloc(sizeof *t)))
        return FAIL_MEMORY;
    if ((err = layer->accept(&t->tls, w->all->tls, tls_set_use(set))) < 0) {
        tls_set_done(set);
        mem_free(t);
        return err;
    }
    w->hold->tls = t;
    return tls_behind(w);
}

int wire_connect_tls(struct wire *w, struct tls_context *context, struct span name,
                     struct tls_session *session)
{
    struct wire_tls *t;
    int err = tls_worker_get(w->all, context->layer);

    if (err < 0)
        return err;
    if (!wire_hold_get(w) || !(t = mem_zalloc(sizeof *t)))
        return FAIL_MEMORY;
    if ((err = context->layer->connect(&t->tls, w->all->tls, context, name, session)) < 0) {
        mem_free(t);
        return err;
    }
    w->hold->tls = t;
    t->more = true;
    wire_tls_decrypt(w); /* the first flight is ours */
    return w->fail;
}

bool wire_ready(const struct wire *w)
{
    return !w->hold->tls || w->hold->tls->tls->ready;
}

bool wire_broken(const struct wire *w)
{
    return w->hold->tls && w->hold->tls->broken;
}

bool wire_silent(const struct wire *w)
{
    return w->hold->tls && !w->hold->tls->heard;
}

bool wire_spoke_plain(const struct wire *w)
{
    return w->hold->tls && w->hold->tls->spoke_plain;
}

void wire_turn_plain(struct wire *w)
{
    wire_tls_free(w);
    w->eof = w->truncated = false;
}

struct tls *wire_tls(const struct wire *w)
{
    return w->hold->tls ? w->hold->tls->tls : NULL;
}

static void plain_return(struct wire_tls *t)
{
    while (t->plain) {
        struct buf *b = t->plain;
        t->plain = b->next;
        b->next = NULL;
        buf_unref(b);
    }
}

static void file_free(struct wire_tls *t)
{
    if (!t->file)
        return;
    mem_free(t->file->room);
    mem_free(t->file);
    t->file = NULL;
}

void wire_tls_free(struct wire *w)
{
    struct wire_tls *t = w->hold->tls;

    w->hold->tls = NULL;
    plain_return(t);
    file_free(t);
    mem_free(t->stash);
    tls_close(t->tls);
    mem_free(t);
}

bool wire_tls_busy(const struct wire *w)
{
    return w->hold->tls->file && io_busy(&w->hold->tls->file->read.op);
}

/* --- ciphertext out ------------------------------------------------------------------ */

static void spare_release(struct buf *b)
{
    mem_free(b);
}

struct buf *wire_spare_buf(void)
{
    struct buf *b = mem_alloc(sizeof *b + IO_BUF_SIZE);

    if (b)
        *b = (struct buf){
            .release = spare_release, .base = (char *)(b + 1), .size = IO_BUF_SIZE, .refs = 1};
    return b;
}

static struct buf *buf_or_spare(struct wire *w)
{
    struct buf *b = buf_get(&w->all->io->bufs);

    return b ? b : wire_spare_buf();
}

static struct wire_cipher *cipher_get(struct wire *w)
{
    struct wire_out *out = wire_out_get(w);

    if (!out || out->cipher)
        return out ? out->cipher : NULL;
    if (!(out->cipher = slab_get(&w->all->ciphers, NULL)))
        return NULL;
    out->cipher->first = out->cipher->count = out->cipher->tail_room = 0;
    return out->cipher;
}

static struct slice *cipher_at(struct wire_cipher *c, unsigned i)
{
    return &c->slices[(c->first + i) % WIRE_PIECES];
}

/* What the layer has to send. */
static bool cipher_put(void *data, struct span bytes)
{
    struct wire *w = data;
    struct wire_cipher *c = cipher_get(w);

    while (c && bytes.len > 0) {
        if (c->tail_room == 0) {
            struct buf *b = c->count < WIRE_PIECES ? buf_or_spare(w) : NULL;
            if (!b)
                return false;
            *cipher_at(c, c->count++) = (struct slice){b, b->base, 0};
            c->tail_room = b->size;
        }
        struct slice *tail = cipher_at(c, c->count - 1);
        uint32_t n = bytes.len < c->tail_room ? (uint32_t)bytes.len : c->tail_room;
        memcpy(tail->buf->base + (tail->buf->size - c->tail_room), bytes.ptr, n);
        tail->len += n;
        c->tail_room -= n;
        w->hold->out->cipher_bytes += n;
        bytes = span_after(bytes, n);
    }
    if (c)
        wire_push(w);
    return c != NULL;
}

static void cipher_drop_first(struct wire_cipher *c)
{
    buf_unref(cipher_at(c, 0)->buf);
    c->first = (c->first + 1) % WIRE_PIECES;
    if (--c->count == 0)
        c->tail_room = 0;
}

void wire_tls_drop_out(struct wire *w)
{
    struct wire_cipher *c = w->hold->out->cipher;

    while (c->count > 0)
        cipher_drop_first(c);
    slab_put(&w->all->ciphers, c, NULL);
    w->hold->out->cipher = NULL;
    w->hold->out->cipher_bytes = 0;
}

void wire_tls_sent(struct wire *w, uint64_t n)
{
    struct wire_cipher *c = w->hold->out->cipher;

    w->hold->out->cipher_bytes -= n;
    while (n > 0) {
        struct slice *s = cipher_at(c, 0);
        uint32_t part = n < s->len ? (uint32_t)n : s->len;
        s->ptr += part;
        s->len -= part;
        n -= part;
        if (s->len == 0)
            cipher_drop_first(c);
    }
    if (!wire_tls_quiet(w) || w->hold->out->bytes > 0)
        wire_push(w);
}

static struct tls_io layer_io(struct wire *w)
{
    return (struct tls_io){.in = w->hold->tls->cipher,
                           .put = cipher_put,
                           .put_data = w,
                           .wall_ns = io_wall(w->all->io)};
}

/* --- inward --------------------------------------------------------------------------- */

static bool cipher_keep(struct wire_tls *t, struct span s)
{
    size_t used = t->cipher_lent ? 0 : t->cipher.len;
    size_t need = used + s.len;

    if (need > t->stash_size) {
        size_t size = t->stash_size ? t->stash_size : 1024;
        while (size < need)
            size *= 2;
        char *bigger = mem_alloc(size);
        if (!bigger)
            return false;
        if (used)
            memcpy(bigger, t->cipher.ptr, used);
        mem_free(t->stash);
        t->stash = bigger;
        t->stash_size = (uint32_t)size;
    } else if (used && t->cipher.ptr != t->stash) {
        memmove(t->stash, t->cipher.ptr, used);
    }
    if (s.len)
        memcpy(t->stash + used, s.ptr, s.len);
    t->cipher = (struct span){t->stash, need};
    t->cipher_lent = false;
    return true;
}

static bool is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

/* A method and perhaps the beginning of a target: no record begins with letters. */
static bool looks_plain(struct span s)
{
    if (s.len < 5 || !is_upper(s.ptr[0]) || !is_upper(s.ptr[1]) || !is_upper(s.ptr[2]))
        return false;
    return (s.ptr[3] == ' ' && s.ptr[4] > ' ') ||
           (is_upper(s.ptr[3]) && (s.ptr[4] == ' ' || is_upper(s.ptr[4])));
}

/* Once, of a peer that is to begin a handshake. */
static void first_heard(struct wire *w, struct span s)
{
    struct wire_tls *t = w->hold->tls;

    t->heard = true;
    if (t->tls->server && looks_plain(s))
        t->spoke_plain = t->broken = w->eof = true;
}

void wire_tls_received(struct wire *w, struct slice s)
{
    struct wire_tls *t = w->hold->tls;
    struct span bytes = {s.ptr, s.len};

    if (!t->heard && s.buf)
        first_heard(w, bytes);
    if (t->broken || t->closed)
        return;
    if (!s.buf) {
        t->ended = true;
    } else if (t->cipher.len == 0) {
        t->cipher = bytes;
        t->cipher_lent = true;
    } else if (!cipher_keep(t, bytes)) {
        wire_failed(w, FAIL_MEMORY);
    }
}

/* May a handshake go on in this turn? */
static bool handshake_due(struct wire *w)
{
    struct wires *all = w->all;
    uint32_t turn = all->io->owners.turn;

    if (all->handshake_turn != turn) {
        all->handshake_turn = turn;
        all->handshakes = 0;
    }
    if (all->handshakes >= HANDSHAKES_TURN) {
        owner_wake_later(w->recv.owner);
        return false;
    }
    all->handshakes++;
    return true;
}

/* Nothing that comes now can be made sense of. */
static void tls_failed(struct wire *w, int err)
{
    struct wire_tls *t = w->hold->tls;

    t->cipher.len = 0;
    if (err == FAIL_MEMORY) {
        wire_failed(w, err);
        return;
    }
    t->broken = true;
    w->eof = w->truncated = true;
    if (t->tls->ready) /* what was being said cannot be finished either */
        wire_failed(w, FAIL_BAD);
}

/* Plaintext behind what is unread. */
static void plain_give(struct wire *w, struct buf *b, size_t n)
{
    struct wire_tls *t = w->hold->tls;

    if (n == 0) {
        buf_unref(b);
    } else if (w->hold->in.len > 0) {
        if (!wire_stash_append(w, (struct span){b->base, n}))
            wire_failed(w, FAIL_MEMORY);
        buf_unref(b);
    } else {
        b->next = t->plain;
        t->plain = b;
        w->hold->in = (struct span){b->base, n};
        t->from = b->pool ? b : NULL; /* a spare one is not for keeping */
        w->lent = true;
    }
}

/* Is the rest of the stream a matter of course? */
static void tls_end(struct wire *w)
{
    struct wire_tls *t = w->hold->tls;

    if (w->eof || t->cipher.len > 0 || t->tls->pending || !(t->ended || t->closed))
        return;
    w->eof = true;
    w->truncated = !t->closed;
}

void wire_tls_decrypt(struct wire *w)
{
    struct wire_tls *t = w->hold->tls;
    struct tls_io io = layer_io(w);
    bool was_ready = t->tls->ready, first = t->more;
    size_t n = 0;

    if (w->fail || w->eof)
        return;
    bool due = w->hold->in.len == 0 || t->more;
    t->more = false;
    if (!due) {
        tls_end(w);
        return;
    }
    if (t->cipher.len > 0 || t->tls->pending || (first && !was_ready)) {
        if (!was_ready && !handshake_due(w)) {
            t->more = first;
            return;
        }
        struct buf *b = buf_or_spare(w);
        if (!b) {
            wire_failed(w, FAIL_MEMORY);
            return;
        }
        int err = t->tls->layer->receive(t->tls, &io, b->base, b->size, &n);
        t->cipher = io.in;
        plain_give(w, b, n);
        if (err == FAIL_CLOSED) {
            t->closed = true;
            t->cipher.len = 0;
        } else if (err < 0) {
            tls_failed(w, err);
        }
    }
    if (!was_ready && t->tls->ready && w->hold->out && w->hold->out->bytes > 0)
        wire_push(w);
    tls_end(w);
}

void wire_tls_progress(struct wire *w)
{
    struct wire_tls *t = w->hold->tls;

    if (t->file && io_take(&t->file->read.op)) {
        struct io_file *f = &t->file->read;
        t->file->at = 0;
        t->file->len = f->op.count;
        if (f->op.fail || f->op.count == 0)
            wire_file_failed(w, f->op.fail ? f->op.fail : FAIL_IO);
        if (w->hold->out)
            wire_push(w);
    }
    wire_tls_decrypt(w);
}

bool wire_tls_wants(struct wire *w)
{
    struct wire_tls *t = w->hold->tls;

    if (w->eof || w->fail)
        return false;
    if (t->cipher.len == 0 && !t->tls->pending && !t->ended && !t->closed)
        /* A peer that lets us answer without end, and takes nothing, is not heard. */
        return !w->hold->out || w->hold->out->cipher_bytes <= WIRE_HIGH;
    t->more = true;
    if (t->tls->ready)
        owner_wake(w->recv.owner);
    else
        owner_wake_later(w->recv.owner);
    return false;
}

int wire_tls_settle(struct wire *w)
{
    struct wire_tls *t = w->hold->tls;
    int err = wire_settle_in(w);

    plain_return(t);
    if (t->cipher.len == 0) {
        t->cipher = (struct span){0};
        t->cipher_lent = false;
        mem_free(t->stash);
        t->stash = NULL;
        t->stash_size = 0;
        return err;
    }
    if (t->cipher_lent && !cipher_keep(t, t->cipher)) {
        wire_failed(w, FAIL_MEMORY);
        return FAIL_MEMORY;
    }
    return err;
}

/* --- outward ---------------------------------------------------------------------------- */

/* Reads the next piece of a file; false while it is not there. */
static bool file_ready(struct wire *w, const struct wire_piece *p)
{
    struct wire_tls *t = w->hold->tls;
    struct wire_file *f = t->file;

    if (!f) {
        if (!(f = t->file = mem_zalloc(sizeof *f)) || !(f->room = mem_alloc(FILE_ROOM))) {
            wire_failed(w, FAIL_MEMORY);
            return false;
        }
    }
    if (f->at < f->len)
        return true;
    if (io_busy(&f->read.op) || f->read.op.done)
        return false;
    f->read = (struct io_file){.op = {.owner = w->recv.owner},
                               .call = IO_FILE_READ,
                               .fd = p->fd,
                               .base = f->room,
                               .len = p->len < FILE_ROOM ? (uint32_t)p->len : FILE_ROOM,
                               .offset = p->offset};
    io_file(w->all->io, &f->read);
    return false;
}

/* The bytes of a piece that are at hand. */
static struct span piece_bytes(struct wire *w, const struct wire_piece *p)
{
    struct wire_file *f = w->hold->tls->file;

    if (p->buf)
        return (struct span){p->ptr, (size_t)p->len};
    if (!file_ready(w, p))
        return (struct span){0};
    struct span bytes = {f->room + f->at, f->len - f->at};
    return bytes;
}

struct record {
    struct span bytes;
    size_t of_file; /* how many of them */
};

/* What the next record holds, at most TLS_RECORD_MAX bytes: where they lie, or
 * put together.  Empty: nothing, or a file must be read first. */
static struct record record_next(struct wire *w)
{
    struct wire_out *out = w->hold->out;
    char *room = w->all->record;
    struct record r = {.bytes = {room, 0}};

    for (unsigned i = 0; i < out->count && r.bytes.len < TLS_RECORD_MAX && r.of_file == 0; i++) {
        const struct wire_piece *p = out_at(out, i);
        if (p->len == 0)
            continue;
        struct span bytes = piece_bytes(w, p);
        if (bytes.len == 0) /* what comes before goes with it */
            return (struct record){0};
        bool whole = r.bytes.len == 0 && (bytes.len >= TLS_RECORD_MAX || bytes.len == out->bytes);
        bytes = span_first(bytes, TLS_RECORD_MAX - r.bytes.len);
        r.of_file = p->buf ? 0 : bytes.len;
        if (whole) {
            r.bytes = bytes;
            return r;
        }
        memcpy(room + r.bytes.len, bytes.ptr, bytes.len);
        r.bytes.len += bytes.len;
    }
    return r;
}

static bool cipher_full(const struct wire_out *out)
{
    const struct wire_cipher *c = out->cipher;

    return c && (out->cipher_bytes >= CIPHER_MAX || c->count > WIRE_PIECES - CIPHER_SLICES_SPARE);
}

static void encrypt(struct wire *w)
{
    struct wire_tls *t = w->hold->tls;
    struct tls_io io = layer_io(w);

    while (w->hold->out->bytes > 0 && !cipher_full(w->hold->out)) {
        struct record record = record_next(w);
        if (record.bytes.len == 0)
            return;
        int err = t->tls->layer->send(t->tls, &io, record.bytes);
        if (err < 0) {
            wire_failed(w, err);
            return;
        }
        if (record.of_file > 0)
            t->file->at += (uint32_t)record.of_file;
        wire_out_sent(w->hold->out, record.bytes.len); /* no longer pieces */
    }
    if (t->file && w->hold->out->bytes == 0 && !io_busy(&t->file->read.op))
        file_free(t);
}

unsigned wire_tls_gather(struct wire *w)
{
    struct wire_out *out = w->hold->out;
    struct wire_tls *t = w->hold->tls;
    struct tls_io io = layer_io(w);
    unsigned n = 0;

    if (t->tls->ready)
        encrypt(w);
    if (w->finish && !t->notified && !w->fail && (out->bytes == 0 || !t->tls->ready)) {
        t->notified = true;
        if (t->tls->layer->finish(t->tls, &io) < 0)
            wire_failed(w, FAIL_MEMORY);
    }
    if (w->fail) {
        owner_wake(w->recv.owner); /* nothing else would tell */
        return 0;
    }
    struct wire_cipher *c = out->cipher;
    for (; c && n < c->count; n++) {
        struct slice *s = cipher_at(c, n);
        out->vecs[n] = (struct io_vec){(void *)(uintptr_t)s->ptr, s->len};
    }
    if (n == 0 && t->notified) /* there was nothing to say goodbye with */
        owner_wake(w->recv.owner);
    return n;
}

bool wire_tls_says_goodbye(struct wire *w)
{
    struct wire_tls *t = w->hold->tls;

    if (t->notified || w->finished || w->sock.fd < 0)
        return false;
    if (!t->tls->ready && (!w->hold->out || w->hold->out->bytes == 0) && !t->broken)
        return false; /* nobody has understood a word yet */
    if (!wire_out_get(w))
        return false;
    wire_push(w);
    return true;
}

bool wire_tls_quiet(const struct wire *w)
{
    const struct wire_out *out = w->hold->out;

    if (out->cipher_bytes > 0)
        return false;
    return !w->finish || w->hold->tls->notified || w->fail;
}
