/* What is the same on every backend: starting and completing operations, the
 * mailbox, and the turn.
 */
#include "config.h"

#include "io/backend.h"

#include "base/mem.h"
#include "io/descriptor.h"
#include "io/helpers.h"
#include "io/watch.h"
#include "io/wheel.h"

#include <assert.h>
#include <errno.h>
#include <sys/random.h>
#include <unistd.h>

/* After gathering has woken owners, and those have asked to gather, and so
 * on: what is left then is for the next turn. */
enum { GATHERS_MAX = 3 };

enum { BUFS_KEPT_MAX = 256 };

const struct io_backend *const io_backends[] = {
#ifdef HAVE_URING
    &io_uring_backend,
#endif
    &io_epoll_backend,
    NULL,
};

const struct io_backend *io_backend_find(struct span name)
{
    for (size_t i = 0; io_backends[i]; i++)
        if (span_equal(name, span_of(io_backends[i]->name)))
            return io_backends[i];
    return NULL;
}

const char *io_backend_name(const struct io_backend *backend)
{
    return backend->name;
}

bool io_backend_usable(const struct io_backend *backend, const char **why)
{
    *why = "usable";
    return backend->usable(why);
}

int io_open(struct io **io, const struct io_backend *backend, const struct io_options *options,
            const char **why)
{
    *why = "out of memory";
    return backend->open(io, options, why);
}

void io_free(struct io *io)
{
    if (!io)
        return;
    assert(io->busy == 0 && io->sockets == 0);
    io->backend->free(io);
}

int io_init(struct io *io, const struct io_backend *backend, const struct io_options *options)
{
    io->backend = backend;
    owner_queue_init(&io->owners);
    list_init(&io->senders);
    io->budget = (struct buf_budget){.max = options->buffer_memory};
    io->piped_min = UINT32_MAX;
    buf_pool_init(&io->bufs, IO_BUF_SIZE, BUFS_KEPT_MAX, &io->budget);
    io_entropy(io, &io->random.state, sizeof io->random.state);
    io->wheel = wheel_new(io->now_ns);
    io->helpers = helpers_new(io, options->helpers_max);
    if (io->wheel && io->helpers)
        return 0;
    io_deinit(io);
    return FAIL_MEMORY;
}

void io_deinit(struct io *io)
{
    helpers_free(io->helpers);
    wheel_free(io->wheel);
    io->helpers = NULL;
    io->wheel = NULL;
    buf_pool_free(&io->bufs);
}

void io_entropy(struct io *io, void *out, size_t len)
{
    char *at = out;

    if (io->backend->entropy) {
        io->backend->entropy(io, out, len);
        return;
    }
    while (len > 0) {
        ssize_t n = getrandom(at, len, 0);
        assert(n > 0 || errno == EINTR); /* the kernel has no other excuse */
        if (n > 0) {
            at += n;
            len -= (size_t)n;
        }
    }
}

/* --- operations ---------------------------------------------------------------- */

static void op_begin(struct io *io, struct io_op *op, struct io_sock *sock, enum io_kind kind)
{
    assert(!io_busy(op) && op->owner);
    op->kind = (uint8_t)kind;
    op->done = op->cancelled = op->piped = false;
    op->state = 0;
    op->fail = 0;
    op->count = 0;
    op->sock = sock;
    io->busy++;
}

static void op_sends(struct io_op *op)
{
    assert(!op->sock->send);
    op->sock->send = op;
}

void io_accept(struct io *io, struct io_accept *a, struct io_sock *listener)
{
    assert(listener->fd >= 0);
    op_begin(io, &a->op, listener, IO_ACCEPT);
    a->fd = -1;
    io->backend->start(io, &a->op);
}

void io_connect(struct io *io, struct io_op *op, struct io_sock *sock, const struct address *to)
{
    assert(sock->fd < 0);
    op_begin(io, op, sock, IO_CONNECT);
    op->to = to;
    op_sends(op);
    io->backend->start(io, op);
}

static void recv_begin(struct io *io, struct io_op *op, struct io_sock *sock, uint32_t room,
                       bool piped)
{
    assert(sock->fd >= 0);
    op_begin(io, op, sock, IO_RECV);
    op->slice = (struct slice){0};
    op->room = room;
    op->piped = piped;
    io->backend->start(io, op);
}

void io_recv(struct io *io, struct io_op *op, struct io_sock *sock, uint32_t room)
{
    recv_begin(io, op, sock, room, false);
}

void io_recv_piped(struct io *io, struct io_op *op, struct io_sock *sock, uint32_t room)
{
    recv_begin(io, op, sock, room, io->piped_min != UINT32_MAX);
}

static void send_begin(struct io *io, struct io_op *op, struct io_sock *sock,
                       const struct io_vec *vec, unsigned count, bool more)
{
    assert(sock->fd >= 0 && count > 0 && count <= IO_VECS_MAX);
    op_begin(io, op, sock, IO_SEND);
    op->send.vec = vec;
    op->send.vec_count = count;
    op->send.more = more;
    op_sends(op);
    io->backend->start(io, op);
}

void io_send(struct io *io, struct io_op *op, struct io_sock *sock, const struct io_vec *vec,
             unsigned count)
{
    send_begin(io, op, sock, vec, count, false);
}

void io_send_more(struct io *io, struct io_op *op, struct io_sock *sock, const struct io_vec *vec,
                  unsigned count)
{
    send_begin(io, op, sock, vec, count, true);
}

void io_send_file(struct io *io, struct io_op *op, struct io_sock *sock, int fd, uint64_t offset,
                  uint32_t len)
{
    assert(sock->fd >= 0 && len > 0);
    op_begin(io, op, sock, IO_SEND_FILE);
    op->file.fd = fd;
    op->file.offset = offset;
    op->file.len = len;
    op_sends(op);
    io->backend->start(io, op);
}

void io_send_piped(struct io *io, struct io_op *op, struct io_sock *sock, struct buf *pipe,
                   uint32_t len, bool more)
{
    assert(sock->fd >= 0 && len > 0 && !pipe->base);
    op_begin(io, op, sock, IO_SEND_PIPED);
    op->pipe.buf = pipe;
    op->pipe.len = len;
    op->pipe.more = more;
    op_sends(op);
    io->backend->start(io, op);
}

void io_poll(struct io *io, struct io_op *op, struct io_sock *sock)
{
    assert(sock->fd >= 0);
    op_begin(io, op, sock, IO_POLL);
    op->poll_fd = sock->fd;
    io->backend->start(io, op);
}

void io_file(struct io *io, struct io_file *f)
{
    op_begin(io, &f->op, NULL, IO_FILE);
    if (io->backend->file)
        io->backend->file(io, f);
    else
        helpers_start(io->helpers, &f->op);
}

void io_work(struct io *io, struct io_work *work)
{
    op_begin(io, &work->op, NULL, IO_WORK);
    if (io->backend->work)
        io->backend->work(io, work);
    else
        helpers_start(io->helpers, &work->op);
}

void io_resolve(struct io *io, struct io_resolve *r)
{
    op_begin(io, &r->work.op, NULL, IO_RESOLVE);
    r->count = 0;
    if (io->backend->resolve)
        io->backend->resolve(io, r);
    else
        helpers_start(io->helpers, &r->work.op);
}

void io_watch(struct io *io, struct io_watch *w)
{
    op_begin(io, &w->op, NULL, IO_WATCH);
    watch_start(io, w);
}

static bool helped(const struct io_backend *b, const struct io_op *op)
{
    return (op->kind == IO_FILE && !b->file) || (op->kind == IO_WORK && !b->work) ||
           (op->kind == IO_RESOLVE && !b->resolve);
}

void io_cancel(struct io *io, struct io_op *op)
{
    if (!io_busy(op) || op->cancelled)
        return;
    op->cancelled = true;
    io_count(&io->stats.cancels, 1);
    if (op->kind == IO_WATCH)
        watch_cancel(container_of(op, struct io_watch, op));
    else if (helped(io->backend, op))
        helpers_cancel(io->helpers, op);
    else
        io->backend->cancel(io, op);
}

static void count_outcome(struct io *io, struct io_op *op, enum io_kind kind)
{
    struct io_stats *s = &io->stats;

    io_count(&s->completions, 1);
    if (op->fail < 0) {
        if (kind == IO_RECV)
            op->slice = (struct slice){0};
        if (op->fail != FAIL_CLOSED && op->fail != FAIL_CANCELLED)
            io_count(&s->errors, 1);
        return;
    }
    switch (kind) {
    case IO_ACCEPT:
        io_count(&s->accepts, 1);
        op->count = (uint32_t)s->accepts;
        break;
    case IO_CONNECT:
        io_count(&s->connects, 1);
        io->sockets++;
        break;
    case IO_RECV:
        io_count(&s->receives, 1);
        io_count(&s->bytes_in, op->count);
        break;
    case IO_SEND:
    case IO_SEND_PIPED:
        io_count(&s->sends, 1);
        io_count(&s->bytes_out, op->count);
        break;
    case IO_SEND_FILE:
        io_count(&s->send_files, 1);
        io_count(&s->bytes_out, op->count);
        break;
    default:
        break;
    }
}

void io_complete(struct io *io, struct io_op *op, int fail, uint32_t count)
{
    enum io_kind kind = op->kind;

    assert(io_busy(op));
    op->kind = IO_IDLE;
    op->done = true;
    op->fail = (int8_t)fail;
    op->count = count;
    if (op->sock && op->sock->recv == op)
        op->sock->recv = NULL;
    if (op->sock && op->sock->send == op)
        op->sock->send = NULL;
    io->busy--;
    count_outcome(io, op, kind);
    owner_wake(op->owner);
}

void io_complete_slice(struct io *io, struct io_op *op, struct slice slice)
{
    slice.buf->next = op->owner->lent;
    op->owner->lent = slice.buf;
    op->slice = slice;
    io_complete(io, op, 0, slice.len);
}

/* --- sockets ------------------------------------------------------------------- */

void io_adopt(struct io *io, struct io_sock *sock, int fd)
{
    *sock = (struct io_sock){.fd = fd};
    io->sockets++;
    io->backend->adopt(io, sock, fd);
}

void io_discard(struct io *io, int fd)
{
    io_count(&io->stats.closes, 1);
    io->backend->discard(io, fd);
}

void io_shutdown(struct io *io, struct io_sock *sock)
{
    assert(!sock->send);
    if (sock->fd >= 0)
        io->backend->shutdown(io, sock);
}

uint64_t io_taken(struct io *io, const struct io_sock *sock)
{
    return sock->fd >= 0 ? io->backend->taken(io, sock) : 0;
}

void io_local(struct io *io, const struct io_sock *sock, struct address *a)
{
    *a = (struct address){0};
    if (sock->fd >= 0)
        io->backend->local(io, sock, a);
}

bool io_unacked(struct io *io, const struct io_sock *sock, uint64_t *bytes)
{
    return sock->fd >= 0 && io->backend->unacked(io, sock, bytes);
}

bool io_quiet(struct io *io, const struct io_sock *sock)
{
    return sock->fd >= 0 && io->backend->quiet(io, sock);
}

bool io_broken(struct io *io, const struct io_sock *sock)
{
    return sock->fd >= 0 && io->backend->broken(io, sock);
}

static void sock_end(struct io *io, struct io_sock *sock, bool reset)
{
    assert(!sock->send);
    if (sock->fd < 0)
        return;
    io->backend->close(io, sock, reset);
    sock->fd = -1;
    io->sockets--;
    io_count(&io->stats.closes, 1);
}

void io_close(struct io *io, struct io_sock *sock)
{
    sock_end(io, sock, false);
}

void io_reset(struct io *io, struct io_sock *sock)
{
    sock_end(io, sock, true);
}

int io_listen(const struct io_backend *backend, void *world, const struct io_listen *spec, int *fd)
{
    return backend->listen(world, spec, fd);
}

int io_listen_copy(const struct io_backend *backend, void *world, int fd, int *copy)
{
    return backend->listen_copy ? backend->listen_copy(world, fd, copy) : descriptor_copy(fd, copy);
}

void io_listen_close(const struct io_backend *backend, void *world, int fd)
{
    backend->listen_close(world, fd);
}

void io_file_close(struct io *io, int fd)
{
    if (io->backend->file_close)
        io->backend->file_close(io, fd);
    else
        close(fd);
}

/* --- time ---------------------------------------------------------------------- */

void io_timer_set(struct io *io, struct io_timer *t, uint64_t at_ns)
{
    wheel_set(io->wheel, t, at_ns);
}

void io_timer_clear(struct io *io, struct io_timer *t)
{
    wheel_clear(io->wheel, t);
}

/* --- the mailbox --------------------------------------------------------------- */

/* Posters push onto a stack, which needs one compare-and-swap and no waiting
 * for anybody; the target takes the whole stack at once and turns it over.
 *
 * A poster wakes the target only if that says it sleeps.  The poster pushes,
 * then reads `sleeping`; the target sets `sleeping`, then looks for messages.
 * All four are sequentially consistent, so one of the two sees the other. */
void io_post(struct io *target, struct io_message *m)
{
    struct io_message *head = atomic_load_explicit(&target->mailbox, memory_order_relaxed);

    do
        atomic_store_explicit(&m->next, head, memory_order_relaxed);
    while (!atomic_compare_exchange_weak(&target->mailbox, &head, m));
    if (atomic_load(&target->sleeping) && atomic_exchange(&target->sleeping, false))
        target->backend->wake(target);
}

static bool mail_waiting(struct io *io)
{
    return atomic_load(&io->mailbox) != NULL;
}

/* What arrive() posts in its turn is for the next. */
static void mail_deliver(struct io *io)
{
    struct io_message *m = NULL, *next, *stack;
    uint64_t count = 0;

    if (!atomic_load_explicit(&io->mailbox, memory_order_relaxed))
        return;
    stack = atomic_exchange(&io->mailbox, NULL);
    for (; stack; stack = next, count++) {
        next = atomic_load_explicit(&stack->next, memory_order_relaxed);
        atomic_store_explicit(&stack->next, m, memory_order_relaxed);
        m = stack;
    }
    for (; m; m = next) {
        next = atomic_load_explicit(&m->next, memory_order_relaxed);
        m->arrive(m, io); /* may free it */
    }
    io_count(&io->stats.posts, count);
}

/* --- the turn ------------------------------------------------------------------ */

static uint64_t wait_until_timer(const struct io *io, uint64_t max_wait_ns)
{
    uint64_t at = wheel_next(io->wheel);

    if (at == TIME_NEVER)
        return max_wait_ns;
    uint64_t wait = at > io->now_ns ? at - io->now_ns : 0;
    return wait < max_wait_ns ? wait : max_wait_ns;
}

static bool turn_wait(struct io *io, uint64_t wait_ns)
{
    if (wait_ns == 0)
        return io->backend->wait(io, 0);
    atomic_store(&io->sleeping, true);
    bool alive = io->backend->wait(io, mail_waiting(io) ? 0 : wait_ns);
    atomic_store_explicit(&io->sleeping, false, memory_order_relaxed);
    return alive;
}

/* One that asks again while it is being called waits for the next round. */
static void turn_gather(struct io *io)
{
    struct link_node round, *node;

    list_init(&round);
    list_splice(&round, &io->senders);
    while ((node = list_pop(&round))) {
        struct io_sender *s = container_of(node, struct io_sender, node);
        s->gather(s);
    }
}

bool io_turn(struct io *io, uint64_t max_wait_ns)
{
    bool due = owner_queue_begin(&io->owners) || !list_empty(&io->senders) || mail_waiting(io);
    uint64_t wait_ns = due ? 0 : wait_until_timer(io, max_wait_ns);
    bool alive = turn_wait(io, wait_ns);

    io_count(&io->stats.turns, 1);
    mail_deliver(io);
    io_count(&io->stats.timers, wheel_advance(io->wheel, io->now_ns));
    bool busy = due || !list_empty(&io->owners.now);
    for (int i = 0; i < GATHERS_MAX; i++) {
        owner_queue_run(&io->owners);
        if (list_empty(&io->senders))
            break;
        turn_gather(io);
    }
    io_count(&io->stats.wakes, io->owners.wakes - io->stats.wakes);
    io_count(&io->stats.deferred, io->owners.deferred - io->stats.deferred);
    return alive || busy || wheel_next(io->wheel) != TIME_NEVER;
}
