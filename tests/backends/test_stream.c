/* Bytes through streams: order, shortness, ends, refusals. */
#include "tests/backends/backends.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- 10 MB both ways through two ends in one engine ------------------------------ */

enum { ECHO_BYTES = 10 * 1024 * 1024, ECHO_CHUNK = 100 * 1000, ECHO_VECS = 7 };

struct echo { /* the server: sends what it received, before it receives more */
    struct owner owner;
    struct io *io;
    struct io_sock sock;
    struct io_op recv, send;
    struct slice slice; /* claimed; what is still to be sent */
    struct io_vec vec;
    uint64_t total;
    bool ended;
};

static void echo_step(struct owner *o)
{
    struct echo *e = container_of(o, struct echo, owner);

    if (io_take(&e->recv)) {
        if (e->recv.fail == FAIL_CLOSED) {
            e->ended = true;
            io_shutdown(e->io, &e->sock);
            return;
        }
        CHECK_EQUAL(e->recv.fail, 0);
        e->slice = e->recv.slice;
        buf_ref(e->slice.buf);
    }
    if (io_take(&e->send)) {
        CHECK_EQUAL(e->send.fail, 0);
        CHECK(e->send.count > 0 && e->send.count <= e->slice.len);
        e->slice.ptr += e->send.count;
        e->slice.len -= e->send.count;
        e->total += e->send.count;
        if (e->slice.len == 0) {
            buf_unref(e->slice.buf);
            e->slice.buf = NULL;
        }
    }
    if (e->slice.buf && !io_busy(&e->send)) {
        e->vec = (struct io_vec){(void *)e->slice.ptr, e->slice.len};
        io_send(e->io, &e->send, &e->sock, &e->vec, 1);
    }
    if (!e->slice.buf && !io_busy(&e->recv))
        io_recv(e->io, &e->recv, &e->sock, IO_ROOM_BULK);
}

struct client { /* writes a pattern, reads it back, both at the same time */
    struct owner owner;
    struct io *io;
    struct io_sock sock;
    struct io_op recv, send;
    char chunk[ECHO_CHUNK];
    struct io_vec vec[ECHO_VECS];
    uint64_t sent, seen;
    bool connected, finished, ended;
};

static void client_offer(struct client *c)
{
    uint64_t left = ECHO_BYTES - c->sent;
    size_t n = left < ECHO_CHUNK ? (size_t)left : ECHO_CHUNK, at = 0;

    for (size_t i = 0; i < n; i++)
        c->chunk[i] = pattern(1, c->sent + i);
    for (unsigned i = 0; i < ECHO_VECS; i++) {
        size_t piece = i + 1 < ECHO_VECS ? n / 22 * i : n - at; /* the first is empty */
        c->vec[i] = (struct io_vec){c->chunk + at, piece};
        at += piece;
    }
    io_send(c->io, &c->send, &c->sock, c->vec, ECHO_VECS);
}

static void client_step(struct owner *o)
{
    struct client *c = container_of(o, struct client, owner);

    if (io_take(&c->send)) {
        CHECK_EQUAL(c->send.fail, 0);
        if (c->connected)
            CHECK(c->send.count > 0);
        c->connected = true;
        c->sent += c->send.count;
    }
    if (io_take(&c->recv)) {
        c->ended = c->recv.fail == FAIL_CLOSED;
        CHECK(c->ended || c->recv.fail == 0);
        for (uint32_t i = 0; i < c->recv.slice.len; i++)
            CHECK_EQUAL(c->recv.slice.ptr[i], pattern(1, c->seen + i));
        c->seen += c->recv.slice.len;
    }
    if (!c->connected)
        return;
    if (!io_busy(&c->send) && c->sent < ECHO_BYTES) {
        client_offer(c);
    } else if (!io_busy(&c->send) && !c->finished) {
        c->finished = true;
        io_shutdown(c->io, &c->sock);
    }
    if (!io_busy(&c->recv) && !c->ended)
        io_recv(c->io, &c->recv, &c->sock, IO_ROOM_BULK);
}

/* Little room in the kernel makes for short sends and receives. */
static void small_buffers(int fd)
{
    int size = 20000;

    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

static void ten_megabytes_are_echoed_in_order(void)
{
    struct io *io = engine_open();
    static struct listener l;
    static struct client c;
    struct echo e = {.io = io};

    listener_open(&l, io, 0);
    l.stop = true;
    small_buffers(l.sock.fd);
    io_accept(io, &l.accepts[0], &l.sock);
    c.io = io;
    c.sock.fd = -1;
    owner_init(&c.owner, &io->owners, client_step);
    c.recv.owner = c.send.owner = &c.owner;
    io_connect(io, &c.send, &c.sock, &l.at);
    TURN_UNTIL(io, l.count == 1);
    owner_init(&e.owner, &io->owners, echo_step);
    e.recv.owner = e.send.owner = &e.owner;
    io_adopt(io, &e.sock, l.accepted[0].fd);
    owner_wake(&e.owner);
    TURN_UNTIL(io, c.ended);
    CHECK_EQUAL(c.seen, ECHO_BYTES);
    CHECK_EQUAL(e.total, ECHO_BYTES);
    CHECK(e.ended);
    CHECK_EQUAL(io->stats.bytes_in, 2 * ECHO_BYTES);
    CHECK_EQUAL(io->stats.bytes_out, 2 * ECHO_BYTES);
    CHECK_EQUAL(io->stats.connects, 1);
    io_close(io, &e.sock);
    io_close(io, &c.sock);
    owner_retire(&e.owner);
    owner_retire(&c.owner);
    listener_close(&l);
    engine_close(io);
}

/* --- ends --------------------------------------------------------------------------- */

static void half_closed_streams_still_carry_the_other_way(void)
{
    struct io *io = engine_open();
    struct peer p;
    int fd = peer_pair(&p, io);
    char text[16];
    struct io_vec vec = {(void *)"answer", 6};

    plain_write(fd, "question", 8);
    shutdown(fd, SHUT_WR);
    peer_read(&p);
    TURN_UNTIL(io, p.end);
    CHECK_EQUAL(p.end, FAIL_CLOSED);
    CHECK_EQUAL(p.got_len, 8);
    io_send(io, &p.send, &p.sock, &vec, 1);
    TURN_UNTIL(io, p.sends == 1);
    CHECK_EQUAL(p.send_count, 6);
    io_shutdown(io, &p.sock);
    turn_some(io);
    CHECK_EQUAL(plain_read(fd, text, sizeof text), 6);
    close(fd);
    peer_close(&p);

    /* Our end first. */
    fd = peer_pair(&p, io);
    io_shutdown(io, &p.sock);
    turn_some(io);
    CHECK_EQUAL(plain_read(fd, text, sizeof text), 0);
    plain_write(fd, "late", 4);
    close(fd);
    peer_read(&p);
    TURN_UNTIL(io, p.end);
    CHECK_EQUAL(p.end, FAIL_CLOSED);
    CHECK_EQUAL(p.got_len, 4);
    peer_close(&p);
    engine_close(io);
}

/* How long the peer waits for it. */
static uint64_t goodbye_takes(struct io *io, bool receives, bool shuts_down)
{
    struct io_vec vec = {(void *)"goodbye", 7};
    struct peer p;
    int fd = peer_pair(&p, io);
    char text[16];

    if (receives) {
        peer_read(&p);
        plain_write(fd, "a", 1);
        TURN_UNTIL(io, p.got_len == 1);
    }
    io_send_more(io, &p.send, &p.sock, &vec, 1);
    TURN_UNTIL(io, p.sends == 1);
    CHECK_EQUAL(p.send_count, 7);
    uint64_t before = real_ns();
    if (shuts_down)
        io_shutdown(io, &p.sock);
    else
        peer_close(&p);
    turn_some(io);
    CHECK_EQUAL(plain_read(fd, text, sizeof text), 7);
    CHECK_EQUAL(plain_read(fd, text, sizeof text), 0);
    uint64_t took = real_ns() - before;
    close(fd);
    if (shuts_down)
        peer_close(&p);
    return took;
}

/* Whether a receive is under way or not, and whoever ends it.  The machine may be held up, but not
 * always. */
static void what_has_more_to_come_leaves_with_the_end(void)
{
    const uint64_t kernel_waits = 200 * NS_PER_MS;
    struct io *io = engine_open();

    for (int how = 0; how < 4; how++) {
        uint64_t took = kernel_waits;
        for (int i = 0; i < 10 && took >= kernel_waits * 3 / 4; i++)
            took = goodbye_takes(io, how & 1, how & 2);
        CHECK(took < kernel_waits * 3 / 4);
    }
    engine_close(io);
}

/* The end may come with the bytes, just after them, or much later. */
static void the_end_is_noticed_whenever_it_comes(void)
{
    struct io *io = engine_open();
    struct peer p;

    for (int when = 0; when < 4; when++) {
        int fd = peer_pair(&p, io);
        if (when > 0)
            peer_read(&p);
        if (when == 1)
            turn_some(io);
        plain_write(fd, "bytes", 5);
        if (when == 2)
            CHECK(io_turn(io, 0));
        if (when == 3)
            TURN_UNTIL(io, p.got_len == 5);
        close(fd);
        if (when == 0)
            peer_read(&p);
        TURN_UNTIL(io, p.end);
        CHECK_EQUAL(p.end, FAIL_CLOSED);
        CHECK_EQUAL(p.got_len, 5);
        peer_close(&p);
    }
    engine_close(io);
}

static void a_reset_is_told_from_an_end(void)
{
    struct io *io = engine_open();
    struct peer p;
    int fd = peer_pair(&p, io);
    struct io_vec vec = {(void *)"x", 1};
    char byte;

    peer_read(&p);
    turn_some(io);
    plain_reset(fd);
    TURN_UNTIL(io, p.end);
    CHECK_EQUAL(p.end, FAIL_RESET);
    io_send(io, &p.send, &p.sock, &vec, 1);
    TURN_UNTIL(io, p.sends == 1);
    CHECK_EQUAL(p.send_fail, FAIL_RESET);
    peer_close(&p);

    fd = peer_pair(&p, io);
    io_reset(io, &p.sock);
    turn_some(io);
    CHECK(recv(fd, &byte, 1, 0) < 0 && errno == ECONNRESET);
    close(fd);
    peer_close(&p);
    engine_close(io);
}

static void a_quiet_socket_is_told_from_one_that_has_something(void)
{
    struct io *io = engine_open();
    struct peer p;
    int fd = peer_pair(&p, io);

    peer_read(&p);
    turn_some(io);
    CHECK(io_quiet(io, &p.sock));
    for (size_t i = 1; i < 10; i++) { /* although a receive is under way */
        CHECK_EQUAL(write(fd, "x", 1), 1);
        CHECK(!io_quiet(io, &p.sock));
        TURN_UNTIL(io, p.got_len == i);
        CHECK(io_quiet(io, &p.sock));
    }
    close(fd);
    CHECK(!io_quiet(io, &p.sock));
    TURN_UNTIL(io, p.end);
    peer_close(&p);
    engine_close(io);
}

static void who_has_ended_is_told_from_who_has_gone(void)
{
    struct io *io = engine_open();
    struct io_vec vec = {(void *)"x", 1};
    struct peer p;
    int fd = peer_pair(&p, io);

    peer_read(&p);
    turn_some(io);
    CHECK(!io_broken(io, &p.sock));
    shutdown(fd, SHUT_WR);
    TURN_UNTIL(io, p.end);
    CHECK(!io_broken(io, &p.sock));
    close(fd);
    io_send(io, &p.send, &p.sock, &vec, 1);
    TURN_UNTIL(io, io_broken(io, &p.sock));
    TURN_UNTIL(io, p.sends == 1);
    peer_close(&p);
    engine_close(io);
}

static void what_the_other_system_has_is_known_at_its_end(void)
{
    struct io *io = engine_open();
    struct io_vec vec = {(void *)"0123456789", 10};
    struct peer p;
    uint64_t before, after;

    for (int crossing = 0; crossing < 2; crossing++) {
        int fd = peer_pair(&p, io);
        char bytes[10];
        CHECK(io_unacked(io, &p.sock, &before));
        CHECK_EQUAL(before, 0);
        peer_read(&p);
        if (crossing)
            close(fd);
        io_send(io, &p.send, &p.sock, &vec, 1);
        if (!crossing) {
            TURN_UNTIL(io, p.sends == 1);
            CHECK_EQUAL(recv(fd, bytes, sizeof bytes, MSG_WAITALL), 10);
            close(fd);
        }
        TURN_UNTIL(io, p.end);
        CHECK_EQUAL(p.end, FAIL_CLOSED);
        CHECK(io_unacked(io, &p.sock, &after));
        CHECK_EQUAL(after, crossing ? 10 : 0);
        TURN_UNTIL(io, p.sends == 1);
        peer_close(&p);
    }
    int pair[2];
    CHECK_EQUAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    peer_adopt(&p, io, pair[0]);
    CHECK(!io_unacked(io, &p.sock, &after));
    CHECK(io_quiet(io, &p.sock));
    close(pair[1]);
    CHECK(!io_quiet(io, &p.sock));
    peer_close(&p);
    engine_close(io);
}

/* --- sending ------------------------------------------------------------------------ */

static void a_send_that_finds_no_room_waits_for_it(void)
{
    struct io *io = engine_open();
    struct peer p;
    int fd = peer_pair(&p, io);
    static char bytes[1 << 20], back[1 << 20];
    struct io_vec vec = {bytes, sizeof bytes};
    uint64_t sent = 0, seen = 0;

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = pattern(2, i);
    /* The buffers of both ends fill up, then one send stays in flight. */
    for (unsigned n = 1;; n++) {
        io_send(io, &p.send, &p.sock, &vec, 1);
        turn_some(io);
        turn_some(io);
        if (io_busy(&p.send))
            break;
        CHECK_EQUAL(p.send_fail, 0);
        CHECK_EQUAL(p.sends, n);
        sent += p.send_count;
        vec = (struct io_vec){bytes + sent % sizeof bytes, sizeof bytes - sent % sizeof bytes};
        CHECK(sent < 100 * sizeof bytes);
    }
    unsigned sends = p.sends;
    while (p.sends == sends || seen < sent) {
        ssize_t n = recv(fd, back, sizeof back, MSG_DONTWAIT);
        for (ssize_t i = 0; i < n; i++)
            CHECK_EQUAL(back[i], bytes[(seen + (uint64_t)i) % sizeof bytes]);
        seen += n > 0 ? (uint64_t)n : 0;
        CHECK(io_turn(io, NS_PER_MS));
        if (p.sends > sends) {
            sent += p.send_count;
            p.send_count = 0;
        }
    }
    CHECK_EQUAL(p.sends, sends + 1);
    CHECK_EQUAL(io->stats.bytes_out, sent);

    /* And one that waits can be cancelled. */
    vec = (struct io_vec){bytes, sizeof bytes};
    for (;;) {
        io_send(io, &p.send, &p.sock, &vec, 1);
        turn_some(io);
        if (io_busy(&p.send))
            break;
    }
    io_cancel(io, &p.send);
    TURN_UNTIL(io, !io_busy(&p.send));
    CHECK(p.send_fail == FAIL_CANCELLED || p.send_count > 0);
    close(fd);
    peer_close(&p);
    engine_close(io);
}

/* What completes at once must neither be slept over nor keep others waiting. */
static void busy_sockets_and_quiet_ones_take_turns(void)
{
    struct io *io = engine_open();
    struct peer busy, quiet;
    int busy_fd = peer_pair(&busy, io), quiet_fd = peer_pair(&quiet, io);
    char back[100];
    uint64_t begin = real_ns();

    peer_read(&quiet);
    turn_some(io);
    for (unsigned i = 0; i < 100; i++) {
        struct io_vec vec = {(void *)"12345", 5};
        io_send(io, &busy.send, &busy.sock, &vec, 1);
        for (unsigned turns = 0; io_busy(&busy.send); turns++) {
            CHECK(turns < 3);
            CHECK(io_turn(io, 15 * NS_PER_S));
        }
        CHECK_EQUAL(plain_read(busy_fd, back, 5), 5);
        if (i % 30 == 0)
            plain_write(quiet_fd, "abc", 3);
        if (i % 30 == 29)
            CHECK_EQUAL(quiet.got_len, 3 * (i / 30 + 1));
    }
    CHECK(real_ns() - begin < 10 * NS_PER_S);
    close(busy_fd);
    close(quiet_fd);
    peer_close(&busy);
    peer_close(&quiet);
    engine_close(io);
}

static void many_vectors_leave_in_order(void)
{
    struct io *io = engine_open();
    struct peer p;
    int fd = peer_pair(&p, io);
    char bytes[IO_VECS_MAX * 10], back[sizeof bytes];
    struct io_vec vec[IO_VECS_MAX];

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = pattern(3, i);
    for (unsigned i = 0; i < IO_VECS_MAX; i++)
        vec[i] = (struct io_vec){bytes + 10 * i, 10};
    io_send(io, &p.send, &p.sock, vec, IO_VECS_MAX);
    TURN_UNTIL(io, p.sends == 1);
    CHECK_EQUAL(p.send_count, sizeof bytes);
    CHECK_EQUAL(plain_read(fd, back, sizeof back), sizeof back);
    CHECK(memcmp(bytes, back, sizeof back) == 0);
    close(fd);
    peer_close(&p);
    engine_close(io);
}

/* --- connecting ------------------------------------------------------------------------ */

static void a_refused_connect_leaves_no_socket(void)
{
    struct io *io = engine_open();
    struct peer p;
    struct address at;
    int fd = listen_plain(&at);

    io_listen_close(backend, NULL, fd);
    peer_init(&p, io);
    for (unsigned i = 1; i <= 3; i++) {
        io_connect(io, &p.send, &p.sock, &at);
        TURN_UNTIL(io, p.sends == i);
        CHECK_EQUAL(p.send_fail, FAIL_REFUSED);
        CHECK_EQUAL(p.sock.fd, -1);
    }
    CHECK_EQUAL(io->sockets, 0);
    io_close(io, &p.sock); /* nothing to close is fine */
    peer_close(&p);
    engine_close(io);
}

/* Nobody accepts, and the queue is full: the next connect waits for long. */
static void a_connect_that_hangs_can_be_cancelled(void)
{
    struct io *io = engine_open();
    struct peer p[6];
    struct address at;
    int fd = listen_plain(&at);

    CHECK(listen(fd, 0) == 0);
    for (unsigned i = 0; i < COUNT_OF(p); i++) {
        peer_init(&p[i], io);
        io_connect(io, &p[i].send, &p[i].sock, &at);
        turn_some(io);
    }
    struct peer *last = &p[COUNT_OF(p) - 1];
    CHECK(io_busy(&last->send));
    io_cancel(io, &last->send);
    TURN_UNTIL(io, last->sends == 1);
    CHECK_EQUAL(last->send_fail, FAIL_CANCELLED);
    CHECK_EQUAL(last->sock.fd, -1);
    for (unsigned i = 0; i < COUNT_OF(p); i++)
        peer_close(&p[i]);
    io_listen_close(backend, NULL, fd);
    engine_close(io);
}

/* The greeting may be there as soon as the connection is. */
static void a_connected_socket_receives_what_came_early(void)
{
    struct io *io = engine_open();
    struct peer p;
    struct address at;
    int fd = listen_plain(&at), flag = 0;
    socklen_t len = sizeof flag;

    fcntl(fd, F_SETFL, 0);
    peer_init(&p, io);
    io_connect(io, &p.send, &p.sock, &at);
    CHECK(io_turn(io, 0));
    int server = accept(fd, NULL, NULL);
    plain_write(server, "220 hello", 9);
    TURN_UNTIL(io, p.sends == 1);
    CHECK_EQUAL(p.send_fail, 0);
    peer_read(&p);
    TURN_UNTIL(io, p.got_len == 9);
    /* An accepted socket does not hold back small segments either. */
    CHECK(getsockopt(server, IPPROTO_TCP, TCP_NODELAY, &flag, &len) == 0 && flag);
    close(server);
    peer_close(&p);
    io_listen_close(backend, NULL, fd);
    engine_close(io);
}

/* --- plain descriptors ------------------------------------------------------------------- */

static void a_plain_descriptor_is_polled_once_per_call(void)
{
    struct io *io = engine_open();
    struct idler owner;
    struct io_sock sock;
    struct io_op op = {0};
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    uint64_t value = 1;

    idler_init(&owner, io);
    op.owner = &owner.owner;
    io_adopt(io, &sock, fd);
    for (unsigned i = 1; i <= 5; i++) {
        io_poll(io, &op, &sock);
        if (i % 2)
            turn_some(io);
        CHECK(io_busy(&op));
        CHECK_EQUAL(write(fd, &value, sizeof value), sizeof value);
        TURN_UNTIL(io, io_take(&op));
        CHECK_EQUAL(op.fail, 0);
        /* Still readable, but nobody asked again. */
        turn_some(io);
        CHECK_EQUAL(owner.steps, i + (i - 1));
        /* Readable already when asked. */
        io_poll(io, &op, &sock);
        TURN_UNTIL(io, io_take(&op));
        CHECK_EQUAL(op.fail, 0);
        CHECK_EQUAL(read(fd, &value, sizeof value), sizeof value);
        value = 1;
    }
    io_poll(io, &op, &sock);
    turn_some(io);
    io_cancel(io, &op);
    TURN_UNTIL(io, io_take(&op));
    CHECK_EQUAL(op.fail, FAIL_CANCELLED);
    io_close(io, &sock);
    owner_retire(&owner.owner);
    engine_close(io);
}

static void the_end_of_a_pipe_is_readable(void)
{
    struct io *io = engine_open();
    struct idler owner;
    struct io_sock sock;
    struct io_op op = {0};
    int fds[2];

    CHECK(pipe2(fds, O_CLOEXEC) == 0);
    idler_init(&owner, io);
    op.owner = &owner.owner;
    io_adopt(io, &sock, fds[0]);
    io_poll(io, &op, &sock);
    turn_some(io);
    CHECK(io_busy(&op));
    close(fds[1]);
    TURN_UNTIL(io, io_take(&op));
    CHECK_EQUAL(op.fail, 0);
    io_close(io, &sock);
    owner_retire(&owner.owner);
    engine_close(io);
}

/* Datagrams have no operations of their own yet, but nothing keeps them out. */
static void datagrams_can_be_echoed(void)
{
    struct io *io = engine_open();
    struct idler owner;
    struct io_sock sock;
    struct io_op op = {0};
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int server = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    unsigned sent = 0, echoed = 0, back;
    enum { DATAGRAMS = 500, AHEAD = 20 };

    CHECK(bind(server, (struct sockaddr *)&name, sizeof name) == 0);
    name.sin_port = htons(plain_port(server));
    CHECK(connect(client, (struct sockaddr *)&name, sizeof name) == 0);
    idler_init(&owner, io);
    op.owner = &owner.owner;
    io_adopt(io, &sock, server);
    while (echoed < DATAGRAMS) {
        for (; sent < DATAGRAMS && sent < echoed + AHEAD; sent++)
            CHECK_EQUAL(send(client, &sent, sizeof sent, 0), sizeof sent);
        if (!io_busy(&op))
            io_poll(io, &op, &sock);
        TURN_UNTIL(io, io_take(&op));
        struct sockaddr_in from;
        socklen_t len = sizeof from;
        while (recvfrom(server, &back, sizeof back, 0, (struct sockaddr *)&from, &len) > 0)
            CHECK(sendto(server, &back, sizeof back, 0, (struct sockaddr *)&from, len) > 0);
        while (recv(client, &back, sizeof back, MSG_DONTWAIT) > 0)
            CHECK_EQUAL(back, echoed++);
    }
    io_close(io, &sock);
    close(client);
    owner_retire(&owner.owner);
    engine_close(io);
}

const struct test stream_tests[] = {
    {"ten_megabytes_are_echoed_in_order", ten_megabytes_are_echoed_in_order},
    {"half_closed_streams_still_carry_the_other_way",
     half_closed_streams_still_carry_the_other_way},
    {"what_has_more_to_come_leaves_with_the_end", what_has_more_to_come_leaves_with_the_end},
    {"the_end_is_noticed_whenever_it_comes", the_end_is_noticed_whenever_it_comes},
    {"a_reset_is_told_from_an_end", a_reset_is_told_from_an_end},
    {"a_quiet_socket_is_told_from_one_that_has_something",
     a_quiet_socket_is_told_from_one_that_has_something},
    {"who_has_ended_is_told_from_who_has_gone", who_has_ended_is_told_from_who_has_gone},
    {"what_the_other_system_has_is_known_at_its_end",
     what_the_other_system_has_is_known_at_its_end},
    {"a_send_that_finds_no_room_waits_for_it", a_send_that_finds_no_room_waits_for_it},
    {"busy_sockets_and_quiet_ones_take_turns", busy_sockets_and_quiet_ones_take_turns},
    {"many_vectors_leave_in_order", many_vectors_leave_in_order},
    {"a_refused_connect_leaves_no_socket", a_refused_connect_leaves_no_socket},
    {"a_connect_that_hangs_can_be_cancelled", a_connect_that_hangs_can_be_cancelled},
    {"a_connected_socket_receives_what_came_early", a_connected_socket_receives_what_came_early},
    {"a_plain_descriptor_is_polled_once_per_call", a_plain_descriptor_is_polled_once_per_call},
    {"the_end_of_a_pipe_is_readable", the_end_of_a_pipe_is_readable},
    {"datagrams_can_be_echoed", datagrams_can_be_echoed},
    {0},
};
