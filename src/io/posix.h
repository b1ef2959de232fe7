/* What the backends of POSIX systems share: addresses, listening, and calls
 * that block.  No engine state in here but the clock.
 */
#ifndef HEADGATE_IO_POSIX_H
#define HEADGATE_IO_POSIX_H

#include "io/backend.h"

#include <sys/socket.h>

#ifndef MSG_MORE /* a hint */
#define MSG_MORE 0
#endif

/* The length is 0 when there is no such address. */
socklen_t posix_sockaddr(struct sockaddr_storage *out, const struct address *a);
void posix_address(struct address *out, const struct sockaddr_storage *from, socklen_t len);

/* For io_taken(), io_unacked(), io_quiet() and io_broken(). */
uint64_t posix_taken(struct io *io, const struct io_sock *sock);
bool posix_unacked(struct io *io, const struct io_sock *sock, uint64_t *bytes);
bool posix_quiet(struct io *io, const struct io_sock *sock);
bool posix_broken(struct io *io, const struct io_sock *sock);

/* io_backend.local. */
void posix_local(struct io *io, const struct io_sock *sock, struct address *a);

/* A non-blocking stream socket to connect with, its TCP options set; `to` chooses the family. */
MUST_USE int posix_stream(const struct address *to, int *fd);

/* io_backend.listen and .listen_close.  A listening socket is non-blocking and
 * lends its TCP options to what it accepts. */
MUST_USE int posix_listen(void *world, const struct io_listen *spec, int *fd);
void posix_listen_close(void *world, int fd);

/* Whether accept failed because of one connection that went away, which is
 * no reason to tell anybody: ask for the next. */
bool posix_accept_passing(int error);

/* So that close() answers with RST and forgets what was not sent. */
void posix_linger_none(int fd);

/* Carry out the operation, blocking; the outcome goes to op.fail and op.count. */
void posix_file(struct io_file *f);
void posix_resolve(struct io_resolve *r);

/* Reads both clocks. */
void posix_clock(struct io *io);
uint64_t posix_monotonic_ns(void);

/* For this thread.  send() can be told not to signal, sendfile() and splice() cannot. */
void posix_block_sigpipe(void);

#endif
