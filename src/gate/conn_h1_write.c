/* Responses to HTTP/1 bytes on a wire; see conn_h1_write.h. */
#include "gate/conn_h1_write.h"

#include "gate/say.h"
#include "gate/worker_own.h"
#include "http/h1_content.h"
#include "http/h1_write.h"
#include "http/status.h"

/* How the content will be delimited (RFC 9112, 6.3). */
static void response_frame(struct response_writer *rw, struct exchange *x)
{
    int status = x->response.status;

    rw->no_content =
        x->request.method == METHOD_HEAD || (status != 101 && status_has_no_content(status));
    rw->left = x->content_length;
    if (status == 101 || x->content_known || rw->no_content)
        return;
    if (x->request.version >= HTTP_1_1) {
        rw->chunked = true;
    } else {
        rw->until_close = true;
        x->close_after = true;
    }
}

static bool response_has_length(const struct response_writer *rw, const struct exchange *x)
{
    int status = x->response.status;

    /* RFC 9110, 8.6: never with 1xx and 204; with HEAD and 304 if we know it. */
    if (status < 200 || status == 204 || rw->chunked || !x->content_known)
        return false;
    return status != 304 || x->content_length > 0;
}

static struct span connection_field(const struct exchange *x)
{
    if (x->response.status == 101)
        return SPAN("Connection: Upgrade\r\n");
    if (x->close_after)
        return SPAN("Connection: close\r\n");
    if (x->request.version == HTTP_1_0)
        return SPAN("Connection: keep-alive\r\n");
    return (struct span){0};
}

/* Server and Date: the latter unless an origin has said it, the former of our own
 * responses, and not where the route takes it away. */
static struct span common_lines(struct exchange *x)
{
    const struct fields *f = &x->response.fields;
    bool server = !x->passed_on && !(x->route && x->route->response_edits.removes_server);

    if (f->count == 0)
        return worker_common_lines(x->worker, server);
    if (fields_get(f, FIELD_DATE))
        return (struct span){0};
    return worker_common_lines(x->worker, server && !fields_get(f, FIELD_SERVER));
}

enum {
    HEAD_LINES = 192,   /* status, length, coding, connection, empty line */
    CONTENT_MAX = 1024, /* that is written with its head */
};

/* Content that is there already, all of it, and short. */
static bool content_is_short(const struct response_writer *rw, const struct exchange *x)
{
    return x->response_state == RESPONSE_ENDED && !x->response_content.ended && !rw->no_content &&
           x->content.len <= CONTENT_MAX;
}

static bool response_write_head(struct response_writer *rw, struct exchange *x, struct wire *w)
{
    struct span common = common_lines(x), connection = connection_field(x);
    struct span begin = x->head_lines;
    size_t fields = x->response.fields.count ? h1_fields_bytes(&x->response.fields) : 0;

    if (begin.len == 0)
        begin = status_line(x->response.status);
    size_t need = HEAD_LINES + begin.len + common.len + fields + CONTENT_MAX;

    bool large = need > IO_BUF_SIZE;
    if (large) { /* an origin's fields: one by one, after the rest */
        need -= fields;
        fields = 0;
    }
    char *start = wire_room(w, (uint32_t)need), *at = start;
    if (!at)
        return false;
    if (begin.len)
        at = span_put(at, begin);
    else
        at += h1_write_status(at, HEAD_LINES, x->response.status);
    if (common.len)
        at = span_put(at, common);
    if (fields)
        at += h1_write_fields(at, fields, &x->response.fields);
    if (x->head_lines.len == 0 && response_has_length(rw, x))
        at += h1_write_length(at, 64, x->content_length);
    if (rw->chunked)
        at = span_put(at, SPAN("Transfer-Encoding: chunked\r\n"));
    if (connection.len)
        at = span_put(at, connection);
    if (!large)
        at = span_put(at, SPAN("\r\n"));
    if (!large && x->content.len > 0 && content_is_short(rw, x)) {
        at = span_put(at, x->content);
        x->bytes_out += x->content.len;
        x->content.len = 0;
    }
    wire_wrote(w, (uint32_t)(at - start));
    return !large || (say_fields(w, &x->response.fields) && wire_say(w, SPAN("\r\n")));
}

/* One that finds no room is left out: a flood of them is not kept for a slow client. */
void response_write_interim(struct wire *w, int status, const struct fields *fields)
{
    char line[64];

    if (!wire_has_room(w))
        return;
    wire_say(w, (struct span){line, h1_write_status(line, sizeof line, status)});
    for (unsigned i = 0; fields && i < fields->count; i++)
        if (field_passes_interim(fields, &fields->list[i]))
            say_field(w, fields->list[i].name, fields->list[i].value);
    wire_say(w, SPAN("\r\n"));
}

/* --- content ---------------------------------------------------------------------- */

static void write_span(struct exchange *x, struct wire *w)
{
    while (x->content.len > 0 && wire_has_room(w)) {
        size_t n = x->content.len < IO_BUF_SIZE ? x->content.len : IO_BUF_SIZE;
        if (!wire_say(w, span_first(x->content, n)))
            return;
        x->content = span_after(x->content, n);
        x->bytes_out += n;
    }
}

static void write_file(struct exchange *x, struct wire *w)
{
    if (x->file_left == 0 || !wire_has_room(w))
        return;
    struct wire_part part = {.fd = x->file, .offset = x->file_offset, .len = x->file_left};
    if (!wire_file(w, part))
        return;
    x->bytes_out += x->file_left;
    x->file_left = 0;
}

/* One piece of the flow: as a chunk, or as it is. */
static bool write_piece(struct response_writer *rw, struct exchange *x, struct wire *w)
{
    struct flow *f = &x->response_content;
    uint32_t max = (uint32_t)flow_peek(f).len;

    if (x->content_known && !x->tunnel) {
        if (rw->left == 0) { /* more than was announced: a handler's or an origin's mistake */
            x->broken = true;
            return false;
        }
        if (max > rw->left)
            max = (uint32_t)rw->left;
    }
    if (rw->chunked) {
        char *at = wire_room(w, H1_CHUNK_HEAD_MAX);
        if (!at)
            return false;
        wire_wrote(w, (uint32_t)h1_chunk_head(at, max));
    }
    struct slice s = flow_pop(f, max);
    x->bytes_out += s.len;
    rw->left -= x->content_known ? s.len : 0;
    if (!wire_give(w, s))
        return false;
    return !rw->chunked || wire_say(w, SPAN("\r\n"));
}

static void write_flow(struct response_writer *rw, struct exchange *x, struct wire *w)
{
    struct flow *f = &x->response_content;

    while (!flow_empty(f) && wire_has_room(w))
        if (rw->no_content)
            flow_take(f, (uint32_t)flow_peek(f).len);
        else if (!write_piece(rw, x, w))
            return;
    if (!flow_done(f))
        return;
    if (f->fail || (x->content_known && !x->tunnel && !rw->no_content && rw->left > 0)) {
        x->broken = true; /* the client must be able to tell that it is not all */
        return;
    }
    if (rw->chunked && !rw->no_content) {
        wire_say(w, SPAN("0\r\n"));
        say_fields(w, &x->trailers);
        wire_say(w, SPAN("\r\n"));
    }
    rw->done = true;
}

void response_write(struct response_writer *rw, struct exchange *x, struct wire *w)
{
    if (rw->done || !response_started(x) || !wire_has_room(w))
        return;
    if (!rw->head_written) {
        response_frame(rw, x);
        if (!response_write_head(rw, x, w))
            return;
        rw->head_written = true;
        if (x->times.first_byte == 0)
            x->times.first_byte = io_now(x->worker->io);
    }
    bool in_one = x->response_state == RESPONSE_ENDED && !x->response_content.ended;
    if (!in_one) {
        write_flow(rw, x, w);
        return;
    }
    if (rw->no_content) {
        rw->done = true;
        return;
    }
    write_span(x, w);
    write_file(x, w);
    /* A file is its handler's until it has gone. */
    rw->done = x->content.len == 0 && x->file_left == 0 && (x->file < 0 || wire_waiting(w) == 0);
}
