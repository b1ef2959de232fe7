/* What has become of what was sent, and whether something came: asked of the kernel.
 *
 * The kernel's own header says more of a connection than the C library's, and
 * the two cannot stand in one file.
 */
#include "io/posix.h"

#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

uint64_t posix_taken(struct io *io, const struct io_sock *sock)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof info;
    int queued = 0;

    (void)io;
    if (getsockopt(sock->fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0)
        return info.tcpi_bytes_acked;
    (void)ioctl(sock->fd, SIOCOUTQ, &queued); /* a unix socket: what was not read yet */
    return (uint64_t)queued;
}

bool posix_unacked(struct io *io, const struct io_sock *sock, uint64_t *bytes)
{
    int protocol = 0, queued;
    socklen_t len = sizeof protocol;

    (void)io;
    if (getsockopt(sock->fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len) < 0 ||
        protocol != IPPROTO_TCP || ioctl(sock->fd, SIOCOUTQ, &queued) < 0 || queued < 0)
        return false;
    *bytes = (uint64_t)queued;
    return true;
}

/* io_uring looks at a socket only while we are in the kernel: what it has not told
 * us of by then is still there. */
bool posix_quiet(struct io *io, const struct io_sock *sock)
{
    char byte;

    (void)io;
    return recv(sock->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
           (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
}

bool posix_broken(struct io *io, const struct io_sock *sock)
{
    struct pollfd look = {.fd = sock->fd}; /* for errors and the end of both directions alone */

    (void)io;
    return poll(&look, 1, 0) > 0;
}
