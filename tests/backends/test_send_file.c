/* Files as content. */
#include "tests/backends/backends.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FILE_BYTES = 3 * 1024 * 1024 + 17 };

static int pattern_file(void)
{
    char name[] = "backends-send-XXXXXX";
    int fd = mkstemp(name);
    static char bytes[FILE_BYTES];

    CHECK(fd >= 0);
    unlink(name);
    for (size_t i = 0; i < FILE_BYTES; i++)
        bytes[i] = pattern(4, i);
    CHECK_EQUAL(write(fd, bytes, FILE_BYTES), FILE_BYTES);
    return fd;
}

static void a_file_is_sent_from_where_and_as_far_as_asked(void)
{
    struct io *io = engine_open();
    struct peer p;
    int fd = peer_pair(&p, io), file = pattern_file();
    static char back[FILE_BYTES];
    const uint64_t from = 1001;
    uint64_t sent = from, seen = from;

    fcntl(fd, F_SETFL, O_NONBLOCK);
    while (seen < FILE_BYTES) {
        if (!io_busy(&p.send) && sent < FILE_BYTES)
            io_send_file(io, &p.send, &p.sock, file, sent, (uint32_t)(FILE_BYTES - sent));
        CHECK(io_turn(io, NS_PER_MS));
        if (!io_busy(&p.send) && p.send_count > 0) {
            CHECK_EQUAL(p.send_fail, 0);
            sent += p.send_count;
            p.send_count = 0;
        }
        ssize_t n = recv(fd, back, sizeof back, 0);
        for (ssize_t i = 0; i < n; i++)
            CHECK_EQUAL(back[i], pattern(4, seen + (uint64_t)i));
        seen += n > 0 ? (uint64_t)n : 0;
    }
    CHECK_EQUAL(seen, FILE_BYTES);
    CHECK_EQUAL(sent, FILE_BYTES);
    io_send_file(io, &p.send, &p.sock, file, FILE_BYTES, 10);
    TURN_UNTIL(io, !io_busy(&p.send));
    CHECK_EQUAL(p.send_fail, FAIL_IO);
    plain_reset(fd);
    turn_some(io);
    for (unsigned i = 0; i < 3; i++) { /* must not end us by a signal */
        io_send_file(io, &p.send, &p.sock, file, 0, 10);
        TURN_UNTIL(io, !io_busy(&p.send));
        CHECK_EQUAL(p.send_fail, FAIL_RESET);
    }
    peer_close(&p);
    close(file);
    engine_close(io);
}

/* It may still read one day: whoever sends to it waits for room, and for nothing else. */
static void a_full_peer_that_has_said_all_costs_no_turns(void)
{
    struct io *io = engine_open();
    struct peer p;
    int fd = peer_pair(&p, io), file = pattern_file();
    static char back[FILE_BYTES];
    uint64_t sent = 0;
    unsigned turns = 0;

    shutdown(fd, SHUT_WR);
    io_send_file(io, &p.send, &p.sock, file, 0, FILE_BYTES);
    for (unsigned still = 0; still < 5; still++) { /* until there is no room */
        turn_some(io);
        if (io_busy(&p.send))
            continue;
        CHECK_EQUAL(p.send_fail, 0);
        sent += p.send_count;
        CHECK(sent < FILE_BYTES);
        io_send_file(io, &p.send, &p.sock, file, sent, (uint32_t)(FILE_BYTES - sent));
        still = 0;
    }
    for (uint64_t from = real_ns(); real_ns() - from < NS_PER_S / 2; turns++)
        CHECK(io_turn(io, 100 * NS_PER_MS));
    CHECK(turns < 150);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    for (uint64_t seen = 0; seen < FILE_BYTES;) {
        CHECK(io_turn(io, NS_PER_MS));
        if (!io_busy(&p.send) && sent < FILE_BYTES) {
            CHECK_EQUAL(p.send_fail, 0);
            if ((sent += p.send_count) < FILE_BYTES)
                io_send_file(io, &p.send, &p.sock, file, sent, (uint32_t)(FILE_BYTES - sent));
        }
        ssize_t n = recv(fd, back, sizeof back, 0);
        for (ssize_t i = 0; i < n; i++)
            CHECK_EQUAL(back[i], pattern(4, seen + (uint64_t)i));
        seen += n > 0 ? (uint64_t)n : 0;
    }
    peer_close(&p);
    close(fd);
    close(file);
    engine_close(io);
}

const struct test send_file_tests[] = {
    {"a_file_is_sent_from_where_and_as_far_as_asked",
     a_file_is_sent_from_where_and_as_far_as_asked},
    {"a_full_peer_that_has_said_all_costs_no_turns", a_full_peer_that_has_said_all_costs_no_turns},
    {0},
};
