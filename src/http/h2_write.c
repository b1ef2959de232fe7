/* What an HTTP/2 session has to say: frames one behind the other in one buffer. */
#include "http/h2_own.h"

#include "base/fail.h"
#include "base/mem.h"
#include "http/status.h"

#include <assert.h>

enum { OUT_FIRST = 1024, UPDATES_MAX = 10000 };

/* Room for n more bytes; NULL, and the session fails, without memory. */
static char *out_room(struct h2_session *s, size_t n)
{
    if (s->no_memory) /* what follows something that is missing means something else */
        return NULL;
    if (s->out_sent == s->out_len)
        s->out_sent = s->out_len = 0;
    if (n <= s->out_room - s->out_len)
        return s->out + s->out_len;
    size_t room = s->out_room ? s->out_room : OUT_FIRST;
    while (room - s->out_len < n)
        room *= 2;
    char *more = mem_resize(s->out, room);
    if (!more) {
        s->no_memory = true;
        return NULL;
    }
    s->out = more;
    s->out_room = (uint32_t)room;
    return s->out + s->out_len;
}

void h2_sent(struct h2_session *s, size_t n)
{
    assert(n <= s->out_len - s->out_sent);
    s->out_sent += (uint32_t)n;
    s->said += n;
}

void h2_idle(struct h2_session *s)
{
    if (s->out_sent == s->out_len) {
        mem_free(s->out);
        s->out = NULL;
        s->out_len = s->out_sent = s->out_room = 0;
    }
    if (s->block_stream == 0)
        h2_head_free(&s->head);
}

void h2_say(struct h2_session *s, struct h2_frame frame, struct span payload)
{
    char *at = out_room(s, H2_FRAME_HEAD + payload.len);

    if (!at)
        return;
    frame.len = (uint32_t)payload.len;
    h2_frame_write(at, frame);
    if (payload.len)
        memcpy(at + H2_FRAME_HEAD, payload.ptr, payload.len);
    s->out_len += H2_FRAME_HEAD + (uint32_t)payload.len;
}

void h2_say_number(struct h2_session *s, enum h2_type type, uint32_t stream, uint32_t number)
{
    char payload[4];

    h2_put32(payload, number);
    h2_say(s, (struct h2_frame){.type = (uint8_t)type, .stream = stream},
           (struct span){payload, 4});
}

void h2_say_goaway(struct h2_session *s, uint32_t last, enum h2_error error)
{
    char payload[8];

    h2_put32(payload, last);
    h2_put32(payload + 4, error);
    h2_say(s, (struct h2_frame){.type = H2_GOAWAY}, (struct span){payload, 8});
}

/* --- the beginning and the end ------------------------------------------------------- */

static char *put_setting(char *at, enum h2_setting id, uint32_t value)
{
    at[0] = 0;
    at[1] = (char)id;
    h2_put32(at + 2, value);
    return at + 6;
}

void h2_say_hello(struct h2_session *s)
{
    const struct h2_limits *l = &s->limits;
    char settings[36], *at = settings;

    if (l->client) {
        char *to = out_room(s, H2_PREFACE);
        if (!to)
            return;
        memcpy(to, H2_PREFACE_TEXT.ptr, H2_PREFACE);
        s->out_len += H2_PREFACE;
        at = put_setting(at, H2_SETTING_ENABLE_PUSH, 0);
    } else {
        at = put_setting(at, H2_SETTING_MAX_CONCURRENT_STREAMS, l->streams_max);
        at = put_setting(at, H2_SETTING_NO_RFC7540_PRIORITIES, 1);
        if (l->connects)
            at = put_setting(at, H2_SETTING_ENABLE_CONNECT_PROTOCOL, 1);
    }
    at = put_setting(at, H2_SETTING_INITIAL_WINDOW_SIZE, l->window);
    at = put_setting(at, H2_SETTING_MAX_HEADER_LIST_SIZE, l->header_max);
    h2_say(s, (struct h2_frame){.type = H2_SETTINGS},
           (struct span){settings, (size_t)(at - settings)});
    h2_say_number(s, H2_WINDOW_UPDATE, 0, 4 * l->window - H2_WINDOW_START);
}

/* RFC 9113, 6.8: nothing that is on its way is lost to a client that is told twice. */
void h2_drain(struct h2_session *s)
{
    if (s->failed || s->drain == H2_DRAIN_FINAL)
        return;
    if (s->drain == H2_DRAIN_NOTICED) {
        s->drain = H2_DRAIN_FINAL;
        h2_say_goaway(s, s->last_id, H2_NO_ERROR);
        return;
    }
    s->drain = H2_DRAIN_NOTICED;
    h2_say_goaway(s, H2_STREAM_MASK, H2_NO_ERROR);
    h2_say(s, (struct h2_frame){.type = H2_PING}, H2_DRAIN_PING);
}

void h2_drain_ponged(struct h2_session *s)
{
    if (s->drain == H2_DRAIN_NOTICED)
        h2_drain(s);
}

bool h2_drained(const struct h2_session *s)
{
    return s->drain == H2_DRAIN_FINAL && s->streams == 0;
}

void h2_fail(struct h2_session *s, enum h2_error error)
{
    if (s->failed)
        return;
    s->failed = true;
    h2_say_goaway(s, s->last_id, error);
}

void h2_reset(struct h2_session *s, struct h2_stream *stream, enum h2_error error)
{
    if (stream->state & H2_GONE)
        return;
    h2_say_number(s, H2_RST_STREAM, stream->id, error);
    h2_stream_leave(s, stream, PLACE_CUT);
}

/* --- field sections --------------------------------------------------------------------- */

/* One that is longer than a frame may be goes on in CONTINUATIONs: the heads of
 * frames are put in between, from the end. */
static size_t split_section(char *at, size_t len, uint32_t stream, uint8_t flags)
{
    size_t frames = len > H2_FRAME_MAX ? (len + H2_FRAME_MAX - 1) / H2_FRAME_MAX : 1;

    for (size_t i = frames; i-- > 0;) {
        size_t from = i * H2_FRAME_MAX, n = len - from < H2_FRAME_MAX ? len - from : H2_FRAME_MAX;
        char *to = at + i * (H2_FRAME_MAX + H2_FRAME_HEAD);
        memmove(to + H2_FRAME_HEAD, at + H2_FRAME_HEAD + from, n);
        h2_frame_write(to, (struct h2_frame){
                               .len = (uint32_t)n,
                               .type = i ? H2_CONTINUATION : H2_HEADERS,
                               .flags = (uint8_t)((i ? 0 : flags) |
                                                  (i + 1 == frames ? H2_FLAG_END_HEADERS : 0)),
                               .stream = stream,
                           });
    }
    return len + frames * H2_FRAME_HEAD;
}

static void say_section(struct h2_session *s, uint32_t stream, const struct fields *first,
                        const struct fields *fields, bool end)
{
    size_t bound = hpack_bound(first, fields);
    size_t heads = (bound / H2_FRAME_MAX + 1) * H2_FRAME_HEAD;
    char *at = out_room(s, bound + heads);
    size_t len = at ? hpack_deflate(&s->hpack, at + H2_FRAME_HEAD, bound, first, fields) : 0;

    if (len == 0) { /* and the tables are no longer the peer's */
        s->no_memory = true;
        return;
    }
    s->out_len += (uint32_t)split_section(at, len, stream, end ? H2_FLAG_END_STREAM : 0);
}

void h2_respond(struct h2_session *s, struct h2_stream *stream, int status,
                const struct fields *first, const struct fields *fields, bool end)
{
    char digits[3] = {(char)('0' + status / 100), (char)('0' + status / 10 % 10),
                      (char)('0' + status % 10)};
    struct field list[8] = {{.name = SPAN_INIT(":status"), .value = {digits, 3}}};
    struct fields own = {.list = list, .count = 1};

    if (stream->state & H2_GONE)
        return;
    for (uint32_t i = 0; first && i < first->count; i++) {
        assert(own.count < COUNT_OF(list));
        list[own.count++] = first->list[i];
    }
    say_section(s, stream->id, &own, fields, end);
    if (end)
        h2_stream_ended(s, stream, H2_LOCAL_ENDED);
}

int h2_request(struct h2_session *s, struct h2_stream *stream, const struct fields *pseudo,
               const struct fields *fields, bool end)
{
    int err;

    if (s->failed || s->peer_going || s->drain || s->streams >= s->peer_streams_max ||
        s->next_id > H2_STREAM_MASK)
        return FAIL_FULL;
    uint32_t id = s->next_id;
    if ((err = h2_stream_join(s, stream, id)) < 0)
        return err;
    s->next_id += 2;
    say_section(s, id, pseudo, fields, end);
    if (end)
        h2_stream_ended(s, stream, H2_LOCAL_ENDED);
    return s->no_memory ? FAIL_MEMORY : 0;
}

void h2_trailers(struct h2_session *s, struct h2_stream *stream, const struct fields *fields)
{
    if (stream->state & H2_GONE)
        return;
    say_section(s, stream->id, NULL, fields, true);
    h2_stream_ended(s, stream, H2_LOCAL_ENDED);
}

/* --- content ----------------------------------------------------------------------------- */

uint32_t h2_take(const struct h2_session *s, const struct h2_stream *stream, uint64_t want)
{
    int64_t room = stream->send_window < s->send_window ? stream->send_window : s->send_window;

    if (room <= 0 || (stream->state & H2_GONE))
        return 0;
    if (room > H2_FRAME_MAX)
        room = H2_FRAME_MAX;
    return want < (uint64_t)room ? (uint32_t)want : (uint32_t)room;
}

void h2_data(struct h2_session *s, struct h2_stream *stream, uint32_t n, bool end)
{
    char *at;

    if ((stream->state & H2_GONE) || !(at = out_room(s, H2_FRAME_HEAD)))
        return;
    h2_frame_write(at, (struct h2_frame){
                           .len = n,
                           .type = H2_DATA,
                           .flags = end ? H2_FLAG_END_STREAM : 0,
                           .stream = stream->id,
                       });
    s->out_len += H2_FRAME_HEAD;
    stream->send_window -= (int32_t)n;
    s->send_window -= n;
    s->said += n;
    /* Two updates may answer it, however small it is, unless it is the window that made
     * it so: then it is the peer who asks for crumbs. */
    if (n > 0 && stream->send_window > 0 && s->send_window > 0 && s->updates < UPDATES_MAX)
        s->updates += 2;
    if (end)
        h2_stream_ended(s, stream, H2_LOCAL_ENDED);
}
