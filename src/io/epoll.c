/* The epoll backend: Linux without io_uring.
 *
 * Sockets are registered once, for both directions, edge-triggered, and never
 * modified.  Everything else is in ready.c.
 */
#include "io/ready.h"

#include "base/mem.h"
#include "io/posix.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    EVENTS_MAX = 512,
    /* Waits in a row that may go without looking for events because operations
     * completed at once: it saves a system call, and must not starve others. */
    BLIND_MAX = 4,
};

/* How long to sleep while a receive waits for memory. */
#define STARVED_NS (10 * NS_PER_MS)

struct epoll {
    struct ready ready;
    int fd;
    int wake_fd;
    unsigned blind;
    bool pwait2; /* the kernel has the call with nanoseconds (5.11) */
    struct epoll_event events[EVENTS_MAX];
};

static struct epoll *epoll_of(struct io *io)
{
    return container_of(io, struct epoll, ready.io);
}

/* --- waiting ------------------------------------------------------------------- */

static int wait2(struct epoll *e, int max, uint64_t ns)
{
    struct timespec t = {.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};

    return (int)syscall(SYS_epoll_pwait2, e->fd, e->events, max, &t, NULL, 0);
}

static int wait_events(struct epoll *e, uint64_t wait_ns)
{
    static const uint64_t day_ns = 24 * 3600 * NS_PER_S;

    if (wait_ns > day_ns)
        wait_ns = day_ns; /* the caller comes again */
    if (wait_ns > 0 && e->pwait2)
        return wait2(e, EVENTS_MAX, wait_ns);
    return epoll_wait(e->fd, e->events, EVENTS_MAX, (int)((wait_ns + NS_PER_MS - 1) / NS_PER_MS));
}

static uint8_t flags_of(uint32_t events)
{
    uint8_t flags = 0;

    if (events & EPOLLIN)
        flags |= SOCK_READABLE;
    if (events & EPOLLOUT)
        flags |= SOCK_WRITABLE;
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        flags |= SOCK_READABLE | SOCK_ENDED;
    if (events & (EPOLLHUP | EPOLLERR))
        flags |= SOCK_WRITABLE;
    return flags;
}

/* No code but ours runs while the events are looked at, so none of these
 * sockets can be closed before its event is dealt with. */
static void look(struct epoll *e, uint64_t wait_ns)
{
    int n = wait_events(e, wait_ns);

    io_count(&e->ready.io.stats.waits, 1);
    for (int i = 0; i < n; i++) { /* n is -1 after EINTR: nothing happened */
        struct io_sock *sock = e->events[i].data.ptr;
        if (sock)
            ready_event(&e->ready, sock, flags_of(e->events[i].events));
    }
}

/* Part of the wait has passed since the time was read: that much less is left. */
static uint64_t wait_left(const struct io *io, uint64_t wait_ns)
{
    if (wait_ns == 0 || wait_ns == TIME_NEVER)
        return wait_ns;
    uint64_t passed = posix_monotonic_ns() - io->now_ns;
    return passed < wait_ns ? wait_ns - passed : 0;
}

static bool epoll_turn(struct io *io, uint64_t wait_ns)
{
    struct epoll *e = epoll_of(io);

    ready_begin(&e->ready);
    bool completed = ready_try(&e->ready);
    if (!completed || ++e->blind > BLIND_MAX) {
        e->blind = 0;
        if (completed)
            wait_ns = 0;
        else if (e->ready.starved && wait_ns > STARVED_NS)
            wait_ns = STARVED_NS;
        look(e, wait_left(io, wait_ns));
        ready_try(&e->ready);
    }
    posix_clock(io);
    return true;
}

/* --- sockets ------------------------------------------------------------------- */

static int epoll_watch(struct ready *r, struct io_sock *sock)
{
    struct epoll *e = epoll_of(&r->io);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.ptr = sock};

    if (epoll_ctl(e->fd, EPOLL_CTL_ADD, sock->fd, &event) == 0)
        return 0;
    return errno == ENOSPC ? FAIL_FULL : fail_from_errno(errno);
}

/* Closing removes the registration too, but only with the last descriptor of
 * the socket, and a child between fork() and exec() has copies of all: its
 * event would find a socket that is gone. */
static void epoll_close(struct io *io, struct io_sock *sock, bool reset)
{
    if (sock->flags & SOCK_WATCHED)
        (void)epoll_ctl(epoll_of(io)->fd, EPOLL_CTL_DEL, sock->fd, NULL);
    if (reset)
        posix_linger_none(sock->fd);
    close(sock->fd);
}

/* --- opening ------------------------------------------------------------------- */

static bool epoll_usable(const char **why)
{
    (void)why;
    return true; /* every Linux has it */
}

/* Never read: each write is an edge. */
static void epoll_wake(struct io *io)
{
    const uint64_t one = 1;

    (void)!write(epoll_of(io)->wake_fd, &one, sizeof one);
}

static void epoll_free(struct io *io)
{
    struct epoll *e = epoll_of(io);

    ready_deinit(&e->ready);
    io_deinit(io);
    if (e->wake_fd >= 0)
        close(e->wake_fd);
    if (e->fd >= 0)
        close(e->fd);
    mem_free(e);
}

static int epoll_set_up(struct epoll *e, const char **why)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};

    e->fd = epoll_create1(EPOLL_CLOEXEC);
    e->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (e->fd < 0 || e->wake_fd < 0 || epoll_ctl(e->fd, EPOLL_CTL_ADD, e->wake_fd, &event) < 0) {
        *why = "no epoll or event descriptor";
        return fail_from_errno(errno);
    }
    e->pwait2 = wait2(e, 1, 0) >= 0;
    return 0;
}

static int epoll_open(struct io **io, const struct io_options *options, const char **why)
{
    struct epoll *e = mem_zalloc(sizeof *e);
    int err;

    if (!e)
        return FAIL_MEMORY;
    e->fd = e->wake_fd = -1;
    posix_clock(&e->ready.io);
    posix_block_sigpipe();
    if ((err = io_init(&e->ready.io, &io_epoll_backend, options)) < 0) {
        mem_free(e);
        return err;
    }
    ready_init(&e->ready, epoll_watch, options);
    if ((err = epoll_set_up(e, why)) < 0) {
        epoll_free(&e->ready.io);
        return err;
    }
    *io = &e->ready.io;
    return 0;
}

const struct io_backend io_epoll_backend = {
    .name = "epoll",
    .usable = epoll_usable,
    .open = epoll_open,
    .free = epoll_free,
    .start = ready_start,
    .cancel = ready_cancel,
    .adopt = ready_adopt,
    .shutdown = ready_shutdown,
    .close = epoll_close,
    .taken = posix_taken,
    .local = posix_local,
    .unacked = posix_unacked,
    .quiet = posix_quiet,
    .broken = posix_broken,
    .discard = ready_discard,
    .listen = posix_listen,
    .listen_close = posix_listen_close,
    .wait = epoll_turn,
    .wake = epoll_wake,
};
