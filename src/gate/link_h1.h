/* An HTTP/1 link: one leg at a time. */
#ifndef HEADGATE_GATE_LINK_H1_H
#define HEADGATE_GATE_LINK_H1_H

#include "gate/link.h"
#include "http/h1_content.h"

struct h1_link {
    struct link base;
    struct leg *leg;           /* NULL while idle, and at the end */
    struct h1_content content; /* of the response */
    struct fields trailers;    /* behind it, while they are read: the slots are the worker's */
    uint32_t scanned;          /* of an incomplete head */
    bool request_chunked;
    bool origin_keeps; /* the origin will take another request */
    unsigned replayed,
        replay_end;        /* pieces of an earlier try that were, and have to be, sent again */
    uint64_t request_left; /* content bytes still owed to the origin */
};

/* Writes what there is of the request. */
void h1_link_write(struct h1_link *l);

#endif
