/* Field sections coming in on an HTTP/2 connection: HEADERS and CONTINUATION.
 *
 * They are decoded as they come, also when nobody wants them: both ends' tables
 * must stay the same.
 */
#include "http/h2_own.h"

enum { CONTINUATIONS = 16 };

static bool section_flooded(struct h2_session *s)
{
    uint64_t most = 2 * (uint64_t)s->limits.header_max + H2_FRAME_MAX;

    return s->block_bytes > most || s->block_frames > CONTINUATIONS + most / 2048 ||
           s->head.size > 2 * most;
}

/* Which stream it is for is settled, and what it will be. */
static void section_begin(struct h2_session *s, enum section section)
{
    static const enum h2_section kinds[] = {
        [SECTION_NEW] = H2_SECTION_REQUEST,
        [SECTION_TRAILERS] = H2_SECTION_TRAILERS,
        [SECTION_RESPONSE] = H2_SECTION_RESPONSE,
        [SECTION_DROPPED] = H2_SECTION_TRAILERS,
    };
    const struct h2_frame *f = &s->frame;

    s->section = (uint8_t)section;
    s->block_stream = f->stream;
    s->block_bytes = s->block_frames = 0;
    s->block_end = f->flags & H2_FLAG_END_STREAM;
    s->left = f->len;
    s->padding = 0;
    s->reading = f->flags & (H2_FLAG_PADDED | H2_FLAG_PRIORITY) ? READ_PREFIX : READ_BLOCK;
    h2_head_begin(&s->head, kinds[section]);
}

/* HEADERS for a stream that has not begun. */
static bool begin_new(struct h2_session *s, struct h2_event *ev)
{
    uint32_t id = s->frame.stream;

    if (!h2_ours(s, id))
        return h2_misbehaved(s, ev, H2_PROTOCOL_ERROR); /* RFC 9113, 5.1.1 */
    bool refused = s->drain == H2_DRAIN_FINAL || s->streams >= s->limits.streams_max;
    h2_begun(s, id);
    section_begin(s, refused ? SECTION_DROPPED : SECTION_NEW);
    if (refused)
        h2_stream_failed(s, ev, id, NULL, H2_REFUSED_STREAM, CAUSE_h2_refused);
    return true;
}

bool h2_begin_headers(struct h2_session *s, struct h2_event *ev)
{
    uint32_t id = s->frame.stream;
    struct h2_stream *t;

    if (id == 0)
        return h2_misbehaved(s, ev, H2_PROTOCOL_ERROR);
    switch (h2_place_of(s, id, &t)) {
    case PLACE_IDLE:
        return begin_new(s, ev);
    case PLACE_SKIPPED:
        return h2_misbehaved(s, ev, H2_PROTOCOL_ERROR);
    case PLACE_ENDED:
        return h2_misbehaved(s, ev, H2_STREAM_CLOSED);
    case PLACE_RESET:
        section_begin(s, SECTION_DROPPED);
        h2_stream_failed(s, ev, id, NULL, H2_STREAM_CLOSED, CAUSE_h2_malformed);
        return true;
    case PLACE_CUT:
        section_begin(s, SECTION_DROPPED);
        h2_control_counted(s, ev, 1);
        return true;
    case PLACE_OPEN:
        break;
    }
    if (t->state & H2_REMOTE_ENDED) {
        section_begin(s, SECTION_DROPPED);
        h2_stream_failed(s, ev, id, t, H2_STREAM_CLOSED, CAUSE_h2_malformed);
        return true;
    }
    if (s->limits.client && !t->answered) {
        section_begin(s, SECTION_RESPONSE);
    } else if (s->frame.flags & H2_FLAG_END_STREAM) {
        section_begin(s, SECTION_TRAILERS);
    } else { /* RFC 9113, 8.1: a second section ends the stream */
        section_begin(s, SECTION_DROPPED);
        h2_stream_failed(s, ev, id, t, H2_PROTOCOL_ERROR, CAUSE_h2_malformed);
    }
    return true;
}

bool h2_begin_continuation(struct h2_session *s, struct h2_event *ev)
{
    if (s->block_stream == 0)
        return h2_misbehaved(s, ev, H2_PROTOCOL_ERROR);
    s->left = s->frame.len;
    s->padding = 0;
    s->block_frames++;
    s->reading = READ_BLOCK;
    return true;
}

/* Padding and priority before a section, padding before content. */
bool h2_read_prefix(struct h2_session *s, struct span *in, struct h2_event *ev)
{
    bool padded = s->frame.flags & H2_FLAG_PADDED;
    bool headers = s->frame.type == H2_HEADERS;
    bool priority = headers && (s->frame.flags & H2_FLAG_PRIORITY);
    uint32_t need = (padded ? 1u : 0u) + (priority ? 5u : 0u);

    if (s->left < need) /* RFC 9113, 6.2 and 4.2: it cannot hold what it says */
        return h2_misbehaved(s, ev, s->left == 0 ? H2_FRAME_SIZE_ERROR : H2_PROTOCOL_ERROR);
    if (in->len < need)
        return false;
    s->padding = padded ? (uint8_t)in->ptr[0] : 0;
    uint32_t depends = priority ? h2_get32(in->ptr + padded) & H2_STREAM_MASK : 0;
    *in = span_after(*in, need);
    s->left -= need;
    if (s->padding > s->left)
        return h2_misbehaved(s, ev, H2_PROTOCOL_ERROR);
    s->left -= s->padding;
    if (!headers)
        return h2_data_begin(s, ev);
    s->reading = READ_BLOCK;
    if (!priority || depends != s->frame.stream || s->section == SECTION_DROPPED)
        return true;
    /* RFC 7540, 5.3.1: of priorities that are gone, this mistake is left. */
    struct h2_stream *t;
    h2_place_of(s, s->frame.stream, &t);
    s->section = SECTION_DROPPED;
    h2_stream_failed(s, ev, s->frame.stream, t, H2_PROTOCOL_ERROR, CAUSE_h2_malformed);
    return true;
}

/* All of a section has come: what is it? */
static bool section_end(struct h2_session *s, struct h2_event *ev)
{
    enum section section = s->section;
    uint32_t id = s->block_stream;
    struct h2_stream *t = NULL;
    bool end = s->block_end;

    s->block_stream = 0;
    s->section = SECTION_NONE;
    if (section == SECTION_DROPPED)
        return true;
    if (h2_head_end(&s->head, end) < 0) {
        s->no_memory = true;
        return true;
    }
    if (section != SECTION_NEW) {
        h2_place_of(s, id, &t);
        if (!t) /* the caller has given it up meanwhile */
            return true;
    }
    bool bad = s->head.malformed;
    if (section == SECTION_TRAILERS)
        bad |= s->head.cause || (t->awaited != UINT64_MAX && t->awaited > 0);
    if (section == SECTION_RESPONSE && s->head.status < 200)
        bad |= end;
    if (bad) {
        h2_stream_failed(s, ev, id, t, H2_PROTOCOL_ERROR,
                         s->head.cause ? s->head.cause : CAUSE_h2_malformed);
        return true;
    }
    *ev = (struct h2_event){.kind = H2_HEAD, .stream = t, .id = id, .end = end};
    if (section == SECTION_NEW)
        return true;
    if (section == SECTION_TRAILERS)
        ev->kind = H2_TRAILS;
    else if (s->head.status < 200)
        ev->kind = H2_INTERIM;
    else
        t->answered = true;
    if (ev->kind == H2_HEAD && section == SECTION_RESPONSE && s->head.has_length)
        t->awaited = s->head.content_length;
    if (t->no_content || s->head.status == 304)
        t->awaited = 0;
    if (end)
        h2_stream_ended(s, t, H2_REMOTE_ENDED);
    return true;
}

/* Decodes what has come of it. */
bool h2_read_block(struct h2_session *s, struct span *in, struct h2_event *ev)
{
    struct span piece = span_first(*in, s->left), name, value;
    bool all = piece.len == s->left, last = all && (s->frame.flags & H2_FLAG_END_HEADERS);

    if (piece.len == 0 && !all)
        return false;
    s->left -= (uint32_t)piece.len;
    s->block_bytes += (uint32_t)piece.len;
    *in = span_after(*in, piece.len);
    for (;;) {
        enum hpack_step step = hpack_inflate(&s->hpack, &piece, last, &name, &value);
        if (step == HPACK_BAD)
            return h2_failed(s, ev, H2_COMPRESSION_ERROR, CAUSE_h2_compression_error);
        if (step != HPACK_FIELD)
            break;
        if (s->section == SECTION_DROPPED)
            s->head.size += name.len + value.len + 32;
        else if (h2_head_add(&s->head, name, value) < 0)
            s->no_memory = true;
        if (section_flooded(s))
            break;
    }
    if (section_flooded(s))
        return h2_failed(s, ev, H2_ENHANCE_YOUR_CALM, CAUSE_h2_header_flood);
    if (!all)
        return true;
    s->reading = READ_SKIP; /* padding */
    s->left = 0;
    return last ? section_end(s, ev) : true;
}
