/* Sending a file.
 *
 * What is in the page cache, as most files are, is sent by sendfile(2).  On a
 * blocking socket, and io_uring wants those, that would wait for the client, so
 * the socket is made non-blocking just for the call; on a cold file it would
 * wait for the disk, so the system is asked first how much of it is cached.
 *
 * Where it cannot be asked (Linux < 6.5) a part is read into a piece of memory
 * that stays in the CPU's cache, and sent from there, both without waiting.
 * Only what has to come from the disk takes a buffer and a request of its own.
 * While the client is slow nothing is held at all: we wait for the socket first
 * and look again then.
 */
#include "io/uring.h"

#include "io/posix.h"

#include <errno.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

/* Of one call: as much as a socket may take at once. */
enum { SENDFILE_MAX = 1024 * 1024 };

static void file_try(struct uring *u, struct io_op *op);

static void file_wait(struct uring *u, struct io_op *op)
{
    op->sock->flags |= SOCK_FULL;
    uring_poll(u, op, op->sock->fd, POLLOUT);
}

/* How a send without waiting went: n bytes of len, or errno. */
static void file_sent(struct uring *u, struct io_op *op, ssize_t n, size_t len)
{
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

static void file_send(struct uring *u, struct io_op *op, const char *part, size_t len)
{
    ssize_t n;

    do
        n = send(op->sock->fd, part, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    file_sent(u, op, n, len);
}

static bool file_cached(struct uring *u, const struct io_op *op, uint32_t len)
{
    struct uring_cachestat_range range = {op->file.offset, len};
    struct uring_cachestat stat;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

    if (u->features.no_cachestat)
        return false;
    if (syscall(__NR_cachestat, op->file.fd, &range, &stat, 0) < 0) {
        u->features.no_cachestat = errno == ENOSYS || errno == EPERM;
        return false;
    }
    return stat.cached >= (range.offset + len + page - 1) / page - range.offset / page;
}

static void file_sendfile(struct uring *u, struct io_op *op, uint32_t len)
{
    off_t at = (off_t)op->file.offset;
    int on = 1, off = 0;
    ssize_t n;

    (void)ioctl(op->sock->fd, FIONBIO, &on);
    do
        n = sendfile(op->sock->fd, op->file.fd, &at, len);
    while (n < 0 && errno == EINTR);
    int error = errno;
    (void)ioctl(op->sock->fd, FIONBIO, &off);
    errno = error;
    if (n == 0)
        uring_finish_later(u, op, FAIL_IO, 0); /* shorter than it was said to be */
    else
        file_sent(u, op, n, len);
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
    uint32_t most = op->file.len < SENDFILE_MAX ? op->file.len : SENDFILE_MAX;

    if (!(u->disable & IO_NO_SPLICE) && file_cached(u, op, most)) {
        op->state = OP_SUBMITTED;
        file_sendfile(u, op, most);
        return;
    }
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
