/* Operations become requests, and completions come back.
 *
 * Accepting, connecting, sending and polling are here; receiving is in
 * uring_recv.c, sending files in uring_file.c.
 */
#include "io/uring.h"

#include "io/posix.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/uio.h>
#include <unistd.h>

#define FULL_PAUSE_NS (10 * 1000 * 1000)

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
        ring_enter(&u->ring, 0, 0);
    }
    io_count(&u->io.stats.sqes, 1);
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
    struct request *r = slab_get(&u->requests, NULL);

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

    slab_put(&u->requests, r, NULL);
    return op;
}

void uring_finish_later(struct uring *u, struct io_op *op, int fail, uint32_t count)
{
    op->fail = (int8_t)fail;
    op->count = count;
    op->state = OP_FINISHED;
    list_append(&u->finished, &op->node);
}

void uring_finish_now(struct uring *u)
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
    op->state = OP_HUNGRY;
    list_append(&u->dialling, &op->node);
}

static void connect_begin(struct uring *u, struct io_op *op)
{
    int fd, fail = posix_stream(op->to, &fd);

    if (fail < 0) {
        uring_finish_later(u, op, fail, 0);
        return;
    }
    *op->sock = (struct io_sock){.fd = fd, .send = op->sock->send};
    connect_send_off(u, op);
}

/* Whoever asks and resets in one breath, many times, costs no socket, and the origin nothing: an
 * entry in the queue is carried out, even if its cancellation stands behind it. */
void uring_dial(struct uring *u)
{
    struct link_node *node;

    while ((node = list_pop(&u->dialling))) {
        struct io_op *op = container_of(node, struct io_op, node);
        op->state = OP_SUBMITTED;
        connect_begin(u, op);
    }
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
    int flags = MSG_NOSIGNAL;

    if (op->send.more) {
        flags |= MSG_MORE;
        op->sock->flags |= SOCK_HOLDS;
    }
    if (op->send.vec_count == 1) {
        io_uring_prep_send(sqe, op->sock->fd, vec->base, vec->len, flags);
    } else {
        union scratch *s = scratch_of(u, sqe);
        s->message = (struct msghdr){
            .msg_iov = (struct iovec *)(void *)(uintptr_t)vec,
            .msg_iovlen = op->send.vec_count,
        };
        io_uring_prep_sendmsg(sqe, op->sock->fd, &s->message, (unsigned)flags);
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

/* The ring looks for POLLRDHUP whether it was asked to or not: of a peer that has said all, it is
 * there at once, room or not.  Then there is nothing to wait for but time.  True: it waits. */
static bool op_paused(struct uring *u, struct io_op *op, int res)
{
    static struct __kernel_timespec pause = {.tv_nsec = FULL_PAUSE_NS};

    if (res <= 0 || (res & (POLLOUT | POLLERR | POLLHUP)) || op->cancelled)
        return false;
    struct io_uring_sqe *sqe = uring_sqe(u);
    io_uring_prep_timeout(sqe, &pause, 0, 0);
    uring_send_off(u, sqe, op, TAG_OP);
    return true;
}

/* May it try again?  0, or FAIL_x. */
static int writable(const struct io_op *op, int res)
{
    return res < 0 && res != -ETIME ? outcome(op, -res) : 0;
}

void op_completed(struct uring *u, struct io_op *op, int res)
{
    switch (op->kind) {
    case IO_CONNECT:
        connect_completed(u, op, res);
        break;
    case IO_SEND:
        send_completed(u, op, res);
        break;
    case IO_SEND_FILE:
        if (!op_paused(u, op, res))
            file_writable(u, op, writable(op, res));
        break;
    case IO_SEND_PIPED:
        if (!op_paused(u, op, res))
            piped_writable(u, op, writable(op, res));
        break;
    default:
        assert(op->kind == IO_POLL);
        io_complete(&u->io, op, res < 0 ? outcome(op, -res) : 0, 0);
    }
}

void request_completed(struct uring *u, struct request *r, int res)
{
    struct io_op *op = container_of(r->op.next, struct io_op, node);

    if (op->kind == IO_ACCEPT)
        accept_completed(u, r, op, res);
    else
        file_read_completed(u, r, res);
}

/* --- starting and cancelling ------------------------------------------------------ */

void uring_start(struct io *io, struct io_op *op)
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
    case IO_SEND_PIPED:
        piped_start(u, op);
        break;
    default:
        assert(op->kind == IO_POLL);
        uring_poll(u, op, op->poll_fd, POLLIN);
    }
}

void uring_cancel_op(struct io *io, struct io_op *op)
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
