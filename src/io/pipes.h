/* Pipes for content that passes from one socket to another unread; between
 * backends that have splice(2).
 *
 * The bytes of a received slice are then in a pipe, its buf is this struct's,
 * and it has no memory.  A worker has few and keeps them: making one costs more
 * than a receive does.  One that is given back with bytes in it is closed.
 */
#ifndef HEADGATE_IO_PIPES_H
#define HEADGATE_IO_PIPES_H

#include "io/io.h"

#include <sys/types.h>

struct pipe {
    struct buf buf;
    int in, out;
    uint32_t bytes; /* in it */
};

struct pipes {
    struct buf *free;
    struct io *io;
    unsigned made, max;
};

void pipes_init(struct pipes *p, struct io *io, const struct io_options *options);
void pipes_free(struct pipes *p); /* none may be out */

/* Could a receive be by pipe now? */
bool pipes_ready(const struct pipes *p);

/* From a socket, which must not block, into a pipe of its own: the number of bytes, and the
 * slice; or 0 at the end of the stream; or a negative errno, EAGAIN among them.  With any
 * other the socket is to be read in another way. */
ssize_t pipes_fill(struct pipes *p, int from, uint32_t room, struct slice *out);

/* What is in the pipe of a slice, to a socket, which must not block. */
ssize_t pipes_drain(struct buf *b, uint32_t len, int to, bool more);

#endif
