/* A connection to an origin, speaking HTTP/1; owned by a pool, lent to legs. */
#ifndef HEADGATE_GATE_LINK_H
#define HEADGATE_GATE_LINK_H

#include "gate/leg.h"
#include "gate/pool.h"
#include "http/h1_content.h"

enum link_state {
    LINK_CONNECTING,
    LINK_BUSY,    /* serves a leg */
    LINK_IDLE,    /* in the pool */
    LINK_CLOSING, /* operations come home */
};

struct link {
    struct owner owner;
    struct link_node node; /* of the pool's idle or busy list */
    struct pool_server *server;
    struct leg *leg; /* NULL unless busy or connecting */
    struct wire wire;
    struct io_op dial;
    struct io_timer timer;
    struct address to;
    enum link_state state;
    uint64_t connect_ns;       /* timeout */
    struct h1_content content; /* of the response */
    uint32_t scanned;          /* of an incomplete head */
    uint32_t served;           /* responses */
    bool request_written;      /* the head is the wire's */
    bool request_done;         /* and all content */
    bool request_left_us;      /* the kernel took a byte of it */
    bool request_chunked;
    bool response_done;
    bool starved;      /* there was no memory to take content: reading pauses, and is tried again */
    bool origin_keeps; /* the origin will take another request */
    uint64_t request_left; /* content bytes still owed to the origin */
    uint64_t since;        /* when the present wait began */
};

/* Begins to connect for a leg, which it belongs to from now on; NULL: no memory. */
struct link *link_new(struct pool_server *server, const struct address *to, struct leg *leg);

/* An idle one takes up a leg. */
void link_serve(struct link *l, struct leg *leg);

/* The leg lets go of it. */
void link_release(struct link *l);

void link_close(struct link *l);

/* Could it serve another leg? */
bool link_usable(const struct link *l);

#endif
