/* One HTTP/2 connection as numbers (RFC 9113): bytes in, events out, and bytes
 * to send.
 *
 * The caller holds the bytes: h2_read() looks at what is unread, says how much of it is
 * done with and what happened, and is called again until it says H2_NOTHING.
 * What there is to send gathers in h2_out().  Nothing is read or sent here, and
 * no clock looked at.
 *
 * Streams live in the caller's own objects and leave the session by
 * themselves: once both sides have ended, or one has reset it.
 *
 * Windows: a peer may send on a stream what was advertised and not yet
 * credited: limits.window bytes, and four times that on the connection; what
 * the caller has taken it gives back with h2_credit(), told to the peer when
 * it comes to half.  So what comes always fits where there is room for a window.
 *
 * A peer that keeps to the rules can still ask for much and take little.  What
 * costs us more than it costs the peer has a budget, and a cause.
 */
#ifndef HEADGATE_HTTP_H2_SESSION_H
#define HEADGATE_HTTP_H2_SESSION_H

#include "http/h2_frame.h"
#include "http/h2_head.h"
#include "http/h2_hpack.h"

struct h2_rate { /* amount 0: no limit */
    uint64_t amount, per_ns;
};

struct h2_limits {
    bool client;          /* we are the one who asks */
    bool connects;        /* extended CONNECT is taken (RFC 8441) */
    uint32_t streams_max; /* at once, begun by the peer */
    uint32_t window;      /* of a stream, at least H2_WINDOW_START */
    uint32_t header_max;  /* decoded, as SETTINGS_MAX_HEADER_LIST_SIZE counts */
    uint32_t fields_max;
    struct h2_rate resets;  /* streams reset by or because of the peer */
    struct h2_rate control; /* frames that carry nothing */
};

enum { /* h2_stream.state */
       H2_REMOTE_ENDED = 1,
       H2_LOCAL_ENDED = 2,
       H2_GONE = 4, /* no longer the session's */
};

struct h2_stream {
    struct h2_stream *next; /* in the session's table */
    uint32_t id;
    int32_t send_window;
    int32_t receive_window;
    uint32_t credit;  /* taken, not yet told to the peer */
    uint64_t awaited; /* content still to come, by Content-Length; UINT64_MAX: not known */
    uint8_t state;
    struct h2_priority priority;
    bool answered;   /* client: the final response head has come */
    bool no_content; /* client: it answers HEAD; set after h2_request() */
};

enum h2_kind {
    H2_NOTHING, /* more bytes are needed */
    H2_FLUSH,   /* h2_out() has to go first */
    H2_HEAD,    /* a request, to h2_accept() or h2_refuse(), or a response; see s->head */
    H2_INTERIM, /* client: a 1xx head */
    H2_CONTENT, /* so many bytes follow: take them, all or some, and say h2_took() */
    H2_TRAILS,  /* trailers; the stream ends */
    H2_END,     /* the peer's side of the stream has ended */
    H2_RESET,   /* the stream is gone: reset by the peer, or by us because of it */
    H2_WINDOW,  /* a window that was shut is open: a stream's, or, without one, that of all */
    H2_PRIORITISED,
    H2_GOING,  /* the peer's GOAWAY: no stream above `id` was, or will be, processed */
    H2_FAILED, /* the connection is over: send h2_out(), then close */
};

struct h2_event {
    enum h2_kind kind;
    struct h2_stream *stream;
    uint32_t id;
    bool end;         /* H2_HEAD: and no content follows */
    uint32_t content; /* H2_CONTENT */
    enum h2_error error;
    enum cause cause; /* H2_RESET, H2_FAILED */
    bool by_peer;     /* H2_RESET: it was the peer who did */
};

struct h2_meter {
    uint64_t since;
    uint64_t used;
};

enum {
    H2_PAST = 256, /* how many closed streams are told apart */
    H2_BUCKETS_FIRST = 16,
    H2_EARLY = 4, /* priorities of streams that have not begun */
};

struct h2_session {
    struct h2_limits limits;
    struct hpack hpack;
    struct h2_head head; /* of the field section that is coming, or came last */

    /* reading */
    uint8_t reading; /* what comes next */
    uint8_t section; /* whose field section is coming */
    struct h2_frame frame;
    uint32_t left; /* of the frame's payload, without padding */
    uint32_t padding;
    struct h2_stream *stream; /* of the frame; NULL: it is thrown away */
    uint32_t block_stream;    /* 0: no field section is open */
    uint32_t block_bytes, block_frames;
    bool block_end; /* END_STREAM came with it */
    bool settled;   /* the peer's first SETTINGS has come */
    uint64_t now;
    struct {
        uint32_t table, table_least, window, window_most, streams_max;
        bool resized, connects;
    } told; /* by SETTINGS of which not all has come */

    /* streams */
    struct h2_stream **buckets;
    struct h2_stream *few[H2_BUCKETS_FIRST];
    uint32_t bucket_count;
    uint32_t streams;          /* open, begun by whichever side */
    uint32_t last_id;          /* the highest the peer has begun */
    uint32_t next_id;          /* client: ours to begin next */
    uint8_t past[H2_PAST / 4]; /* how the last ones ended, two bits each */
    struct {
        uint32_t id;
        struct h2_priority priority;
    } early[H2_EARLY];
    uint8_t early_next;

    /* flow control */
    int64_t send_window, receive_window;
    uint32_t credit;
    uint32_t peer_window; /* SETTINGS_INITIAL_WINDOW_SIZE */
    uint32_t updates;     /* small ones that are not counted */
    uint32_t peer_streams_max;
    bool peer_connects;

    /* writing */
    char *out;
    uint32_t out_len, out_room, out_sent;
    uint64_t said; /* bytes ever sent, content included */
    bool no_memory;
    bool failed;
    uint8_t drain; /* how far a graceful end has got */
    bool peer_going;

    struct h2_meter resets, control;
};

/* Says our SETTINGS.  FAIL_MEMORY, FAIL_UNSUPPORTED; free it in any case. */
MUST_USE int h2_init(struct h2_session *s, const struct h2_limits *limits);
void h2_free(struct h2_session *s);

/* What the unread bytes say: the next event. *used bytes of them are done with. */
void h2_read(struct h2_session *s, struct span in, uint64_t now, size_t *used, struct h2_event *ev);

/* Is a field section coming?  It has begun and must end in time. */
static inline bool h2_in_head(const struct h2_session *s)
{
    return s->block_stream != 0;
}
/* Something could not be said for want of memory: the connection is of no more use. */
static inline bool h2_mute(const struct h2_session *s)
{
    return s->no_memory;
}
static inline bool h2_settled(const struct h2_session *s)
{
    return s->settled;
}

/* After H2_HEAD of a new stream: it is the caller's from now on. */
void h2_accept(struct h2_session *s, struct h2_stream *stream, const struct h2_event *ev);

void h2_refuse(struct h2_session *s, const struct h2_event *ev, enum h2_error error);

/* After H2_CONTENT: so many of the bytes were taken off the connection.  They are not yet credited.
 */
void h2_took(struct h2_session *s, uint32_t n);

/* n bytes of content have been made use of: the peer may send as many more. */
void h2_credit(struct h2_session *s, struct h2_stream *stream, uint32_t n);

/* The same in two parts, where streams belong to different people: what came is credited to the
 * connection at once, with h2_credit(s, NULL, n), so that who is slow holds up nobody else. */
void h2_credit_stream(struct h2_session *s, struct h2_stream *stream, uint32_t n);

/* --- writing ------------------------------------------------------------------- */

/* Bytes to send, in this order; h2_sent() forgets the first n. */
static inline struct span h2_out(const struct h2_session *s)
{
    return (struct span){s->out + s->out_sent, s->out_len - s->out_sent};
}
void h2_sent(struct h2_session *s, size_t n);

/* Gives back what an idle connection does not need. */
void h2_idle(struct h2_session *s);

/* How many bytes of content may be said now, at most `want`. */
uint32_t h2_take(const struct h2_session *s, const struct h2_stream *stream, uint64_t want);

/* May an empty DATA frame end it now?  Where the window is used up it may (RFC 9113, 6.9.1); where SETTINGS
 * have made it less than nothing, nothing is said (6.9.2). */
static inline bool h2_may_end(const struct h2_stream *stream)
{
    return stream->send_window >= 0;
}

/* A response: status, our own fields and the others.  1xx: `end` is false. */
void h2_respond(struct h2_session *s, struct h2_stream *stream, int status,
                const struct fields *first, const struct fields *fields, bool end);

/* A request on a new stream: pseudo-fields, then the others.  FAIL_FULL: the peer takes no
 * more streams now, or none at all. */
MUST_USE int h2_request(struct h2_session *s, struct h2_stream *stream, const struct fields *pseudo,
                        const struct fields *fields, bool end);

void h2_trailers(struct h2_session *s, struct h2_stream *stream, const struct fields *fields);

/* The head of a DATA frame: n bytes, no more than h2_take() says, have to follow in h2_out's
 * order: behind what is in there now. */
void h2_data(struct h2_session *s, struct h2_stream *stream, uint32_t n, bool end);

void h2_reset(struct h2_session *s, struct h2_stream *stream, enum h2_error error);

/* Changes that the peer should no longer begin streams: GOAWAY 2^31-1 and a
 * PING now; when that is answered, or at the second call, the final GOAWAY. */
void h2_drain(struct h2_session *s);
bool h2_drained(const struct h2_session *s); /* the final one is out, and no stream is left */

/* The connection ends: GOAWAY with this error. */
void h2_fail(struct h2_session *s, enum h2_error error);

void h2_check(const struct h2_session *s); /* asserts that it is sound */

#endif
