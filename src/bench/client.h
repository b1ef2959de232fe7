/* A connection that sends requests and reads answers.
 *
 * Up to `depth` requests are under way at a time (pipelining).  A request is a
 * ticket: taken from the crew's work, written, and finished by its answer or
 * by an error.  After an answer that says `Connection: close` the requests
 * behind it were provably not processed (RFC 9112, 9.6): their tickets are
 * kept and written again on the next connection.  Requests lost in any other
 * way are errors and are not sent again, since the server may have counted them.
 */
#ifndef HEADGATE_BENCH_CLIENT_H
#define HEADGATE_BENCH_CLIENT_H

#include "bench/tally.h"
#include "http/h1_content.h"
#include "http/h1_parse.h"
#include "io/io.h"

struct crew;

struct ticket {
    uint64_t number;   /* the work's own */
    uint64_t start_ns; /* latency counts from here; 0: from when it is written */
};

enum client_state {
    CLIENT_OFF, /* no socket */
    CLIENT_CONNECTING,
    CLIENT_OPEN,
    CLIENT_CLOSING, /* waits for its operations to end */
    CLIENT_PAUSED,  /* waits before it connects again */
    CLIENT_GIVEN_UP,
};

struct client {
    struct owner owner;
    struct crew *crew;
    struct io_sock sock;
    struct io_op connect, recv, send;
    struct io_timer timer; /* of connecting, of answers, or of the pause */
    struct link_node idle; /* in crew->idle: has room for a request and there was none */
    uint8_t state;         /* enum client_state */
    uint8_t failures;      /* connects that failed in a row */
    bool connected_before;

    struct ticket *tickets; /* the first `written` of `held` are on this connection, oldest first */
    uint32_t first, held, written;

    char *out; /* bytes from out_start to out_end are still to be sent */
    uint32_t out_start, out_end;
    struct io_vec vec;

    bool in_content; /* of the answer to the oldest ticket */
    bool keep_alive;
    int status;
    struct h1_parser parser;
    struct h1_content content;
    char *stash; /* the beginning of a head or chunk line, until more comes */
    uint32_t stash_len, stash_size;
};

/* False when there is no memory.  client_free() wants it CLIENT_OFF or CLIENT_GIVEN_UP. */
MUST_USE bool client_init(struct client *c, struct crew *crew);
void client_free(struct client *c);

/* Wakes it: to connect at the beginning, when there is work, or when the crew stops. */
void client_wake(struct client *c);

static inline bool client_at_rest(const struct client *c)
{
    return c->state == CLIENT_OFF || c->state == CLIENT_GIVEN_UP;
}

#endif
