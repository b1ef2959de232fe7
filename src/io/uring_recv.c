/* The receiving side of a socket: slices that arrive when the kernel likes,
 * handed out when io_recv() asks.
 *
 * The kernel is told once to receive until further notice (multishot), and
 * fills buffers of its choice from then on.  So bytes can come before anybody
 * wants them, and the kernel can hold on to a socket whose user is gone.  An
 * inlet stands between: it keeps the slices that came early, knows what is
 * with the kernel, and lives until the kernel has let go.
 *
 * Like an owner's step, inlet_settle() looks at the whole state and does what
 * is possible now; everything else only records.
 */
#include "io/uring.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

enum {
    FEED_MAX = 32,      /* starved ones served from memory in one turn */
    STARVED_MS = 5,     /* how long before memory is asked for a buffer */
    MESSAGE_MAX = 2048, /* a slice that is shorter is no part of a stream */
};

/* --- records --------------------------------------------------------------- */

static bool may_miss_end(const struct uring *u, int fd)
{
    int domain = AF_UNSPEC;
    socklen_t len = sizeof domain;

    if (u->features.hears_end)
        return false;
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0 || domain == AF_UNIX;
}

static struct inlet *inlet_new(struct uring *u, int fd)
{
    struct inlet *in = slab_get(&u->inlets, NULL);

    if (in)
        *in = (struct inlet){.fd = fd, .end_missed = may_miss_end(u, fd)};
    return in;
}

/* The kernel has let go and so has the user. */
static void inlet_end(struct uring *u, struct inlet *in)
{
    close(in->fd);
    slab_put(&u->inlets, in, NULL);
}

/* --- slices that came early ------------------------------------------------ */

static void queue_put(struct inlet *in, struct ring_buf *b, uint32_t len)
{
    b->len = len;
    b->buf.next = &b->buf;
    if (in->last) {
        b->buf.next = in->last->buf.next;
        in->last->buf.next = &b->buf;
    }
    in->last = b;
    in->unclaimed += len;
}

static struct ring_buf *queue_take(struct inlet *in)
{
    struct ring_buf *b = container_of(in->last->buf.next, struct ring_buf, buf);

    if (b == in->last)
        in->last = NULL;
    else
        in->last->buf.next = b->buf.next;
    b->buf.next = NULL;
    in->unclaimed -= b->len;
    return b;
}

static void queue_drop(struct inlet *in)
{
    while (in->last)
        buf_unref(&queue_take(in)->buf);
}

/* --- what to ask the kernel for -------------------------------------------- */

/* Small messages are cheapest by multishot into small buffers, bulk by one
 * big buffer at a time.  Room alone does not say which it is, a relay asks
 * for all it can take even when thirteen bytes will come; a slice that filled
 * its buffer does.
 *
 * One wakeup of a multishot receive can take half a megabyte from the socket.
 * Where the kernel cannot be told a total, it is left to request heads.  Where
 * it can miss the end of the stream it is not used (see README.md). */
static enum inlet_mode mode_wanted(const struct uring *u, const struct inlet *in)
{
    if (in->full && in->op && in->op->piped && pipes_ready(&u->pipes))
        return INLET_PIPE;
    if (!u->small.count)
        return INLET_POLL;
    if (in->full && in->room >= 2 * IO_BUF_SIZE && u->bulk.count && group_free(&u->bulk) > 0)
        return INLET_BULK;
    if (u->disable & IO_NO_MULTISHOT_RECEIVE || in->end_missed || group_free(&u->small) == 0)
        return INLET_ONCE;
    if (in->full && in->room > IO_ROOM_SMALL && !u->features.receive_total)
        return INLET_ONCE;
    return INLET_MULTISHOT;
}

static struct group *group_of(struct uring *u, enum inlet_mode mode)
{
    return mode == INLET_BULK ? &u->bulk : &u->small;
}

/* Whether to wait until the socket is readable before trying to receive.
 *
 * Never with multishot: armed that way on a socket that has its last bytes and
 * its end already, it passes the bytes on and then waits for ever.  In bulk the
 * bytes are there.  Only when the group is empty is it needed, lest the attempt
 * fails although nothing has come; otherwise it is measured to save nothing. */
static bool poll_first(const struct uring *u, enum inlet_mode mode)
{
    return mode == INLET_ONCE && group_free(&u->small) == 0 && !(u->disable & IO_NO_POLL_FIRST);
}

static _Atomic uint64_t *armed(struct uring *u, enum inlet_mode mode)
{
    struct io_stats *s = &u->io.stats;

    switch (mode) {
    case INLET_MULTISHOT:
        return &s->armed_multishot;
    case INLET_BULK:
        return &s->armed_bulk;
    case INLET_POLL:
    case INLET_PIPE:
        return &s->armed_poll;
    default:
        return &s->armed_once;
    }
}

/* How much may come ahead of who asks.  Where a pipe would do that is little: once it has come
 * there is more behind it, and that is for the pipe. */
static uint32_t total_wanted(const struct inlet *in)
{
    if (in->op && in->op->piped && in->room > IO_ROOM_SMALL)
        return IO_ROOM_SMALL;
    return in->room ? in->room : 1;
}

static void inlet_arm(struct uring *u, struct inlet *in)
{
    enum inlet_mode mode = mode_wanted(u, in);
    struct io_uring_sqe *sqe = uring_sqe(u);

    if (mode == INLET_POLL || mode == INLET_PIPE) {
        io_uring_prep_poll_add(sqe, in->fd, POLLIN);
    } else {
        io_uring_prep_recv(sqe, in->fd, NULL, mode == INLET_BULK ? in->room : 0, 0);
        sqe->flags |= IOSQE_BUFFER_SELECT;
        sqe->buf_group = group_of(u, mode)->id;
        if (poll_first(u, mode))
            sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
        if (mode == INLET_MULTISHOT) {
            sqe->ioprio |= IORING_RECV_MULTISHOT;
            if (u->features.receive_total)
                uring_sqe_set_total(sqe, total_wanted(in));
        }
    }
    uring_send_off(u, sqe, in, TAG_INLET);
    io_count(armed(u, mode), 1);
    in->mode = mode;
    in->starved = false;
}

static void inlet_disarm(struct uring *u, struct inlet *in)
{
    if (in->cancelling)
        return;
    in->cancelling = true;
    uring_cancel(u, in, TAG_INLET);
}

/* --- deciding ---------------------------------------------------------------- */

static void inlet_starve(struct uring *u, struct inlet *in)
{
    io_count(&u->io.stats.buffers_empty, 1);
    in->starved = true;
}

static void inlet_stand_in_line(struct uring *u, struct inlet *in)
{
    in->starved_ms = (uint16_t)(u->io.now_ns / NS_PER_MS);
    list_append(&u->starved, &in->node);
}

/* A slice that is not full may only say that we were faster than the peer; a message of its own is
 * smaller. */
static void inlet_judge(struct inlet *in, size_t len, size_t most)
{
    if (len >= most || len < MESSAGE_MAX)
        in->full = len >= most;
}

/* For a buffer from memory: when there is no ring of buffers, or it is empty
 * and stays so.  The socket is said to be readable. */
static void inlet_receive_now(struct uring *u, struct inlet *in)
{
    bool scarce = buf_scarce(&u->io.bufs);
    struct buf *b = scarce && in->room > IO_ROOM_SMALL ? NULL : buf_get(&u->io.bufs);

    if (!b) {
        inlet_starve(u, in);
        return;
    }
    size_t most = scarce ? RECEIVE_SCARCE : b->size;
    ssize_t n = recv(in->fd, b->base, most, MSG_DONTWAIT);
    if (n > 0) {
        struct io_op *op = in->op;
        in->op = NULL;
        inlet_judge(in, (size_t)n, most);
        io_complete_slice(&u->io, op, (struct slice){.buf = b, .ptr = b->base, .len = (uint32_t)n});
        return;
    }
    buf_unref(b);
    if (n == 0)
        in->end = FAIL_CLOSED;
    else if (errno != EAGAIN && errno != EINTR)
        in->end = (int8_t)fail_from_errno(errno);
}

/* By pipe, without waiting.  What fails is for another way of receiving to tell. */
static void inlet_receive_piped(struct uring *u, struct inlet *in)
{
    struct io_op *op = in->op;
    struct slice s;

    uring_nonblock(in->fd, true);
    ssize_t n = pipes_fill(&u->pipes, in->fd, op->room, &s);
    uring_nonblock(in->fd, false);
    if (n > 0) {
        in->op = NULL;
        in->full = n >= IO_BUF_SIZE;
        io_complete_slice(&u->io, op, s);
    } else if (n == 0) {
        in->end = FAIL_CLOSED;
    } else if (n != -EAGAIN) {
        op->piped = false;
    }
}

static bool inlet_can_answer(const struct inlet *in)
{
    return in->op && (in->last || in->end || in->op->cancelled);
}

static void inlet_answer(struct uring *u, struct inlet *in)
{
    struct io_op *op = in->op;

    in->op = NULL;
    list_remove(&in->node);
    if (!in->last) {
        io_complete(&u->io, op, in->end ? in->end : FAIL_CANCELLED, 0);
        return;
    }
    struct ring_buf *b = queue_take(in);
    inlet_judge(in, b->len, IO_BUF_SIZE);
    io_complete_slice(&u->io, op,
                      (struct slice){.buf = &b->buf, .ptr = b->buf.base, .len = b->len});
}

/* In wait() only: this may complete an operation. */
static void inlet_settle(struct uring *u, struct inlet *in)
{
    if (in->closing) {
        if (in->mode == INLET_OFF)
            inlet_end(u, in);
        return;
    }
    if (inlet_can_answer(in))
        inlet_answer(u, in);
    if (in->op) {
        if (in->mode != INLET_OFF || link_linked(&in->node))
            return;
        if (mode_wanted(u, in) == INLET_PIPE) {
            inlet_receive_piped(u, in);
            if (!in->op)
                return;
            if (in->end) {
                inlet_answer(u, in);
                return;
            }
        }
        if (in->starved)
            inlet_stand_in_line(u, in);
        else
            inlet_arm(u, in);
    } else if (in->mode == INLET_MULTISHOT && in->unclaimed > in->room) {
        inlet_disarm(u, in);
    }
}

/* --- what the kernel says ---------------------------------------------------- */

static void inlet_received(struct uring *u, struct inlet *in, struct ring_buf *b, int len)
{
    if (len <= 0 || in->closing) {
        buf_unref(&b->buf);
        return;
    }
    if (!in->op || in->last)
        io_count(&u->io.stats.slices_unclaimed, 1);
    queue_put(in, b, (uint32_t)len);
}

static void inlet_failed(struct uring *u, struct inlet *in, enum inlet_mode mode, int error)
{
    switch (error) {
    case ENOBUFS:
        if (mode == INLET_BULK)
            in->full = false; /* so that a small one will do */
        else
            inlet_starve(u, in);
        break;
    case ECANCELED: /* by us, who know why */
    case EINTR:
        break;
    case EAGAIN:
        if (!uring_unset_nonblock(in->fd))
            in->end = FAIL_IO;
        break;
    default:
        in->end = (int8_t)fail_from_errno(error);
    }
}

void inlet_completed(struct uring *u, struct inlet *in, int res, unsigned flags)
{
    enum inlet_mode mode = in->mode;

    if (flags & IORING_CQE_F_BUFFER)
        inlet_received(u, in, group_taken(group_of(u, mode), flags), res);
    if (!(flags & IORING_CQE_F_MORE)) { /* the only sign that the kernel has let go */
        in->mode = INLET_OFF;
        in->cancelling = false;
    }
    if (res < 0)
        inlet_failed(u, in, mode, -res);
    else if (mode == INLET_POLL && in->op && !in->closing)
        inlet_receive_now(u, in);
    else if (mode != INLET_POLL && mode != INLET_PIPE && res == 0)
        in->end = FAIL_CLOSED;
    inlet_settle(u, in);
}

/* --- what the user says ------------------------------------------------------ */

void inlet_start(struct uring *u, struct io_op *op)
{
    struct io_sock *sock = op->sock;
    struct inlet *in = sock->inlet;

    if (!in && !(in = sock->inlet = inlet_new(u, sock->fd))) {
        uring_finish_later(u, op, FAIL_MEMORY, 0);
        return;
    }
    assert(!in->op);
    in->op = op;
    in->room = op->room;
    if (inlet_can_answer(in) || (in->mode == INLET_OFF && mode_wanted(u, in) == INLET_PIPE))
        list_append(&u->ready, &in->node);
    else if (in->mode == INLET_OFF)
        inlet_arm(u, in);
    else if (in->mode == INLET_MULTISHOT && mode_wanted(u, in) != INLET_MULTISHOT)
        inlet_disarm(u, in);
}

/* What is with the kernel stays there, for the next io_recv(). */
void inlet_cancel(struct uring *u, struct io_op *op)
{
    struct inlet *in = op->sock->inlet;

    if (!in || in->op != op)
        return; /* its outcome is on the way */
    list_remove(&in->node);
    list_append(&u->ready, &in->node);
}

/* While the kernel has a receive it holds the file too, and close(2) would
 * send no FIN: so it has to let go first.  Bytes that wait for the FIN are not
 * left waiting for that: shutting down sends both, and ends the receive. */
void inlet_close(struct uring *u, struct io_sock *sock, bool flush)
{
    struct inlet *in = sock->inlet;

    assert(!in->op);
    sock->inlet = NULL;
    queue_drop(in);
    in->closing = true;
    if (in->mode == INLET_OFF)
        inlet_end(u, in);
    else if (!flush || shutdown(in->fd, SHUT_RDWR) < 0)
        inlet_disarm(u, in);
}

/* --- once a turn --------------------------------------------------------------- */

void inlets_deliver(struct uring *u)
{
    struct link_node *node;

    while ((node = list_pop(&u->ready)))
        inlet_settle(u, container_of(node, struct inlet, node));
}

static struct inlet *starved_first(struct uring *u)
{
    return list_empty(&u->starved) ? NULL : container_of(u->starved.next, struct inlet, node);
}

/* Never at once, which would be a busy loop: when an eighth of the buffers is
 * back, or, because whoever has them may be waiting for us, after a while
 * with a buffer from memory. */
void inlets_feed(struct uring *u)
{
    struct inlet *in = starved_first(u);
    uint32_t back = group_free(&u->small);
    uint64_t now_ms = u->io.now_ns / NS_PER_MS;

    if (u->small.count && back >= u->small.count / 8) {
        for (; in && back > 0; back--, in = starved_first(u)) {
            list_remove(&in->node);
            in->starved = false;
            inlet_settle(u, in);
        }
        return;
    }
    for (int n = 0; in && n < FEED_MAX; n++, in = starved_first(u)) {
        if ((uint16_t)(now_ms - in->starved_ms) < STARVED_MS)
            return;
        list_remove(&in->node);
        in->starved = false;
        inlet_receive_now(u, in);
        inlet_settle(u, in);
    }
}
