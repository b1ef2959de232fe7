/* What the files of HTTP/2 connections share: for conn_h2*.c only.
 *
 * Each stream is an exchange.  Whoever wakes an exchange wakes an owner of its
 * own, whose step only puts it in line and wakes the connection: the connection's
 * step then runs those in line and no others, the most urgent first (RFC 9218).
 */
#ifndef HEADGATE_GATE_CONN_H2_H
#define HEADGATE_GATE_CONN_H2_H

#include "gate/conn_own.h"
#include "gate/h2_wire.h"

#include <assert.h>

/* The connection's part of an exchange. */
struct h2_exchange {
    struct h2_stream stream;
    struct owner owner;
    struct link_node node; /* of conn_h2.exchanges, or conn_h2.leaving */
    struct link_node line; /* of those that are ready, or wait for the wire or their file */
    struct conn *conn;
    uint64_t credited;   /* of the content that was taken from the flow */
    uint64_t allowed;    /* by a deep flow, whatever was taken */
    uint64_t left;       /* of a known length: bytes still owed */
    uint64_t file_mark;  /* session.said behind the last part of a file */
    uint64_t rate_since; /* when the present window of asking began; 0: not asking */
    uint64_t rate_from;  /* conn_h2.received then */
    uint64_t wait_since; /* answered, content outstanding; or no window; 0: neither */
    uint32_t rest;       /* bytes nobody wanted */
    bool head_written;
    bool no_content;   /* HEAD, 204, 304: the head is all */
    bool done;         /* all of the response is the wire's */
    bool content_done; /* all of the request has come, or what still comes is not wanted */
    bool continue_said;
    bool shut;     /* its window is used up */
    bool file_cut; /* what is said to be of its file are zeros, to some extent */
};
static_assert(sizeof(struct h2_exchange) <= CARRIER_ROOM, "fits what exchanges offer");

struct conn_h2 {
    struct h2_session session;
    struct link_node exchanges;
    struct link_node leaving; /* over, but the engine may still read their files */
    struct link_node ready[H2_URGENCIES];
    struct link_node waiting; /* for room on the wire */
    struct link_node filed;   /* with all of a file on the wire: is it whole? */
    uint64_t received;        /* bytes of content, of all streams */
    uint64_t head_since;      /* when the field section that is coming began; 0: none is */
    uint64_t drain_since;     /* when the client was told; 0: not yet */
    uint64_t sweep_at;        /* when all exchanges are looked at next */
    uint64_t requests, swept; /* so far; when the connection was last found idle */
    uint32_t open;
};

static inline struct h2_exchange *h2_of(struct exchange *x)
{
    return (struct h2_exchange *)(void *)x->carrier_room;
}

static inline struct exchange *h2_exchange_of(struct h2_exchange *h)
{
    return container_of((uint64_t *)(void *)h, struct exchange, carrier_room);
}

/* Has what was read of its file gone? */
static inline bool h2_file_gone(const struct conn *c, const struct h2_exchange *h)
{
    return h->file_mark <= c->h2->session.said - wire_queued(&c->wire);
}

/* Hands over what the session has to say, as far as there is room; true: all of it. */
bool conn_h2_flush(struct conn *c);

/* --- exchanges (conn_h2_exchange.c) -------------------------------------------- */

/* A head has come: an exchange begins, or the stream is refused. */
void conn_h2_request(struct conn *c, const struct h2_event *ev);

/* In line, to be run in this step or the next. */
void conn_h2_ready(struct conn *c, struct exchange *x);

/* A window has opened: one stream's, or, NULL, the connection's. */
void conn_h2_windows_opened(struct conn *c, struct h2_stream *stream);

/* Those whose files have gone to the end are in line. */
void conn_h2_filed_go(struct conn *c);

/* Runs those in line. */
void conn_h2_run(struct conn *c);

/* Its stream has ended or is reset: it says goodbye. */
void conn_h2_over(struct conn *c, struct exchange *x);
void conn_h2_reset(struct conn *c, struct exchange *x, enum h2_error error);

/* Those that are over, and whose files have gone, are finished; or all. */
void conn_h2_leaving_go(struct conn *c, bool all);

/* --- responses (conn_h2_write.c) ---------------------------------------------- */

enum h2_wrote {
    H2_WROTE_ALL,  /* that there is now; or all there will be: then it is done */
    H2_WROTE_SOME, /* a frame, and there is more */
    H2_WROTE_WIRE, /* there is no room on the wire */
    H2_WROTE_SHUT, /* the window is used up */
    H2_WROTE_FILE, /* all of a file: whether that is what it holds is not known yet */
};
enum h2_wrote conn_h2_write(struct conn *c, struct exchange *x);
void conn_h2_interim(struct exchange *x, int status, const struct fields *fields);

/* --- content and time (conn_h2_content.c) --------------------------------------- */

/* What the consumer has taken may come again. */
void conn_h2_credit(struct conn *c, struct exchange *x);

/* ev->content bytes are on the wire for it; false: there is no memory for them now. */
bool conn_h2_content(struct conn *c, struct exchange *x, const struct h2_event *ev);
bool conn_h2_at_hand(struct exchange *x, struct span *content);
void conn_h2_want(struct conn *c, struct exchange *x);

/* The response is complete, the request is not. */
void conn_h2_rest(struct conn *c, struct exchange *x);

/* Once a second: is anybody too slow? */
void conn_h2_judge(struct conn *c, struct exchange *x);

#endif
