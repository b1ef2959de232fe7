/* An HTTP/2 link: many legs, a stream each.  For link_h2*.c only.
 *
 * Whoever wakes a leg wakes an owner of its own, whose step only puts it in
 * line and wakes the link: the link's step then runs those in line and no
 * others, so that a leg costs what it does and not what all legs would.
 *
 * Content that has come is credited to the connection at once and to its
 * stream when the client's side has taken it: a slow client holds up its own
 * stream, and no more than a window of each waits in memory.
 */
#ifndef HEADGATE_GATE_LINK_H2_H
#define HEADGATE_GATE_LINK_H2_H

#include "gate/h2_wire.h"
#include "gate/link.h"

/* A leg's place on its link. */
struct h2_leg {
    struct h2_stream stream;
    struct owner owner;
    struct leg *leg;
    struct h2_link *link;
    struct link_node node;         /* of h2_link.legs */
    struct link_node line;         /* of those that are ready, or wait for the wire */
    uint64_t credited;             /* of the content that was taken from the flow */
    uint64_t from;                 /* of h2_link.sent: none of it has left before */
    unsigned replayed, replay_end; /* pieces of an earlier try that were, and have to be, sent */
    uint32_t piece_sent;           /* of the piece that is being sent again */
    uint8_t moves;                 /* from link to link */
    bool begun;                    /* it has a stream */
    bool shut;                     /* its window is used up */
};

struct h2_link {
    struct link base;
    struct h2_session session;
    struct link_node legs;
    struct link_node ready;
    struct link_node waiting; /* for room on the wire */
    uint64_t sent;            /* what wire.sent says, which goes round */
    uint64_t moved_at;        /* when some of them last left */
    uint64_t due;             /* no leg has waited too long before */
    uint32_t count;           /* of legs */
    bool dead;                /* the connection is of no more use */
};

static inline struct h2_link *h2_link_of(struct link *l)
{
    return container_of(l, struct h2_link, base);
}

/* In line, to be run in this step or the next. */
static inline void h2_leg_ready(struct h2_leg *h)
{
    list_remove(&h->line);
    list_append(&h->link->ready, &h->line);
}

enum h2_leg_wrote {
    H2_LEG_ALL,  /* that there is now */
    H2_LEG_SOME, /* a frame, and there is more */
    H2_LEG_WIRE, /* there is no room on the wire */
    H2_LEG_SHUT, /* the window is used up */
    H2_LEG_FULL, /* no stream may begin now */
};

/* Writes what there is of the request, at most one frame of content (link_h2_write.c). */
enum h2_leg_wrote h2_leg_write(struct h2_link *l, struct h2_leg *h);

#endif
