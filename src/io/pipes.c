/* Pipes between sockets; see pipes.h. */
#include "io/pipes.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static void pipe_close(struct pipes *p, struct pipe *pipe)
{
    close(pipe->in);
    close(pipe->out);
    mem_free(pipe);
    p->made--;
}

/* What is out counts as memory: the kernel keeps it for us. */
static void pipe_release(struct buf *b)
{
    struct pipe *pipe = container_of(b, struct pipe, buf);
    struct pipes *p = b->pool;

    p->io->budget.used -= IO_PIPED_MAX;
    if (pipe->bytes > 0) {
        pipe_close(p, pipe);
        return;
    }
    b->next = p->free;
    p->free = b;
}

/* A user may have so many, and large ones; the system makes what is more very small, and then
 * there are enough. */
static bool pipe_is_large(int fd)
{
    int size = fcntl(fd, F_SETPIPE_SZ, IO_PIPED_MAX);

    if (size < 0)
        size = fcntl(fd, F_GETPIPE_SZ);
    return size >= IO_PIPED_MIN;
}

static struct pipe *pipe_new(struct pipes *p)
{
    struct pipe *pipe;
    int ends[2];

    if (p->made >= p->max || !(pipe = mem_alloc(sizeof *pipe)))
        return NULL;
    if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) < 0) {
        mem_free(pipe);
        return NULL;
    }
    *pipe =
        (struct pipe){.buf = {.release = pipe_release, .pool = p}, .in = ends[1], .out = ends[0]};
    p->made++;
    if (pipe_is_large(pipe->in))
        return pipe;
    pipe_close(p, pipe);
    p->max = p->made;
    return NULL;
}

static bool budget_bears(const struct pipes *p)
{
    const struct buf_budget *b = &p->io->budget;

    return !b->max || (b->used < b->max && b->max - b->used > b->max / 4 + IO_PIPED_MAX);
}

static struct pipe *pipe_get(struct pipes *p)
{
    struct buf *b = p->free;
    struct pipe *pipe;

    if (!budget_bears(p))
        return NULL;
    if (b) {
        p->free = b->next;
        pipe = container_of(b, struct pipe, buf);
    } else if (!(pipe = pipe_new(p))) {
        return NULL;
    }
    p->io->budget.used += IO_PIPED_MAX;
    pipe->buf.next = NULL;
    pipe->buf.refs = 1;
    return pipe;
}

void pipes_init(struct pipes *p, struct io *io, const struct io_options *options)
{
    *p = (struct pipes){.io = io, .max = options->pipes_max ? options->pipes_max : IO_PIPES_MAX};
    io->piped_min = options->disable & IO_NO_SPLICE ? UINT32_MAX : IO_PIPED_MIN;
}

void pipes_free(struct pipes *p)
{
    while (p->free) {
        struct pipe *pipe = container_of(p->free, struct pipe, buf);
        p->free = p->free->next;
        pipe_close(p, pipe);
    }
}

bool pipes_ready(const struct pipes *p)
{
    return (p->free || p->made < p->max) && budget_bears(p);
}

ssize_t pipes_fill(struct pipes *p, int from, uint32_t room, struct slice *out)
{
    struct pipe *pipe = pipe_get(p);
    ssize_t n;

    if (!pipe) {
        io_count(&p->io->stats.pipes_empty, 1);
        return -ENOBUFS;
    }
    do
        n = splice(from, NULL, pipe->in, NULL, room, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    while (n < 0 && errno == EINTR);
    if (n > 0) {
        pipe->bytes = (uint32_t)n;
        *out = (struct slice){.buf = &pipe->buf, .len = (uint32_t)n};
        io_count(&p->io->stats.piped, 1);
        return n;
    }
    int error = n < 0 ? -errno : 0;
    buf_unref(&pipe->buf);
    return error;
}

ssize_t pipes_drain(struct buf *b, uint32_t len, int to, bool more)
{
    struct pipe *pipe = container_of(b, struct pipe, buf);
    unsigned flags = SPLICE_F_NONBLOCK | SPLICE_F_MOVE | (more ? SPLICE_F_MORE : 0);
    ssize_t n;

    do
        n = splice(pipe->out, NULL, to, NULL, len, flags);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        pipe->bytes -= (uint32_t)n;
    return n < 0 ? -errno : n;
}
