/* A small program on the engine alone: what each client says goes to one
 * origin, and back.  The engine's own story is played with it, and whoever
 * wants to know how steps are written may read it. */
#ifndef HEADGATE_TESTS_SIM_RELAY_H
#define HEADGATE_TESTS_SIM_RELAY_H

#include "io/io.h"

enum { RELAY_ACCEPTS = 4 };

struct relay {
    struct owner owner; /* of the listener */
    struct io *io;
    struct io_sock sock;
    struct io_accept accepts[RELAY_ACCEPTS];
    struct io_timer timer;
    struct link_node pairs;
    struct address origin;
    uint64_t idle_ns;
    bool leaving;
    unsigned served, refused, cut;
};

void relay_start(struct relay *r, struct io *io, int fd, const struct address *origin,
                 uint64_t idle_ns);
void relay_leave(struct relay *r); /* accepts no more, ends what there is */
bool relay_gone(const struct relay *r);

#endif
