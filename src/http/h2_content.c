/* DATA coming in on an HTTP/2 connection, and the windows it comes through. */
#include "http/h2_own.h"

#include <assert.h>

static void receive_credit(struct h2_session *s, uint32_t n)
{
    s->credit += n;
    if (s->credit < 2 * s->limits.window)
        return;
    s->receive_window += s->credit;
    h2_say_number(s, H2_WINDOW_UPDATE, 0, s->credit);
    s->credit = 0;
}

void h2_credit(struct h2_session *s, struct h2_stream *stream, uint32_t n)
{
    if (n == 0 || s->failed)
        return;
    receive_credit(s, n);
    if (stream)
        h2_credit_stream(s, stream, n);
}

void h2_credit_stream(struct h2_session *s, struct h2_stream *stream, uint32_t n)
{
    if (n == 0 || s->failed || (stream->state & (H2_GONE | H2_REMOTE_ENDED)))
        return;
    stream->credit += n;
    if (stream->credit < s->limits.window / 2)
        return;
    stream->receive_window += (int32_t)stream->credit;
    h2_say_number(s, H2_WINDOW_UPDATE, stream->id, stream->credit);
    stream->credit = 0;
}

void h2_took(struct h2_session *s, uint32_t n)
{
    assert(n <= s->left);
    s->left -= n;
}

/* Padding has been read as soon as it is known: nobody has to take it. */
static void pad_credit(struct h2_session *s, uint32_t n)
{
    h2_credit(s, s->stream, n);
}

/* Can the content still come to what was announced (RFC 9113, 8.1.1)? */
static bool content_fits(struct h2_stream *t, uint32_t n, bool end)
{
    if (t->awaited == UINT64_MAX)
        return true;
    if (n > t->awaited)
        return false;
    t->awaited -= n;
    return !end || t->awaited == 0;
}

/* The frame's padding is known: `left` is content. */
bool h2_data_begin(struct h2_session *s, struct h2_event *ev)
{
    bool end = s->frame.flags & H2_FLAG_END_STREAM;
    struct h2_stream *t = s->stream;

    s->reading = READ_CONTENT;
    pad_credit(s, s->frame.len - s->left);
    if (!end && s->left == 0 && !h2_control_counted(s, ev, 1))
        return true;
    if (t && !content_fits(t, s->left, end))
        h2_stream_failed(s, ev, t->id, t, H2_PROTOCOL_ERROR, CAUSE_h2_malformed);
    return true;
}

static bool data_end(struct h2_session *s, struct h2_event *ev)
{
    struct h2_stream *t = s->stream;

    s->reading = READ_FRAME;
    s->stream = NULL;
    if (!t || !(s->frame.flags & H2_FLAG_END_STREAM))
        return true;
    *ev = (struct h2_event){.kind = H2_END, .stream = t, .id = t->id};
    h2_stream_ended(s, t, H2_REMOTE_ENDED);
    return true;
}

bool h2_read_content(struct h2_session *s, struct span *in, struct h2_event *ev)
{
    if (s->left == 0 && s->padding == 0)
        return data_end(s, ev);
    if (in->len == 0)
        return false;
    if (s->left > 0 && s->stream) {
        uint32_t n = in->len < s->left ? (uint32_t)in->len : s->left;
        *ev = (struct h2_event){
            .kind = H2_CONTENT, .stream = s->stream, .id = s->stream->id, .content = n};
        return true;
    }
    uint32_t *rest = s->left > 0 ? &s->left : &s->padding;
    uint32_t n = in->len < *rest ? (uint32_t)in->len : *rest;
    if (rest == &s->left)
        h2_credit(s, NULL, n); /* of a stream that is gone */
    *rest -= n;
    *in = span_after(*in, n);
    return true;
}

/* DATA (RFC 9113, 6.1), which counts whatever has become of its stream (6.9). */
bool h2_begin_data(struct h2_session *s, struct h2_event *ev)
{
    const struct h2_frame *f = &s->frame;
    struct h2_stream *t;

    if (f->stream == 0)
        return h2_misbehaved(s, ev, H2_PROTOCOL_ERROR);
    enum h2_place place = h2_place_of(s, f->stream, &t);
    if (place == PLACE_IDLE || place == PLACE_SKIPPED)
        return h2_misbehaved(s, ev, H2_PROTOCOL_ERROR);
    if (place == PLACE_ENDED)
        return h2_misbehaved(s, ev, H2_STREAM_CLOSED);
    if (f->len > s->receive_window)
        return h2_misbehaved(s, ev, H2_FLOW_CONTROL_ERROR);
    s->receive_window -= f->len;
    s->stream = t;
    s->left = f->len;
    s->padding = 0;
    s->reading = f->flags & H2_FLAG_PADDED ? READ_PREFIX : READ_CONTENT;
    if (place == PLACE_RESET) {
        h2_stream_failed(s, ev, f->stream, NULL, H2_STREAM_CLOSED, CAUSE_h2_malformed);
    } else if (t && (t->state & H2_REMOTE_ENDED)) {
        h2_stream_failed(s, ev, t->id, t, H2_STREAM_CLOSED, CAUSE_h2_malformed);
    } else if (t && s->limits.client && !t->answered) {
        h2_stream_failed(s, ev, t->id, t, H2_PROTOCOL_ERROR, CAUSE_upstream_bad_head);
    } else if (t && (int64_t)f->len > t->receive_window) {
        h2_stream_failed(s, ev, t->id, t, H2_FLOW_CONTROL_ERROR, CAUSE_h2_window_exceeded);
    } else if (t) {
        t->receive_window -= (int32_t)f->len;
    }
    if (s->reading == READ_CONTENT && ev->kind == H2_NOTHING)
        h2_data_begin(s, ev);
    return true;
}
