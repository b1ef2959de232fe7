/* Listening: whose address it is, and unix sockets. */
#include "tests/backends/backends.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int listen_at(struct io_listen *spec, const char *text, int *fd)
{
    CHECK_EQUAL(address_parse(&spec->at, span_of(text)), 0);
    return io_listen(backend, NULL, spec, fd);
}

static void an_address_in_use_is_said_to_be(void)
{
    struct address at;
    struct io_listen spec = {0};
    int fd = listen_plain(&at), other;

    spec.at = at;
    CHECK_EQUAL(io_listen(backend, NULL, &spec, &other), FAIL_IN_USE);
    spec.reuse_port = true; /* the first one does not share */
    CHECK_EQUAL(io_listen(backend, NULL, &spec, &other), FAIL_IN_USE);
    io_listen_close(backend, NULL, fd);
    CHECK_EQUAL(io_listen(backend, NULL, &spec, &fd), 0);
    CHECK_EQUAL(io_listen(backend, NULL, &spec, &other), 0);
    io_listen_close(backend, NULL, fd);
    io_listen_close(backend, NULL, other);
}

static void an_address_of_nobody_here_is_refused(void)
{
    struct io_listen spec = {0};
    int fd;

    CHECK_EQUAL(listen_at(&spec, "192.0.2.1:0", &fd), FAIL_UNREACHABLE);
}

static void ipv6_works_where_there_is_any(void)
{
    struct io *io = engine_open();
    struct io_listen spec = {.v6_only = true};
    struct io_sock listener;
    struct idler owner;
    struct io_accept a = {0};
    struct peer c;
    struct sockaddr_storage name;
    socklen_t len = sizeof name;
    int fd, err = listen_at(&spec, "[::1]:0", &fd);

    if (err == FAIL_UNREACHABLE || err == FAIL_UNSUPPORTED)
        skip("no IPv6 here");
    CHECK_EQUAL(err, 0);
    CHECK(getsockname(fd, (struct sockaddr *)&name, &len) == 0);
    spec.at.port = plain_port(fd); /* at the same place in both families */
    idler_init(&owner, io);
    a.op.owner = &owner.owner;
    io_adopt(io, &listener, fd);
    io_accept(io, &a, &listener);
    peer_init(&c, io);
    io_connect(io, &c.send, &c.sock, &spec.at);
    TURN_UNTIL(io, io_take(&a.op) && c.sends == 1);
    CHECK_EQUAL(c.send_fail, 0);
    CHECK_EQUAL(a.peer.family, ADDRESS_IPV6);
    CHECK_EQUAL(a.peer.ip[15], 1);
    CHECK(a.peer.port != 0);
    io_discard(io, a.fd);
    peer_close(&c);
    io_close(io, &listener);
    owner_retire(&owner.owner);
    engine_close(io);
}

/* --- unix sockets --------------------------------------------------------------------- */

static char directory[] = "backends-unix-XXXXXX";
static char path[64], text[80];

static void unix_begin(void)
{
    CHECK(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/socket", directory);
    snprintf(text, sizeof text, "unix:%s", path);
}

static void unix_end(void)
{
    unlink(path);
    rmdir(directory);
}

static void unix_echo(int listen_fd, const struct address *at)
{
    struct io *io = engine_open();
    struct io_sock listener;
    struct idler owner;
    struct io_accept a = {0};
    struct peer c, s;
    struct io_vec vec = {(void *)"hello", 5};

    idler_init(&owner, io);
    a.op.owner = &owner.owner;
    io_adopt(io, &listener, listen_fd);
    io_accept(io, &a, &listener);
    peer_init(&c, io);
    io_connect(io, &c.send, &c.sock, at);
    TURN_UNTIL(io, io->busy == 0);
    CHECK_EQUAL(c.send_fail, 0);
    CHECK_EQUAL(a.op.fail, 0);
    CHECK_EQUAL(a.peer.family, ADDRESS_UNIX);
    peer_adopt(&s, io, a.fd);
    peer_read(&s);
    turn_some(io);
    io_send(io, &c.send, &c.sock, &vec, 1);
    TURN_UNTIL(io, s.got_len == 5);
    io_close(io, &c.sock);
    TURN_UNTIL(io, s.end == FAIL_CLOSED);
    peer_close(&c);
    peer_close(&s);
    io_close(io, &listener);
    owner_retire(&owner.owner);
    engine_close(io);
}

static void a_unix_socket_has_its_mode_and_works(void)
{
    struct io_listen spec = {.unix_mode = 0620};
    struct stat st;
    int fd;

    unix_begin();
    umask(077);
    CHECK_EQUAL(listen_at(&spec, text, &fd), 0);
    CHECK(stat(path, &st) == 0);
    CHECK_EQUAL(st.st_mode & 0777, 0620);
    unix_echo(fd, &spec.at);
    unix_end();
}

static void a_live_unix_socket_is_in_use_and_a_stale_one_is_replaced(void)
{
    struct io_listen spec = {0};
    int fd, other;

    unix_begin();
    CHECK_EQUAL(listen_at(&spec, text, &fd), 0);
    CHECK_EQUAL(listen_at(&spec, text, &other), FAIL_IN_USE);
    io_listen_close(backend, NULL, fd); /* leaves the file, as a crash would */
    CHECK(access(path, F_OK) == 0);
    CHECK_EQUAL(listen_at(&spec, text, &fd), 0);
    unix_echo(fd, &spec.at);
    unix_end();
}

static void a_file_that_is_no_socket_is_left_alone(void)
{
    struct io_listen spec = {0};
    int fd;

    unix_begin();
    FILE *f = fopen(path, "w");
    CHECK(f);
    fclose(f);
    CHECK_EQUAL(listen_at(&spec, text, &fd), FAIL_IN_USE);
    CHECK(access(path, F_OK) == 0);
    unix_end();
}

static void an_abstract_unix_socket_works(void)
{
    struct io_listen spec = {.unix_mode = 0600};
    char name[64];
    int fd, other;

    snprintf(name, sizeof name, "unix:@headgate-backends-%ld", (long)getpid());
    CHECK_EQUAL(listen_at(&spec, name, &fd), 0);
    CHECK_EQUAL(listen_at(&spec, name, &other), FAIL_IN_USE);
    unix_echo(fd, &spec.at);
}

static void a_unix_connect_without_listener_fails(void)
{
    struct io *io = engine_open();
    struct address at;
    struct peer p;

    CHECK_EQUAL(address_parse(&at, SPAN("unix:backends-no-such-socket")), 0);
    peer_init(&p, io);
    io_connect(io, &p.send, &p.sock, &at);
    TURN_UNTIL(io, p.sends == 1);
    CHECK_EQUAL(p.send_fail, FAIL_NOT_FOUND);
    CHECK_EQUAL(p.sock.fd, -1);
    peer_close(&p);
    engine_close(io);
}

const struct test listen_tests[] = {
    {"an_address_in_use_is_said_to_be", an_address_in_use_is_said_to_be},
    {"an_address_of_nobody_here_is_refused", an_address_of_nobody_here_is_refused},
    {"ipv6_works_where_there_is_any", ipv6_works_where_there_is_any},
    {"a_unix_socket_has_its_mode_and_works", a_unix_socket_has_its_mode_and_works},
    {"a_live_unix_socket_is_in_use_and_a_stale_one_is_replaced",
     a_live_unix_socket_is_in_use_and_a_stale_one_is_replaced},
    {"a_file_that_is_no_socket_is_left_alone", a_file_that_is_no_socket_is_left_alone},
    {"an_abstract_unix_socket_works", an_abstract_unix_socket_works},
    {"a_unix_connect_without_listener_fails", a_unix_connect_without_listener_fails},
    {0},
};
