/* What the tests of the backends are made of; see backends.h. */
#include "tests/backends/backends.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

uint64_t real_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

struct io *engine_open(void)
{
    struct io *io = NULL;
    const char *why = NULL;
    int err = io_open(&io, backend, &(struct io_options){.sockets_max = 4096}, &why);

    if (err < 0)
        fail_equal_at(__FILE__, __LINE__, why, err, 0);
    return io;
}

void engine_close(struct io *io)
{
    io_free(io);
}

void turn_some(struct io *io)
{
    for (int i = 0; i < 5; i++)
        CHECK(io_turn(io, 2 * NS_PER_MS));
}

static void idler_step(struct owner *o)
{
    container_of(o, struct idler, owner)->steps++;
}

void idler_init(struct idler *i, struct io *io)
{
    *i = (struct idler){0};
    owner_init(&i->owner, &io->owners, idler_step);
}

/* --- the listener ----------------------------------------------------------------- */

static void listener_step(struct owner *o)
{
    struct listener *l = container_of(o, struct listener, owner);

    for (unsigned i = 0; i < ACCEPTS; i++) {
        struct io_accept *a = &l->accepts[i];
        if (!io_take(&a->op))
            continue;
        if (a->op.fail < 0) {
            l->fail = a->op.fail;
            continue;
        }
        CHECK(l->count < ACCEPTED_MAX);
        l->accepted[l->count++] = (struct accepted){a->fd, a->peer};
        if (!l->stop)
            io_accept(l->io, a, &l->sock);
    }
}

static uint16_t port_of(const struct sockaddr_in *name)
{
    return ntohs(name->sin_port);
}

uint16_t plain_port(int fd)
{
    struct sockaddr_in name;
    socklen_t len = sizeof name;

    CHECK(getsockname(fd, (struct sockaddr *)&name, &len) == 0);
    return port_of(&name);
}

int listen_plain(struct address *at)
{
    struct io_listen spec = {.backlog = 2048};
    int fd;

    CHECK_EQUAL(address_parse(&spec.at, SPAN("127.0.0.1:0")), 0);
    CHECK_EQUAL(io_listen(backend, NULL, &spec, &fd), 0);
    *at = spec.at;
    at->port = plain_port(fd);
    return fd;
}

void listener_open(struct listener *l, struct io *io, unsigned n)
{
    *l = (struct listener){.io = io};
    owner_init(&l->owner, &io->owners, listener_step);
    int fd = listen_plain(&l->at);
    io_adopt(io, &l->sock, fd);
    for (unsigned i = 0; i < ACCEPTS; i++) {
        l->accepts[i].op.owner = &l->owner;
        if (i < n)
            io_accept(io, &l->accepts[i], &l->sock);
    }
}

static bool listener_busy(const struct listener *l)
{
    for (unsigned i = 0; i < ACCEPTS; i++)
        if (io_busy(&l->accepts[i].op))
            return true;
    return false;
}

void listener_close(struct listener *l)
{
    l->stop = true;
    for (unsigned i = 0; i < ACCEPTS; i++)
        io_cancel(l->io, &l->accepts[i].op);
    TURN_UNTIL(l->io, !listener_busy(l));
    io_close(l->io, &l->sock);
    owner_retire(&l->owner);
}

/* --- the peer --------------------------------------------------------------------- */

static void peer_got(struct peer *p, struct slice s)
{
    CHECK(s.len > 0);
    if (p->got_len + s.len > p->got_max) {
        p->got_max = 2 * (p->got_len + s.len);
        p->got = realloc(p->got, p->got_max);
        CHECK(p->got);
    }
    memcpy(p->got + p->got_len, s.ptr, s.len);
    p->got_len += s.len;
}

static void peer_step(struct owner *o)
{
    struct peer *p = container_of(o, struct peer, owner);

    p->steps++;
    if (io_take(&p->recv)) {
        p->receives++;
        if (p->recv.fail < 0)
            p->end = p->recv.fail;
        else if (p->recv.slice.len > 0)
            peer_got(p, p->recv.slice);
        if (p->reading && !p->end)
            io_recv(p->io, &p->recv, &p->sock, IO_ROOM_SMALL);
    }
    if (io_take(&p->send)) {
        p->sends++;
        p->send_fail = p->send.fail;
        p->send_count = p->send.count;
    }
}

void peer_init(struct peer *p, struct io *io)
{
    *p = (struct peer){.io = io, .sock.fd = -1};
    owner_init(&p->owner, &io->owners, peer_step);
    p->recv.owner = p->send.owner = &p->owner;
}

void peer_adopt(struct peer *p, struct io *io, int fd)
{
    peer_init(p, io);
    io_adopt(io, &p->sock, fd);
}

void peer_read(struct peer *p)
{
    p->reading = true;
    io_recv(p->io, &p->recv, &p->sock, IO_ROOM_SMALL);
}

void peer_close(struct peer *p)
{
    p->reading = false;
    io_cancel(p->io, &p->recv);
    io_cancel(p->io, &p->send);
    TURN_UNTIL(p->io, !io_busy(&p->recv) && !io_busy(&p->send));
    io_close(p->io, &p->sock);
    owner_retire(&p->owner);
    free(p->got);
    p->got = NULL;
}

int peer_pair(struct peer *p, struct io *io)
{
    struct listener l;

    listener_open(&l, io, 1);
    l.stop = true;
    int fd = plain_connect(&l.at);
    TURN_UNTIL(io, l.count == 1);
    listener_close(&l);
    peer_adopt(p, io, l.accepted[0].fd);
    return fd;
}

/* --- the system's own sockets ------------------------------------------------------ */

int plain_connect(const struct address *to)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(to->port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0);
    memcpy(&name.sin_addr, to->ip, sizeof name.sin_addr);
    CHECK(connect(fd, (struct sockaddr *)&name, sizeof name) == 0);
    return fd;
}

void plain_write(int fd, const void *bytes, size_t len)
{
    CHECK_EQUAL(send(fd, bytes, len, MSG_NOSIGNAL), len);
}

size_t plain_read(int fd, void *bytes, size_t max)
{
    size_t total = 0;

    while (total < max) {
        ssize_t n = recv(fd, (char *)bytes + total, max - total, 0);
        CHECK(n >= 0);
        if (n == 0)
            break;
        total += (size_t)n;
    }
    return total;
}

void plain_reset(int fd)
{
    struct linger none = {.l_onoff = 1};

    CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none) == 0);
    close(fd);
}
