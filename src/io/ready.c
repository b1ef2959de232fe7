/* Completions made of readiness; see ready.h. */
#include "io/ready.h"

#include "io/posix.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    RECEIVE_SIZE = 64 * 1024,
    /* Receives in one wait.  Few buffers that are used again and again stay in
     * the cache; sockets that had to stand back come first in the next wait. */
    RECEIVES_MAX = 16,
};

enum { OP_PARKED, OP_QUEUED }; /* io_op.state */

static_assert(sizeof(struct io_vec) == sizeof(struct iovec) &&
                  offsetof(struct io_vec, base) == offsetof(struct iovec, iov_base) &&
                  offsetof(struct io_vec, len) == offsetof(struct iovec, iov_len),
              "our vectors are the system's");

static struct ready *ready_of(struct io *io)
{
    return container_of(io, struct ready, io);
}

/* Whether nothing is known that speaks against trying. */
static bool hopeful(const struct io_op *op)
{
    switch (op->kind) {
    case IO_ACCEPT:
    case IO_RECV:
        return op->sock->flags & SOCK_READABLE;
    case IO_SEND:
    case IO_SEND_FILE:
    case IO_SEND_PIPED:
        return op->sock->flags & SOCK_WRITABLE;
    default:
        return true;
    }
}

static void enqueue(struct ready *r, struct io_op *op)
{
    op->state = OP_QUEUED;
    list_append(op->kind == IO_RECV && !op->cancelled ? &r->reads : &r->tries, &op->node);
}

/* --- parking ------------------------------------------------------------------- */

/* Parked accepts of a listener are a ring without a head; sock->recv is the
 * oldest.  Other operations are found by sock->recv and sock->send alone. */
static void accepts_append(struct io_sock *listener, struct io_op *op)
{
    if (listener->recv) {
        list_append(&listener->recv->node, &op->node);
    } else {
        list_init(&op->node);
        listener->recv = op;
    }
}

static void accepts_remove(struct io_sock *listener, struct io_op *op)
{
    struct link_node *next = op->node.next;

    if (next == &op->node) {
        op->node = (struct link_node){0};
        listener->recv = NULL;
        return;
    }
    list_remove(&op->node);
    if (listener->recv == op)
        listener->recv = container_of(next, struct io_op, node);
}

static void accepts_next(struct ready *r, struct io_sock *listener)
{
    struct io_op *op = listener->recv;

    if (!op)
        return;
    accepts_remove(listener, op);
    enqueue(r, op);
}

static void complete(struct ready *r, struct io_op *op, int fail)
{
    io_complete(&r->io, op, fail, 0);
}

static void connect_failed(struct ready *r, struct io_op *op, int fail)
{
    struct io_sock *sock = op->sock;

    if (sock->fd >= 0)
        close(sock->fd);
    sock->fd = -1;
    complete(r, op, fail);
}

/* Until an event comes.  The first time somebody has to wait is when the
 * socket is registered: a short connection may never need it.  What happened
 * before registering is reported too, so nothing falls between. */
static void park(struct ready *r, struct io_op *op)
{
    struct io_sock *sock = op->sock;

    if (!(sock->flags & SOCK_WATCHED)) {
        int err = r->watch(r, sock);
        if (err < 0 && op->kind == IO_CONNECT) {
            connect_failed(r, op, err);
            return;
        }
        if (err < 0) {
            complete(r, op, err);
            return;
        }
        sock->flags |= SOCK_WATCHED;
    }
    op->state = OP_PARKED;
    if (op->kind == IO_ACCEPT)
        accepts_append(sock, op);
}

void ready_event(struct ready *r, struct io_sock *sock, uint8_t flags)
{
    struct io_op *recv = sock->recv, *send = sock->send;

    sock->flags |= flags;
    if (recv && recv->state == OP_PARKED && flags & SOCK_READABLE) {
        if (recv->kind == IO_ACCEPT)
            accepts_next(r, sock);
        else
            enqueue(r, recv);
    }
    if (send && send->state == OP_PARKED && flags & SOCK_WRITABLE)
        enqueue(r, send);
}

/* --- trying -------------------------------------------------------------------- */

/* The system call failed: parks the operation if it only would have blocked. */
static void failed(struct ready *r, struct io_op *op, uint8_t flag, int error)
{
    if (error == EAGAIN || error == EWOULDBLOCK) {
        op->sock->flags &= (uint8_t)~flag;
        park(r, op);
        return;
    }
    complete(r, op, fail_from_errno(error));
}

static void not_now(struct ready *r, struct io_op *op, uint8_t flag)
{
    failed(r, op, flag, errno);
}

static void try_accept(struct ready *r, struct io_op *op)
{
    struct io_accept *a = container_of(op, struct io_accept, op);
    struct io_sock *listener = op->sock;
    struct sockaddr_storage peer;
    socklen_t len;

    do {
        len = sizeof peer;
        io_count(&r->io.stats.submissions, 1);
        a->fd = accept4(listener->fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    } while (a->fd < 0 && posix_accept_passing(errno));
    if (a->fd < 0) {
        not_now(r, op, SOCK_READABLE);
        return;
    }
    posix_address(&a->peer, &peer, len);
    complete(r, op, 0);
    accepts_next(r, listener);
}

static void connect_begin(struct ready *r, struct io_op *op)
{
    struct io_sock *sock = op->sock;
    struct sockaddr_storage name;
    socklen_t len = posix_sockaddr(&name, op->to);
    int fd;
    int err = posix_stream(op->to, &fd);

    if (err < 0) {
        connect_failed(r, op, err);
        return;
    }
    sock->fd = fd;
    sock->flags = 0;
    io_count(&r->io.stats.submissions, 1);
    if (connect(fd, (const struct sockaddr *)&name, len) == 0) {
        sock->flags = SOCK_READABLE | SOCK_WRITABLE;
        complete(r, op, 0);
    } else if (errno == EINPROGRESS || errno == EINTR) {
        park(r, op);
    } else {
        /* A unix listener's backlog is full: nothing will tell when it is not. */
        connect_failed(r, op, errno == EAGAIN ? FAIL_FULL : fail_from_errno(errno));
    }
}

static void try_connect(struct ready *r, struct io_op *op)
{
    int error = 0;
    socklen_t len = sizeof error;

    if (op->sock->fd < 0) {
        connect_begin(r, op);
        return;
    }
    if (getsockopt(op->sock->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        error = errno;
    if (error)
        connect_failed(r, op, fail_from_errno(error));
    else
        complete(r, op, 0);
}

static void received(struct io_sock *sock, ssize_t n)
{
    if (n >= IO_BUF_SIZE)
        sock->flags |= SOCK_MUCH;
    else
        sock->flags &= (uint8_t)~SOCK_MUCH;
}

/* A short read has emptied the socket, so the next one waits for an event
 * instead of asking in vain; but the end of the stream makes no second one. */
static bool try_recv(struct ready *r, struct io_op *op, struct buf *b, uint32_t most)
{
    struct io_sock *sock = op->sock;
    ssize_t n;

    do {
        io_count(&r->io.stats.submissions, 1);
        n = recv(sock->fd, b->base, most, MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n <= 0) {
        if (n == 0)
            complete(r, op, FAIL_CLOSED);
        else
            not_now(r, op, SOCK_READABLE);
        return false;
    }
    received(sock, n);
    if ((uint32_t)n < most && !(sock->flags & SOCK_ENDED))
        sock->flags &= (uint8_t)~SOCK_READABLE;
    io_complete_slice(&r->io, op, (struct slice){.buf = b, .ptr = b->base, .len = (uint32_t)n});
    return true;
}

/* False: by memory, then.  That less came than was asked for does not say that the socket is
 * empty, for the pipe may be full of small pieces. */
static bool try_recv_piped(struct ready *r, struct io_op *op)
{
    struct slice s;

    io_count(&r->io.stats.submissions, 1);
    ssize_t n = pipes_fill(&r->pipes, op->sock->fd, op->room, &s);
    if (n > 0) {
        received(op->sock, n);
        io_complete_slice(&r->io, op, s);
    } else if (n == 0) {
        complete(r, op, FAIL_CLOSED);
    } else if (n == -EAGAIN) {
        failed(r, op, SOCK_READABLE, EAGAIN);
    }
    return n >= 0 || n == -EAGAIN;
}

static size_t vec_bytes(const struct io_op *op)
{
    size_t total = 0;

    for (unsigned i = 0; i < op->send.vec_count; i++)
        total += op->send.vec[i].len;
    return total;
}

static ssize_t send_vec(const struct io_op *op)
{
    const struct io_vec *vec = op->send.vec;
    int flags = MSG_DONTWAIT | MSG_NOSIGNAL | (op->send.more ? MSG_MORE : 0);

    if (op->send.vec_count == 1)
        return send(op->sock->fd, vec->base, vec->len, flags);
    struct msghdr message = {.msg_iov = (struct iovec *)vec, .msg_iovlen = op->send.vec_count};
    return sendmsg(op->sock->fd, &message, flags);
}

static void try_send(struct ready *r, struct io_op *op)
{
    ssize_t n;

    do {
        io_count(&r->io.stats.submissions, 1);
        n = send_vec(op);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        not_now(r, op, SOCK_WRITABLE);
        return;
    }
    if ((size_t)n < vec_bytes(op))
        io_count(&r->io.stats.short_sends, 1);
    io_complete(&r->io, op, 0, (uint32_t)n);
}

static void try_send_file(struct ready *r, struct io_op *op)
{
    off_t at = (off_t)op->file.offset;
    ssize_t n;

    do {
        io_count(&r->io.stats.submissions, 1);
        n = sendfile(op->sock->fd, op->file.fd, &at, op->file.len);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        not_now(r, op, SOCK_WRITABLE);
        return;
    }
    if ((uint32_t)n < op->file.len)
        io_count(&r->io.stats.short_sends, 1);
    io_complete(&r->io, op, n == 0 ? FAIL_IO : 0, (uint32_t)n);
}

static void try_send_piped(struct ready *r, struct io_op *op)
{
    io_count(&r->io.stats.submissions, 1);
    ssize_t n = pipes_drain(op->pipe.buf, op->pipe.len, op->sock->fd, op->pipe.more);
    if (n < 0) {
        failed(r, op, SOCK_WRITABLE, (int)-n);
        return;
    }
    if ((uint32_t)n < op->pipe.len)
        io_count(&r->io.stats.short_sends, 1);
    io_complete(&r->io, op, n == 0 ? FAIL_IO : 0, (uint32_t)n);
}

/* Who reads from the descriptor is the owner, not we, so no hint of ours is
 * worth anything: the system is asked. */
static void try_poll(struct ready *r, struct io_op *op)
{
    struct pollfd p = {.fd = op->sock->fd, .events = POLLIN};
    int n = poll(&p, 1, 0);

    if (n > 0)
        complete(r, op, p.revents & POLLNVAL ? FAIL_BAD : 0);
    else if (n == 0 || errno == EINTR)
        park(r, op);
    else
        complete(r, op, fail_from_errno(errno));
}

static void try_op(struct ready *r, struct io_op *op)
{
    if (op->cancelled && op->kind == IO_CONNECT)
        connect_failed(r, op, FAIL_CANCELLED);
    else if (op->cancelled)
        complete(r, op, FAIL_CANCELLED);
    else if (!hopeful(op))
        park(r, op);
    else if (op->kind == IO_ACCEPT)
        try_accept(r, op);
    else if (op->kind == IO_CONNECT)
        try_connect(r, op);
    else if (op->kind == IO_SEND)
        try_send(r, op);
    else if (op->kind == IO_SEND_FILE)
        try_send_file(r, op);
    else if (op->kind == IO_SEND_PIPED)
        try_send_piped(r, op);
    else
        try_poll(r, op);
}

/* A buffer is taken when there is something to try with it.  Those lent in
 * the last wait are back, so what is out was claimed by somebody: the pool
 * grows by as much, up to the budget, rather than wait for them. */
static void try_reads(struct ready *r)
{
    struct link_node later;
    struct buf *b = NULL;

    list_init(&later);
    while (!list_empty(&r->reads)) {
        struct io_op *op = container_of(r->reads.next, struct io_op, node);
        if (!hopeful(op)) {
            list_remove(&op->node);
            park(r, op);
            continue;
        }
        bool full = r->fed >= RECEIVES_MAX;
        if (op->piped && op->sock->flags & SOCK_MUCH && !full && pipes_ready(&r->pipes)) {
            list_remove(&op->node);
            if (try_recv_piped(r, op)) {
                r->fed++;
                continue;
            }
            op->piped = false;
            list_append(&r->reads, &op->node);
            continue;
        }
        bool scarce = buf_scarce(&r->bufs);
        if (scarce && op->room > IO_ROOM_SMALL) {
            list_remove(&op->node);
            list_append(&later, &op->node);
            io_count(&r->io.stats.buffers_empty, 1);
            r->starved = true;
            continue;
        }
        if (full || (!b && !(b = buf_get(&r->bufs)))) {
            r->starved = r->starved || !full;
            io_count(&r->io.stats.buffers_empty, 1);
            break;
        }
        list_remove(&op->node);
        if (try_recv(r, op, b, scarce ? RECEIVE_SCARCE : b->size)) {
            r->fed++;
            b = NULL;
        }
    }
    for (struct link_node *node; (node = list_pop(&later));)
        list_append(&r->reads, node);
    if (b)
        buf_unref(b);
}

bool ready_try(struct ready *r)
{
    uint64_t before = r->io.stats.completions;
    struct link_node *node;

    while ((node = list_pop(&r->tries)))
        try_op(r, container_of(node, struct io_op, node));
    try_reads(r);
    atomic_store_explicit(&r->io.stats.buffers_out, r->bufs.out, memory_order_relaxed);
    return r->io.stats.completions != before;
}

/* --- the backend's functions --------------------------------------------------- */

void ready_init(struct ready *r, int (*watch)(struct ready *r, struct io_sock *sock),
                const struct io_options *options)
{
    pipes_init(&r->pipes, &r->io, options);
    r->watch = watch;
    list_init(&r->tries);
    list_init(&r->reads);
    buf_pool_init(&r->bufs, RECEIVE_SIZE, RECEIVES_MAX, &r->io.budget);
}

void ready_deinit(struct ready *r)
{
    buf_pool_free(&r->bufs);
    pipes_free(&r->pipes);
}

void ready_begin(struct ready *r)
{
    r->fed = 0;
    r->starved = false;
}

void ready_start(struct io *io, struct io_op *op)
{
    struct io_sock *sock = op->sock;

    if (op->kind == IO_RECV || op->kind == IO_POLL) {
        assert(!sock->recv);
        sock->recv = op;
    }
    if (hopeful(op) || !(sock->flags & SOCK_WATCHED))
        enqueue(ready_of(io), op);
    else
        park(ready_of(io), op);
}

void ready_cancel(struct io *io, struct io_op *op)
{
    if (op->kind == IO_ACCEPT && op->state == OP_PARKED)
        accepts_remove(op->sock, op);
    list_remove(&op->node);
    enqueue(ready_of(io), op);
}

/* Non-blocking already, unless it is only polled. */
void ready_adopt(struct io *io, struct io_sock *sock, int fd)
{
    (void)io;
    (void)fd;
    sock->flags = SOCK_READABLE | SOCK_WRITABLE;
}

void ready_shutdown(struct io *io, struct io_sock *sock)
{
    (void)io;
    (void)shutdown(sock->fd,
                   SHUT_WR); /* fails only if the connection is gone, which a receive tells */
}

void ready_discard(struct io *io, int fd)
{
    (void)io;
    close(fd);
}
