/* One source of tests for every backend.
 *
 * Each test runs in a child of its own, with `backend` set to the engine it
 * tests.  The sockets on the far side are the system's own, so that an engine
 * is compared with Linux and not with itself.
 *
 * tests/backends/backends [BACKEND [PART-OF-A-TEST'S-NAME]]
 */
#ifndef HEADGATE_TESTS_BACKENDS_H
#define HEADGATE_TESTS_BACKENDS_H

#include "io/io.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct test {
    const char *name;
    void (*run)(void);
};

/* Each ended by {0}. */
extern const struct test accept_tests[], file_tests[], limit_tests[], listen_tests[], pipe_tests[],
    promise_tests[], send_file_tests[], stream_tests[], thread_tests[], time_tests[];

extern const struct io_backend *backend;

_Noreturn void fail_at(const char *file, int line, const char *what);
_Noreturn void fail_equal_at(const char *file, int line, const char *what, int64_t a, int64_t b);
_Noreturn void skip(const char *why);

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            fail_at(__FILE__, __LINE__, #cond);                                                    \
    } while (0)

#define CHECK_EQUAL(a, b)                                                                          \
    do {                                                                                           \
        int64_t left_ = (int64_t)(a), right_ = (int64_t)(b);                                       \
        if (left_ != right_)                                                                       \
            fail_equal_at(__FILE__, __LINE__, #a " = " #b, left_, right_);                         \
    } while (0)

/* Turns the engine until cond holds, for at most 20 s. */
#define TURN_UNTIL(io, cond)                                                                       \
    do {                                                                                           \
        for (uint64_t from_ = real_ns(); !(cond);) {                                               \
            if (real_ns() - from_ > 20 * NS_PER_S)                                                 \
                fail_at(__FILE__, __LINE__, "waited in vain for: " #cond);                         \
            CHECK(io_turn(io, 100 * NS_PER_MS));                                                   \
        }                                                                                          \
    } while (0)

uint64_t real_ns(void);

struct io *engine_open(void);
void engine_close(struct io *io);
void turn_some(struct io *io); /* a few turns that wait for nothing long */

/* An owner that counts its steps and does nothing. */
struct idler {
    struct owner owner;
    unsigned steps;
};
void idler_init(struct idler *i, struct io *io);

/* --- a listener that accepts ---------------------------------------------------- */

enum { ACCEPTS = 16, ACCEPTED_MAX = 1200 };

struct accepted {
    int fd;
    struct address peer;
};

struct listener {
    struct owner owner;
    struct io *io;
    struct io_sock sock;
    struct address at;
    struct io_accept accepts[ACCEPTS];
    bool stop; /* do not accept again */
    unsigned count;
    struct accepted accepted[ACCEPTED_MAX];
    int fail; /* the last one */
};

/* Listening on a free port of 127.0.0.1, with n accepts posted. */
void listener_open(struct listener *l, struct io *io, unsigned n);
void listener_close(struct listener *l);

int listen_plain(struct address *at); /* a descriptor; at gets the port */

/* --- one end of a connection in the engine ---------------------------------------- */

struct peer {
    struct owner owner;
    struct io *io;
    struct io_sock sock;
    struct io_op recv, send;
    bool reading; /* receive again and again */
    unsigned steps, sends, receives;
    int end; /* how receiving ended; 0 as long as it has not */
    int send_fail;
    uint32_t send_count;
    char *got;
    size_t got_len, got_max;
};

void peer_init(struct peer *p, struct io *io);
void peer_adopt(struct peer *p, struct io *io, int fd);
void peer_read(struct peer *p);  /* until the end */
void peer_close(struct peer *p); /* and forget; operations in flight are cancelled first */

/* A client of the system's, and the engine's end of the same connection. */
int peer_pair(struct peer *p, struct io *io);

/* --- the system's own sockets ------------------------------------------------------ */

int plain_connect(const struct address *to); /* blocking; fails the test */
uint16_t plain_port(int fd);                 /* its own */
void plain_write(int fd, const void *bytes, size_t len);
size_t plain_read(int fd, void *bytes, size_t max); /* until max or the end */
void plain_reset(int fd);

/* Byte i of stream number n: enough to notice what is lost, doubled or swapped. */
static inline char pattern(uint64_t n, uint64_t i)
{
    uint64_t x = (i + n * 1000003) * UINT64_C(0x9e3779b97f4a7c15);

    return (char)(x >> 56);
}

#endif
