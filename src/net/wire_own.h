/* The inside of a wire, for wire.c and wire_tls.c only. */
#ifndef HEADGATE_NET_WIRE_OWN_H
#define HEADGATE_NET_WIRE_OWN_H

#include "net/wire.h"

#include <assert.h>

/* Bytes of a buffer, of a pipe, or of a file. */
struct wire_piece {
    struct buf *buf; /* NULL: of the file */
    const char *ptr; /* NULL: of the file, or in the pipe */
    uint64_t len;
    uint64_t offset;
    bool *cut; /* see struct wire_part */
    int fd;
};

struct wire_out {
    struct owner owner; /* hears that all has gone where the wire's does not care */
    struct wire *wire;
    struct io_sender sender;
    struct io_op send;
    uint64_t bytes; /* of all pieces */
    uint32_t first, count;
    uint32_t tail_room; /* free bytes behind the last piece, if that buffer is ours to fill */
    bool gathering;
    uint8_t looks;              /* since then, when it had taken nothing; see wire_patience() */
    uint32_t taken;             /* what io_taken() said last */
    uint64_t since;             /* when the peer last took bytes that wait; 0: none wait */
    struct wire_cipher *cipher; /* of TLS; NULL: none */
    uint64_t cipher_bytes;      /* in it */
    struct wire_piece pieces[WIRE_PIECES];
    struct io_vec vecs[WIRE_PIECES];
};

/* Ciphertext on its way out. */
struct wire_cipher {
    uint32_t first, count;
    uint32_t tail_room;
    struct slice slices[WIRE_PIECES];
};

/* A file on its way through the cipher. */
struct wire_file {
    struct io_file read;
    uint32_t at, len; /* of room: what was read and not yet encrypted */
    char *room;
};

struct wire_tls {
    struct tls *tls;
    struct span cipher; /* what has come and was not decrypted; lent, or in the stash */
    char *stash;
    uint32_t stash_size;
    bool cipher_lent;
    bool heard;        /* bytes have come */
    bool spoke_plain;  /* and the first were those of HTTP */
    bool ended;        /* the stream has ended */
    bool more;         /* the owner wants more than is unread */
    bool closed;       /* the peer said close_notify */
    bool broken;       /* the peer's bytes make no sense; an alert may be on its way */
    bool notified;     /* we said close_notify */
    struct buf *plain; /* what the unread bytes are in, until the step ends */
    struct buf *from;  /* which of it; NULL: not to be referred to */
    struct wire_file *file;
};

static inline struct wire_piece *out_at(struct wire_out *out, unsigned i)
{
    return &out->pieces[(out->first + i) % WIRE_PIECES];
}

static inline void out_drop_first(struct wire_out *out)
{
    struct wire_piece *p = out_at(out, 0);

    if (p->buf)
        buf_unref(p->buf);
    out->first = (out->first + 1) % WIRE_PIECES;
    if (--out->count == 0)
        out->tail_room = 0;
}

static inline void wire_out_sent(struct wire_out *out, uint64_t n)
{
    assert(n <= out->bytes);
    out->bytes -= n;
    while (n > 0) {
        struct wire_piece *p = out_at(out, 0);
        uint64_t part = n < p->len ? n : p->len;
        p->len -= part;
        n -= part;
        if (p->ptr)
            p->ptr += part;
        else
            p->offset += part;
        if (p->len == 0)
            out_drop_first(out);
    }
}

static inline void wire_failed(struct wire *w, int fail)
{
    if (!w->fail)
        w->fail = (int8_t)fail;
}

/* The last step of saying something: have it gathered after the steps. */
static inline void wire_push(struct wire *w)
{
    if (!io_busy(&w->hold->out->send) && !w->fail && !w->hold->out->gathering)
        io_gather(w->all->io, &w->hold->out->sender);
}

/* One that can be written to; NULL: no memory. */
struct wire_hold *wire_hold_get(struct wire *w);

struct wire_out *wire_out_get(struct wire *w);
bool wire_stash_append(struct wire *w, struct span s);

/* The file that is next has ended early, or cannot be read. */
void wire_file_failed(struct wire *w, int fail);

/* A buffer that is outside of every limit, for what may not fail; NULL: no memory. */
struct buf *wire_spare_buf(void);

/* The part of TLS. */
void wire_tls_received(struct wire *w, struct slice s);
void wire_tls_decrypt(struct wire *w);
void wire_tls_progress(struct wire *w);
bool wire_tls_wants(struct wire *w); /* false: there is more without receiving, or not now */
MUST_USE int wire_tls_settle(struct wire *w);
int wire_settle_in(struct wire *w);
unsigned wire_tls_gather(struct wire *w); /* encrypts; how many vecs there are to send */
void wire_tls_sent(struct wire *w, uint64_t n);
bool wire_tls_says_goodbye(struct wire *w); /* close_notify is to be sent first */
bool wire_tls_quiet(const struct wire *w);  /* nothing of TLS waits to be sent */
bool wire_tls_busy(const struct wire *w);
void wire_tls_drop_out(struct wire *w);
void wire_tls_free(struct wire *w);

#endif
