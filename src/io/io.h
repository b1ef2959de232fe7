/* The engine: start an operation now, hear about it once, later.
 *
 * Four promises hold on every backend, and the rest of the program leans on
 * them:
 *
 *   1. An operation that was started completes exactly once.
 *   2. It completes from io_turn(), never from inside the call that started
 *      or cancelled it.
 *   3. io_cancel() asks; the answer is still a completion, perhaps a success
 *      that was already on its way.
 *   4. After the completion the engine has forgotten the operation.
 *
 * So an object whose operations are all idle can be freed on the spot, and
 * nothing changes under a function that has not returned.
 *
 * There are no callbacks.  A completion writes the outcome into the operation
 * itself and wakes its owner; the owner's step (base/owner.h) looks at it.
 * The engine allocates nothing per operation: operations and sockets live
 * inside the objects that use them.
 *
 * One struct io belongs to one thread.  Only io_post() may be called from
 * another.
 */
#ifndef HEADGATE_IO_IO_H
#define HEADGATE_IO_IO_H

#include "base/address.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/fail.h"
#include "base/mem.h"
#include "base/owner.h"
#include "base/random.h"
#include "base/span.h"

#include <stdatomic.h>

struct io;

enum io_kind {
    IO_IDLE, /* not in flight */
    IO_ACCEPT,
    IO_CONNECT,
    IO_RECV,
    IO_SEND,
    IO_SEND_FILE,
    IO_SEND_PIPED,
    IO_POLL,
    IO_FILE, /* see enum io_file_call */
    IO_WORK,
    IO_RESOLVE,
    IO_WATCH,
};

/* One system's struct iovec under a name that every system has. */
struct io_vec {
    void *base;
    size_t len;
};

/* A socket.  Lives inside its user; fd is -1 while there is none.  All but fd
 * is the backend's own. */
struct io_sock {
    int fd;
    uint8_t flags;
    uint8_t spare[3];
    union {
        struct io_op *recv;  /* where sockets are watched: in flight, accept and poll included */
        struct inlet *inlet; /* of io_uring */
    };
    struct io_op *send; /* in flight, connect included */
};

/* One operation in flight, or the outcome of the last one.  The caller sets
 * owner once; everything else is written by the engine. */
struct io_op {
    struct owner *owner; /* woken at completion */
    uint8_t kind;        /* enum io_kind; IO_IDLE unless in flight */
    bool done : 1;       /* completed and not yet looked at; the owner clears it (io_take) */
    bool cancelled : 1;  /* io_cancel() was called */
    bool piped : 1;      /* of a receive: a pipe will do */
    uint8_t state;       /* the backend's */
    int8_t fail;         /* outcome: 0 or an enum fail */
    uint32_t count;      /* outcome: bytes moved */
    struct io_sock *sock;
    union {
        struct slice slice;        /* outcome of a receive; see io_recv */
        struct {                   /* while it is in flight */
            struct link_node node; /* the backend's */
            union {
                uint32_t room; /* of a receive */
                struct {
                    const struct io_vec *vec;
                    uint32_t vec_count;
                    bool more; /* something follows */
                } send;
                struct {
                    int fd;
                    uint32_t len;
                    uint64_t offset;
                } file;
                struct {
                    struct buf *buf;
                    uint32_t len;
                    bool more;
                } pipe;
                const struct address *to; /* of a connect */
                int poll_fd;
            };
        };
    };
};

static inline bool io_busy(const struct io_op *op)
{
    return op->kind != IO_IDLE;
}

/* True once for each completion: has it finished since we last asked? */
static inline bool io_take(struct io_op *op)
{
    bool done = op->done;
    op->done = false;
    return done;
}

/* --- sockets ------------------------------------------------------------ */

/* Completes with the connection in fd and the client's own address and port
 * in peer.  Post several per listener: each owns the address it fills.  They need not
 * end in the order they were posted; op.count numbers them as they end, modulo 2^32. */
struct io_accept {
    struct io_op op;
    int fd; /* for io_adopt(), or io_discard() */
    struct address peer;
};
void io_accept(struct io *io, struct io_accept *a, struct io_sock *listener);

/* Makes sock the user of a descriptor: an accepted one, or a listening one. */
void io_adopt(struct io *io, struct io_sock *sock, int fd);
void io_discard(struct io *io, int fd);

/* Opens a socket, with TCP_NODELAY where that applies, and connects it.
 * `to` must live until completion.  After a failure there is no socket. */
void io_connect(struct io *io, struct io_op *op, struct io_sock *sock, const struct address *to);

/* Receives: completes with op->slice, at least one byte, lent until the
 * owner's step returns; whoever wants it longer takes a reference to its
 * buffer (buf_ref).  FAIL_CLOSED is the orderly end of the stream.
 *
 * room is how many bytes the owner can do with.  It bounds how much the
 * engine may take from the socket ahead of the next io_recv(); one slice may
 * still be larger. IO_ROOM_SMALL is right for request heads. */
enum { IO_ROOM_SMALL = 16 * 1024, IO_ROOM_BULK = 128 * 1024 };
void io_recv(struct io *io, struct io_op *op, struct io_sock *sock, uint32_t room);

/* The same, where bytes pass unread to another socket: they may come in a pipe instead of
 * memory, at most room of them.  Then slice.ptr is NULL, and the slice is good for
 * io_send_piped() and for being dropped.  Worth it for io->piped_min bytes and more. */
enum {
    IO_PIPED_MIN = 64 * 1024,
    IO_PIPED_MAX = 256 * 1024, /* in one pipe */
    IO_PIPES_MAX = 64,         /* of an engine */
    IO_PIPE_DESCRIPTORS = 2,
};
void io_recv_piped(struct io *io, struct io_op *op, struct io_sock *sock, uint32_t room);

/* Sends: completes when at least one byte was taken, with their number in
 * count, perhaps fewer than offered.  vec and what it points to must stay
 * until then.  At most one send is in flight per socket. */
enum { IO_VECS_MAX = 64 };
void io_send(struct io *io, struct io_op *op, struct io_sock *sock, const struct io_vec *vec,
             unsigned count);

/* The same, when io_send_file(), io_shutdown() or io_close() will follow as soon as all is
 * sent: the bytes may wait for that, so that they leave together. */
void io_send_more(struct io *io, struct io_op *op, struct io_sock *sock, const struct io_vec *vec,
                  unsigned count);

/* Sends up to len bytes of a file from offset; completes like io_send().
 * FAIL_IO when the file ends first. */
void io_send_file(struct io *io, struct io_op *op, struct io_sock *sock, int fd, uint64_t offset,
                  uint32_t len);

/* Sends len bytes that came in a pipe, the first of those left in it; completes like io_send().
 * more: see io_send_more(). */
void io_send_piped(struct io *io, struct io_op *op, struct io_sock *sock, struct buf *pipe,
                   uint32_t len, bool more);

/* No more bytes will follow ours (FIN); no send may be in flight. */
void io_shutdown(struct io *io, struct io_sock *sock);

/* Ends the socket: at once, or by RST.  None of its operations may be in
 * flight.  Nothing happens when there is no socket. */
void io_close(struct io *io, struct io_sock *sock);
void io_reset(struct io *io, struct io_sock *sock);

/* Is another number whenever the peer's system has taken bytes since: one that is slow
 * takes what it is sent long before an operation that sends much completes. */
uint64_t io_taken(struct io *io, const struct io_sock *sock);

/* Our own end of it; of family ADDRESS_NONE when that cannot be told. */
void io_local(struct io *io, const struct io_sock *sock, struct address *a);

/* Bytes of ours that the peer's system has not said it has, in all; false: nobody can tell.  What
 * it has its user need not have read; what it has not its user cannot have read.  After the peer's
 * orderly end, that is: its RST may be the first that would have said so, and says nothing. */
bool io_unacked(struct io *io, const struct io_sock *sock, uint64_t *bytes);

/* Has nothing come that was not received, neither bytes nor the end? */
bool io_quiet(struct io *io, const struct io_sock *sock);

/* Has the connection broken, so that nobody is left to read what we send?  Also after the peer's
 * end, behind which nothing is received that could tell. */
bool io_broken(struct io *io, const struct io_sock *sock);

/* Asks an operation in flight to end (FAIL_CANCELLED, unless it was faster). */
void io_cancel(struct io *io, struct io_op *op);

/* Completes when a plain descriptor is readable.  For signals and control sockets. */
void io_poll(struct io *io, struct io_op *op, struct io_sock *sock);

/* A listening socket, before any worker exists; the caller owns the fd. */
struct io_listen {
    struct address at;
    int backlog;
    bool reuse_port; /* one socket of several on this address, a worker each */
    bool v6_only;
    unsigned unix_mode; /* of the file, for unix sockets */
};
struct io_backend;
MUST_USE int io_listen(const struct io_backend *backend, void *world, const struct io_listen *spec,
                       int *fd);
/* One more descriptor of the same socket, for another worker: who accepts
 * first has the connection. */
MUST_USE int io_listen_copy(const struct io_backend *backend, void *world, int fd, int *copy);
void io_listen_close(const struct io_backend *backend, void *world, int fd);

/* --- time --------------------------------------------------------------- */

/* Wakes its owner when it is due.  Not an operation: setting
 * and clearing take effect at once.  Moving a deadline later is one store; the
 * wheel notices when the earlier one comes.  Resolution is 1 ms. */
struct io_timer {
    struct link_node node;
    struct owner *owner;
    uint64_t at;       /* deadline, ns of io_now(); TIME_NEVER when none */
    uint64_t wheel_at; /* where the wheel has it; out of it, whether it fired */
};
#define IO_TIMER_FIRED UINT64_MAX
void io_timer_set(struct io *io, struct io_timer *t, uint64_t at_ns);
void io_timer_clear(struct io *io, struct io_timer *t); /* before its memory goes */

/* True once for each time it fired. */
static inline bool io_timer_take(struct io_timer *t)
{
    if (t->wheel_at != IO_TIMER_FIRED)
        return false;
    t->wheel_at = 0;
    return true;
}

/* --- files, helper threads, names ------------------------------------------ */

enum io_file_call {
    IO_FILE_OPEN,   /* path below dir → result fd, and stat */
    IO_FILE_STAT,   /* fd → stat */
    IO_FILE_LOOK,   /* path below dir → stat, through links, without opening it */
    IO_FILE_READ,   /* fd, base, len, offset → op.count (0 at the end) */
    IO_FILE_WRITE,  /* fd, base, len, offset → op.count, all of it unless it fails */
    IO_FILE_SYNC,   /* fd (a directory too) */
    IO_FILE_RENAME, /* path → path_to, both below dir */
};
/* Of IO_FILE_WRITE: wherever the descriptor is; for logs, which may be pipes. */
#define IO_OFFSET_END UINT64_MAX

enum {                       /* flags of IO_FILE_OPEN */
       IO_OPEN_BENEATH = 1,  /* no link leads out of dir (openat2 RESOLVE_BENEATH) */
       IO_OPEN_NO_LINKS = 2, /* no symbolic links at all */
       IO_OPEN_WRITE = 4,    /* create or truncate, mode 0600 */
       IO_OPEN_DIR = 8,
};
struct io_stat {
    uint64_t size, inode, device;
    int64_t mtime_ns;
    uint32_t mode;
    bool regular, directory;
};
struct io_file {
    struct io_op op;
    uint8_t call; /* enum io_file_call */
    uint8_t flags;
    int dir; /* a directory's fd, or -1: the working directory */
    int fd;
    const char *path, *path_to;
    void *base;
    uint32_t len;
    uint64_t offset;
    struct io_stat stat;
};
void io_file(struct io *io, struct io_file *f); /* fill in call and its arguments first */
void io_file_close(struct io *io, int fd);

/* Completes when inode, size or time of what a path leads to, through links,
 * is not what `stat` says, and writes there what it is now: all zero when
 * nothing is there.  Set op.owner, dir, path (which stays until then),
 * every_ns, and stat as the call that opened or looked at the file gave it.
 * It is done by looking now and then, because links that are swapped
 * somewhere on the path tell nobody. */
struct io_watch {
    struct io_op op;
    int dir;
    const char *path;
    uint64_t every_ns;
    struct io_stat stat;
    struct owner looker; /* from here on the engine's own */
    struct io_timer timer;
    struct io_file look;
};
void io_watch(struct io *io, struct io_watch *w);

/* run() is called on a helper thread and may block; the completion is an
 * ordinary one.  In the simulator it runs inline, at a scripted time. */
struct io_work {
    struct io_op op;
    void (*run)(struct io_work *work);
};
void io_work(struct io *io, struct io_work *work);

/* Names to addresses, by the system's resolver. */
enum { IO_RESOLVE_MAX = 16 };
struct io_resolve {
    struct io_work work;
    const char *host;
    uint16_t port;
    uint8_t family; /* ADDRESS_NONE for any */
    unsigned count;
    struct address found[IO_RESOLVE_MAX];
};
void io_resolve(struct io *io, struct io_resolve *r); /* outcome in r->work.op */

/* --- between threads ----------------------------------------------------- */

/* Delivered in the target's turn, in the order one sender posted them, by
 * calling arrive(), which records and wakes.  The message belongs to the
 * target from then on.  Never fails and never blocks. */
struct io_message {
    struct io_message *_Atomic next;
    void (*arrive)(struct io_message *m, struct io *target);
};
void io_post(struct io *target, struct io_message *m);

/* --- the turn ------------------------------------------------------------ */

/* Somebody with bytes to send.  Called once, after the steps of the turn, so
 * that all of a turn leaves as one send. */
struct io_sender {
    struct link_node node;
    void (*gather)(struct io_sender *sender);
};
static inline void io_gather(struct io *io, struct io_sender *s);

struct io_stats {
    _Atomic uint64_t turns, waits, completions, wakes, deferred;
    _Atomic uint64_t accepts, connects, receives, sends, send_files, closes, cancels, errors;
    _Atomic uint64_t bytes_in, bytes_out;
    _Atomic uint64_t short_sends, buffers_out, buffers_empty, slices_unclaimed, ring_overflows;
    _Atomic uint64_t posts, timers;
    _Atomic uint64_t piped, pipes_empty; /* receives by pipe; those that found none */
    _Atomic uint64_t submissions;        /* system calls that start or try operations */
    _Atomic uint64_t sqes;               /* of io_uring: requests in them */
    /* Receives given to io_uring, by how; and bytes that nobody consumed at once. */
    _Atomic uint64_t armed_multishot, armed_once, armed_bulk, armed_poll, copied;
};

/* Written by one thread, read by any: no locked instruction is needed. */
static inline void io_count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

struct io_wheel;

/* What every backend's own struct begins with. */
struct io {
    const struct io_backend *backend;
    struct owner_queue owners;
    struct link_node senders;
    uint64_t now_ns;  /* monotonic */
    uint64_t wall_ns; /* since 1970 */
    struct random random;
    struct buf_pool bufs;     /* 16 KiB, for whoever has bytes to keep or send */
    struct buf_budget budget; /* of all content buffers of this worker */
    struct io_stats stats;
    struct io_wheel *wheel;
    char apart[CACHE_LINE]; /* others write here */
    struct io_message *_Atomic mailbox;
    _Atomic bool sleeping; /* a poster must wake the thread */
    char from_here[CACHE_LINE];
    struct io_helpers *helpers; /* threads for io_work; started at first use */
    uint32_t piped_min;         /* bytes for which a pipe pays; UINT32_MAX: there is none */
    uint32_t busy;              /* operations in flight */
    uint32_t sockets;           /* adopted or connected, and not closed */
};

static inline void io_gather(struct io *io, struct io_sender *s)
{
    if (!link_linked(&s->node))
        list_append(&io->senders, &s->node);
}

static inline uint64_t io_now(const struct io *io)
{
    return io->now_ns;
}

static inline uint64_t io_wall(const struct io *io)
{
    return io->wall_ns;
}

/* Secret random bytes. */
void io_entropy(struct io *io, void *out, size_t len);

enum { IO_BUF_SIZE = 16 * 1024 };

enum { /* features that engine_disable names */
       IO_NO_MULTISHOT_RECEIVE = 1 << 0,
       IO_NO_PROVIDED_BUFFERS = 1 << 1,
       IO_NO_POLL_FIRST = 1 << 2,
       IO_NO_BULK_BUFFERS = 1 << 3,
       IO_NO_SPLICE = 1 << 4,
};
struct io_options {
    uint64_t buffer_memory; /* bytes, of this worker; 0 is no limit */
    uint32_t sockets_max;   /* how many there may be at a time */
    unsigned disable;
    void *world;          /* the simulator's */
    uint32_t helpers_max; /* threads for io_work; 0 means 2 */
    uint32_t pipes_max;   /* 0 means IO_PIPES_MAX */
};

/* Opens an engine; to be called on the thread that will turn it.  `why` is
 * set to a static sentence when it fails (FAIL_UNSUPPORTED and others). */
MUST_USE int io_open(struct io **io, const struct io_backend *backend,
                     const struct io_options *options, const char **why);

/* All operations must be idle and all sockets closed. */
void io_free(struct io *io);

/* Reaps completions, runs steps, gathers sends; waits at most max_wait_ns for
 * something to happen.  False when nothing can ever happen again (only the
 * simulator knows that). */
bool io_turn(struct io *io, uint64_t max_wait_ns);

extern const struct io_backend *const io_backends[]; /* best first, NULL-terminated; not sim */
const struct io_backend *io_backend_find(struct span name);
const char *io_backend_name(const struct io_backend *backend);

/* Whether it could be opened here; `why` as in io_open. */
bool io_backend_usable(const struct io_backend *backend, const char **why);

#endif
