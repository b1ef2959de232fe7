/* Whether the far end of a socket takes what it is sent.
 *
 * The kernel's own header says more of a connection than the C library's, and
 * the two cannot stand in one file.
 */
#include "io/posix.h"
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
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
