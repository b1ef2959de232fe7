/* Sending a file: a part is read into memory and sent from there.
 *
 * The parts of a file that is in the page cache, as most are, go through one
 * piece of memory that stays in the CPU's cache: read and sent at once, both
 * without waiting.  Only what has to come from the disk takes a buffer and a
 * request of its own.  While the client is slow nothing is held at all: we
 * wait for the socket first and read again then.
 *
 * sendfile(2) would save a copy, but on a blocking socket, and io_uring wants
 * those, it waits for the client; and on a cold file it waits for the disk.
 */
#include "io/uring.h"

#include "io/posix.h"

#include <errno.h>
#include <poll.h>
#include <sys/uio.h>

/* In io_sock.flags: the latest send filled the socket. */
enum { SOCK_FULL = 1 };

static void file_try(struct uring *u, struct io_op *op);

static void file_wait(struct uring *u, struct io_op *op)
{
    op->sock->flags |= SOCK_FULL;
    uring_poll(u, op, op->sock->fd, POLLOUT);
}

static void file_send(struct uring *u, struct io_op *op, const char *part, size_t len)
{
    ssize_t n;

    do
        n = send(op->sock->fd, part, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN) {
        file_wait(u, op);
        return;
    }
    if (n < 0) {
        uring_finish_later(u, op, fail_from_errno(errno), 0);
        return;
    }
    if ((size_t)n < len) {
        op->sock->flags |= SOCK_FULL;
        io_count(&u->io.stats.short_sends, 1);
    }
    uring_finish_later(u, op, 0, (uint32_t)n);
}

static void file_read(struct uring *u, struct io_op *op)
{
    struct buf *b = buf_get(&u->io.bufs);

    if (!b) {
        op->state = OP_HUNGRY;
        list_append(&u->hungry, &op->node);
        return;
    }
    struct request *r = request_new(u, op);
    if (!r) {
        buf_unref(b);
        uring_finish_later(u, op, FAIL_MEMORY, 0);
        return;
    }
    struct io_uring_sqe *sqe = uring_sqe(u);
    unsigned len = op->file.len < b->size ? op->file.len : b->size;
    r->content = b;
    io_uring_prep_read(sqe, op->file.fd, b->base, len, op->file.offset);
    uring_send_off(u, sqe, r, TAG_REQUEST);
}

static void file_try(struct uring *u, struct io_op *op)
{
    size_t len = op->file.len < FILE_PART ? op->file.len : FILE_PART;
    struct iovec to = {.iov_base = u->file_part, .iov_len = len};
    ssize_t n = preadv2(op->file.fd, &to, 1, (off_t)op->file.offset, RWF_NOWAIT);

    op->state = OP_SUBMITTED;
    if (n > 0)
        file_send(u, op, u->file_part, (size_t)n);
    else if (n == 0)
        uring_finish_later(u, op, FAIL_IO, 0); /* shorter than it was said to be */
    else if (errno == EAGAIN || errno == EOPNOTSUPP || errno == EINTR)
        file_read(u, op);
    else
        uring_finish_later(u, op, fail_from_errno(errno), 0);
}

void file_start(struct uring *u, struct io_op *op)
{
    if (op->sock->flags & SOCK_FULL)
        file_wait(u, op);
    else
        file_try(u, op);
}

void file_writable(struct uring *u, struct io_op *op, int fail)
{
    op->sock->flags &= (uint8_t)~SOCK_FULL;
    if (op->cancelled || fail < 0)
        uring_finish_later(u, op, op->cancelled ? FAIL_CANCELLED : fail, 0);
    else
        file_try(u, op);
}

void file_read_completed(struct uring *u, struct request *r, int res)
{
    struct buf *b = r->content;
    struct io_op *op = request_end(u, r);

    op->state = OP_SUBMITTED;
    if (op->cancelled)
        uring_finish_later(u, op, FAIL_CANCELLED, 0);
    else if (res > 0)
        file_send(u, op, b->base, (size_t)res);
    else if (res == -EINTR || res == -EAGAIN)
        file_read(u, op);
    else
        uring_finish_later(u, op, res < 0 ? fail_from_errno(-res) : FAIL_IO, 0);
    buf_unref(b);
}

void files_feed(struct uring *u)
{
    struct link_node waiting, *node;

    list_init(&waiting);
    list_splice(&waiting, &u->hungry);
    while ((node = list_pop(&waiting)))
        file_try(u, container_of(node, struct io_op, node));
}
