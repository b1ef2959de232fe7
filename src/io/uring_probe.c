/* Finds out whether io_uring works here, by using it.
 *
 * A kernel's version says little: distributions add and remove, containers
 * forbid, and some versions have a feature with a bug.  So the ring that is
 * about to serve first has to pass bytes through a socketpair the way the
 * backend does.  What is merely useful is tried too, and left alone where it
 * does not do what we count on.
 */
#include "io/uring.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    TEST_GROUP = 7,
    TEST_BUFS = 8,
    TEST_BUF_SIZE = 64,
    /* user_data of the requests of the test */
    TEST_RECV = 1,
    TEST_SEND,
    TEST_CANCEL,
};
static const char HELLO[] = "are you there?";

struct self_test {
    struct ring *ring;
    struct group group;
    int ours, theirs; /* the ends of a socketpair */
};

struct outcome {
    uint64_t what;
    int res;
    unsigned flags;
};

static struct io_uring_sqe *test_sqe(struct self_test *t)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&t->ring->uring);

    assert(sqe);
    return sqe;
}

/* The next completion; false when none comes for that long. */
static bool test_wait_for(struct self_test *t, struct outcome *out, uint64_t ms)
{
    struct io_uring_cqe *cqe;

    for (int tries = 0; tries < 3; tries++) {
        if (io_uring_peek_cqe(&t->ring->uring, &cqe) == 0) {
            *out = (struct outcome){cqe->user_data, cqe->res, cqe->flags};
            io_uring_cqe_seen(&t->ring->uring, cqe);
            return true;
        }
        ring_enter(t->ring, 1, ms * NS_PER_MS);
    }
    return false;
}

static bool test_wait(struct self_test *t, struct outcome *out)
{
    return test_wait_for(t, out, 1000);
}

static void test_arm(struct self_test *t, uint32_t total)
{
    struct io_uring_sqe *sqe = test_sqe(t);

    io_uring_prep_recv(sqe, t->ours, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = TEST_GROUP;
    sqe->ioprio |= IORING_RECV_MULTISHOT;
    if (total)
        uring_sqe_set_total(sqe, total);
    sqe->user_data = TEST_RECV;
}

static bool test_disarm(struct self_test *t)
{
    struct io_uring_sqe *sqe = test_sqe(t);
    struct outcome o;

    io_uring_prep_cancel64(sqe, TEST_RECV, 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    sqe->user_data = TEST_CANCEL;
    return test_wait(t, &o) && o.what == TEST_RECV && o.res == -ECANCELED &&
           !(o.flags & IORING_CQE_F_MORE);
}

static bool test_heard(struct self_test *t, const struct outcome *o)
{
    if (o->res != (int)sizeof HELLO || !(o->flags & IORING_CQE_F_BUFFER) ||
        !(o->flags & IORING_CQE_F_MORE))
        return false;
    struct ring_buf *b = group_taken(&t->group, o->flags);
    bool same = memcmp(b->buf.base, HELLO, sizeof HELLO) == 0;
    buf_unref(&b->buf);
    return same;
}

/* One send, and what a multishot receive makes of it. */
static bool test_message(struct self_test *t)
{
    struct io_uring_sqe *sqe = test_sqe(t);
    struct outcome o;
    bool sent = false, heard = false;

    io_uring_prep_send(sqe, t->theirs, HELLO, sizeof HELLO, MSG_NOSIGNAL);
    sqe->user_data = TEST_SEND;
    while (!sent || !heard) {
        if (!test_wait(t, &o))
            return false;
        if (o.what == TEST_SEND && o.res == (int)sizeof HELLO)
            sent = true;
        else if (o.what == TEST_RECV && test_heard(t, &o))
            heard = true;
        else
            return false;
    }
    return true;
}

/* Whether a multishot receive that may take one buffer ends there.  Leaves
 * nothing armed, unless it returns false. */
static bool test_total(struct self_test *t, bool *works)
{
    static const char bytes[3 * TEST_BUF_SIZE];
    struct outcome o;
    int got = 0;

    if (send(t->theirs, bytes, sizeof bytes, MSG_NOSIGNAL) != (ssize_t)sizeof bytes)
        return false;
    test_arm(t, TEST_BUF_SIZE);
    do {
        if (!test_wait(t, &o) || o.what != TEST_RECV)
            return false;
        if (o.flags & IORING_CQE_F_BUFFER)
            buf_unref(&group_taken(&t->group, o.flags)->buf);
        got += o.res > 0 ? o.res : 0;
        if (got == (int)sizeof bytes && o.flags & IORING_CQE_F_MORE)
            return test_disarm(t);
    } while (o.flags & IORING_CQE_F_MORE);
    *works = got == TEST_BUF_SIZE;
    char rest[sizeof bytes];
    while (recv(t->ours, rest, sizeof rest, MSG_DONTWAIT) > 0)
        ;
    return true;
}

/* Bytes and the end of the stream in one wakeup: some kernels pass on the bytes
 * and then wait for ever (liburing's issue 1549).  This is the end of the pair. */
static bool test_end(struct self_test *t, bool *works)
{
    struct outcome o;

    test_arm(t, 0);
    ring_enter(t->ring, 0, 0);
    if (send(t->theirs, HELLO, sizeof HELLO, MSG_NOSIGNAL) != (ssize_t)sizeof HELLO ||
        shutdown(t->theirs, SHUT_WR) < 0)
        return false;
    if (!test_wait(t, &o) || o.what != TEST_RECV || !test_heard(t, &o))
        return false;
    if (!test_wait_for(t, &o, 5))
        return test_disarm(t);
    *works = o.what == TEST_RECV && o.res == 0 && !(o.flags & IORING_CQE_F_MORE);
    if (o.flags & IORING_CQE_F_BUFFER)
        buf_unref(&group_taken(&t->group, o.flags)->buf);
    return *works;
}

static bool knows_operations(struct io_uring *ring)
{
    static const uint8_t needed[] = {
        IORING_OP_ACCEPT, IORING_OP_ASYNC_CANCEL, IORING_OP_CONNECT, IORING_OP_POLL_ADD,
        IORING_OP_READ,   IORING_OP_RECV,         IORING_OP_SEND,    IORING_OP_SENDMSG,
        IORING_OP_TIMEOUT,
    };
    struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
    bool all = probe != NULL;

    for (size_t i = 0; all && i < sizeof needed; i++)
        all = io_uring_opcode_supported(probe, needed[i]) != 0;
    io_uring_free_probe(probe);
    return all;
}

static const char *test_run(struct self_test *t, struct uring_features *features)
{
    test_arm(t, 0);
    if (!test_message(t) || !test_message(t))
        return "io_uring does not receive as it should here (multishot, provided buffers)";
    if (!test_disarm(t))
        return "io_uring does not cancel as it should here";
    if (!test_total(t, &features->receive_total))
        return "io_uring does not bound a receive as it should here";
    if (!test_end(t, &features->hears_end))
        return "io_uring does not end a receive as it should here";
    return NULL;
}

static int test_pair(struct self_test *t, struct uring_features *features, const char **why)
{
    int fds[2];

    *why = "no descriptors left to try io_uring with";
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return fail_from_errno(errno);
    t->ours = fds[0];
    t->theirs = fds[1];
    *why = test_run(t, features);
    close(fds[0]);
    close(fds[1]);
    return *why ? FAIL_UNSUPPORTED : 0;
}

int uring_self_test(struct ring *ring, struct uring_features *features, const char **why)
{
    struct self_test t = {.ring = ring};

    *features = (struct uring_features){0};
    *why = "the kernel's io_uring lacks operations that are needed";
    if (!knows_operations(&ring->uring))
        return FAIL_UNSUPPORTED;
    int fail = group_open(&t.group, ring, TEST_GROUP, TEST_BUFS, TEST_BUF_SIZE);
    if (fail < 0) {
        *why = fail == FAIL_MEMORY ? "out of memory"
                                   : "the kernel's io_uring takes no ring of buffers";
        return fail == FAIL_MEMORY ? FAIL_MEMORY : FAIL_UNSUPPORTED;
    }
    fail = test_pair(&t, features, why);
    group_close(&t.group, ring);
    return fail;
}

static const char *try_here(void)
{
    struct uring_features features;
    struct ring ring;
    const char *why;
    int error = ring_open(&ring, 16, 64);

    if (error < 0)
        return ring_refusal(error);
    int fail = uring_self_test(&ring, &features, &why);
    ring_close(&ring);
    return fail < 0 ? why : NULL;
}

/* The answer of the child is the address of a sentence, which is the same in
 * both processes; NULL is yes. */
static bool hear_child(int from, const char **why)
{
    const char *answer;
    ssize_t n;

    do
        n = read(from, &answer, sizeof answer);
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)sizeof answer)
        answer = "io_uring is forbidden here: a seccomp filter ends the process that uses it";
    if (answer)
        *why = answer;
    return !answer;
}

/* In a child, because a seccomp filter may kill whoever tries. */
bool uring_usable(const char **why)
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) < 0) {
        *why = "no descriptors left to try io_uring with";
        return false;
    }
    pid_t child = fork();
    if (child == 0) {
        const char *answer = try_here();
        _exit(write(fds[1], &answer, sizeof answer) == (ssize_t)sizeof answer ? 0 : 1);
    }
    close(fds[1]);
    bool usable = false;
    if (child < 0)
        *why = "no process left to try io_uring with";
    else
        usable = hear_child(fds[0], why);
    close(fds[0]);
    while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR)
        ;
    return usable;
}
