/* A stream of bytes to and from a peer.
 *
 * Reading: what the engine lends is looked at in place (wire_in) and taken
 * (wire_take).  What a step leaves is copied to the stash when the step ends
 * (wire_settle), so that a slow sender pins no buffer of the engine's.
 *
 * Writing: everything said in one turn is queued here and leaves as one
 * vectored send after the steps, at most one in flight.  An idle wire owns
 * neither stash nor queue, nor what is needed to keep them (struct wire_hold).
 *
 * The owner of a wire calls wire_progress() first and wire_settle() last in
 * its step.
 *
 * With TLS nothing changes for the owner, but that there is a handshake first
 * (wire_ready).  What it reads was decrypted when the earlier bytes had been
 * taken; what it says is encrypted when it is gathered, in full records.  A
 * wire is readable while it holds lent ciphertext, decrypted bytes or a stash:
 * wire_want() wakes the owner when no receive is needed for more.
 */
#ifndef HEADGATE_NET_WIRE_H
#define HEADGATE_NET_WIRE_H

#include "base/flow.h"
#include "base/slab.h"
#include "io/io.h"
#include "net/tls.h"

enum {
    WIRE_PIECES = 32,       /* a power of two */
    WIRE_HIGH = 256 * 1024, /* bytes waiting: stop filling ... */
    WIRE_LOW = 64 * 1024,   /* ... until there are fewer than these */
};

struct wire_out;
struct wire_tls;

/* What a wire has only while bytes are under way, and all the time with TLS.
 * Reading needs no question: an idle one's is `nothing`, shared, never written to. */
struct wire_hold {
    struct span in; /* unread bytes, contiguous: in the stash, or lent */
    union {
        char *stash;
        struct wire_hold *next; /* of wires.spare */
    };
    struct wire_out *out; /* NULL when there is nothing to say and nothing in flight */
    struct wire_tls *tls; /* NULL: plain */
    uint32_t stash_size;
};

/* What the wires of one worker share. */
struct wires {
    struct io *io;
    struct wire_hold nothing; /* what idle ones hold */
    struct wire_hold *spare;  /* a few, for whoever begins next */
    uint32_t spares;
    struct slab holds, outs, ciphers;
    struct tls_worker *tls; /* the layer's; made when it is first needed */
    const struct tls_layer *layer;
    char *record;            /* room for a record put together from pieces */
    uint32_t handshake_turn; /* when these were counted: */
    uint32_t handshakes;     /* steps of handshakes in one turn */
};
void wires_init(struct wires *all, struct io *io);
void wires_free(struct wires *all);

struct wire {
    struct wires *all;
    struct io_sock sock;
    struct io_op recv; /* its owner is the wire's */
    struct wire_hold *hold;
    bool lent : 1;      /* `in` is in the engine's buffer, or was just decrypted */
    bool eof : 1;       /* the peer has finished; `in` may still hold bytes */
    bool truncated : 1; /* without saying so: over TLS that is no end of content */
    bool finish : 1;    /* FIN after the last byte */
    bool finished : 1;  /* FIN was sent, or is the only thing left to send */
    bool leaving : 1;   /* closing sends FIN */
    bool fin : 1;       /* eof by the peer's own FIN, not because the connection broke */
    bool piped : 1;     /* unread bytes came in a pipe: recv.slice; `in` is empty */
    bool moved : 1;     /* bytes went out since wire_moved() was last asked */
    bool quiet : 1;     /* set by the owner: no step is needed when all has gone */
    int8_t fail;        /* enum fail of a receive or a send; the wire is of no more use */
    uint32_t sent;      /* bytes that the system took, in all, of records where there are any */
};

/* Uses an accepted or connecting descriptor; fd -1: io_connect() on its sock follows. */
void wire_open(struct wire *w, struct wires *all, struct owner *owner, int fd);

/* Speaks TLS from now on: to a client, after wire_open() and perhaps a header in the
 * clear that was taken, by one of the contexts of a set; or to an origin, once connected, with its
 * name (for SNI and the certificate) and a session to resume or NULL. */
MUST_USE int wire_accept_tls(struct wire *w, struct tls_set *set);
MUST_USE int wire_connect_tls(struct wire *w, struct tls_context *context, struct span name,
                              struct tls_session *session);

/* Plain, or the handshake is over. */
bool wire_ready(const struct wire *w);
/* What came was no TLS, or an alert that ends it. */
bool wire_broken(const struct wire *w);
/* Not one byte has come. */
bool wire_silent(const struct wire *w);
/* A client that was to speak TLS speaks HTTP; then the wire may turn plain, to tell it so.  What it
 * has said is lost. */
bool wire_spoke_plain(const struct wire *w);
void wire_turn_plain(struct wire *w);
/* For what was agreed; NULL: plain. */
struct tls *wire_tls(const struct wire *w);
static inline bool wire_is_tls(const struct wire *w)
{
    return w->hold->tls != NULL;
}

/* Records what has completed.  Call first in the owner's step. */
void wire_progress(struct wire *w);

/* Unread bytes. */
static inline struct span wire_in(const struct wire *w)
{
    return w->hold->in;
}
void wire_take(struct wire *w, size_t n);

/* Moves up to n unread bytes to a flow, by reference where they are many.
 * Returns how many; fewer when the flow has no slot or there is no memory. */
uint32_t wire_take_to(struct wire *w, struct flow *f, uint64_t n);

/* Asks for more, unless that is under way, or all has come. */
void wire_want(struct wire *w, uint32_t room);

/* The same, when the next `most` bytes are content that nobody will look at: they may come
 * in a pipe.  What then has come, wire_piped(), is to be taken in the step that it came
 * in, all of it, by a flow that has a slot. */
void wire_want_piped(struct wire *w, uint32_t most);
static inline uint32_t wire_piped(const struct wire *w)
{
    return w->piped ? w->recv.slice.len : 0;
}
void wire_take_piped(struct wire *w, struct flow *f);

/* Keeps the unread bytes beyond the step.  FAIL_MEMORY. */
MUST_USE int wire_settle(struct wire *w);

/* --- writing; false and NULL mean no memory, and set fail ------------------- */

/* Room for n bytes in one piece, n <= IO_BUF_SIZE; then how many were used. */
char *wire_room(struct wire *w, uint32_t n);
void wire_wrote(struct wire *w, uint32_t n);

bool wire_say(struct wire *w, struct span s);   /* copies */
bool wire_give(struct wire *w, struct slice s); /* takes over the reference, always */

/* Part of a file.  Where the file ends before it, or cannot be read, the wire fails with
 * FAIL_IO: unless `cut` is there to be set.  Then zeros go in place of what is missing, for a
 * length that was announced before it, and len is no more than IO_BUF_SIZE.  `cut` stays as long as
 * the part is queued. */
struct wire_part {
    int fd;
    uint64_t offset, len;
    bool *cut;
};
bool wire_file(struct wire *w, struct wire_part part);

/* Bytes that wait, files included. */
uint64_t wire_waiting(const struct wire *w);

/* Those whose pieces are still needed: TLS has not got them yet. */
uint64_t wire_queued(const struct wire *w);

/* May more be said?  Between the watermarks and while pieces are left. */
bool wire_has_room(const struct wire *w);

/* Sends FIN when all is said; `finished` says that it was. */
void wire_finish(struct wire *w);

/* The same, but wire_close() will send it, which must follow then. */
void wire_leave(struct wire *w);

/* Have bytes gone out since the last call? For write_timeout. */
bool wire_moved(struct wire *w);

/* Until when a peer is waited for that takes nothing; TIME_NEVER when nothing waits.
 * Then wire_stuck() says whether it really has not: a slow one takes what the system
 * has of ours long before there is room for more, so it is looked at now and then. */
uint64_t wire_patience(struct wire *w, uint64_t timeout_ns); /* UINT64_MAX: it may for ever */
bool wire_stuck(struct wire *w);

/* Is a send under way?  What it takes may have left already. */
bool wire_sending(const struct wire *w);

/* --- the end ----------------------------------------------------------------- */

bool wire_busy(const struct wire *w);        /* operations in flight */
void wire_cancel(struct wire *w);            /* asks them to end */
void wire_drop(struct wire *w);              /* forgets what is queued and not being sent */
void wire_close(struct wire *w, bool reset); /* must not be busy */

#endif
