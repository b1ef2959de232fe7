/* Accepting knows the client; many sockets at a time. */
#include "tests/backends/backends.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CLIENTS = 1000, MESSAGE = 100 };

static struct listener l;
static int clients[CLIENTS];
static struct peer peers[CLIENTS];

static void connect_all(struct io *io)
{
    listener_open(&l, io, ACCEPTS);
    for (unsigned i = 0; i < CLIENTS; i++)
        clients[i] = plain_connect(&l.at);
    TURN_UNTIL(io, l.count == CLIENTS);
    for (unsigned i = 0; i < CLIENTS; i++)
        peer_adopt(&peers[i], io, l.accepted[i].fd);
}

static void close_all(struct io *io)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        close(clients[i]);
        peer_close(&peers[i]);
    }
    listener_close(&l);
    engine_close(io);
}

static unsigned received(void)
{
    unsigned n = 0;

    for (unsigned i = 0; i < CLIENTS; i++)
        n += peers[i].got_len > 0;
    return n;
}

/* Each client says who it is, so the address is compared with the connection
 * it came with, not only with the set of all. */
static void a_thousand_connects_each_with_its_own_port(void)
{
    struct io *io = engine_open();

    connect_all(io);
    for (unsigned i = 0; i < CLIENTS; i++) {
        uint16_t port = plain_port(clients[i]);
        plain_write(clients[i], &port, sizeof port);
        peer_read(&peers[i]);
    }
    TURN_UNTIL(io, received() == CLIENTS);
    for (unsigned i = 0; i < CLIENTS; i++) {
        static const uint8_t loopback[4] = {127, 0, 0, 1};
        const struct address *a = &l.accepted[i].peer;
        CHECK_EQUAL(a->family, ADDRESS_IPV4);
        CHECK(memcmp(a->ip, loopback, 4) == 0);
        CHECK(memcmp(peers[i].got, &a->port, sizeof a->port) == 0);
    }
    CHECK_EQUAL(io->stats.accepts, CLIENTS);
    close_all(io);
}

static void a_thousand_sockets_readable_in_one_turn_keep_their_bytes(void)
{
    struct io *io = engine_open();
    char text[MESSAGE];

    connect_all(io);
    for (unsigned i = 0; i < CLIENTS; i++)
        peer_read(&peers[i]);
    turn_some(io);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < CLIENTS; i++) {
            uint16_t port = plain_port(clients[i]);
            for (unsigned k = 0; k < MESSAGE; k++)
                text[k] = pattern(port, round * MESSAGE + k);
            plain_write(clients[i], text, MESSAGE);
            peers[i].got_len = 0;
        }
        TURN_UNTIL(io, received() == CLIENTS);
        for (unsigned i = 0; i < CLIENTS; i++) {
            CHECK_EQUAL(peers[i].got_len, MESSAGE);
            for (unsigned k = 0; k < MESSAGE; k++)
                CHECK_EQUAL(peers[i].got[k], pattern(l.accepted[i].peer.port, round * MESSAGE + k));
        }
    }
    close_all(io);
}

static void a_client_that_left_before_it_was_accepted_harms_nobody(void)
{
    struct io *io = engine_open();
    struct peer p;

    listener_open(&l, io, 0);
    plain_reset(plain_connect(&l.at));
    int fd = plain_connect(&l.at);
    for (unsigned i = 0; i < ACCEPTS; i++)
        io_accept(io, &l.accepts[i], &l.sock);
    TURN_UNTIL(io, l.count > 0 && l.accepted[l.count - 1].peer.port == plain_port(fd));
    for (unsigned i = 0; i + 1 < l.count; i++)
        io_discard(io, l.accepted[i].fd);
    peer_adopt(&p, io, l.accepted[l.count - 1].fd);
    CHECK_EQUAL(l.fail, 0);
    plain_write(fd, "here", 4);
    peer_read(&p);
    TURN_UNTIL(io, p.got_len == 4);
    close(fd);
    peer_close(&p);
    listener_close(&l);
    engine_close(io);
}

/* Accepts that wait are independent: none needs another to be posted again,
 * or to be left alone. */
static void each_posted_accept_takes_one_connection(void)
{
    struct io *io = engine_open();
    enum { CANCELLED = 3, COMING = ACCEPTS - CANCELLED };

    listener_open(&l, io, ACCEPTS);
    l.stop = true;
    turn_some(io);
    io_cancel(io, &l.accepts[0].op);
    io_cancel(io, &l.accepts[7].op);
    io_cancel(io, &l.accepts[ACCEPTS - 1].op);
    turn_some(io);
    CHECK_EQUAL(l.fail, FAIL_CANCELLED);
    CHECK_EQUAL(io->busy, COMING);
    for (unsigned i = 0; i < COMING; i++) {
        clients[i] = plain_connect(&l.at);
        if (i % 4 == 3)
            turn_some(io);
    }
    TURN_UNTIL(io, l.count == COMING);
    CHECK_EQUAL(io->busy, 0);
    for (unsigned i = 0; i < COMING; i++) {
        io_discard(io, l.accepted[i].fd);
        close(clients[i]);
    }
    listener_close(&l);
    engine_close(io);
}

static void a_discarded_connection_is_closed(void)
{
    struct io *io = engine_open();
    char byte;

    listener_open(&l, io, 1);
    int fd = plain_connect(&l.at);
    TURN_UNTIL(io, l.count == 1);
    io_discard(io, l.accepted[0].fd);
    turn_some(io);
    CHECK_EQUAL(plain_read(fd, &byte, 1), 0);
    close(fd);
    listener_close(&l);
    engine_close(io);
}

static void a_connection_called_off_in_the_turn_it_was_asked_for_reaches_nobody(void)
{
    struct io *io = engine_open();
    struct pollfd listener = {.events = POLLIN};
    struct address at;
    struct peer p;

    listener.fd = listen_plain(&at);
    peer_init(&p, io);
    io_connect(io, &p.send, &p.sock, &at);
    io_cancel(io, &p.send);
    TURN_UNTIL(io, p.sends == 1);
    CHECK_EQUAL(p.send_fail, FAIL_CANCELLED);
    CHECK_EQUAL(p.sock.fd, -1);
    CHECK_EQUAL(poll(&listener, 1, 20), 0);
    io_listen_close(backend, NULL, listener.fd);
    peer_close(&p);
    engine_close(io);
}

const struct test accept_tests[] = {
    {"a_thousand_connects_each_with_its_own_port", a_thousand_connects_each_with_its_own_port},
    {"a_thousand_sockets_readable_in_one_turn_keep_their_bytes",
     a_thousand_sockets_readable_in_one_turn_keep_their_bytes},
    {"a_client_that_left_before_it_was_accepted_harms_nobody",
     a_client_that_left_before_it_was_accepted_harms_nobody},
    {"each_posted_accept_takes_one_connection", each_posted_accept_takes_one_connection},
    {"a_connection_called_off_in_the_turn_it_was_asked_for_reaches_nobody",
     a_connection_called_off_in_the_turn_it_was_asked_for_reaches_nobody},
    {"a_discarded_connection_is_closed", a_discarded_connection_is_closed},
    {0},
};
