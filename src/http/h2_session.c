/* Reading an HTTP/2 connection: frames to events; see h2_session.h.
 *
 * A frame is judged by its nine bytes (frame_begin), then
 * its payload is waited for: in pieces where it is content (h2_content.c) or a field
 * section (h2_section.c), whole where it is a few bytes.
 */
#include "http/h2_own.h"

#include "base/fail.h"
#include "base/mem.h"

#include <assert.h>

enum {
    OUT_MAX = 8192,   /* control frames that wait: no more is read before they go */
    SMALL_MAX = 68,   /* of a PRIORITY_UPDATE; what is longer is not understood anyway */
    TINY_UPDATE = 64, /* a WINDOW_UPDATE below this is counted */
};

int h2_init(struct h2_session *s, const struct h2_limits *limits)
{
    int err;

    *s = (struct h2_session){.limits = *limits};
    s->buckets = s->few;
    s->bucket_count = H2_BUCKETS_FIRST;
    s->reading = limits->client ? READ_FRAME : READ_PREFACE;
    s->left = H2_PREFACE;
    s->next_id = 1;
    s->head.connects = limits->connects;
    s->head.size_max = limits->header_max;
    s->head.fields_max = limits->fields_max;
    s->send_window = s->peer_window = H2_WINDOW_START;
    s->receive_window = 4 * (int64_t)limits->window;
    s->peer_streams_max = UINT32_MAX;
    if ((err = hpack_init(&s->hpack)) < 0)
        return err;
    h2_say_hello(s);
    return s->no_memory ? FAIL_MEMORY : 0;
}

void h2_free(struct h2_session *s)
{
    hpack_free(&s->hpack);
    h2_head_free(&s->head);
    mem_free(s->out);
    if (s->buckets != s->few)
        mem_free(s->buckets);
    s->out = NULL;
    s->buckets = s->few;
}

/* --- mistakes and budgets --------------------------------------------------------------- */

/* The connection is over; true, so that a frame's reading can end with it. */
bool h2_failed(struct h2_session *s, struct h2_event *ev, enum h2_error error, enum cause cause)
{
    h2_fail(s, error);
    *ev = (struct h2_event){.kind = H2_FAILED, .error = error, .cause = cause};
    return true;
}

bool h2_misbehaved(struct h2_session *s, struct h2_event *ev, enum h2_error error)
{
    return h2_failed(s, ev, error,
                     error == H2_FLOW_CONTROL_ERROR ? CAUSE_h2_window_exceeded
                                                    : CAUSE_h2_protocol_error);
}

/* A window of time that begins with the first event in it. */
static bool within(struct h2_meter *m, const struct h2_rate *r, uint64_t now, uint64_t n)
{
    if (now - m->since >= r->per_ns) {
        m->since = now;
        m->used = 0;
    }
    m->used += n;
    return r->amount == 0 || m->used <= r->amount;
}

/* A frame that costs us something and brings nobody further. */
bool h2_control_counted(struct h2_session *s, struct h2_event *ev, uint64_t n)
{
    if (within(&s->control, &s->limits.control, s->now, n))
        return true;
    h2_failed(s, ev, H2_ENHANCE_YOUR_CALM, CAUSE_h2_control_flood);
    return false;
}

/* A stream that came to nothing: because the peer reset it, or had us do so. */
static bool reset_counted(struct h2_session *s, struct h2_event *ev)
{
    if (within(&s->resets, &s->limits.resets, s->now, 1))
        return true;
    h2_failed(s, ev, H2_ENHANCE_YOUR_CALM, CAUSE_h2_reset_flood);
    return false;
}

/* A mistake within a stream, which may be gone already. */
void h2_stream_failed(struct h2_session *s, struct h2_event *ev, uint32_t id,
                      struct h2_stream *stream, enum h2_error error, enum cause cause)
{
    h2_say_number(s, H2_RST_STREAM, id, error);
    if (stream)
        h2_stream_leave(s, stream, PLACE_CUT);
    if (!reset_counted(s, ev)) {
        ev->stream = stream;
        return;
    }
    *ev = (struct h2_event){
        .kind = H2_RESET, .stream = stream, .id = id, .error = error, .cause = cause};
}

/* --- the small frames ------------------------------------------------------------------------ */

static bool on_priority(struct h2_session *s, const char *at, struct h2_event *ev)
{
    uint32_t id = s->frame.stream;
    struct h2_stream *t;

    if ((h2_get32(at) & H2_STREAM_MASK) != id)
        return true;
    if (h2_place_of(s, id, &t) == PLACE_IDLE) /* RST_STREAM may not be said of it */
        return h2_misbehaved(s, ev, H2_PROTOCOL_ERROR);
    h2_stream_failed(s, ev, id, t, H2_PROTOCOL_ERROR, CAUSE_h2_malformed);
    return true;
}

static bool on_reset(struct h2_session *s, const char *at, struct h2_event *ev)
{
    struct h2_stream *t;

    switch (h2_place_of(s, s->frame.stream, &t)) {
    case PLACE_IDLE:
        return h2_misbehaved(s, ev, H2_PROTOCOL_ERROR);
    case PLACE_OPEN:
        break;
    default:
        h2_control_counted(s, ev, 1);
        return true;
    }
    h2_stream_leave(s, t, PLACE_RESET);
    if (!reset_counted(s, ev)) {
        ev->stream = t;
        return true;
    }
    *ev = (struct h2_event){.kind = H2_RESET,
                            .stream = t,
                            .id = s->frame.stream,
                            .error = (enum h2_error)h2_get32(at),
                            .cause = CAUSE_client_gone,
                            .by_peer = true};
    return true;
}

static bool on_ping(struct h2_session *s, const char *at, struct h2_event *ev)
{
    struct span payload = {at, 8};

    if (!h2_control_counted(s, ev, 1))
        return true;
    if (!(s->frame.flags & H2_FLAG_ACK))
        h2_say(s, (struct h2_frame){.type = H2_PING, .flags = H2_FLAG_ACK}, payload);
    else if (span_equal(payload, H2_DRAIN_PING))
        h2_drain_ponged(s);
    return true;
}

static bool on_goaway(struct h2_session *s, const char *at, struct h2_event *ev)
{
    s->peer_going = true;
    *ev = (struct h2_event){.kind = H2_GOING,
                            .id = h2_get32(at) & H2_STREAM_MASK,
                            .error = (enum h2_error)h2_get32(at + 4)};
    return true;
}

static bool on_window(struct h2_session *s, const char *at, struct h2_event *ev)
{
    uint32_t by = h2_get32(at) & H2_STREAM_MASK, id = s->frame.stream;
    struct h2_stream *t = NULL;
    int64_t before;

    if (by < TINY_UPDATE && s->updates > 0)
        s->updates--;
    else if (by < TINY_UPDATE && !h2_control_counted(s, ev, 1))
        return true;
    if (id != 0) {
        enum h2_place place = h2_place_of(s, id, &t);
        if (place == PLACE_IDLE || (by == 0 && !t))
            return h2_misbehaved(s, ev, H2_PROTOCOL_ERROR);
        if (!t)
            return true;
        if (by == 0) {
            h2_stream_failed(s, ev, id, t, H2_PROTOCOL_ERROR, CAUSE_h2_malformed);
            return true;
        }
        if ((int64_t)t->send_window + by > H2_WINDOW_MAX) {
            h2_stream_failed(s, ev, id, t, H2_FLOW_CONTROL_ERROR, CAUSE_h2_window_exceeded);
            return true;
        }
        before = t->send_window;
        t->send_window += (int32_t)by;
    } else {
        if (by == 0)
            return h2_misbehaved(s, ev, H2_PROTOCOL_ERROR);
        if (s->send_window + by > H2_WINDOW_MAX)
            return h2_misbehaved(s, ev, H2_FLOW_CONTROL_ERROR);
        before = s->send_window;
        s->send_window += by;
    }
    if (before <= 0) /* else nobody waits for it: a flood of these costs no looking around */
        *ev = (struct h2_event){.kind = H2_WINDOW, .stream = t, .id = id};
    return true;
}

/* RFC 9218, 7.1. */
static bool on_priority_update(struct h2_session *s, const char *at, size_t len,
                               struct h2_event *ev)
{
    uint32_t id = h2_get32(at) & H2_STREAM_MASK;
    struct h2_priority p = {.urgency = H2_URGENCY_USUAL};
    struct h2_stream *t;

    if (!h2_ours(s, id))
        return h2_misbehaved(s, ev, H2_PROTOCOL_ERROR);
    h2_priority_parse((struct span){at + 4, len - 4}, &p);
    enum h2_place place = h2_place_of(s, id, &t);
    if (place == PLACE_IDLE)
        h2_early_set(s, id, p);
    if (!t)
        return true;
    t->priority = p;
    *ev = (struct h2_event){.kind = H2_PRIORITISED, .stream = t, .id = id};
    return true;
}

static bool read_small(struct h2_session *s, struct span *in, struct h2_event *ev)
{
    uint32_t need = s->frame.len < SMALL_MAX ? s->frame.len : SMALL_MAX;
    const char *at = in->ptr;

    if (s->frame.type == H2_GOAWAY)
        need = 8; /* the rest is for people */
    if (in->len < need)
        return false;
    *in = span_after(*in, need);
    s->left = s->frame.len - need;
    s->reading = READ_SKIP;
    switch (s->frame.type) {
    case H2_PRIORITY:
        return on_priority(s, at, ev);
    case H2_RST_STREAM:
        return on_reset(s, at, ev);
    case H2_PING:
        return on_ping(s, at, ev);
    case H2_GOAWAY:
        return on_goaway(s, at, ev);
    case H2_WINDOW_UPDATE:
        return on_window(s, at, ev);
    default:
        return on_priority_update(s, at, need, ev);
    }
}

/* --- SETTINGS ----------------------------------------------------------------------------- */

static void on_table_size(struct h2_session *s, uint32_t value)
{
    if (!s->told.resized || value < s->told.table_least)
        s->told.table_least = value;
    s->told.resized = true;
    s->told.table = value;
}

static bool on_window_size(struct h2_session *s, uint32_t value, struct h2_event *ev)
{
    if (value > H2_WINDOW_MAX)
        return h2_misbehaved(s, ev, H2_FLOW_CONTROL_ERROR);
    if (value > s->told.window_most)
        s->told.window_most = value;
    s->told.window = value;
    return true;
}

static bool on_setting(struct h2_session *s, unsigned id, uint32_t value, struct h2_event *ev)
{
    switch (id) {
    case H2_SETTING_HEADER_TABLE_SIZE:
        on_table_size(s, value);
        return true;
    case H2_SETTING_ENABLE_PUSH:
        if (value > (s->limits.client ? 0 : 1))
            return h2_misbehaved(s, ev, H2_PROTOCOL_ERROR);
        return true;
    case H2_SETTING_MAX_CONCURRENT_STREAMS:
        s->told.streams_max = value;
        return true;
    case H2_SETTING_INITIAL_WINDOW_SIZE:
        return on_window_size(s, value, ev);
    case H2_SETTING_MAX_FRAME_SIZE:
        if (value < H2_FRAME_MAX || value > 0xffffff)
            return h2_misbehaved(s, ev, H2_PROTOCOL_ERROR);
        return true;
    case H2_SETTING_ENABLE_CONNECT_PROTOCOL:
        if (value > 1)
            return h2_misbehaved(s, ev, H2_PROTOCOL_ERROR);
        s->told.connects = value;
        return true;
    case H2_SETTING_NO_RFC7540_PRIORITIES:
        return value > 1 ? h2_misbehaved(s, ev, H2_PROTOCOL_ERROR) : true;
    default:
        return true;
    }
}

/* All of it has come: it counts from here on, where the peer will read that it was understood, and
 * not a byte earlier (RFC 9113, 6.5.3).  The smallest table and the widest window that were said on the
 * way count too. */
static bool settings_apply(struct h2_session *s, struct h2_event *ev)
{
    if (s->told.resized && (hpack_resize(&s->hpack, s->told.table_least) < 0 ||
                            hpack_resize(&s->hpack, s->told.table) < 0))
        s->no_memory = true;
    s->peer_streams_max = s->told.streams_max;
    s->peer_connects = s->told.connects;
    if (!h2_windows_shift(s, s->told.window_most) || !h2_windows_shift(s, s->told.window))
        return h2_misbehaved(s, ev, H2_FLOW_CONTROL_ERROR);
    h2_say(s, (struct h2_frame){.type = H2_SETTINGS, .flags = H2_FLAG_ACK}, (struct span){0});
    *ev = (struct h2_event){.kind = H2_WINDOW}; /* all may be wider now */
    return true;
}

static bool read_entries(struct h2_session *s, struct span *in, struct h2_event *ev)
{
    while (s->left > 0) {
        if (in->len < 6)
            return false;
        const uint8_t *at = (const uint8_t *)in->ptr;
        unsigned id = (unsigned)at[0] << 8 | at[1];
        uint32_t value = h2_get32(in->ptr + 2);
        *in = span_after(*in, 6);
        s->left -= 6;
        on_setting(s, id, value, ev);
        if (ev->kind == H2_FAILED)
            return true;
    }
    s->settled = true;
    s->reading = READ_FRAME;
    return settings_apply(s, ev);
}

/* RFC 9113, 6.5. Long ones are counted as several. */
static bool begin_settings(struct h2_session *s, struct h2_event *ev)
{
    const struct h2_frame *f = &s->frame;
    bool ack = f->flags & H2_FLAG_ACK;

    if (f->stream != 0)
        return h2_misbehaved(s, ev, H2_PROTOCOL_ERROR);
    if (ack ? f->len > 0 : f->len % 6 != 0)
        return h2_misbehaved(s, ev, H2_FRAME_SIZE_ERROR);
    if (!h2_control_counted(s, ev, 1 + f->len / 48))
        return true;
    s->left = f->len;
    s->reading = ack ? READ_SKIP : READ_ENTRIES;
    s->told.resized = false;
    s->told.window = s->told.window_most = s->peer_window;
    s->told.streams_max = s->peer_streams_max;
    s->told.connects = s->peer_connects;
    return true;
}

/* --- frames ------------------------------------------------------------------------------- */

static bool small(struct h2_session *s)
{
    s->reading = READ_SMALL;
    return true;
}

static bool begin_priority(struct h2_session *s, struct h2_event *ev)
{
    struct h2_stream *t;

    if (s->frame.stream == 0)
        return h2_misbehaved(s, ev, H2_PROTOCOL_ERROR);
    if (!h2_control_counted(s, ev, 1))
        return true;
    if (s->frame.len == 5)
        return small(s);
    if (h2_place_of(s, s->frame.stream, &t) != PLACE_OPEN)
        return h2_misbehaved(s, ev, H2_FRAME_SIZE_ERROR);
    s->left = s->frame.len;
    s->reading = READ_SKIP;
    h2_stream_failed(s, ev, t->id, t, H2_FRAME_SIZE_ERROR, CAUSE_h2_malformed);
    return true;
}

static bool begin_priority_update(struct h2_session *s, struct h2_event *ev)
{
    if (s->limits.client || s->frame.stream != 0)
        return h2_misbehaved(s, ev, H2_PROTOCOL_ERROR);
    if (s->frame.len < 4)
        return h2_misbehaved(s, ev, H2_FRAME_SIZE_ERROR);
    return h2_control_counted(s, ev, 1) ? small(s) : true;
}

/* Those of a fixed length that belong to a stream, to the connection, or to either. */
static bool begin_fixed(struct h2_session *s, struct h2_event *ev, uint32_t len, bool of_stream,
                        bool of_connection)
{
    if (s->frame.stream == 0 ? !of_connection : !of_stream)
        return h2_misbehaved(s, ev, H2_PROTOCOL_ERROR);
    if (s->frame.len != len)
        return h2_misbehaved(s, ev, H2_FRAME_SIZE_ERROR);
    return small(s);
}

static bool begin_goaway(struct h2_session *s, struct h2_event *ev)
{
    if (s->frame.stream != 0)
        return h2_misbehaved(s, ev, H2_PROTOCOL_ERROR);
    if (s->frame.len < 8)
        return h2_misbehaved(s, ev, H2_FRAME_SIZE_ERROR);
    return h2_control_counted(s, ev, 1) ? small(s) : true;
}

/* RFC 9113, 4.1: what we do not know is ignored. */
static bool begin_unknown(struct h2_session *s, struct h2_event *ev)
{
    s->left = s->frame.len;
    s->reading = READ_SKIP;
    h2_control_counted(s, ev, 1);
    return true;
}

static bool frame_begin(struct h2_session *s, struct h2_event *ev)
{
    const struct h2_frame *f = &s->frame;

    s->stream = NULL;
    s->padding = 0;
    if (!s->settled && (f->type != H2_SETTINGS || (f->flags & H2_FLAG_ACK)))
        return h2_misbehaved(s, ev, H2_PROTOCOL_ERROR); /* RFC 9113, 3.4 */
    if (s->block_stream && (f->type != H2_CONTINUATION || f->stream != s->block_stream))
        return h2_misbehaved(s, ev, H2_PROTOCOL_ERROR); /* RFC 9113, 4.3 */
    if (f->len > H2_FRAME_MAX)
        return h2_misbehaved(s, ev, H2_FRAME_SIZE_ERROR);
    switch (f->type) {
    case H2_DATA:
        return h2_begin_data(s, ev);
    case H2_HEADERS:
        return h2_begin_headers(s, ev);
    case H2_PRIORITY:
        return begin_priority(s, ev);
    case H2_RST_STREAM:
        return begin_fixed(s, ev, 4, true, false);
    case H2_SETTINGS:
        return begin_settings(s, ev);
    case H2_PUSH_PROMISE:
        return h2_misbehaved(s, ev, H2_PROTOCOL_ERROR); /* RFC 9113, 8.4: nobody may push here */
    case H2_PING:
        return begin_fixed(s, ev, 8, false, true);
    case H2_GOAWAY:
        return begin_goaway(s, ev);
    case H2_WINDOW_UPDATE:
        return begin_fixed(s, ev, 4, true, true);
    case H2_CONTINUATION:
        return h2_begin_continuation(s, ev);
    case H2_PRIORITY_UPDATE:
        return begin_priority_update(s, ev);
    default:
        return begin_unknown(s, ev);
    }
}

static bool read_frame(struct h2_session *s, struct span *in, struct h2_event *ev)
{
    if (in->len < H2_FRAME_HEAD)
        return false;
    s->frame = h2_frame_read(in->ptr);
    *in = span_after(*in, H2_FRAME_HEAD);
    return frame_begin(s, ev);
}

static bool read_preface(struct h2_session *s, struct span *in, struct h2_event *ev)
{
    struct span want = span_after(H2_PREFACE_TEXT, H2_PREFACE - s->left);
    size_t n = in->len < want.len ? in->len : want.len;

    if (n == 0)
        return false;
    if (memcmp(in->ptr, want.ptr, n) != 0)
        return h2_misbehaved(s, ev, H2_PROTOCOL_ERROR);
    s->left -= (uint32_t)n;
    *in = span_after(*in, n);
    if (s->left == 0)
        s->reading = READ_FRAME;
    return true;
}

static bool read_skip(struct h2_session *s, struct span *in)
{
    uint32_t left = s->left + s->padding, n = in->len < left ? (uint32_t)in->len : left;

    if (left > 0 && n == 0)
        return false;
    *in = span_after(*in, n);
    s->left = left - n;
    s->padding = 0;
    if (s->left == 0)
        s->reading = READ_FRAME;
    return true;
}

/* One step; false when it needs bytes that have not come. */
static bool read_step(struct h2_session *s, struct span *in, struct h2_event *ev)
{
    switch ((enum reading)s->reading) {
    case READ_PREFACE:
        return read_preface(s, in, ev);
    case READ_FRAME:
        return read_frame(s, in, ev);
    case READ_SMALL:
        return read_small(s, in, ev);
    case READ_ENTRIES:
        return read_entries(s, in, ev);
    case READ_PREFIX:
        return h2_read_prefix(s, in, ev);
    case READ_BLOCK:
        return h2_read_block(s, in, ev);
    case READ_CONTENT:
        return h2_read_content(s, in, ev);
    default:
        return read_skip(s, in);
    }
}

void h2_read(struct h2_session *s, struct span in, uint64_t now, size_t *used, struct h2_event *ev)
{
    size_t all = in.len;

    *ev = (struct h2_event){.kind = H2_NOTHING};
    s->now = now;
    while (ev->kind == H2_NOTHING && !s->failed) {
        if (s->no_memory) {
            h2_failed(s, ev, H2_INTERNAL_ERROR, CAUSE_out_of_memory);
            break;
        }
        if (s->out_len - s->out_sent > OUT_MAX) {
            ev->kind = H2_FLUSH;
            break;
        }
        if (!read_step(s, &in, ev) && !s->no_memory)
            break;
    }
    *used = all - in.len;
}

void h2_accept(struct h2_session *s, struct h2_stream *stream, const struct h2_event *ev)
{
    h2_stream_join(s, stream, ev->id);
    stream->priority = s->head.priority;
    h2_early_get(s, ev->id, &stream->priority);
    if (s->head.has_length)
        stream->awaited = s->head.content_length;
    if (ev->end)
        stream->state |= H2_REMOTE_ENDED;
}

void h2_refuse(struct h2_session *s, const struct h2_event *ev, enum h2_error error)
{
    h2_say_number(s, H2_RST_STREAM, ev->id, error);
}
