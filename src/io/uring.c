/* The io_uring backend: operations become requests, completions come back.
 *
 * Everything a turn wants is written into the submission ring and handed over
 * by the one system call that also waits.  Receiving is in uring_recv.c,
 * sending files in uring_file.c; the rest is here.
 */
#include "config.h"

#include "io/uring.h"

#include "base/mem.h"
#include "io/posix.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
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
    BUSY = 8, /* completions of a turn that make it worth to wait for more */
    BUSY_WAIT_MAX = 16,
    BUSY_WAIT_US = 20,
};
#define RETRY_NS (5 * NS_PER_MS) /* while something waits for a buffer */

static_assert(sizeof(struct io_vec) == sizeof(struct iovec) &&
                  offsetof(struct io_vec, base) == offsetof(struct iovec, iov_base) &&
                  offsetof(struct io_vec, len) == offsetof(struct iovec, iov_len),
              "a struct io_vec is handed to the kernel as it is");

/* --- requests ------------------------------------------------------------------ */

/* The kernel refuses entries only while it is out of memory; then there is
 * nothing better to do than to ask again. */
struct io_uring_sqe *uring_sqe(struct uring *u)
{
    struct io_uring_sqe *sqe;

    while (!(sqe = io_uring_get_sqe(&u->ring.uring))) {
        io_count(&u->io.stats.submissions, 1);
        ring_enter(&u->ring, 0, 0, 0);
    }
    return sqe;
}

void uring_send_off(struct uring *u, struct io_uring_sqe *sqe, const void *p, enum uring_tag tag)
{
    sqe->user_data = uring_tagged(p, tag);
    u->outstanding++;
}

static union scratch *scratch_of(struct uring *u, const struct io_uring_sqe *sqe)
{
    return &u->scratch[sqe - u->ring.uring.sq.sqes];
}

void uring_cancel(struct uring *u, const void *p, enum uring_tag tag)
{
    struct io_uring_sqe *sqe = uring_sqe(u);

    io_uring_prep_cancel64(sqe, uring_tagged(p, tag), 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    sqe->user_data = TAG_NONE; /* the one cancelled will tell how it went */
}

struct request *request_new(struct uring *u, struct io_op *op)
{
    struct link_node *node = list_pop(&u->requests_free);
    struct request *r =
        node ? container_of(node, struct request, op) : mem_alloc(sizeof(struct request));

    if (!r)
        return NULL;
    list_init(&r->op);
    list_append(&r->op, &op->node);
    op->state = OP_REQUEST;
    return r;
}

struct request *request_of(const struct io_op *op)
{
    return container_of(op->node.next, struct request, op);
}

struct io_op *request_end(struct uring *u, struct request *r)
{
    struct io_op *op = container_of(list_pop(&r->op), struct io_op, node);

    list_append(&u->requests_free, &r->op);
    return op;
}

void uring_finish_later(struct uring *u, struct io_op *op, int fail, uint32_t count)
{
    op->fail = fail;
    op->count = count;
    op->state = OP_FINISHED;
    list_append(&u->finished, &op->node);
}

static void finish_now(struct uring *u)
{
    struct link_node *node;

    while ((node = list_pop(&u->finished))) {
        struct io_op *op = container_of(node, struct io_op, node);
        io_complete(&u->io, op, op->fail, op->count);
    }
}

bool uring_unset_nonblock(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return flags >= 0 && flags & O_NONBLOCK && fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) == 0;
}

/* What an errno value means for this operation. */
static int outcome(const struct io_op *op, int error)
{
    if (error == ECANCELED || (error == EINTR && op->cancelled))
        return FAIL_CANCELLED;
    return fail_from_errno(error);
}

/* --- accept ---------------------------------------------------------------------- */

static void accept_send_off(struct uring *u, struct request *r, const struct io_op *op)
{
    struct io_uring_sqe *sqe = uring_sqe(u);

    r->from_len = sizeof r->from;
    io_uring_prep_accept(sqe, op->sock->fd, (struct sockaddr *)&r->from, &r->from_len,
                         SOCK_CLOEXEC);
    uring_send_off(u, sqe, r, TAG_REQUEST);
}

static void accept_start(struct uring *u, struct io_op *op)
{
    struct request *r = request_new(u, op);

    if (r)
        accept_send_off(u, r, op);
    else
        uring_finish_later(u, op, FAIL_MEMORY, 0);
}

static void accept_completed(struct uring *u, struct request *r, struct io_op *op, int res)
{
    struct io_accept *a = container_of(op, struct io_accept, op);
    bool again =
        res == -EAGAIN ? uring_unset_nonblock(op->sock->fd) : res < 0 && posix_accept_passing(-res);

    if (again && !op->cancelled) {
        accept_send_off(u, r, op);
        return;
    }
    if (res >= 0) {
        a->fd = res;
        posix_address(&a->peer, &r->from, r->from_len);
    }
    request_end(u, r);
    io_complete(&u->io, op, res < 0 ? outcome(op, -res) : 0, 0);
}

/* --- connect, send, poll: the operation itself is the request --------------------- */

static void connect_send_off(struct uring *u, struct io_op *op)
{
    struct io_uring_sqe *sqe = uring_sqe(u);
    union scratch *s = scratch_of(u, sqe);

    io_uring_prep_connect(sqe, op->sock->fd, (struct sockaddr *)&s->to,
                          posix_sockaddr(&s->to, op->to));
    uring_send_off(u, sqe, op, TAG_OP);
}

static void connect_start(struct uring *u, struct io_op *op)
{
    int fd, fail = posix_stream(op->to, &fd);

    if (fail < 0) {
        uring_finish_later(u, op, fail, 0);
        return;
    }
    *op->sock = (struct io_sock){.fd = fd, .recv = op->sock->recv, .send = op->sock->send};
    connect_send_off(u, op);
}

/* The descriptor stays non-blocking, lest connecting to a unix socket with a
 * full backlog occupies a helper thread of the kernel until there is room. */
static void connect_completed(struct uring *u, struct io_op *op, int res)
{
    int fail = res == -EAGAIN ? FAIL_FULL : res < 0 ? outcome(op, -res) : 0;

    if (res < 0) {
        close(op->sock->fd);
        op->sock->fd = -1;
    }
    io_complete(&u->io, op, fail, 0);
}

static void send_start(struct uring *u, struct io_op *op)
{
    struct io_uring_sqe *sqe = uring_sqe(u);
    const struct io_vec *vec = op->send.vec;

    if (op->send.vec_count == 1) {
        io_uring_prep_send(sqe, op->sock->fd, vec->base, vec->len, MSG_NOSIGNAL);
    } else {
        union scratch *s = scratch_of(u, sqe);
        s->message = (struct msghdr){
            .msg_iov = (struct iovec *)(void *)(uintptr_t)vec,
            .msg_iovlen = op->send.vec_count,
        };
        io_uring_prep_sendmsg(sqe, op->sock->fd, &s->message, MSG_NOSIGNAL);
    }
    uring_send_off(u, sqe, op, TAG_OP);
}

static bool send_short(const struct io_op *op, uint32_t sent)
{
    size_t offered = 0;

    for (unsigned i = 0; i < op->send.vec_count; i++)
        offered += op->send.vec[i].len;
    return sent < offered;
}

static void send_completed(struct uring *u, struct io_op *op, int res)
{
    if (res == -EINTR && !op->cancelled) {
        send_start(u, op);
    } else if (res == -EAGAIN && !op->cancelled && uring_unset_nonblock(op->sock->fd)) {
        send_start(u, op);
    } else if (res < 0) {
        io_complete(&u->io, op, outcome(op, -res), 0);
    } else {
        if (send_short(op, (uint32_t)res))
            io_count(&u->io.stats.short_sends, 1);
        io_complete(&u->io, op, 0, (uint32_t)res);
    }
}

void uring_poll(struct uring *u, struct io_op *op, int fd, unsigned events)
{
    struct io_uring_sqe *sqe = uring_sqe(u);

    io_uring_prep_poll_add(sqe, fd, events);
    uring_send_off(u, sqe, op, TAG_OP);
}

static void op_completed(struct uring *u, struct io_op *op, int res)
{
    switch (op->kind) {
    case IO_CONNECT:
        connect_completed(u, op, res);
        break;
    case IO_SEND:
        send_completed(u, op, res);
        break;
    case IO_SEND_FILE:
        file_writable(u, op, res < 0 ? outcome(op, -res) : 0);
        break;
    default:
        assert(op->kind == IO_POLL);
        io_complete(&u->io, op, res < 0 ? outcome(op, -res) : 0, 0);
    }
}

static void request_completed(struct uring *u, struct request *r, int res)
{
    struct io_op *op = container_of(r->op.next, struct io_op, node);

    if (op->kind == IO_ACCEPT)
        accept_completed(u, r, op, res);
    else
        file_read_completed(u, r, res);
}

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

static unsigned reap(struct uring *u)
{
    struct io_uring_cqe *cqe;
    unsigned head, count = 0;

    io_uring_for_each_cqe(&u->ring.uring, head, cqe)
    {
        completed(u, cqe);
        count++;
    }
    io_uring_cq_advance(&u->ring.uring, count);
    return count;
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
    unsigned wait_nr = wait_ns > 0;
    uint32_t min_wait_us = 0;

    if (wait_ns > 0 && wait_ns != TIME_NEVER)
        wait_ns = from_now(u, wait_ns);
    if (wait_ns > 0 && u->features.min_wait && u->busy >= BUSY) {
        wait_nr = u->busy < BUSY_WAIT_MAX ? u->busy : BUSY_WAIT_MAX;
        min_wait_us = BUSY_WAIT_US;
    }
    io_count(&u->io.stats.submissions, 1);
    ring_enter(&u->ring, wait_nr, wait_ns, min_wait_us);
    if (wait_nr)
        io_count(&u->io.stats.waits, 1);
}

static bool uring_wait(struct io *io, uint64_t wait_ns)
{
    struct uring *u = uring_of(io);

    enter(u, sleep_ns(u, wait_ns));
    posix_clock(io);
    u->busy = reap(u);
    while (overflown(u)) {
        io_count(&io->stats.ring_overflows, 1);
        ring_enter(&u->ring, 0, 0, 0);
        u->busy += reap(u);
    }
    inlets_feed(u);
    inlets_deliver(u);
    files_feed(u);
    finish_now(u);
    atomic_store_explicit(&io->stats.buffers_out, u->small.out + u->bulk.out, memory_order_relaxed);
    return true;
}

/* --- operations and sockets --------------------------------------------------------- */

static void uring_start(struct io *io, struct io_op *op)
{
    struct uring *u = uring_of(io);

    op->state = OP_SUBMITTED;
    switch (op->kind) {
    case IO_ACCEPT:
        accept_start(u, op);
        break;
    case IO_CONNECT:
        connect_start(u, op);
        break;
    case IO_RECV:
        inlet_start(u, op);
        break;
    case IO_SEND:
        send_start(u, op);
        break;
    case IO_SEND_FILE:
        file_start(u, op);
        break;
    default:
        assert(op->kind == IO_POLL);
        uring_poll(u, op, op->poll_fd, POLLIN);
    }
}

static void uring_cancel_op(struct io *io, struct io_op *op)
{
    struct uring *u = uring_of(io);

    switch (op->state) {
    case OP_FINISHED:
        break;
    case OP_HUNGRY:
        list_remove(&op->node);
        uring_finish_later(u, op, FAIL_CANCELLED, 0);
        break;
    case OP_REQUEST:
        uring_cancel(u, request_of(op), TAG_REQUEST);
        break;
    default:
        if (op->kind == IO_RECV)
            inlet_cancel(u, op);
        else
            uring_cancel(u, op, TAG_OP);
    }
}

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
    if (sock->queue)
        inlet_close(uring_of(io), sock);
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
    int fail = uring_self_test(&u->ring, &u->features, why);
    if (fail < 0)
        return fail;
    if (options->disable & IO_NO_ADAPTIVE_WAIT)
        u->features.min_wait = false;
    return 0;
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
        ring_enter(&u->ring, 1, 100 * NS_PER_MS, 0);
        reap(u);
    }
}

static void requests_free(struct uring *u)
{
    struct link_node *node;

    while ((node = list_pop(&u->requests_free)))
        mem_free(container_of(node, struct request, op));
}

/* Copes with one half opened; io_init() is the last step of opening but the wake-up. */
static void uring_free(struct io *io)
{
    struct uring *u = uring_of(io);

    if (u->opened)
        reap_the_rest(u);
    shut_group(u, &u->bulk);
    shut_group(u, &u->small);
    if (u->inited)
        io_deinit(io); /* helper threads may call wake() until here */
    if (u->wake_fd >= 0)
        close(u->wake_fd);
    inlets_free(u);
    requests_free(u);
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
    if ((fail = open_ring(u, options, why)) < 0 || (fail = open_memory(u, why)) < 0)
        return fail;
    return open_wake(u, why);
}

static int uring_open(struct io **io, const struct io_options *options, const char **why)
{
    struct uring *u = mem_zalloc(sizeof *u);

    if (!u)
        return FAIL_MEMORY;
    u->wake_fd = -1;
    u->disable = options->disable;
    list_init(&u->ready);
    list_init(&u->starved);
    list_init(&u->finished);
    list_init(&u->hungry);
    list_init(&u->inlets_free);
    list_init(&u->requests_free);
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
    .discard = uring_discard,
    .listen = posix_listen,
    .listen_close = posix_listen_close,
    .wait = uring_wait,
    .wake = uring_wake,
};
