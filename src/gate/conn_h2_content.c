/* The content of requests over HTTP/2, and who is too slow.
 *
 * What comes always fits: the client may send what the flow has room for and no
 * more.
 */
#include "gate/conn_h2.h"

enum {
    REST_MAX = 64 * 1024, /* bytes nobody wants, before a stream is reset for them */
};
#define REST_NS        NS_PER_S
#define RATE_WINDOW_NS (10 * NS_PER_S)

/* What is to be gathered may come before anything is taken: the connection is credited what
 * has come of it, so that no stream has to wait for another's. */
static void credit_deep(struct conn *c, struct exchange *x)
{
    struct h2_exchange *h = h2_of(x);
    const struct flow *f = &x->request_content;
    uint64_t allowed = flow_allows(f), came = allowed < f->total ? allowed : f->total;

    if (came > h->credited) {
        h2_credit(&c->h2->session, NULL, (uint32_t)(came - h->credited));
        h->credited = came;
    }
    if (allowed > h->allowed) {
        h2_credit_stream(&c->h2->session, &h->stream, (uint32_t)(allowed - h->allowed));
        h->allowed = allowed;
    }
}

void conn_h2_credit(struct conn *c, struct exchange *x)
{
    struct h2_exchange *h = h2_of(x);
    uint64_t taken = x->request_content.total - x->request_content.bytes;

    if (x->request_content.depth) {
        credit_deep(c, x);
        return;
    }
    if (taken == h->credited)
        return;
    h2_credit(&c->h2->session, &h->stream, (uint32_t)(taken - h->credited));
    h->credited = taken;
}

bool conn_h2_at_hand(struct exchange *x, struct span *content)
{
    struct flow *f = &x->request_content;

    if (x->request.framing != FRAMING_LENGTH || !f->ended || f->fail ||
        f->bytes != x->request.content_length)
        return false;
    *content = flow_peek(f); /* stays there until the end */
    return content->len == f->bytes;
}

static void content_bad(struct conn *c, struct exchange *x, enum cause cause)
{
    h2_of(x)->content_done = true;
    flow_break(&x->request_content, FAIL_BAD);
    if (x->response_state != RESPONSE_ENDED)
        respond_failed(x, cause);
    else if (!x->cause) /* all of the answer is there, if not written: it stands */
        x->cause = cause;
    conn_h2_ready(c, x);
}

/* Nobody wants it: a little is thrown away, then the client is told.  One that has heard 413 knows
 * already, and is given time to stop. */
static void content_drop(struct conn *c, struct exchange *x, uint32_t n)
{
    struct h2_session *s = &c->h2->session;
    struct h2_exchange *h = h2_of(x);

    wire_take(&c->wire, n);
    h2_took(s, n);
    h2_credit(s, NULL, n);
    x->bytes_in += n;
    h->rest += n;
    bool over = x->response.status != 413 && content_over(x, 0);
    if (over && !x->cause)
        x->cause = CAUSE_content_too_large;
    if (h->done && (over || h->rest > REST_MAX))
        conn_h2_reset(c, x, H2_NO_ERROR);
}

/* DATA belongs to a tunnel once both sides have sent their HEADERS (RFC 9113, 8.5). */
static bool is_too_early(const struct exchange *x)
{
    return x->request.protocol.len && !x->tunnel && !response_started(x);
}

bool conn_h2_content(struct conn *c, struct exchange *x, const struct h2_event *ev)
{
    struct h2_exchange *h = h2_of(x);
    struct flow *f = &x->request_content;
    uint32_t n = ev->content;

    if (!h->done && !h->content_done && content_over(x, n))
        content_bad(c, x, CAUSE_content_too_large);
    if (h->done || (h->content_done && !x->tunnel) || !x->route) {
        bool early = n > 0 && is_too_early(x);
        content_drop(c, x, n);
        if (early) {
            x->cause = CAUSE_h2_malformed;
            conn_h2_reset(c, x, H2_PROTOCOL_ERROR);
        }
        return true;
    }
    n = h2_wire_take(&c->h2->session, &c->wire, &h->stream, f, n);
    c->starved = n == 0;
    x->bytes_in += n;
    c->h2->received += n;
    conn_h2_ready(c, x);
    return n > 0;
}

void conn_h2_want(struct conn *c, struct exchange *x)
{
    struct h2_exchange *h = h2_of(x);

    if (x->tunnel &&
        (h->stream.state & (H2_REMOTE_ENDED | H2_GONE))) /* perhaps before it was one */
        flow_end(&x->request_content);
    if (!x->content_wanted || h->continue_said)
        return;
    h->continue_said = true;
    if (x->request.expects_continue && !response_started(x) && x->bytes_in == 0 && !h->content_done)
        h2_respond(&c->h2->session, &h->stream, 100, NULL, NULL, false);
}

/* Resetting the stream at once would be right (RFC 9113, 8.1) but clients that
 * have nearly finished take it for a failure. */
void conn_h2_rest(struct conn *c, struct exchange *x)
{
    struct h2_exchange *h = h2_of(x);

    h->wait_since = conn_now(c);
    h->shut = false;
    h->content_done = true;
    h->rest = x->request_content.bytes;
}

/* --- time --------------------------------------------------------------------------- */

/* Are we asking the client for content that it does not send? */
static bool content_asked(const struct conn *c, const struct exchange *x)
{
    const struct h2_exchange *h = h2_of((struct exchange *)(uintptr_t)x);
    const struct flow *f = &x->request_content;

    return x->content_wanted && !h->content_done && !x->tunnel && x->route && !c->starved &&
           x->route->body_min_rate.amount && f->bytes < f->limit / 2;
}

/* What comes for other streams counts: whoever sends on many cannot choose which comes first. */
static void rate_judge(struct conn *c, struct exchange *x)
{
    struct h2_exchange *h = h2_of(x);
    uint64_t now = conn_now(c);

    if (!content_asked(c, x)) {
        h->rate_since = 0;
        return;
    }
    if (h->rate_since == 0) {
        h->rate_since = now;
        h->rate_from = c->h2->received;
    }
    if (now < h->rate_since + RATE_WINDOW_NS)
        return;
    const struct rate *rate = &x->route->body_min_rate;
    uint64_t need = (uint64_t)((unsigned __int128)rate->amount * RATE_WINDOW_NS / rate->per_ns);
    if (c->h2->received - h->rate_from < need)
        content_bad(c, x, CAUSE_body_too_slow);
    h->rate_since = 0;
}

void conn_h2_judge(struct conn *c, struct exchange *x)
{
    struct h2_exchange *h = h2_of(x);
    uint64_t now = conn_now(c), patience = c->listener->conf->write_timeout;

    if (h->done && now >= h->wait_since + REST_NS) {
        conn_h2_reset(c, x, H2_NO_ERROR);
    } else if (h->shut && h->file_cut) { /* it need not wait for a window to say so */
        conn_h2_ready(c, x);
    } else if (h->shut && now >= after(h->wait_since, patience)) {
        if (!x->cause)
            x->cause = CAUSE_write_timeout;
        conn_h2_reset(c, x, H2_CANCEL);
    } else if (!h->done) {
        rate_judge(c, x);
    }
}
