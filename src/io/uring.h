/* What the files of the io_uring backend share; README.md explains how they
 * fit together.
 *
 * The kernel hands back one 64-bit word per request, user_data.  Ours is a
 * pointer with a kind in its low three bits.  What it points to must outlive
 * the request: an io_op does by contract, everything else here is a record
 * of the engine's own, never memory of an owner.
 */
#ifndef HEADGATE_IO_URING_H
#define HEADGATE_IO_URING_H

#include "base/slab.h"
#include "io/backend.h"
#include "io/pipes.h"
#include "io/uring_features.h"

#include <assert.h>
#include <sys/socket.h>

struct uring;

enum uring_tag {
    TAG_NONE,    /* nobody wants to know; cancellations */
    TAG_OP,      /* a struct io_op */
    TAG_REQUEST, /* a struct request */
    TAG_INLET,   /* a struct inlet */
    TAG_WAKE,    /* the engine's own eventfd */
    TAG_MASK = 7,
};

static inline uint64_t uring_tagged(const void *p, enum uring_tag tag)
{
    return (uint64_t)(uintptr_t)p | tag;
}

/* --- the ring itself (uring_ring.c) ---------------------------------------- */

struct ring {
    struct io_uring uring;
    unsigned enter_flags;
};

/* 0 or a negative errno.  To be called on the thread that will use it. */
MUST_USE int ring_open(struct ring *r, unsigned entries, unsigned completions);
void ring_close(struct ring *r);
const char *ring_refusal(int error); /* why it could not be opened; a sentence */

/* One system call: submits what was prepared, waits for `wait_nr` completions
 * but at most timeout_ns (TIME_NEVER: without end).  Says nothing: what was submitted
 * and completed is to be read from the rings, and what was not is tried again. */
void ring_enter(struct ring *r, unsigned wait_nr, uint64_t timeout_ns);

/* --- buffers the kernel fills (uring_buffers.c) --------------------------- */

/* One buffer of a group.  Out, it is an ordinary struct buf; its release puts
 * it back into the ring that the kernel takes from. */
struct ring_buf {
    struct buf buf;
    struct group *group;
    uint32_t len; /* bytes received, while it waits in an inlet */
    uint16_t id;
};

struct group {
    struct io_uring_buf_ring *ring;
    struct ring_buf *bufs;
    void *ring_memory;
    char *memory;
    uint32_t size, count;
    uint32_t out; /* not with the kernel */
    uint16_t id;
};

MUST_USE int group_open(struct group *g, struct ring *ring, uint16_t id, uint32_t count,
                        uint32_t size);
void group_close(struct group *g, struct ring *ring); /* copes with one never opened */

/* The buffer a completion names, with one reference. */
struct ring_buf *group_taken(struct group *g, unsigned flags);

static inline uint32_t group_free(const struct group *g)
{
    return g->count - g->out;
}

/* --- what this kernel can do (uring_probe.c) ------------------------------- */

struct uring_features {
    bool receive_total; /* a multishot receive can be bounded */
    bool no_cachestat;  /* the system cannot be asked what of a file is cached */
    bool hears_end;     /* a multishot receive does not miss the end of a unix stream */
};

/* Tries everything the backend leans on over a socketpair.  When it fails
 * `why` is a sentence, and what is in flight only the end of the ring ends. */
MUST_USE int uring_self_test(struct ring *ring, struct uring_features *features, const char **why);
bool uring_usable(const char **why);

/* --- the receiving side of a socket (uring_recv.c) ------------------------- */

enum inlet_mode {
    INLET_OFF,       /* nothing with the kernel */
    INLET_MULTISHOT, /* until further notice, into small buffers */
    INLET_ONCE,      /* one small buffer */
    INLET_BULK,      /* one big buffer */
    INLET_POLL,      /* only tell us; then we receive into a buffer from memory */
    INLET_PIPE,      /* only tell us; then we receive into a pipe */
};

/* Outlives the io_sock it was made for until the kernel has let go of it.
 * io_sock.inlet points here.  Every connection that waits has one, so it is small. */
struct inlet {
    struct link_node node; /* in uring.ready or .starved */
    struct io_op *op;      /* the receive that waits, or NULL */
    struct ring_buf *last; /* of the slices ahead of io_recv(), in a ring by buf.next; or NULL */
    uint32_t unclaimed;    /* bytes in those slices */
    uint32_t room;         /* of the latest io_recv() */
    int fd;
    enum inlet_mode mode : 3; /* what is with the kernel now */
    bool cancelling : 1;      /* asked the kernel to let go */
    bool full : 1;       /* a slice filled its buffer and none was small since: there is more */
    bool end_missed : 1; /* multishot is not to be trusted with this socket */
    bool starved : 1;    /* found no buffer; is in uring.starved, or will be when it matters */
    bool closing : 1;    /* the socket's user is gone; close fd when the kernel lets go */
    int8_t end;          /* what comes after the slices: 0 (more), or an enum fail */
    uint16_t starved_ms; /* since when, by a clock that goes round */
};

void inlet_start(struct uring *u, struct io_op *op);
void inlet_cancel(struct uring *u, struct io_op *op);
void inlet_completed(struct uring *u, struct inlet *in, int res, unsigned flags);
void inlet_close(struct uring *u, struct io_sock *sock, bool flush);
void inlets_deliver(struct uring *u); /* what was there before it was asked for */
void inlets_feed(struct uring *u);    /* those that found no buffer */

/* --- sending files (uring_file.c) ------------------------------------------- */

enum { FILE_PART = 64 * 1024 };

struct request;
void file_start(struct uring *u, struct io_op *op);
void file_writable(struct uring *u, struct io_op *op, int fail);
void file_read_completed(struct uring *u, struct request *r, int res);
void files_feed(struct uring *u); /* those that found no buffer */

/* --- sending pipes (uring_pipe.c) -------------------------------------------- */

void piped_start(struct uring *u, struct io_op *op);
void piped_writable(struct uring *u, struct io_op *op, int fail);
void uring_nonblock(int fd, bool on);

/* --- sockets ------------------------------------------------------------------ */

enum sock_flag {                 /* io_sock.flags */
                 SOCK_FULL = 1,  /* the latest part of a file filled it */
                 SOCK_HOLDS = 2, /* what was sent last may wait in the kernel for more */
};

/* --- operations (uring_op.c) ------------------------------------------------- */

/* Where an operation is; io_op.state.  A receive is with its inlet. */
enum op_state {
    OP_SUBMITTED, /* with the kernel, as TAG_OP */
    OP_REQUEST,   /* with the kernel, in a struct request */
    OP_FINISHED,  /* in uring.finished */
    OP_HUNGRY,    /* in uring.hungry, or .dialling */
};

/* A request that needs memory of the engine's own while the kernel has it.
 * It holds its operation in a list of one, so that each finds the other. */
struct request {
    struct link_node op;
    union {
        struct {
            struct sockaddr_storage from;
            socklen_t from_len;
        };
        struct buf *content; /* of a file, being read */
    };
};

/* Read by the kernel when it takes the request, never later. */
union scratch {
    struct msghdr message;
    struct sockaddr_storage to;
};

struct uring {
    struct io io; /* first: a struct io * is a struct uring * */
    struct ring ring;
    struct uring_features features;
    unsigned disable;
    union scratch *scratch; /* one per submission entry */
    struct group small, bulk;
    struct pipes pipes;
    char *file_part;           /* FILE_PART bytes of a file on their way to a socket */
    struct link_node ready;    /* inlets with an answer for a waiting io_recv() */
    struct link_node starved;  /* inlets that found no buffer, longest first */
    struct link_node finished; /* operations whose outcome needs no kernel, in op->fail */
    struct link_node hungry;   /* send-file operations that found no buffer */
    struct link_node dialling; /* to be connected when the turn is over */
    struct slab inlets, requests;
    uint64_t outstanding; /* requests of which a completion will come */
    int wake_fd;
    uint64_t wake_value;
    bool inited, opened; /* io_init() and ring_open() were successful */
};

static inline struct uring *uring_of(struct io *io)
{
    return container_of(io, struct uring, io);
}

/* An entry to fill in; never NULL.  Submits what there is when the queue is
 * full.  When it is filled in, uring_send_off() says what its completion is for. */
struct io_uring_sqe *uring_sqe(struct uring *u);
void uring_send_off(struct uring *u, struct io_uring_sqe *sqe, const void *p, enum uring_tag tag);
void uring_cancel(struct uring *u, const void *p, enum uring_tag tag);

void uring_start(struct io *io, struct io_op *op);
void uring_cancel_op(struct io *io, struct io_op *op);
void op_completed(struct uring *u, struct io_op *op, int res);
void request_completed(struct uring *u, struct request *r, int res);
void uring_finish_now(struct uring *u); /* those that needed no kernel */
void uring_dial(struct uring *u);       /* those that are to be connected */

struct request *request_new(struct uring *u, struct io_op *op); /* NULL: out of memory */
struct request *request_of(const struct io_op *op);
struct io_op *request_end(struct uring *u, struct request *r);

/* Completes the operation in wait(), this one or the next. */
void uring_finish_later(struct uring *u, struct io_op *op, int fail, uint32_t count);

/* Waits until a descriptor is ready; the completion is the operation's. */
void uring_poll(struct uring *u, struct io_op *op, int fd, unsigned events);

/* Some descriptors arrive with O_NONBLOCK, with which older kernels do not wait:
 * true if it was set, and is not any more. */
bool uring_unset_nonblock(int fd);

#endif
