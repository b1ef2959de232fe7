/* What the files of HTTP/1 connections share: for conn_h1*.c only. */
#ifndef HEADGATE_GATE_CONN_H1_H
#define HEADGATE_GATE_CONN_H1_H

#include "gate/conn_h1_write.h"
#include "gate/conn_own.h"
#include "http/h1_content.h"

#include <assert.h>

/* The connection's part of an exchange. */
struct h1_exchange {
    struct response_writer writer;
    struct h1_content content;
    struct fields trailers; /* while they are read: the slots are the worker's */
    bool content_done;
    bool continue_said;
    uint64_t rate_since; /* when the present window of asking began; 0: not asking */
    uint64_t rate_from;  /* bytes_in then */
    uint64_t rest_since; /* answered in full, content outstanding; 0: not so */
    uint64_t look_at;    /* whether one that has said all still listens; 0: it was not asked */
};
static_assert(sizeof(struct h1_exchange) <= CARRIER_ROOM, "fits what exchanges offer");

static inline struct h1_exchange *h1_of(struct exchange *x)
{
    return (struct h1_exchange *)(void *)x->carrier_room;
}

/* --- the request's content (conn_h1_content.c) ------------------------------- */

bool h1_content_at_hand(struct exchange *x, struct span *content);

/* From the wire to the exchange, as far as that wants and has room. */
void h1_read_tunnel(struct conn *c);
void h1_want_content(struct conn *c);

/* How much may come now.  A little room is waited out: the flow wakes us when half of it is free,
 * and one receive of much costs less than four of a little. */
uint32_t h1_content_room(struct exchange *x);

/* What nobody will read.  When there is much, or it comes too slowly, the
 * connection is not kept for it: x->close_after. */
void h1_read_rest(struct conn *c);

/* Time: until when content must have come on, and whether it has. */
uint64_t h1_content_deadline(struct conn *c);
void h1_content_judge(struct conn *c);

#endif
