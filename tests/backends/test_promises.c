/* The four promises of io.h. */
#include "tests/backends/backends.h"

#include <sys/socket.h>
#include <unistd.h>

static void an_operation_completes_exactly_once(void)
{
    struct io *io = engine_open();
    struct peer p;
    int fd = peer_pair(&p, io);
    struct io_vec vec = {(void *)"hello", 5};

    io_recv(io, &p.recv, &p.sock, IO_ROOM_SMALL);
    io_send(io, &p.send, &p.sock, &vec, 1);
    plain_write(fd, "one", 3);
    TURN_UNTIL(io, !io_busy(&p.recv) && !io_busy(&p.send));
    plain_write(fd, "two", 3); /* would tempt a receive that is over */
    turn_some(io);
    CHECK_EQUAL(p.receives, 1);
    CHECK_EQUAL(p.sends, 1);
    CHECK_EQUAL(p.got_len, 3);
    CHECK(!p.recv.done && !p.send.done);
    /* A cancel that comes too late changes nothing. */
    io_cancel(io, &p.recv);
    io_cancel(io, &p.send);
    turn_some(io);
    CHECK_EQUAL(p.receives, 1);
    CHECK_EQUAL(p.sends, 1);
    close(fd);
    peer_close(&p);
    engine_close(io);
}

/* Everything here could succeed at once, and none of it does. */
static void completions_come_from_a_turn_only(void)
{
    struct io *io = engine_open();
    struct peer p, c;
    struct listener l;
    int fd = peer_pair(&p, io);
    struct io_vec vec = {(void *)"hello", 5};

    plain_write(fd, "bytes", 5);
    listener_open(&l, io, 0);
    l.stop = true;
    int waiting = plain_connect(&l.at);
    unsigned steps = p.steps;

    io_recv(io, &p.recv, &p.sock, IO_ROOM_SMALL);
    CHECK(io_busy(&p.recv) && !p.recv.done);
    io_send(io, &p.send, &p.sock, &vec, 1);
    CHECK(io_busy(&p.send) && !p.send.done);
    io_accept(io, &l.accepts[0], &l.sock);
    CHECK(io_busy(&l.accepts[0].op) && !l.accepts[0].op.done);
    peer_init(&c, io);
    io_connect(io, &c.send, &c.sock, &l.at);
    CHECK(io_busy(&c.send) && !c.send.done);
    io_cancel(io, &c.send);
    CHECK(io_busy(&c.send) && !c.send.done);
    io_cancel(io, &p.recv);
    CHECK(io_busy(&p.recv) && !p.recv.done);
    CHECK_EQUAL(p.steps, steps);

    TURN_UNTIL(io, io->busy == 0);
    TURN_UNTIL(io, p.sends == 1 && p.receives == 1 && c.sends == 1 && l.count == 1);
    io_discard(io, l.accepted[0].fd);
    close(waiting);
    close(fd);
    peer_close(&c);
    peer_close(&p);
    listener_close(&l);
    engine_close(io);
}

static void a_cancelled_operation_still_completes(void)
{
    struct io *io = engine_open();
    struct peer p;
    struct listener l;
    int fd = peer_pair(&p, io);

    io_recv(io, &p.recv, &p.sock, IO_ROOM_SMALL);
    turn_some(io); /* it waits inside the kernel by now, where the engine has that */
    CHECK(io_busy(&p.recv));
    io_cancel(io, &p.recv);
    io_cancel(io, &p.recv); /* twice is once */
    TURN_UNTIL(io, p.receives == 1);
    CHECK_EQUAL(p.end, FAIL_CANCELLED);

    listener_open(&l, io, ACCEPTS);
    turn_some(io);
    io_cancel(io, &l.accepts[3].op);
    TURN_UNTIL(io, l.fail == FAIL_CANCELLED);
    CHECK(!io_busy(&l.accepts[3].op) && io_busy(&l.accepts[2].op));
    listener_close(&l);
    close(fd);
    peer_close(&p);
    engine_close(io);
}

/* Whoever wins, no byte is lost: cancelled means that nothing was taken. */
static void a_receive_that_was_cancelled_loses_no_bytes(void)
{
    struct io *io = engine_open();
    struct peer p;
    int fd = peer_pair(&p, io);
    char sent[3];

    for (unsigned i = 0; i < 300; i++) {
        memset(sent, (int)('a' + i % 26), sizeof sent);
        io_recv(io, &p.recv, &p.sock, IO_ROOM_SMALL);
        if (i % 3 == 1)
            CHECK(io_turn(io, 0));
        if (i % 5 != 0)
            plain_write(fd, sent, sizeof sent);
        if (i % 4 == 2)
            CHECK(io_turn(io, 0));
        io_cancel(io, &p.recv);
        TURN_UNTIL(io, !io_busy(&p.recv));
        if (i % 5 == 0)
            plain_write(fd, sent, sizeof sent);
    }
    CHECK(p.end == 0 || p.end == FAIL_CANCELLED);
    p.end = 0;
    peer_read(&p);
    TURN_UNTIL(io, p.got_len == 900);
    for (unsigned i = 0; i < 900; i++)
        CHECK_EQUAL(p.got[i], (char)('a' + i / 3 % 26));
    close(fd);
    peer_close(&p);
    engine_close(io);
}

/* Fills the memory of an object whose operations are idle and keeps an eye on it. */
static void after_completion_the_memory_is_the_owners(void)
{
    struct io *io = engine_open();
    struct peer *p = malloc(sizeof *p);
    static const unsigned char junk = 0xa5;

    CHECK(p);
    int fd = peer_pair(p, io);
    peer_read(p);
    plain_write(fd, "bytes", 5);
    TURN_UNTIL(io, p->got_len == 5);
    peer_close(p);
    memset(p, junk, sizeof *p);
    (void)send(fd, "late bytes", 10, MSG_NOSIGNAL);
    plain_reset(fd);
    turn_some(io);
    for (size_t i = 0; i < sizeof *p; i++)
        CHECK_EQUAL(((unsigned char *)p)[i], junk);
    free(p);
    engine_close(io);
}

/* The next socket often has the number of the one before. */
static void a_closed_socket_leaves_nothing_to_its_successor(void)
{
    struct io *io = engine_open();
    struct listener l;
    struct peer p;

    listener_open(&l, io, ACCEPTS);
    for (unsigned i = 0; i < 200; i++) {
        int fd = plain_connect(&l.at);
        TURN_UNTIL(io, l.count == i + 1);
        peer_adopt(&p, io, l.accepted[i].fd);
        peer_read(&p);
        if (i % 2)
            CHECK(io_turn(io, 0));
        plain_write(fd, &i, sizeof i);
        TURN_UNTIL(io, p.got_len == sizeof i);
        CHECK(memcmp(p.got, &i, sizeof i) == 0);
        plain_write(fd, "unread", 6); /* an event for a socket that is about to go */
        if (i % 3 == 0)
            plain_reset(fd);
        else
            close(fd);
        peer_close(&p);
    }
    listener_close(&l);
    CHECK_EQUAL(io->sockets, 0);
    CHECK_EQUAL(io->stats.closes, 201);
    engine_close(io);
}

/* What a step does not claim is gone, what it claims stays as it was. */
struct claimer {
    struct owner owner;
    struct io_sock sock;
    struct io_op recv;
    struct slice slices[40];
    unsigned count;
};

static void claimer_step(struct owner *o)
{
    struct claimer *c = container_of(o, struct claimer, owner);

    if (!io_take(&c->recv))
        return;
    CHECK_EQUAL(c->recv.fail, 0);
    c->slices[c->count] = c->recv.slice;
    buf_ref(c->slices[c->count++].buf);
}

static void a_claimed_slice_stays_and_does_not_stop_the_others(void)
{
    struct io *io = engine_open();
    struct peer p;
    struct claimer c = {0};
    int fd = peer_pair(&p, io);

    owner_init(&c.owner, &io->owners, claimer_step);
    c.recv.owner = &c.owner;
    for (unsigned i = 0; i < COUNT_OF(c.slices); i++) {
        io_recv(io, &c.recv, &p.sock, IO_ROOM_SMALL);
        plain_write(fd, &i, sizeof i);
        TURN_UNTIL(io, c.count == i + 1);
    }
    for (unsigned i = 0; i < COUNT_OF(c.slices); i++) {
        CHECK_EQUAL(c.slices[i].len, sizeof i);
        CHECK(memcmp(c.slices[i].ptr, &i, sizeof i) == 0);
        buf_unref(c.slices[i].buf);
    }
    owner_retire(&c.owner);
    close(fd);
    peer_close(&p);
    CHECK(io_turn(io, 0));
    CHECK_EQUAL(io->stats.buffers_out, 0);
    engine_close(io);
}

const struct test promise_tests[] = {
    {"an_operation_completes_exactly_once", an_operation_completes_exactly_once},
    {"completions_come_from_a_turn_only", completions_come_from_a_turn_only},
    {"a_cancelled_operation_still_completes", a_cancelled_operation_still_completes},
    {"a_receive_that_was_cancelled_loses_no_bytes", a_receive_that_was_cancelled_loses_no_bytes},
    {"after_completion_the_memory_is_the_owners", after_completion_the_memory_is_the_owners},
    {"a_closed_socket_leaves_nothing_to_its_successor",
     a_closed_socket_leaves_nothing_to_its_successor},
    {"a_claimed_slice_stays_and_does_not_stop_the_others",
     a_claimed_slice_stays_and_does_not_stop_the_others},
    {0},
};
