/* Finding the server: its name's addresses, the one that answers, and a
 * document from it.
 */
#ifndef HEADGATE_BENCH_SERVER_H
#define HEADGATE_BENCH_SERVER_H

#include "bench/url.h"
#include "io/io.h"

struct server {
    const struct io_backend *backend;
    struct url url;
    uint64_t timeout_ns;
    struct address to; /* after server_find() */
};

enum { SERVER_WHY_MAX = 256 };

/* Puts a sentence into why, cut if need be. */
void server_say(char why[SERVER_WHY_MAX], const char *format, ...) PRINTF_LIKE(2, 3);

/* Resolves the host and connects to one address after the other; the first
 * that takes a connection is the one.  Otherwise a FAIL_*, and a sentence in why. */
MUST_USE int server_find(struct server *server, char why[SERVER_WHY_MAX]);

/* GET: the answer's content goes to `text`, at most max bytes; *len says how
 * many.  Fails when the status is not 200. */
MUST_USE int server_get(const struct server *server, const char *path, char *text, size_t max,
                        size_t *len, char why[SERVER_WHY_MAX]);

#endif
