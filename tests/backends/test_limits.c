/* Running out of descriptors and of memory, and going on afterwards. */
#include "tests/backends/backends.h"

#include "base/mem.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { ROOM = 12, CROWD = 20 };

static struct listener l;

/* The limit of this process becomes what it has open and `more`. */
static void limit_descriptors(unsigned more)
{
    struct rlimit limit;
    int next = dup(0);

    CHECK(next >= 0);
    close(next);
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = (rlim_t)next + more;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

static void unlimit_descriptors(void)
{
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

/* Both the system's limit and the engine's own are there to be reached. */
static void without_descriptors_accepting_fails_and_recovers(void)
{
    struct io *io = NULL;
    const char *why;
    int clients[CROWD];
    struct io_options options = {.sockets_max = ROOM + 1};

    CHECK_EQUAL(io_open(&io, backend, &options, &why), 0);
    listener_open(&l, io, 0);
    l.stop = true;
    for (unsigned i = 0; i < CROWD; i++)
        clients[i] = plain_connect(&l.at);
    limit_descriptors(ROOM);
    while (l.fail == 0) {
        CHECK(l.count < CROWD);
        io_accept(io, &l.accepts[0], &l.sock);
        TURN_UNTIL(io, !io_busy(&l.accepts[0].op));
    }
    CHECK_EQUAL(l.fail, FAIL_DESCRIPTORS);
    unsigned before = l.count;
    CHECK(before > 0);
    /* One goes, one comes. */
    io_discard(io, l.accepted[0].fd);
    turn_some(io);
    l.fail = 0;
    io_accept(io, &l.accepts[1], &l.sock);
    TURN_UNTIL(io, !io_busy(&l.accepts[1].op));
    CHECK_EQUAL(l.fail, 0);
    CHECK_EQUAL(l.count, before + 1);
    unlimit_descriptors();
    for (unsigned i = 1; i < l.count; i++)
        io_discard(io, l.accepted[i].fd);
    for (unsigned i = 0; i < CROWD; i++)
        close(clients[i]);
    listener_close(&l);
    engine_close(io);
}

static void without_descriptors_connecting_fails_and_recovers(void)
{
    struct io *io = NULL;
    const char *why;
    struct io_options options = {.sockets_max = ROOM};
    struct address at;
    struct peer p[CROWD];
    unsigned count = 0;
    int fd = listen_plain(&at);

    CHECK_EQUAL(io_open(&io, backend, &options, &why), 0);
    limit_descriptors(ROOM);
    for (;; count++) {
        CHECK(count < CROWD);
        peer_init(&p[count], io);
        io_connect(io, &p[count].send, &p[count].sock, &at);
        TURN_UNTIL(io, p[count].sends == 1);
        if (p[count].send_fail < 0)
            break;
    }
    CHECK_EQUAL(p[count].send_fail, FAIL_DESCRIPTORS);
    CHECK_EQUAL(p[count].sock.fd, -1);
    CHECK(count > 0);
    peer_close(&p[0]);
    turn_some(io);
    io_connect(io, &p[count].send, &p[count].sock, &at);
    TURN_UNTIL(io, p[count].sends == 2);
    CHECK_EQUAL(p[count].send_fail, 0);
    unlimit_descriptors();
    for (unsigned i = 1; i <= count; i++)
        peer_close(&p[i]);
    io_listen_close(backend, NULL, fd);
    engine_close(io);
}

/* Opening either works or fails cleanly, whichever allocation fails. */
static void an_engine_opens_or_fails_whichever_allocation_fails(void)
{
    struct io *io;
    const char *why;
    int err = FAIL_MEMORY;

    for (unsigned n = 1; err == FAIL_MEMORY; n++) {
        CHECK(n < 100);
        io = NULL;
        mem_fail_at(n, 0);
        err = io_open(&io, backend, &(struct io_options){.sockets_max = 100}, &why);
        mem_fail_at(0, 0);
        if (err < 0)
            CHECK(io == NULL && why != NULL);
    }
    CHECK_EQUAL(err, 0);
    engine_close(io);
}

/* A receive that finds no memory waits until there is some. */
static void a_receive_without_memory_is_late_not_lost(void)
{
    struct io *io = engine_open();
    struct peer p;
    int fd = peer_pair(&p, io);
    char text[] = "0123456789";

    peer_read(&p);
    mem_fail_at(1, 1);
    plain_write(fd, text, 10);
    turn_some(io); /* an engine with buffers in reserve has received by now */
    mem_fail_at(0, 0);
    TURN_UNTIL(io, p.got_len == 10);
    CHECK(memcmp(p.got, text, 10) == 0);
    CHECK_EQUAL(p.end, 0);
    close(fd);
    peer_close(&p);
    engine_close(io);
}

static void nothing(int number)
{
    (void)number;
}

/* Signals interrupt system calls all the time. */
static void interruptions_are_harmless(void)
{
    struct io *io = engine_open();
    struct peer p;
    int fd = peer_pair(&p, io);
    struct sigaction action = {.sa_handler = nothing};
    struct itimerval often = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};

    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    peer_read(&p);
    for (unsigned i = 0; i < 200; i++) {
        struct io_vec vec = {&i, sizeof i};
        unsigned back = 0;
        CHECK(io_turn(io, NS_PER_MS));
        io_send(io, &p.send, &p.sock, &vec, 1);
        TURN_UNTIL(io, !io_busy(&p.send));
        CHECK_EQUAL(p.send_fail, 0);
        while (recv(fd, &back, sizeof back, 0) < 0)
            CHECK(errno == EINTR);
        CHECK_EQUAL(back, i);
        while (send(fd, &i, sizeof i, 0) < 0)
            CHECK(errno == EINTR);
        TURN_UNTIL(io, p.got_len == sizeof i);
        p.got_len = 0;
        CHECK_EQUAL(p.end, 0);
    }
    setitimer(ITIMER_REAL, &never, NULL);
    close(fd);
    peer_close(&p);
    engine_close(io);
}

const struct test limit_tests[] = {
    {"without_descriptors_accepting_fails_and_recovers",
     without_descriptors_accepting_fails_and_recovers},
    {"without_descriptors_connecting_fails_and_recovers",
     without_descriptors_connecting_fails_and_recovers},
    {"an_engine_opens_or_fails_whichever_allocation_fails",
     an_engine_opens_or_fails_whichever_allocation_fails},
    {"a_receive_without_memory_is_late_not_lost", a_receive_without_memory_is_late_not_lost},
    {"interruptions_are_harmless", interruptions_are_harmless},
    {0},
};
