/* What the files of the HTTP/2 session share. */
#ifndef HEADGATE_HTTP_H2_OWN_H
#define HEADGATE_HTTP_H2_OWN_H

#include "http/h2_session.h"

/* --- reading (h2_session.c, h2_content.c, h2_section.c) ------------------------- */

enum reading {
    READ_PREFACE,
    READ_FRAME,
    READ_SMALL,   /* a few bytes, whole */
    READ_ENTRIES, /* SETTINGS, six bytes at a time */
    READ_PREFIX,  /* padding length and priority, before a section or content */
    READ_BLOCK,   /* a piece of a field section */
    READ_CONTENT,
    READ_SKIP,
};

enum section { SECTION_NONE, SECTION_NEW, SECTION_TRAILERS, SECTION_RESPONSE, SECTION_DROPPED };

/* The connection is over.  Always true: it ends the reading of a frame. */
bool h2_failed(struct h2_session *s, struct h2_event *ev, enum h2_error error, enum cause cause);
bool h2_misbehaved(struct h2_session *s, struct h2_event *ev, enum h2_error error);

/* A mistake within a stream, which may be gone already. */
void h2_stream_failed(struct h2_session *s, struct h2_event *ev, uint32_t id,
                      struct h2_stream *stream, enum h2_error error, enum cause cause);

/* A frame that costs us something and brings nobody further; false: one too many, and the
 * connection has failed. */
bool h2_control_counted(struct h2_session *s, struct h2_event *ev, uint64_t n);

/* Each begins a frame, or goes on in one; false: more bytes are needed. */
bool h2_begin_data(struct h2_session *s, struct h2_event *ev);
bool h2_begin_headers(struct h2_session *s, struct h2_event *ev);
bool h2_begin_continuation(struct h2_session *s, struct h2_event *ev);
bool h2_read_prefix(struct h2_session *s, struct span *in, struct h2_event *ev);
bool h2_read_block(struct h2_session *s, struct span *in, struct h2_event *ev);
bool h2_read_content(struct h2_session *s, struct span *in, struct h2_event *ev);

/* The padding of a DATA frame is known: `left` is content. */
bool h2_data_begin(struct h2_session *s, struct h2_event *ev);

/* --- streams (h2_stream.c) ----------------------------------------------------- */

/* What has become of a stream id. */
enum h2_place {
    PLACE_OPEN,
    PLACE_IDLE,    /* not begun */
    PLACE_SKIPPED, /* never begun, and too late for it now (RFC 9113, 5.1.1) */
    PLACE_ENDED,   /* both sides have ended */
    PLACE_RESET,   /* by the peer */
    PLACE_CUT,     /* by us: the peer may not know yet, what it says is ignored */
};

bool h2_ours(const struct h2_session *s, uint32_t id); /* is it one that the peer may begin? */
enum h2_place h2_place_of(const struct h2_session *s, uint32_t id, struct h2_stream **stream);
void h2_begun(struct h2_session *s, uint32_t id); /* by the peer; skips those below */
void h2_past_set(struct h2_session *s, uint32_t id, enum h2_place place);

/* Into the table, with the windows of its beginning. FAIL_MEMORY. */
int h2_stream_join(struct h2_session *s, struct h2_stream *stream, uint32_t id);
void h2_stream_leave(struct h2_session *s, struct h2_stream *stream, enum h2_place place);
void h2_stream_ended(struct h2_session *s, struct h2_stream *stream, unsigned side);

/* SETTINGS_INITIAL_WINDOW_SIZE; false: a window would overflow (RFC 9113, 6.9.2). */
bool h2_windows_shift(struct h2_session *s, uint32_t window);

void h2_early_set(struct h2_session *s, uint32_t id, struct h2_priority p);
bool h2_early_get(struct h2_session *s, uint32_t id, struct h2_priority *p);

/* --- writing (h2_write.c) ------------------------------------------------------- */

void h2_say(struct h2_session *s, struct h2_frame frame, struct span payload);
void h2_say_number(struct h2_session *s, enum h2_type type, uint32_t stream, uint32_t number);
void h2_say_goaway(struct h2_session *s, uint32_t last, enum h2_error error);
void h2_say_hello(struct h2_session *s); /* preface and SETTINGS */
void h2_drain_ponged(struct h2_session *s);

/* How far a graceful end has got: the peer has been told, and what it still begins is served; or the
 * last stream has been named. */
enum { H2_DRAIN_NOTICED = 1, H2_DRAIN_FINAL = 2 };
#define H2_DRAIN_PING SPAN("draining")

#endif
