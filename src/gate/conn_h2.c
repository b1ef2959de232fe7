/* A connection that speaks HTTP/2; see conn_h2.h.
 *
 * A step reads what has come, which makes exchanges and puts them in line, then
 * runs the line.
 */
#include "gate/conn_h2.h"

#include "base/mem.h"
#include "gate/trailers.h"

enum {
    REQUESTS_MAX = 64,        /* a step */
    CONTENT_MAX = 256 * 1024, /* a step */
    UNREAD_MAX = 4096,
};
#define SWEEP_NS      NS_PER_S
#define DRAIN_TRIP_NS NS_PER_S /* the round trip between two GOAWAYs */

/* --- events ----------------------------------------------------------------------------- */

static struct exchange *exchange_of(struct h2_stream *stream)
{
    return h2_exchange_of(container_of(stream, struct h2_exchange, stream));
}

static void on_end(struct conn *c, struct exchange *x)
{
    struct h2_exchange *h = h2_of(x);

    h->content_done = true;
    flow_end(&x->request_content);
    if (h->done)
        conn_h2_over(c, x);
    else
        conn_h2_ready(c, x);
}

static void on_trailers(struct conn *c, struct exchange *x)
{
    struct h2_exchange *h = h2_of(x);

    if (h->done || h->content_done || trailers_keep_request(x, &c->h2->session.head.fields)) {
        on_end(c, x);
        return;
    }
    h->content_done = true;
    flow_break(&x->request_content, FAIL_MEMORY);
    respond_failed(x, CAUSE_out_of_memory);
    conn_h2_ready(c, x);
}

static void exchange_cut(struct conn *c, struct exchange *x, enum cause cause)
{
    struct h2_exchange *h = h2_of(x);

    if (!h->done && !x->cause)
        x->cause = cause;
    x->client_gone = !h->done;
    conn_h2_over(c, x);
}

static void on_reset(struct conn *c, const struct h2_event *ev)
{
    if (!ev->by_peer)
        worker_counted(&conn_worker(c)->stats.causes[ev->cause]);
    if (ev->stream)
        exchange_cut(c, exchange_of(ev->stream), ev->cause);
}

static void exchanges_cut(struct conn *c, enum cause cause)
{
    struct link_node *all = &c->h2->exchanges;

    while (!list_empty(all))
        exchange_cut(c, h2_exchange_of(container_of(all->next, struct h2_exchange, node)), cause);
}

/* The client is gone: nobody could ask for more than what can be had at once.  A file that is on
 * its way as a whole has been. */
static void exchanges_leave(struct conn *c)
{
    struct link_node *all = &c->h2->exchanges, *next;

    for (struct link_node *n = all->next; n != all; n = next) {
        next = n->next;
        struct exchange *x = h2_exchange_of(container_of(n, struct h2_exchange, node));
        if (x->file < 0 || x->file_left > 0 || !h2_of(x)->head_written) {
            h2_reset(&c->h2->session, &h2_of(x)->stream, H2_CANCEL);
            exchange_cut(c, x, CAUSE_client_gone);
        }
    }
}

/* The connection is at its end: what the session has to say about it is sent, no more. */
static void conn_h2_fail(struct conn *c, enum h2_error error, enum cause cause)
{
    if (cause)
        worker_counted(&conn_worker(c)->stats.causes[cause]);
    h2_fail(&c->h2->session, error);
    exchanges_cut(c, cause ? cause : CAUSE_client_gone);
    conn_h2_flush(c);
    conn_linger(c);
}

/* One event; false: reading pauses. */
static bool on_event(struct conn *c, const struct h2_event *ev)
{
    switch (ev->kind) {
    case H2_NOTHING:
        return false;
    case H2_FLUSH:
        return conn_h2_flush(c);
    case H2_HEAD:
        conn_h2_request(c, ev);
        return true;
    case H2_CONTENT:
        return conn_h2_content(c, exchange_of(ev->stream), ev);
    case H2_TRAILS:
        on_trailers(c, exchange_of(ev->stream));
        return true;
    case H2_END:
        on_end(c, exchange_of(ev->stream));
        return true;
    case H2_RESET:
        on_reset(c, ev);
        return true;
    case H2_WINDOW:
        conn_h2_windows_opened(c, ev->stream);
        return true;
    case H2_PRIORITISED:
        if (link_linked(&h2_of(exchange_of(ev->stream))->line))
            conn_h2_ready(c, exchange_of(ev->stream));
        return true;
    case H2_FAILED:
        conn_h2_fail(c, ev->error, ev->cause);
        return false;
    default:
        return true;
    }
}

/* False: it was enough for one step, there may be more. */
static bool conn_read(struct conn *c)
{
    struct conn_h2 *h2 = c->h2;
    uint64_t requests = h2->requests, content = 0;
    struct h2_event ev;
    size_t used;
    bool fresh; /* the next record was decrypted: nothing will complete for it */

    do {
        if (h2->requests - requests >= REQUESTS_MAX || content >= CONTENT_MAX) {
            owner_wake_later(&c->owner);
            return false;
        }
        size_t unread = wire_in(&c->wire).len;
        h2_read(&h2->session, wire_in(&c->wire), conn_now(c), &used, &ev);
        wire_take(&c->wire, used);
        fresh = wire_in(&c->wire).len > unread - used;
        content += used + ev.content;
    } while ((on_event(c, &ev) || (ev.kind == H2_NOTHING && fresh)) && c->state == CONN_OPEN);
    return true;
}

/* --- what a kind of connection does (conn_own.h) ------------------------------------------ */

static void conn_times(struct conn *c)
{
    struct conn_h2 *h2 = c->h2;
    uint64_t most = c->listener->conf->keepalive_requests;

    if (!h2_in_head(&h2->session))
        h2->head_since = 0;
    else if (h2->head_since == 0)
        h2->head_since = conn_now(c);
    if (h2->sweep_at == TIME_NEVER && (h2->open > 0 || h2->requests != h2->swept))
        h2->sweep_at = conn_now(c) + SWEEP_NS;
    if (most != VALUE_OFF && h2->requests >= most && h2->drain_since == 0) {
        h2->drain_since = conn_now(c);
        h2_drain(&h2->session);
    }
}

static void h2_serve(struct conn *c)
{
    conn_h2_leaving_go(c, false);
    conn_h2_filed_go(c);
    bool over = conn_read(c) && c->wire.eof && wire_in(&c->wire).len == 0; /* not if it paused */
    if (c->state != CONN_OPEN)
        return;
    conn_h2_run(c);
    if (over)
        exchanges_leave(c);
    conn_times(c);
    conn_h2_flush(c);
    if (h2_mute(&c->h2->session)) {
        conn_h2_fail(c, H2_INTERNAL_ERROR, CAUSE_out_of_memory);
        return;
    }
    if (c->h2->open > 0)
        return;
    if (c->h2->session.peer_going) /* RFC 9113, 6.8: it has said goodbye, and nothing is left */
        conn_h2_fail(c, H2_NO_ERROR, CAUSE_NONE);
    else if ((over || h2_drained(&c->h2->session)) && h2_out(&c->h2->session).len == 0)
        conn_linger(c);
}

static uint32_t h2_room(struct conn *c)
{
    if (wire_in(&c->wire).len > UNREAD_MAX) /* reading pauses */
        return 0;
    return c->h2->open > 0 ? IO_ROOM_BULK : IO_ROOM_SMALL;
}

static bool is_idle(const struct conn *c)
{
    return c->h2->open == 0 && c->h2->head_since == 0 && wire_waiting(&c->wire) == 0;
}

static uint64_t h2_deadline(struct conn *c)
{
    const struct listener_conf *conf = c->listener->conf;
    const struct conn_h2 *h2 = c->h2;
    uint64_t at = h2->sweep_at;

    if (!h2_settled(&h2->session))
        return after(c->since, conf->header_timeout);
    if (h2->head_since)
        at = earlier(at, after(h2->head_since, conf->header_timeout));
    if (h2->drain_since)
        at = earlier(at, h2->drain_since + DRAIN_TRIP_NS);
    if (is_idle(c))
        at = earlier(at, after(c->since, conf->keepalive_timeout));
    return at;
}

static void sweep(struct conn *c)
{
    struct conn_h2 *h2 = c->h2;
    struct link_node *next;

    h2->sweep_at = TIME_NEVER;
    for (struct link_node *n = h2->exchanges.next; n != &h2->exchanges; n = next) {
        next = n->next;
        conn_h2_judge(c, h2_exchange_of(container_of(n, struct h2_exchange, node)));
    }
    if (h2->open == 0) {
        h2_idle(&h2->session);
        h2->swept = h2->requests;
    }
}

static void h2_late(struct conn *c)
{
    const struct listener_conf *conf = c->listener->conf;
    struct conn_h2 *h2 = c->h2;
    uint64_t now = conn_now(c);

    if (!h2_settled(&h2->session)) {
        conn_h2_fail(c, H2_PROTOCOL_ERROR, CAUSE_header_timeout);
        return;
    }
    if (h2->head_since && now >= after(h2->head_since, conf->header_timeout)) {
        conn_h2_fail(c, H2_ENHANCE_YOUR_CALM, CAUSE_header_timeout);
        return;
    }
    if (is_idle(c) && now >= after(c->since, conf->keepalive_timeout)) {
        conn_h2_fail(c, H2_NO_ERROR, CAUSE_keepalive_timeout);
        return;
    }
    if (h2->drain_since && now >= h2->drain_since + DRAIN_TRIP_NS) {
        h2->drain_since = TIME_NEVER / 2;
        h2_drain(&h2->session);
    }
    if (now >= h2->sweep_at)
        sweep(c);
}

static void h2_conn_drain(struct conn *c)
{
    if (c->h2->drain_since)
        return;
    c->h2->drain_since = conn_now(c);
    h2_drain(&c->h2->session);
}

static bool h2_busy(const struct conn *c)
{
    return c->h2->open > 0;
}

static bool h2_blame(struct conn *c, enum cause cause)
{
    struct conn_h2 *h2 = c->h2;
    bool any = false;

    for (struct link_node *n = h2->exchanges.next; n != &h2->exchanges; n = n->next) {
        struct exchange *x = h2_exchange_of(container_of(n, struct h2_exchange, node));
        if (x->cause)
            continue;
        x->cause = cause;
        any = true;
    }
    return any;
}

static void h2_reloaded(struct conn *c)
{
    struct conn_h2 *h2 = c->h2;
    struct link_node *next;

    for (struct link_node *n = h2->exchanges.next; n != &h2->exchanges; n = next) {
        next = n->next;
        struct exchange *x = h2_exchange_of(container_of(n, struct h2_exchange, node));
        if (!generation_overstayed(x))
            continue;
        if (!response_started(x) && wire_has_room(&c->wire)) {
            exchange_give_up(x, CAUSE_reloaded);
            conn_h2_ready(c, x);
            continue;
        }
        if (!x->cause)
            x->cause = CAUSE_reloaded;
        conn_h2_reset(c, x, H2_CANCEL);
    }
    owner_wake(&c->owner);
}

static void h2_closing(struct conn *c)
{
    exchanges_cut(c, conn_broken_by(c));
    if (!wire_busy(&c->wire))
        conn_h2_leaving_go(c, true);
}

static void h2_conn_end(struct conn *c)
{
    conn_h2_leaving_go(c, true);
    h2_free(&c->h2->session);
    mem_free(c->h2);
    c->h2 = NULL;
}

const struct conn_kind conn_h2_kind = {
    .serve = h2_serve,
    .room = h2_room,
    .deadline = h2_deadline,
    .late = h2_late,
    .drain = h2_conn_drain,
    .busy = h2_busy,
    .blame = h2_blame,
    .reloaded = h2_reloaded,
    .closing = h2_closing,
    .end = h2_conn_end,
};

/* --- the beginning -------------------------------------------------------------------------- */

bool conn_h2_welcome(const struct conn *c)
{
    return hpack_available() && c->listener->conf->h2c && !wire_is_tls(&c->wire);
}

enum preface conn_h2_preface(struct span in)
{
    struct span part = span_first(H2_PREFACE_TEXT, in.len);

    if (in.len < 4 || !span_starts(in, part))
        return PREFACE_NONE;
    return part.len == H2_PREFACE ? PREFACE_WHOLE : PREFACE_PART;
}

static struct h2_rate rate_of(const struct rate *r)
{
    return (struct h2_rate){.amount = r->amount, .per_ns = r->per_ns};
}

bool conn_h2_begin(struct conn *c)
{
    const struct listener_conf *conf = c->listener->conf;
    struct conn_h2 *h2 = mem_alloc(sizeof *h2);
    const struct h2_limits limits = {
        .connects = true,
        .streams_max = (uint32_t)conf->h2_max_streams,
        .window = (uint32_t)conf->h2_window,
        .header_max = conf->limits.head_max,
        .fields_max = conf->limits.fields_max,
        .resets = rate_of(&conf->h2_resets),
        .control = rate_of(&conf->h2_control),
    };

    if (h2) {
        *h2 = (struct conn_h2){.sweep_at = TIME_NEVER, .swept = UINT64_MAX};
        list_init(&h2->exchanges);
        list_init(&h2->leaving);
        list_init(&h2->waiting);
        list_init(&h2->filed);
        for (unsigned u = 0; u < H2_URGENCIES; u++)
            list_init(&h2->ready[u]);
    }
    if (!h2 || h2_init(&h2->session, &limits) < 0) {
        if (h2)
            h2_free(&h2->session);
        mem_free(h2);
        worker_counted(&conn_worker(c)->stats.causes[CAUSE_out_of_memory]);
        conn_close(c);
        return false;
    }
    c->h2 = h2;
    c->speaks = CONN_H2;
    if (c->draining)
        h2_conn_drain(c);
    return true;
}
