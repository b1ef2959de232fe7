/* buffer_request, buffer_response: content that waits here so that an origin need not.
 *
 * Both only make a flow deeper.  An origin is asked once a request is all there, or as
 * much of it as may be gathered; its response goes on to the client as it comes, but the
 * origin need not wait for a client that is slower.  Without plenty of memory, and where
 * messages have to arrive as they are sent, content just streams.
 */
#include "modules/forward/forward.h"

/* gRPC, and events: each message counts when it comes. */
bool is_stream(const struct fields *fields)
{
    const struct field *f = fields_get(fields, FIELD_CONTENT_TYPE);

    if (!f)
        return false;
    return span_equal_nocase(span_first(f->value, 17), SPAN("text/event-stream")) ||
           span_equal_nocase(span_first(f->value, 16), SPAN("application/grpc"));
}

static bool deepen(struct exchange *x, struct flow *f, uint64_t more)
{
    struct flow_depth *depth;

    if (!buf_plenty(f->pool) || !(depth = arena_alloc(exchange_arena(x), sizeof *depth)))
        return false;
    flow_deepen(f, depth, (uint32_t)more);
    return true;
}

bool buffer_request(struct exchange *x, uint64_t most)
{
    struct flow *f = &x->request_content;

    if (f->ended || is_stream(&x->request.fields))
        return false;
    return f->depth || deepen(x, f, most);
}

bool buffer_request_waits(struct exchange *x, uint64_t most)
{
    struct flow *f = &x->request_content;

    return !f->ended && f->bytes < most && buf_plenty(f->pool) && flow_room(f) > 0;
}

void buffer_response(struct exchange *x, const struct response *r, uint64_t most)
{
    struct flow *f = &x->response_content;
    bool fits = r->framing == FRAMING_NONE ||
                (r->framing == FRAMING_LENGTH && r->content_length <= f->limit);

    if (!fits && !is_stream(&r->fields))
        deepen(x, f, most);
}
