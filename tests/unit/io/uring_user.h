/* For the tests of the io_uring backend: an engine, and a user of one end of a
 * connection that counts what it hears, while the test holds the other end.
 */
#ifndef HEADGATE_TESTS_URING_USER_H
#define HEADGATE_TESTS_URING_USER_H

#include "tests/unit/suites.h"

#include "base/mem.h"
#include "io/uring.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

static struct io *io; /* the engine of the test that runs */

static inline struct uring *engine(void)
{
    return uring_of(io);
}

static inline void open_with(struct io_options options)
{
    const char *why = NULL;
    int fail = io_open(&io, &io_uring_backend, &options, &why);

    ck_assert_msg(fail == 0, "%s", why);
}

static inline void open_plain(void)
{
    open_with((struct io_options){0});
}

static inline void shut(void)
{
    io_free(io);
    io = NULL;
}

/* --- a user of one end of a connection, the other end being `peer` ---------- */

struct user {
    struct owner owner;
    struct io_sock sock;
    struct io_op recv, send;
    int peer;
    uint32_t room;
    bool eager;       /* asks again at once */
    bool claims;      /* keeps a reference to each slice */
    struct buf *kept; /* by buf.next, as it is not lent any more */
    int fail;
    unsigned slices;
    size_t received, biggest;
    uint64_t sum; /* of bytes, each weighed with its position */
    char last;
};

static inline uint64_t weigh(const void *bytes, size_t len, size_t position)
{
    const unsigned char *at = bytes;
    uint64_t sum = 0;

    for (size_t i = 0; i < len; i++)
        sum += (uint64_t)at[i] * (position + i + 1);
    return sum;
}

static inline void user_heard(struct user *u)
{
    const struct slice *s = &u->recv.slice;

    if (u->recv.fail) {
        u->fail = u->recv.fail;
        return;
    }
    u->slices++;
    u->sum += weigh(s->ptr, s->len, u->received);
    u->received += s->len;
    u->biggest = s->len > u->biggest ? s->len : u->biggest;
    u->last = s->ptr[s->len - 1];
    if (u->claims)
        u->kept = buf_ref(s->buf);
    if (u->eager)
        io_recv(io, &u->recv, &u->sock, u->room);
}

static inline void user_step(struct owner *owner)
{
    struct user *u = container_of(owner, struct user, owner);

    if (io_take(&u->recv))
        user_heard(u);
}

static inline struct user *user_new(int fd, int peer)
{
    struct user *u = calloc(1, sizeof *u);

    owner_init(&u->owner, &io->owners, user_step);
    u->recv.owner = u->send.owner = &u->owner;
    u->peer = peer;
    u->room = IO_ROOM_SMALL;
    io_adopt(io, &u->sock, fd);
    return u;
}

static inline struct user *user_pair(int flags)
{
    int fds[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0, fds), 0);
    return user_new(fds[0], fds[1]);
}

static inline struct user *user_tcp(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM, 0), peer = socket(AF_INET, SOCK_STREAM, 0);

    ck_assert_int_eq(bind(listener, (struct sockaddr *)&at, len), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&at, &len), 0);
    ck_assert_int_eq(listen(listener, 1), 0);
    ck_assert_int_eq(connect(peer, (struct sockaddr *)&at, len), 0);
    int fd = accept(listener, NULL, NULL);
    close(listener);
    ck_assert_int_ge(fd, 0);
    return user_new(fd, peer);
}

static inline void ask(struct user *u)
{
    io_recv(io, &u->recv, &u->sock, u->room);
}

static inline void turns(int n)
{
    while (n-- > 0)
        io_turn(io, 0);
}

/* Turns until it is so, or two seconds have passed. */
#define UNTIL(condition)                                                                           \
    do {                                                                                           \
        uint64_t end_ = io->now_ns + 2 * NS_PER_S;                                                 \
        while (!(condition) && io->now_ns < end_)                                                  \
            io_turn(io, NS_PER_S);                                                                 \
        ck_assert(condition);                                                                      \
    } while (0)

/* Frees the memory of the socket in the same breath as it closes it. */
static inline void user_free(struct user *u, bool reset)
{
    u->eager = false;
    if (io_busy(&u->recv)) {
        io_cancel(io, &u->recv);
        UNTIL(!io_busy(&u->recv));
    }
    if (u->kept)
        buf_unref(u->kept);
    if (reset)
        io_reset(io, &u->sock);
    else
        io_close(io, &u->sock);
    owner_retire(&u->owner);
    if (u->peer >= 0)
        close(u->peer);
    memset(u, 0xee, sizeof *u);
    free(u);
}

static inline void say(struct user *u, const char *text)
{
    ck_assert_int_eq(write(u->peer, text, strlen(text)), (ssize_t)strlen(text));
}

/* As much as goes in without waiting, at most max. */
static inline size_t fill(struct user *u, size_t max, uint64_t *sum, size_t position)
{
    static unsigned char bytes[64 * 1024];
    size_t all = 0;

    while (all < max) {
        size_t len = max - all < sizeof bytes ? max - all : sizeof bytes;
        for (size_t i = 0; i < len; i++)
            bytes[i] = (unsigned char)((position + all + i) * 7 / 3);
        ssize_t n = send(u->peer, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n <= 0)
            break;
        if (sum)
            *sum += weigh(bytes, (size_t)n, position + all);
        all += (size_t)n;
    }
    return all;
}

static inline void stream_bytes(struct user *u, size_t total)
{
    uint64_t sum = 0;
    size_t sent = 0;

    for (int i = 0; u->received < total && i < 100000; i++) {
        sent += fill(u, total - sent, &sum, sent);
        io_turn(io, NS_PER_MS);
    }
    ck_assert_uint_eq(u->received, total);
    ck_assert_uint_eq(u->sum, sum);
}

static inline const struct inlet *inlet(const struct user *u)
{
    return u->sock.inlet;
}

#endif
