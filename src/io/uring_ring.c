/* Opens and enters the ring.
 *
 * All of a turn goes through one system call, ring_enter(): what was prepared
 * is submitted, and we sleep until something completed.  liburing has calls
 * like it, but their ways to fail differ between versions; the few lines here
 * are the same on all.
 */
#include "io/uring.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* One thread submits, and completions are only made while it waits: no
 * interrupt of running code, no locks in the kernel.  Linux 6.1. */
enum {
    RING_FLAGS = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                 IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE |
                 IORING_SETUP_CLAMP,
};

int ring_open(struct ring *r, unsigned entries, unsigned completions)
{
    struct io_uring_params params = {.flags = RING_FLAGS, .cq_entries = completions};

    *r = (struct ring){.enter_flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG};
    int error = io_uring_queue_init_params(entries, &r->uring, &params);
    if (error < 0)
        return error;
    if (!(params.features & IORING_FEAT_EXT_ARG) || !(params.features & IORING_FEAT_NODROP) ||
        !(params.features & IORING_FEAT_SUBMIT_STABLE)) {
        io_uring_queue_exit(&r->uring);
        return -EINVAL;
    }
    /* Some versions of liburing fill the index array as they submit, some at
     * set-up, and some have the kernel do without. */
    struct io_uring_sq *sq = &r->uring.sq;
    if (!(r->uring.flags & IORING_SETUP_NO_SQARRAY))
        for (unsigned i = 0; i < sq->ring_entries; i++)
            sq->array[i] = i;
    if (io_uring_register_ring_fd(&r->uring) == 1)
        r->enter_flags |= IORING_ENTER_REGISTERED_RING;
    return 0;
}

void ring_close(struct ring *r)
{
    io_uring_queue_exit(&r->uring);
}

static bool disabled_by_sysctl(void)
{
    char c = '0';
    int fd = open("/proc/sys/kernel/io_uring_disabled", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return false;
    bool said = read(fd, &c, 1) == 1 && c != '0';
    close(fd);
    return said;
}

const char *ring_refusal(int error)
{
    switch (-error) {
    case ENOSYS:
        return "the kernel has no io_uring, or seccomp hides it";
    case EPERM:
    case EACCES:
        return disabled_by_sysctl() ? "io_uring is switched off by sysctl kernel.io_uring_disabled"
                                    : "io_uring is forbidden here, probably by seccomp";
    case EINVAL:
        return "the kernel's io_uring is too old; Linux 6.1 is needed";
    case ENOMEM:
        return "not enough memory for an io_uring (the limit on locked memory may be low)";
    case EMFILE:
    case ENFILE:
        return "no descriptor left for an io_uring";
    default:
        return "the kernel refused to set up an io_uring";
    }
}

/* Errors are not reported because there is nothing to do about them but go
 * on: EINTR and ETIME mean that we slept enough, EAGAIN and EBUSY that the
 * kernel wants its completions reaped first. */
void ring_enter(struct ring *r, unsigned wait_nr, uint64_t timeout_ns)
{
    struct io_uring_sq *sq = &r->uring.sq;
    struct __kernel_timespec ts = {
        .tv_sec = (int64_t)(timeout_ns / NS_PER_S),
        .tv_nsec = (int64_t)(timeout_ns % NS_PER_S),
    };
    struct io_uring_getevents_arg arg = {
        .ts = timeout_ns == TIME_NEVER ? 0 : (uint64_t)(uintptr_t)&ts,
    };

    io_uring_smp_store_release(sq->ktail, sq->sqe_tail);
    sq->sqe_head = sq->sqe_tail;
    unsigned submit = sq->sqe_tail - io_uring_smp_load_acquire(sq->khead);
    int n = io_uring_enter2((unsigned)r->uring.enter_ring_fd, submit, wait_nr, r->enter_flags,
                            (sigset_t *)(void *)&arg, sizeof arg);
    assert(n >= 0 || n == -ETIME || n == -EINTR || n == -EAGAIN || n == -EBUSY || n == -ENOMEM ||
           n == -EBADR);
}
