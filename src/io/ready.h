/* Completions made of readiness: what epoll and kqueue have in common.
 *
 * The system only says "this socket may be readable now", once, when that
 * becomes true (edge-triggered).  So an operation is tried first: mostly it
 * succeeds, and no event was needed.  When it would block it is parked until
 * the event comes, then tried again.  All trying happens inside wait(), which
 * is how completions come from a turn only.
 */
#ifndef HEADGATE_IO_READY_H
#define HEADGATE_IO_READY_H

#include "io/backend.h"
#include "io/pipes.h"

enum {                    /* io_sock.flags */
       SOCK_READABLE = 1, /* may be; cleared by what says it is not */
       SOCK_WRITABLE = 2,
       SOCK_ENDED = 4,   /* the peer's end or an error is waiting behind the bytes */
       SOCK_WATCHED = 8, /* events come */
       SOCK_MUCH = 16,   /* came with the latest receive */
};

/* What a readiness backend's struct begins with. */
struct ready {
    struct io io;
    int (*watch)(struct ready *r,
                 struct io_sock *sock); /* events of both directions, from now on */
    struct link_node tries;             /* operations to try in the next wait */
    struct link_node reads;             /* the same for receives, as far as buffers go */
    struct buf_pool bufs;               /* 64 KiB, taken when a receive is tried */
    struct pipes pipes;
    unsigned fed; /* buffers lent in this wait */
    bool starved; /* no memory for another */
};

/* After io_init(). */
void ready_init(struct ready *r, int (*watch)(struct ready *r, struct io_sock *sock),
                const struct io_options *options);
void ready_deinit(struct ready *r);

/* Of a wait: before the first ready_try(). */
void ready_begin(struct ready *r);

/* Tries what waits to be tried; true if anything completed. */
bool ready_try(struct ready *r);

/* An event came: flags that are true now. */
void ready_event(struct ready *r, struct io_sock *sock, uint8_t flags);

/* As in struct io_backend. */
void ready_start(struct io *io, struct io_op *op);
void ready_cancel(struct io *io, struct io_op *op);
void ready_adopt(struct io *io, struct io_sock *sock, int fd);
void ready_shutdown(struct io *io, struct io_sock *sock);
void ready_discard(struct io *io, int fd);

#endif
