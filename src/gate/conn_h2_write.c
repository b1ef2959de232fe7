/* Responses to HTTP/2 frames on a wire.
 *
 * Content is cut into frames only when little waits on the wire, so that what
 * is more urgent, and the session's own frames, never wait behind much of it.
 */
#include "gate/conn_h2.h"

#include "http/status.h"

bool conn_h2_flush(struct conn *c)
{
    return h2_wire_flush(&c->h2->session, &c->wire);
}

/* --- heads ------------------------------------------------------------------------ */

static bool has_length(const struct exchange *x)
{
    int status = x->response.status;

    if (status < 200 || status == 204 || !x->content_known)
        return false;
    return status != 304 || x->content_length > 0;
}

static void add_own(struct fields *own, struct span name, struct span value)
{
    assert(own->count < own->max);
    own->list[own->count++] = (struct field){.name = name, .value = value};
}

/* Server and Date are lines that HTTP/1 says as they are. */
static void add_common(struct exchange *x, struct fields *own)
{
    const struct fields *f = &x->response.fields;
    bool hidden = x->passed_on || (x->route && x->route->response_edits.removes_server);

    if (fields_get(f, FIELD_DATE))
        return;
    struct span lines = worker_common_lines(x->worker, !hidden && !fields_get(f, FIELD_SERVER));
    while (lines.len > 0) {
        struct span line = span_first(lines, span_find(lines, '\r'));
        size_t colon = span_find(line, ':');
        enum field_id id = line.ptr[0] == 'S' ? FIELD_SERVER : FIELD_DATE;
        add_own(own, id == FIELD_SERVER ? SPAN("server") : SPAN("date"),
                span_after(line, colon + 2));
        lines = span_after(lines, line.len + 2);
    }
}

static bool has_no_content(const struct exchange *x)
{
    return x->request.method == METHOD_HEAD || status_has_no_content(x->response.status) ||
           (x->content_known && x->content_length == 0);
}

/* Where no content will come, the head says so: once that is sure. */
static bool head_waits(const struct exchange *x)
{
    const struct flow *f = &x->response_content;

    if (!has_no_content(x) || (x->response_state == RESPONSE_ENDED && !f->ended))
        return false;
    return flow_empty(f) && !f->ended;
}

enum { LENGTH_DIGITS = 20 };

static struct span length_text(char digits[LENGTH_DIGITS], uint64_t n)
{
    char *at = digits + LENGTH_DIGITS;

    do
        *--at = (char)('0' + n % 10);
    while (n /= 10);
    return (struct span){at, (size_t)(digits + LENGTH_DIGITS - at)};
}

static void write_head(struct conn *c, struct exchange *x)
{
    struct h2_exchange *h = h2_of(x);
    int status = x->response.status;
    struct field list[4];
    struct fields own = {.list = list, .max = COUNT_OF(list)};
    char digits[LENGTH_DIGITS];

    h->no_content = x->request.method == METHOD_HEAD || status_has_no_content(status);
    h->left = x->content_length;
    add_common(x, &own);
    if (has_length(x)) {
        add_own(&own, SPAN("content-length"), length_text(digits, x->content_length));
    }
    const struct flow *f = &x->response_content;
    bool in_one = x->response_state == RESPONSE_ENDED && !f->ended;
    bool end = in_one ? h->no_content || (x->content.len == 0 && x->file_left == 0)
                      : has_no_content(x) && flow_done(f) && !f->fail && x->trailers.count == 0;
    h2_respond(&c->h2->session, &h->stream, status, &own, &x->response.fields, end);
    h->head_written = true;
    h->done = end;
    if (x->times.first_byte == 0)
        x->times.first_byte = conn_now(c);
}

/* One that finds no room is left out: a flood of them is not kept for a slow client. */
void conn_h2_interim(struct exchange *x, int status, const struct fields *fields)
{
    struct h2_exchange *h = h2_of(x);
    struct field few[16];
    struct fields passed = {.list = few, .max = COUNT_OF(few)};

    if (status == 101 || h->head_written || !conn_h2_flush(h->conn) ||
        !wire_has_room(&h->conn->wire))
        return;
    for (unsigned i = 0; fields && i < fields->count; i++)
        if (field_passes_interim(fields, &fields->list[i]) &&
            fields_pass(&passed, &fields->list[i]) < 0)
            break;
    h2_respond(&h->conn->h2->session, &h->stream, status, NULL, &passed, false);
    owner_wake(&h->conn->owner);
}

/* --- content ------------------------------------------------------------------------ */

static bool say_data(struct conn *c, struct h2_exchange *h, uint32_t n, bool end)
{
    return h2_wire_data(&c->h2->session, &c->wire, &h->stream, n, end);
}

static enum h2_wrote write_span(struct conn *c, struct exchange *x)
{
    struct h2_exchange *h = h2_of(x);
    uint32_t n = h2_take(&c->h2->session, &h->stream, x->content.len);

    if (n == 0)
        return H2_WROTE_SHUT;
    h->done = n == x->content.len;
    if (!say_data(c, h, n, h->done) || !wire_say(&c->wire, span_first(x->content, n)))
        return H2_WROTE_WIRE; /* and the wire has failed */
    x->content = span_after(x->content, n);
    x->bytes_out += n;
    return h->done ? H2_WROTE_ALL : H2_WROTE_SOME;
}

static void write_end(struct conn *c, struct exchange *x)
{
    struct h2_exchange *h = h2_of(x);

    if (x->trailers.count > 0)
        h2_trailers(&c->h2->session, &h->stream, &x->trailers);
    else
        h2_data(&c->h2->session, &h->stream, 0, true);
    h->done = true;
}

/* The file may be cut while it is read, which is behind the head of its frame.  That frame is
 * filled up, the stream is reset, and so none of its frames may have ended it: an empty one does,
 * when the file was whole. */
static enum h2_wrote write_file(struct conn *c, struct exchange *x)
{
    struct h2_exchange *h = h2_of(x);

    if (h->file_cut) {
        x->cause = x->cause ? x->cause : CAUSE_file_error;
        x->broken = true;
        return H2_WROTE_ALL;
    }
    if (x->file_left == 0) {
        if (!h2_file_gone(c, h))
            return H2_WROTE_FILE;
        if (!h2_may_end(&h->stream))
            return H2_WROTE_SHUT;
        write_end(c, x);
        return H2_WROTE_ALL;
    }
    uint32_t n = h2_take(&c->h2->session, &h->stream, x->file_left);
    if (n == 0)
        return H2_WROTE_SHUT;
    if (!say_data(c, h, n, false) ||
        !wire_file(&c->wire, (struct wire_part){x->file, x->file_offset, n, &h->file_cut}))
        return H2_WROTE_WIRE;
    x->file_offset += n;
    x->file_left -= n;
    x->bytes_out += n;
    h->file_mark = c->h2->session.said;
    return x->file_left > 0 ? H2_WROTE_SOME : H2_WROTE_FILE;
}

/* One piece of the flow is one frame. */
static enum h2_wrote write_piece(struct conn *c, struct exchange *x)
{
    struct h2_exchange *h = h2_of(x);
    struct flow *f = &x->response_content;
    size_t have = flow_peek(f).len;

    if (x->content_known && have > h->left) { /* more than was announced */
        x->broken = true;
        return H2_WROTE_ALL;
    }
    uint32_t n = h2_take(&c->h2->session, &h->stream, have);
    if (n == 0)
        return H2_WROTE_SHUT;
    bool last = f->ended && !f->fail && n == f->bytes && x->trailers.count == 0 &&
                (!x->content_known || h->left == n);
    if (!say_data(c, h, n, last))
        return H2_WROTE_WIRE;
    h->left -= x->content_known ? n : 0;
    x->bytes_out += n;
    h->done = last;
    if (!wire_give(&c->wire, flow_pop(f, n)))
        return H2_WROTE_WIRE;
    return last || (flow_empty(f) && !flow_done(f)) ? H2_WROTE_ALL : H2_WROTE_SOME;
}

static enum h2_wrote write_flow(struct conn *c, struct exchange *x)
{
    struct h2_exchange *h = h2_of(x);
    struct flow *f = &x->response_content;

    while (h->no_content && !flow_empty(f))
        flow_take(f, (uint32_t)flow_peek(f).len);
    if (!flow_empty(f))
        return write_piece(c, x);
    if (!flow_done(f))
        return H2_WROTE_ALL;
    if (f->fail || (x->content_known && !h->no_content && h->left > 0))
        x->broken = true; /* the client must be able to tell that it is not all */
    else if (x->trailers.count > 0 || h2_may_end(&h->stream))
        write_end(c, x);
    else
        return H2_WROTE_SHUT;
    return H2_WROTE_ALL;
}

enum h2_wrote conn_h2_write(struct conn *c, struct exchange *x)
{
    struct h2_exchange *h = h2_of(x);

    if (h->done || !response_started(x))
        return H2_WROTE_ALL;
    if (!conn_h2_flush(c) || !wire_has_room(&c->wire))
        return H2_WROTE_WIRE;
    if (!h->head_written && head_waits(x))
        return H2_WROTE_ALL;
    if (!h->head_written)
        write_head(c, x);
    if (h->done)
        return H2_WROTE_ALL;
    if (!conn_h2_flush(c) || wire_waiting(&c->wire) >= WIRE_LOW || !wire_has_room(&c->wire))
        return H2_WROTE_WIRE;
    if (x->response_state != RESPONSE_ENDED || x->response_content.ended)
        return write_flow(c, x);
    return x->file >= 0 ? write_file(c, x) : write_span(c, x);
}
