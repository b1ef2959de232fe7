/* Sending what came in a pipe.
 *
 * By splice(2), called at once: as a request it always takes another thread of the
 * kernel.  On a blocking socket it would wait for the peer, and io_uring wants those, so
 * the socket is made non-blocking just for the call.
 */
#include "io/uring.h"

#include <errno.h>
#include <poll.h>
#include <sys/ioctl.h>

void uring_nonblock(int fd, bool on)
{
    int value = on;

    (void)ioctl(fd, FIONBIO, &value);
}

static void piped_wait(struct uring *u, struct io_op *op)
{
    op->sock->flags |= SOCK_FULL;
    op->state = OP_SUBMITTED;
    uring_poll(u, op, op->sock->fd, POLLOUT);
}

static void piped_try(struct uring *u, struct io_op *op)
{
    uring_nonblock(op->sock->fd, true);
    ssize_t n = pipes_drain(op->pipe.buf, op->pipe.len, op->sock->fd, op->pipe.more);
    uring_nonblock(op->sock->fd, false);
    if (n == -EAGAIN) {
        piped_wait(u, op);
    } else if (n <= 0) {
        uring_finish_later(u, op, n < 0 ? fail_from_errno((int)-n) : FAIL_IO, 0);
    } else {
        if ((uint32_t)n < op->pipe.len) {
            op->sock->flags |= SOCK_FULL;
            io_count(&u->io.stats.short_sends, 1);
        }
        uring_finish_later(u, op, 0, (uint32_t)n);
    }
}

void piped_start(struct uring *u, struct io_op *op)
{
    if (op->sock->flags & SOCK_FULL)
        piped_wait(u, op);
    else
        piped_try(u, op);
}

void piped_writable(struct uring *u, struct io_op *op, int fail)
{
    op->sock->flags &= (uint8_t)~SOCK_FULL;
    if (op->cancelled || fail < 0)
        uring_finish_later(u, op, op->cancelled ? FAIL_CANCELLED : fail, 0);
    else
        piped_try(u, op);
}
