/* Where the io_uring backend meets its limits: no buffers, no memory, full
 * rings, slow readers of files, and kernels that will not have it.
 */
#include "tests/unit/io/uring_user.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* --- running out --------------------------------------------------------------------- */

enum { CROWD = 40, SMALL_BUDGET = 1024 * 1024 };

static void crowd_open(struct user *crowd[CROWD], uint64_t memory, bool claims)
{
    open_with((struct io_options){.buffer_memory = memory});
    for (int i = 0; i < CROWD; i++) {
        crowd[i] = user_pair(0);
        crowd[i]->claims = claims;
        ask(crowd[i]);
    }
    turns(1);
    for (int i = 0; i < CROWD; i++)
        say(crowd[i], (char[]){(char)('0' + i), '\0'});
}

static unsigned crowd_heard(struct user *const crowd[CROWD])
{
    unsigned n = 0;

    for (int i = 0; i < CROWD; i++) {
        if (crowd[i]->slices == 0)
            continue;
        ck_assert_int_eq(crowd[i]->last, '0' + i);
        n++;
    }
    return n;
}

static void crowd_free(struct user *crowd[CROWD])
{
    for (int i = 0; i < CROWD; i++)
        user_free(crowd[i], false);
    shut();
}

START_TEST(when_the_ring_is_empty_receives_wait_and_all_are_served)
{
    struct user *crowd[CROWD];

    crowd_open(crowd, SMALL_BUDGET, false);
    ck_assert_uint_lt(engine()->small.count, CROWD);
    UNTIL(crowd_heard(crowd) == CROWD);
    crowd_free(crowd);
}
END_TEST

START_TEST(when_all_ring_buffers_are_claimed_receives_get_others_from_memory)
{
    struct user *crowd[CROWD];

    crowd_open(crowd, SMALL_BUDGET, true);
    uint64_t before = io->now_ns;
    UNTIL(crowd_heard(crowd) == CROWD);
    ck_assert_uint_lt(io->now_ns - before, NS_PER_S / 2);
    ck_assert_uint_eq(engine()->small.out, engine()->small.count);
    ck_assert_uint_gt(atomic_load(&io->stats.buffers_empty), 0);
    crowd_free(crowd);
}
END_TEST

START_TEST(when_the_budget_is_claimed_too_receives_wait_without_being_busy)
{
    struct user *crowd[CROWD];

    crowd_open(crowd, 320 * 1024, true); /* 8 in the ring, not 40 in all */
    for (int i = 0; i < 40; i++)
        io_turn(io, NS_PER_MS);
    unsigned heard = crowd_heard(crowd);
    ck_assert_uint_ge(heard, engine()->small.count);
    ck_assert_uint_lt(heard, CROWD);
    ck_assert(!list_empty(&engine()->starved));

    uint64_t enters = atomic_load(&io->stats.submissions);
    uint64_t end = io->now_ns + 100 * NS_PER_MS;
    while (io->now_ns < end)
        io_turn(io, end - io->now_ns);
    ck_assert_uint_lt(atomic_load(&io->stats.submissions) - enters, 60);

    /* One of those waiting is cancelled, another closed: neither is forgotten. */
    for (int i = 0, n = 0; i < CROWD && n < 2; i++) {
        if (crowd[i]->slices == 0 && n++ == 0) {
            io_cancel(io, &crowd[i]->recv);
            UNTIL(!io_busy(&crowd[i]->recv));
            ck_assert_int_eq(crowd[i]->fail, FAIL_CANCELLED);
            ask(crowd[i]);
        }
    }
    for (int i = 0; i < CROWD; i++) { /* claims are given up one by one */
        if (crowd[i]->kept)
            buf_unref(crowd[i]->kept);
        crowd[i]->kept = NULL;
        crowd[i]->claims = false;
    }
    UNTIL(crowd_heard(crowd) == CROWD);
    crowd_free(crowd);
}
END_TEST

START_TEST(when_no_memory_is_left_operations_fail_and_the_engine_goes_on)
{
    open_plain();
    struct user *u = user_pair(0);

    mem_fail_at(1, 1);
    ask(u);
    mem_fail_at(0, 0);
    ck_assert(io_busy(&u->recv)); /* not from inside the call */
    uint64_t before = io->now_ns;
    io_turn(io, NS_PER_S);
    ck_assert_uint_lt(io->now_ns - before, NS_PER_S / 2);
    ck_assert_int_eq(u->fail, FAIL_MEMORY);
    u->fail = 0;
    say(u, "a");
    ask(u);
    UNTIL(u->last == 'a');
    user_free(u, false);
    shut();
}
END_TEST

START_TEST(opening_survives_every_allocation_that_fails)
{
    struct io_options options = {0};
    const char *why;
    int fail = -1;

    for (uint64_t n = 1; fail < 0 && n < 100; n++) {
        mem_fail_at(n, 0);
        fail = io_open(&io, &io_uring_backend, &options, &why);
        mem_fail_at(0, 0);
        ck_assert(fail == 0 || why);
    }
    ck_assert_int_eq(fail, 0);
    shut();
}
END_TEST

/* --- rings that are full --------------------------------------------------------------- */

enum { MANY = 5000 };

struct many {
    struct owner owner;
    struct io_sock sock[MANY];
    struct io_op op[MANY];
};

static void many_step(struct owner *owner)
{
    (void)owner;
}

START_TEST(more_operations_than_the_rings_hold_complete_in_one_turn)
{
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    int n = limit.rlim_max > MANY + 100 ? MANY : (int)limit.rlim_max - 100;
    struct many *m = calloc(1, sizeof *m);
    open_with((struct io_options){.sockets_max = 10}); /* the smallest completion ring */
    int fd = eventfd(1, EFD_CLOEXEC);
    owner_init(&m->owner, &io->owners, many_step);
    for (int i = 0; i < n; i++) {
        io_adopt(io, &m->sock[i], dup(fd));
        m->op[i].owner = &m->owner;
        io_poll(io, &m->op[i], &m->sock[i]);
    }
    turns(1);
    for (int i = 0; i < n; i++) {
        ck_assert(io_take(&m->op[i]) && m->op[i].fail == 0);
        io_close(io, &m->sock[i]);
    }
    if (n == MANY)
        ck_assert_uint_gt(atomic_load(&io->stats.ring_overflows), 0);
    owner_retire(&m->owner);
    close(fd);
    shut();
    free(m);
}
END_TEST

START_TEST(connecting_to_a_full_unix_backlog_fails_and_occupies_no_thread)
{
    struct io_listen spec = {.at.family = ADDRESS_UNIX, .backlog = 1};
    struct many *m = calloc(1, sizeof *m);
    int fd, full = 0;

    spec.at.path_len = (uint8_t)snprintf(spec.at.path + 1, 40, "headgate-test-%d", getpid());
    spec.at.path_len++; /* an abstract name */
    open_plain();
    ck_assert_int_eq(io_listen(&io_uring_backend, NULL, &spec, &fd), 0);
    owner_init(&m->owner, &io->owners, many_step);
    for (int i = 0; i < 6; i++) {
        m->sock[i].fd = -1;
        m->op[i].owner = &m->owner;
        io_connect(io, &m->op[i], &m->sock[i], &spec.at);
    }
    for (int i = 0; i < 6; i++) {
        UNTIL(!io_busy(&m->op[i]));
        full += m->op[i].fail == FAIL_FULL;
        io_close(io, &m->sock[i]);
    }
    ck_assert_int_eq(full, 4);
    owner_retire(&m->owner);
    close(fd);
    shut();
    free(m);
}
END_TEST

/* --- files --------------------------------------------------------------------------------- */

enum { FILE_SIZE = 3 * 1024 * 1024 + 77 };

/* On a disk, and in memory only: file systems differ in what they can say at once. */
static int file_made(int kind, const unsigned char *content)
{
    char name[] = "uring-file-XXXXXX";
    int fd = kind == 0 ? mkstemp(name) : memfd_create("uring", MFD_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    if (kind == 0)
        unlink(name);
    ck_assert_int_eq(write(fd, content, FILE_SIZE), FILE_SIZE);
    return fd;
}

/* The reader takes a little only when the sender waits for it. */
static void file_sent_slowly(struct user *u, int fd, unsigned char *got)
{
    size_t done = 0, sent = 0;
    unsigned waited = 0;
    int narrow = 32 * 1024;

    setsockopt(u->sock.fd, SOL_SOCKET, SO_SNDBUF, &narrow, sizeof narrow);
    setsockopt(u->peer, SOL_SOCKET, SO_RCVBUF, &narrow, sizeof narrow);

    for (int i = 0; done < FILE_SIZE && i < 10000000; i++) {
        if (!io_busy(&u->send) && sent < FILE_SIZE)
            io_send_file(io, &u->send, &u->sock, fd, sent, FILE_SIZE - (uint32_t)sent);
        turns(1);
        if (io_take(&u->send)) {
            ck_assert_int_eq(u->send.fail, 0);
            sent += u->send.count;
            continue;
        }
        if (io_busy(&u->send) && u->send.state != OP_SUBMITTED)
            continue; /* still reading the file */
        if (io_busy(&u->send)) {
            ck_assert_uint_eq(io->bufs.out, 0);
            waited++;
        }
        size_t want = FILE_SIZE - done < 5000 ? FILE_SIZE - done : 5000;
        ssize_t n = recv(u->peer, got + done, want, MSG_DONTWAIT);
        done += n > 0 ? (size_t)n : 0;
    }
    ck_assert_uint_eq(done, FILE_SIZE);
    ck_assert_uint_gt(waited, 100);
}

START_TEST(a_file_reaches_a_slow_reader_and_holds_no_buffer_meanwhile)
{
    static unsigned char content[FILE_SIZE], got[FILE_SIZE];

    for (size_t i = 0; i < FILE_SIZE; i++)
        content[i] = (unsigned char)(i * 31 / 7);
    int fd = file_made(_i, content);
    open_plain();
    struct user *u = user_tcp();
    file_sent_slowly(u, fd, got);
    ck_assert(memcmp(content, got, FILE_SIZE) == 0);
    io_send_file(io, &u->send, &u->sock, fd, FILE_SIZE, 10);
    UNTIL(!io_busy(&u->send));
    ck_assert_int_eq(u->send.fail, FAIL_IO); /* it ended */
    user_free(u, false);
    shut();
    close(fd);
}
END_TEST

START_TEST(a_file_that_waits_for_its_reader_can_be_cancelled)
{
    static unsigned char content[FILE_SIZE];

    int fd = file_made(_i, content);
    open_plain();
    struct user *u = user_pair(0);
    for (int i = 0; i < 2; i++) { /* once knowing that the socket is full */
        do {
            io_send_file(io, &u->send, &u->sock, fd, 0, FILE_SIZE);
            uint64_t end = io->now_ns + 20 * NS_PER_MS;
            while (io_busy(&u->send) && (io->now_ns < end || u->send.state == OP_REQUEST))
                turns(1);
        } while (io_take(&u->send));
        ck_assert_int_eq(u->send.state, OP_SUBMITTED);
        io_cancel(io, &u->send);
        UNTIL(!io_busy(&u->send));
        ck_assert_int_eq(u->send.fail, FAIL_CANCELLED);
        io_take(&u->send);
    }
    ck_assert_uint_eq(io->bufs.out, 0);
    user_free(u, false);
    shut();
    close(fd);
}
END_TEST

/* What is not in memory is read by a request; procfs has nothing in memory. */
START_TEST(a_file_that_must_be_read_first_is_sent_too)
{
    char got[64] = "";
    int fd = open("/proc/self/comm", O_RDONLY | O_CLOEXEC);

    open_plain();
    struct user *u = user_pair(0);
    for (int i = 0; i < 2; i++) {
        io_send_file(io, &u->send, &u->sock, fd, 0, 4096);
        if (i == 1)
            io_cancel(io, &u->send);
        UNTIL(!io_busy(&u->send));
        ck_assert(u->send.fail == 0 || (i == 1 && u->send.fail == FAIL_CANCELLED));
    }
    ck_assert_int_gt(recv(u->peer, got, sizeof got - 1, MSG_DONTWAIT), 1);
    ck_assert_ptr_nonnull(strchr(got, '\n'));
    ck_assert_uint_eq(io->bufs.out, 0);
    user_free(u, false);
    shut();
    close(fd);
}
END_TEST

/* --- where it is forbidden ------------------------------------------------------------------- */

static void forbid(unsigned action)
{
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, action),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {.len = 4, .filter = program};

    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) < 0)
        _exit(77);
}

/* Whether `why` has `word` in it, in a process where io_uring_setup(2) does that. */
static void refused_with(unsigned action, const char *word)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        const char *why = "";
        forbid(action);
        bool usable = io_backend_usable(&io_uring_backend, &why);
        _exit(!usable && strstr(why, word) ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    ck_assert(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 77);
}

START_TEST(where_it_is_forbidden_it_says_so)
{
    refused_with(SECCOMP_RET_ERRNO | EPERM, "seccomp");
    refused_with(SECCOMP_RET_ERRNO | ENOSYS, "no io_uring");
    refused_with(SECCOMP_RET_ERRNO | EINVAL, "6.1");
    refused_with(SECCOMP_RET_ERRNO | ENOMEM, "memory");
}
END_TEST

START_TEST(a_filter_that_kills_kills_only_the_attempt)
{
    refused_with(SECCOMP_RET_KILL_PROCESS, "ends the process");
}
END_TEST

Suite *uring_limits_suite(void)
{
    const char *why = "";
    Suite *suite = suite_create("uring_limits");
    TCase *tc = tcase_create("uring_limits");

    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, where_it_is_forbidden_it_says_so);
    tcase_add_test(tc, a_filter_that_kills_kills_only_the_attempt);
    suite_add_tcase(suite, tc);
    if (!io_backend_usable(&io_uring_backend, &why))
        return suite; /* containers often forbid it */
    tcase_add_test(tc, when_the_ring_is_empty_receives_wait_and_all_are_served);
    tcase_add_test(tc, when_all_ring_buffers_are_claimed_receives_get_others_from_memory);
    tcase_add_test(tc, when_the_budget_is_claimed_too_receives_wait_without_being_busy);
    tcase_add_test(tc, when_no_memory_is_left_operations_fail_and_the_engine_goes_on);
    tcase_add_test(tc, opening_survives_every_allocation_that_fails);
    tcase_add_test(tc, more_operations_than_the_rings_hold_complete_in_one_turn);
    tcase_add_test(tc, connecting_to_a_full_unix_backlog_fails_and_occupies_no_thread);
    tcase_add_loop_test(tc, a_file_reaches_a_slow_reader_and_holds_no_buffer_meanwhile, 0, 2);
    tcase_add_loop_test(tc, a_file_that_waits_for_its_reader_can_be_cancelled, 0, 2);
    tcase_add_test(tc, a_file_that_must_be_read_first_is_sent_too);
    return suite;
}
