/* The io_uring backend: the wait, sockets, opening and closing.
 *
 * Everything a turn wants is written into the submission ring (uring_op.c) and
 * handed over by the one system call that also waits.
 */
#include "config.h"

#include "io/uring.h"

#include "base/mem.h"
#include "io/posix.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    ENTRIES = 1024,
    COMPLETIONS_MIN = 4096,
    COMPLETIONS = 16384,
    COMPLETIONS_MAX = 65536,
    SMALL_GROUP = 1,
    SMALL_COUNT = 256,
    SMALL_COUNT_MIN = 8,
    BULK_GROUP = 2,
    BULK_COUNT = 16,
    BULK_SIZE = 128 * 1024,
    RECORDS_KEPT_MAX = 1024,
};
#define RETRY_NS (5 * NS_PER_MS) /* while something waits for a buffer */

/* --- waking ----------------------------------------------------------------------- */

static void wake_arm(struct uring *u)
{
    struct io_uring_sqe *sqe = uring_sqe(u);

    io_uring_prep_read(sqe, u->wake_fd, &u->wake_value, sizeof u->wake_value, 0);
    uring_send_off(u, sqe, u, TAG_WAKE);
}

static void wake_completed(struct uring *u, int res)
{
    if (res != -ECANCELED)
        wake_arm(u);
}

static void uring_wake(struct io *io)
{
    const uint64_t one = 1;

    /* It can only fail when the counter is full, and then the sleeper is awake. */
    (void)!write(uring_of(io)->wake_fd, &one, sizeof one);
}

/* --- waiting ---------------------------------------------------------------------- */

static void completed(struct uring *u, const struct io_uring_cqe *cqe)
{
    void *p = (void *)(uintptr_t)(cqe->user_data & ~(uint64_t)TAG_MASK);

    if (cqe->user_data == TAG_NONE)
        return;
    if (!(cqe->flags & IORING_CQE_F_MORE))
        u->outstanding--;
    switch (cqe->user_data & TAG_MASK) {
    case TAG_OP:
        op_completed(u, p, cqe->res);
        break;
    case TAG_REQUEST:
        request_completed(u, p, cqe->res);
        break;
    case TAG_INLET:
        inlet_completed(u, p, cqe->res, cqe->flags);
        break;
    default:
        wake_completed(u, cqe->res);
    }
}

static void reap(struct uring *u)
{
    struct io_uring_cqe *cqe;
    unsigned head, count = 0;

    io_uring_for_each_cqe(&u->ring.uring, head, cqe)
    {
        completed(u, cqe);
        count++;
    }
    io_uring_cq_advance(&u->ring.uring, count);
}

/* Completions that found the ring full wait in the kernel until it is entered. */
static bool overflown(struct uring *u)
{
    return IO_URING_READ_ONCE(*u->ring.uring.sq.kflags) & IORING_SQ_CQ_OVERFLOW;
}

static uint64_t sleep_ns(struct uring *u, uint64_t wait_ns)
{
    if (!list_empty(&u->ready) || !list_empty(&u->finished) || io_uring_cq_ready(&u->ring.uring))
        return 0;
    if ((!list_empty(&u->starved) || !list_empty(&u->hungry)) && wait_ns > RETRY_NS)
        return RETRY_NS;
    return wait_ns;
}

/* How long is counted from the start of the turn, which was a while ago. */
static uint64_t from_now(const struct uring *u, uint64_t wait_ns)
{
    uint64_t passed = posix_monotonic_ns() - u->io.now_ns;

    return wait_ns > passed ? wait_ns - passed : 0;
}

static void enter(struct uring *u, uint64_t wait_ns)
{
    if (wait_ns > 0 && wait_ns != TIME_NEVER)
        wait_ns = from_now(u, wait_ns);
    io_count(&u->io.stats.submissions, 1);
    ring_enter(&u->ring, wait_ns > 0, wait_ns);
    if (wait_ns > 0)
        io_count(&u->io.stats.waits, 1);
}

static bool uring_wait(struct io *io, uint64_t wait_ns)
{
    struct uring *u = uring_of(io);

    uring_dial(u);
    enter(u, sleep_ns(u, wait_ns));
    posix_clock(io);
    reap(u);
    while (overflown(u)) {
        io_count(&io->stats.ring_overflows, 1);
        ring_enter(&u->ring, 0, 0);
        reap(u);
    }
    inlets_feed(u);
    inlets_deliver(u);
    files_feed(u);
    uring_finish_now(u);
    atomic_store_explicit(&io->stats.buffers_out, u->small.out + u->bulk.out, memory_order_relaxed);
    return true;
}

/* --- sockets --------------------------------------------------------- */

static void uring_adopt(struct io *io, struct io_sock *sock, int fd)
{
    (void)io, (void)sock, (void)fd; /* a descriptor is all we need */
}

static void uring_shutdown(struct io *io, struct io_sock *sock)
{
    (void)io;
    (void)shutdown(sock->fd, SHUT_WR); /* a reset connection has no use for it */
}

static void uring_close(struct io *io, struct io_sock *sock, bool reset)
{
    if (reset)
        posix_linger_none(sock->fd);
    if (sock->inlet)
        inlet_close(uring_of(io), sock, !reset && sock->flags & SOCK_HOLDS);
    else
        close(sock->fd);
}

static void uring_discard(struct io *io, int fd)
{
    (void)io;
    close(fd);
}

/* --- opening ------------------------------------------------------------------------ */

static unsigned completions_wanted(const struct io_options *options)
{
    uint32_t n = options->sockets_max;

    if (n == 0)
        return COMPLETIONS;
    if (n > COMPLETIONS_MAX / 2)
        return COMPLETIONS_MAX;
    return n < COMPLETIONS_MIN / 2 ? COMPLETIONS_MIN : 2 * n;
}

/* Buffers are content, so they count against the budget; when that is small
 * so is the ring. */
static int open_group(struct uring *u, struct group *g, uint16_t id, uint32_t count, uint32_t size)
{
    int fail = group_open(g, &u->ring, id, count, size);

    if (fail == 0)
        u->io.budget.used += (uint64_t)count * size;
    return fail;
}

static void shut_group(struct uring *u, struct group *g)
{
    u->io.budget.used -= (uint64_t)g->count * g->size;
    group_close(g, &u->ring);
}

static int open_groups(struct uring *u)
{
    uint64_t max = u->io.budget.max ? u->io.budget.max : UINT64_MAX;
    uint32_t count = SMALL_COUNT;
    int fail;

    if (u->disable & IO_NO_PROVIDED_BUFFERS)
        return 0;
    while (count > SMALL_COUNT_MIN && (uint64_t)count * IO_BUF_SIZE > max / 4)
        count /= 2;
    if ((fail = open_group(u, &u->small, SMALL_GROUP, count, IO_BUF_SIZE)) < 0)
        return fail;
    if (u->disable & IO_NO_BULK_BUFFERS || BULK_COUNT * BULK_SIZE > max / 4)
        return 0;
    return open_group(u, &u->bulk, BULK_GROUP, BULK_COUNT, BULK_SIZE);
}

static int open_memory(struct uring *u, const char **why)
{
    *why = "not enough memory for the engine's buffers";
    u->scratch = mem_alloc(u->ring.uring.sq.ring_entries * sizeof *u->scratch);
    u->file_part = mem_alloc(FILE_PART);
    if (!u->scratch || !u->file_part)
        return FAIL_MEMORY;
    return open_groups(u);
}

static int open_ring(struct uring *u, const struct io_options *options, const char **why)
{
    int error = ring_open(&u->ring, ENTRIES, completions_wanted(options));

    if (error < 0) {
        *why = ring_refusal(error);
        return FAIL_UNSUPPORTED;
    }
    u->opened = true;
    return uring_self_test(&u->ring, &u->features, why);
}

static int open_wake(struct uring *u, const char **why)
{
    *why = "no descriptors left";
    u->wake_fd = eventfd(0, EFD_CLOEXEC);
    if (u->wake_fd < 0)
        return fail_from_errno(errno);
    wake_arm(u);
    return 0;
}

/* What the kernel still has: the wake-up, and inlets of sockets just closed. */
static void reap_the_rest(struct uring *u)
{
    struct io_uring_sqe *sqe = uring_sqe(u);

    io_uring_prep_cancel64(sqe, 0, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
    sqe->user_data = TAG_NONE;
    while (u->outstanding > 0) {
        ring_enter(&u->ring, 1, 100 * NS_PER_MS);
        reap(u);
    }
}

/* Copes with one half opened; io_init() is the last step of opening but the wake-up. */
static void uring_free(struct io *io)
{
    struct uring *u = uring_of(io);

    if (u->opened)
        reap_the_rest(u);
    shut_group(u, &u->bulk);
    shut_group(u, &u->small);
    pipes_free(&u->pipes);
    if (u->inited)
        io_deinit(io); /* helper threads may call wake() until here */
    if (u->wake_fd >= 0)
        close(u->wake_fd);
    slab_free(&u->inlets);
    slab_free(&u->requests);
    if (u->opened)
        ring_close(&u->ring);
    mem_free(u->scratch);
    mem_free(u->file_part);
    mem_free(u);
}

static int open_all(struct uring *u, const struct io_options *options, const char **why)
{
    int fail;

    posix_clock(&u->io);
    if ((fail = io_init(&u->io, &io_uring_backend, options)) < 0)
        return fail;
    u->inited = true;
    pipes_init(&u->pipes, &u->io, options);
    if ((fail = open_ring(u, options, why)) < 0 || (fail = open_memory(u, why)) < 0)
        return fail;
    return open_wake(u, why);
}

static int uring_open(struct io **io, const struct io_options *options, const char **why)
{
    struct uring *u = mem_zalloc(sizeof *u);

    if (!u)
        return FAIL_MEMORY;
    posix_block_sigpipe(); /* sendfile(2) has no MSG_NOSIGNAL */
    u->wake_fd = -1;
    u->disable = options->disable;
    list_init(&u->ready);
    list_init(&u->starved);
    list_init(&u->finished);
    list_init(&u->hungry);
    list_init(&u->dialling);
    slab_init(&u->inlets, sizeof(struct inlet), RECORDS_KEPT_MAX);
    slab_init(&u->requests, sizeof(struct request), RECORDS_KEPT_MAX);
    int fail = open_all(u, options, why);
    if (fail < 0) {
        uring_free(&u->io);
        return fail;
    }
    *io = &u->io;
    return 0;
}

const struct io_backend io_uring_backend = {
    .name = "uring",
    .usable = uring_usable,
    .open = uring_open,
    .free = uring_free,
    .start = uring_start,
    .cancel = uring_cancel_op,
    .adopt = uring_adopt,
    .shutdown = uring_shutdown,
    .close = uring_close,
    .taken = posix_taken,
    .local = posix_local,
    .unacked = posix_unacked,
    .quiet = posix_quiet,
    .broken = posix_broken,
    .discard = uring_discard,
    .listen = posix_listen,
    .listen_close = posix_listen_close,
    .wait = uring_wait,
    .wake = uring_wake,
};
