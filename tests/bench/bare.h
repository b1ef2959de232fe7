/* What the two floors share: a command line, an engine, and accepting.
 *
 * bare_loop and bare_relay do what a server cannot leave out, receive and
 * send, over the engines headgate uses.  What headgate costs beyond them is
 * what headgate costs.
 */
#ifndef TESTS_BENCH_BARE_H
#define TESTS_BENCH_BARE_H

#include "io/io.h"

enum { BARE_ACCEPTS = 16 };

struct bare {
    void (*opened)(struct bare *b, int fd); /* a client; fd for io_adopt() */
    bool (*begin)(struct bare *b);          /* when all is read; false shows the usage */
    const char *usage;
    const char *options; /* for getopt(); "e:" is understood here */
    void (*option)(struct bare *b, int name, const char *value);

    struct io *io;
    struct owner owner;
    struct io_sock listener;
    struct io_accept accepts[BARE_ACCEPTS];
    struct address at, origin; /* origin: ADDRESS_NONE unless one is given */
};

/* Prints where it listens, and serves until a signal ends it.  Returns only
 * when it cannot begin, having said why. */
int bare_run(struct bare *b, int argc, char **argv);

#endif
