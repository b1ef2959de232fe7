/* The content of a request over HTTP/1: from the wire to the exchange, or to
 * nowhere, and how long that may take. */
#include "gate/conn_h1.h"

#include "gate/pool.h"
#include "gate/trailers.h"

enum { REST_BYTES = 1280 };            /* in REST_NS, or the connection is not kept for it */
#define REST_NS        (10 * NS_PER_S) /* for REST_BYTES of content that nobody wants */
#define RATE_WINDOW_NS (10 * NS_PER_S)

bool h1_content_at_hand(struct exchange *x, struct span *content)
{
    struct conn *c = conn_of(x->owner);
    struct h1_exchange *h = h1_of(x);

    if (x->request.framing != FRAMING_LENGTH || h->content_done ||
        h->content.remaining != x->request.content_length ||
        x->request.content_length > wire_in(&c->wire).len)
        return false;
    *content = span_first(wire_in(&c->wire), (size_t)x->request.content_length);
    wire_take(&c->wire, content->len);
    x->bytes_in += content->len;
    h->content.remaining = 0;
    h->content_done = true;
    flow_end(&x->request_content);
    return true;
}

/* Raw bytes, after 101. */
void h1_read_tunnel(struct conn *c)
{
    struct exchange *x = c->h1.x;
    struct flow *f = &x->request_content;

    while (wire_in(&c->wire).len > 0 && flow_room(f) > 0) {
        uint32_t n = wire_take_to(&c->wire, f, wire_in(&c->wire).len);
        x->bytes_in += n;
        c->starved = n == 0;
        if (n == 0)
            return;
    }
    if (!c->wire.eof || wire_in(&c->wire).len > 0)
        return;
    if (c->wire.truncated)
        flow_break(f, FAIL_CLOSED);
    else
        flow_end(f);
}

/* --- content ------------------------------------------------------------------------ */

static void content_bad(struct conn *c, enum cause cause)
{
    struct exchange *x = c->h1.x;

    h1_of(x)->content_done = true;
    x->close_after = true;
    flow_break(&x->request_content, FAIL_BAD);
    respond_failed(x, cause);
}

/* It has been answered already: all that is left is to end the connection. */
static void content_endless(struct exchange *x)
{
    x->close_after = true;
    if (!x->cause)
        x->cause = CAUSE_content_too_large;
}

/* Moves content from the wire to the exchange, or, when nobody will read it,
 * to nowhere. */
static void read_content(struct conn *c, bool discard)
{
    struct exchange *x = c->h1.x;
    struct h1_exchange *h = h1_of(x);
    struct flow *f = &x->request_content;

    h->trailers = (struct fields){.list = conn_worker(c)->pools->fields, .max = LEG_FIELDS_MAX};
    while (!h->content_done && wire_in(&c->wire).len > 0 && (discard || flow_room(f) > 0)) {
        struct h1_piece piece = {0};
        enum cause cause = CAUSE_NONE;
        enum parse parse = h1_content_next(&h->content, wire_in(&c->wire), &piece, &cause);
        if (parse == PARSE_DONE && !trailers_keep_request(x, &h->trailers)) {
            parse = PARSE_BAD;
            cause = CAUSE_out_of_memory;
        }
        wire_take(&c->wire, piece.skip);
        if (parse == PARSE_BAD) {
            content_bad(c, cause);
            return;
        }
        if (parse == PARSE_DONE) {
            h->content_done = true;
            flow_end(f);
            return;
        }
        if (piece.content == 0 && piece.skip == 0)
            break; /* part of a chunk head or trailer: more must come */
        if (piece.content == 0)
            continue;
        if (!discard && content_over(x, piece.content)) {
            content_bad(c, CAUSE_content_too_large);
            return;
        }
        if (discard && x->request.framing == FRAMING_CHUNKED && content_over(x, piece.content)) {
            content_endless(x);
            return;
        }
        uint32_t n;
        if (discard) {
            n = (uint32_t)piece.content;
            wire_take(&c->wire, n);
            c->discarded += n;
        } else {
            n = wire_take_to(&c->wire, f, piece.content);
        }
        x->bytes_in += n;
        h1_content_took(&h->content, n);
        c->starved = n == 0;
        if (n == 0)
            return;
    }
    if (!h->content_done && h1_content_complete(&h->content)) {
        h->content_done = true;
        flow_end(f);
    }
    if (!h->content_done && c->wire.eof) {
        h->content_done = true;
        x->close_after = true;
        if (!x->cause && !h->writer.done)
            x->cause = CAUSE_client_truncated;
        flow_break(f, FAIL_CLOSED);
    }
}

void h1_want_content(struct conn *c)
{
    struct exchange *x = c->h1.x;
    struct h1_exchange *h = h1_of(x);

    if (!x->content_wanted || h->content_done)
        return;
    if (x->request.expects_continue && !h->continue_said && !response_started(x) &&
        wire_in(&c->wire).len == 0 && x->bytes_in == 0)
        wire_say(&c->wire, SPAN("HTTP/1.1 100 Continue\r\n\r\n"));
    h->continue_said = true;
    read_content(c, false);
}

void h1_read_rest(struct conn *c)
{
    struct exchange *x = c->h1.x;
    struct h1_exchange *h = h1_of(x);

    if (h->rest_since == 0) {
        h->rest_since = conn_now(c);
        h->rate_from = c->discarded;
    }
    read_content(c, true);
    if (c->discarded > DISCARD_MAX)
        x->close_after = true;
}

uint32_t h1_content_room(struct exchange *x)
{
    struct flow *f = &x->request_content;
    uint32_t room = flow_room(f);

    return !f->depth && room < f->limit / 2 ? 0 : room;
}

/* --- time --------------------------------------------------------------------------- */

/* Are we asking the client for content that it does not send? */
static bool content_asked(const struct conn *c)
{
    struct exchange *x = c->h1.x;

    return x->content_wanted && !h1_of(x)->content_done && !x->tunnel && x->route && !c->starved &&
           x->route->body_min_rate.amount && h1_content_room(x) > 0;
}

uint64_t h1_content_deadline(struct conn *c)
{
    struct h1_exchange *h = h1_of(c->h1.x);

    if (h->rest_since > 0)
        return h->rest_since + REST_NS;
    if (!content_asked(c)) {
        h->rate_since = 0;
        return TIME_NEVER;
    }
    if (h->rate_since == 0) {
        h->rate_since = conn_now(c);
        h->rate_from = c->h1.x->bytes_in;
    }
    return h->rate_since + RATE_WINDOW_NS;
}

/* Content that nobody wants still comes: fast enough to be waited for? */
static void rest_judge(struct conn *c)
{
    struct h1_exchange *h = h1_of(c->h1.x);

    if (c->discarded - h->rate_from < REST_BYTES)
        c->h1.x->close_after = true;
    h->rest_since = conn_now(c);
    h->rate_from = c->discarded;
}

/* The window is full: was there as much in it as must be? */
static void rate_judge(struct conn *c)
{
    struct exchange *x = c->h1.x;
    struct h1_exchange *h = h1_of(x);
    const struct rate *rate = &x->route->body_min_rate;
    uint64_t need = (uint64_t)((unsigned __int128)rate->amount * RATE_WINDOW_NS / rate->per_ns);

    if (x->bytes_in - h->rate_from < need)
        content_bad(c, CAUSE_body_too_slow);
    h->rate_since = 0;
}

void h1_content_judge(struct conn *c)
{
    if (h1_of(c->h1.x)->rest_since > 0)
        rest_judge(c);
    else
        rate_judge(c);
}
