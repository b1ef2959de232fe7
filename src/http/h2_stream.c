/* The streams of an HTTP/2 connection: which are open, what became of the
 * others, and how much may flow on each.
 *
 * Open ones are in a hash table by id.  Of closed ones two bits are kept, for
 * as many as a frame could still be on its way for: the answer to a late
 * frame depends on who closed the stream and how (RFC 9113, 5.1).
 */
#include "http/h2_own.h"

#include "base/fail.h"
#include "base/mem.h"

#include <assert.h>

static struct h2_stream **bucket_of(const struct h2_session *s, uint32_t id)
{
    return &s->buckets[(id >> 1) & (s->bucket_count - 1)];
}

bool h2_ours(const struct h2_session *s, uint32_t id)
{
    return !s->limits.client && (id & 1);
}

/* --- the past ---------------------------------------------------------------------- */

static unsigned past_slot(uint32_t id)
{
    return (id >> 1) % H2_PAST;
}

void h2_past_set(struct h2_session *s, uint32_t id, enum h2_place place)
{
    unsigned slot = past_slot(id), shift = slot % 4 * 2;
    unsigned bits = (unsigned)place - PLACE_SKIPPED;

    s->past[slot / 4] = (uint8_t)((s->past[slot / 4] & ~(3u << shift)) | bits << shift);
}

static enum h2_place past_get(const struct h2_session *s, uint32_t id)
{
    unsigned slot = past_slot(id);

    return (enum h2_place)(PLACE_SKIPPED + (s->past[slot / 4] >> (slot % 4 * 2) & 3));
}

void h2_begun(struct h2_session *s, uint32_t id)
{
    uint32_t skipped = s->last_id ? s->last_id + 2 : 1;

    if (id - skipped > 2 * H2_PAST)
        skipped = id - 2 * H2_PAST;
    for (; skipped < id; skipped += 2)
        h2_past_set(s, skipped, PLACE_SKIPPED);
    h2_past_set(s, id, PLACE_CUT); /* until it is accepted */
    s->last_id = id;
}

enum h2_place h2_place_of(const struct h2_session *s, uint32_t id, struct h2_stream **stream)
{
    *stream = NULL;
    if (!(id & 1)) /* nobody pushes */
        return PLACE_IDLE;
    uint32_t end = s->limits.client ? s->next_id : s->last_id + 1;
    if (id >= end)
        return PLACE_IDLE;
    for (struct h2_stream *t = *bucket_of(s, id); t; t = t->next)
        if (t->id == id) {
            *stream = t;
            return PLACE_OPEN;
        }
    return end - id > 2 * H2_PAST ? PLACE_CUT : past_get(s, id);
}

/* --- the table ----------------------------------------------------------------------- */

/* Twice as many buckets; where there is no memory the chains grow longer. */
static void table_grow(struct h2_session *s)
{
    struct h2_stream **old = s->buckets;
    uint32_t count = s->bucket_count;
    struct h2_stream **more = mem_zalloc(2 * count * sizeof *more);

    if (!more)
        return;
    s->buckets = more;
    s->bucket_count = 2 * count;
    for (uint32_t i = 0; i < count; i++)
        for (struct h2_stream *t = old[i], *next; t; t = next) {
            next = t->next;
            struct h2_stream **to = bucket_of(s, t->id);
            t->next = *to;
            *to = t;
        }
    if (old != s->few)
        mem_free(old);
}

int h2_stream_join(struct h2_session *s, struct h2_stream *stream, uint32_t id)
{
    if (s->streams >= s->bucket_count && s->bucket_count < 4096)
        table_grow(s);
    *stream = (struct h2_stream){
        .id = id,
        .send_window = (int32_t)s->peer_window,
        .receive_window = (int32_t)s->limits.window,
        .awaited = UINT64_MAX,
        .priority.urgency = H2_URGENCY_USUAL,
    };
    struct h2_stream **to = bucket_of(s, id);
    stream->next = *to;
    *to = stream;
    s->streams++;
    return 0;
}

void h2_stream_leave(struct h2_session *s, struct h2_stream *stream, enum h2_place place)
{
    if (stream->state & H2_GONE)
        return;
    struct h2_stream **at = bucket_of(s, stream->id);
    while (*at != stream)
        at = &(*at)->next;
    *at = stream->next;
    s->streams--;
    stream->state |= H2_GONE;
    h2_past_set(s, stream->id, place);
    if (s->stream == stream)
        s->stream = NULL; /* what is left of its frame is thrown away */
}

void h2_stream_ended(struct h2_session *s, struct h2_stream *stream, unsigned side)
{
    const unsigned both = H2_REMOTE_ENDED | H2_LOCAL_ENDED;

    stream->state |= (uint8_t)side;
    if ((stream->state & both) == both)
        h2_stream_leave(s, stream, PLACE_ENDED);
}

bool h2_windows_shift(struct h2_session *s, uint32_t window)
{
    int64_t by = (int64_t)window - s->peer_window;

    if (by == 0)
        return true;
    for (uint32_t i = 0; i < s->bucket_count; i++)
        for (struct h2_stream *t = s->buckets[i]; t; t = t->next) {
            if (t->send_window + by > H2_WINDOW_MAX)
                return false;
            t->send_window = (int32_t)(t->send_window + by);
        }
    s->peer_window = window;
    return true;
}

/* --- priorities of streams to come (RFC 9218, 7.1) ----------------------------------------- */

void h2_early_set(struct h2_session *s, uint32_t id, struct h2_priority p)
{
    unsigned at = 0;

    while (at < H2_EARLY && s->early[at].id != id)
        at++;
    if (at == H2_EARLY) {
        at = s->early_next;
        s->early_next = (uint8_t)((at + 1) % H2_EARLY);
    }
    s->early[at].id = id;
    s->early[at].priority = p;
}

bool h2_early_get(struct h2_session *s, uint32_t id, struct h2_priority *p)
{
    for (unsigned i = 0; i < H2_EARLY; i++)
        if (s->early[i].id == id) {
            *p = s->early[i].priority;
            s->early[i].id = 0;
            return true;
        }
    return false;
}

void h2_check(const struct h2_session *s)
{
    uint32_t streams = 0;
    int64_t window = 4 * (int64_t)s->limits.window;

    for (uint32_t i = 0; i < s->bucket_count; i++)
        for (const struct h2_stream *t = s->buckets[i]; t; t = t->next) {
            assert(!(t->state & H2_GONE));
            assert(t->receive_window >= 0 &&
                   t->receive_window + (int64_t)t->credit <= (int64_t)s->limits.window);
            streams++;
        }
    assert(streams == s->streams);
    assert(s->receive_window >= 0 && s->receive_window + s->credit <= window);
    assert(s->out_sent <= s->out_len && s->out_len <= s->out_room);
}
