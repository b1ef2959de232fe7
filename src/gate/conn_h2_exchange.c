/* The exchanges of an HTTP/2 connection: each begins with a head, waits in line, is
 * run, and is over; see conn_h2.h.
 *
 * What needs no more than the bytes at hand is answered while they are read.
 */
#include "gate/conn_h2.h"

#include "gate/module.h"

enum {
    RUNS_MAX = 512, /* of exchanges, a step */
    ROUNDS_MAX = 4, /* of answering and writing one exchange in a run */
    AT_ONCE = 4096, /* content that is not worth waiting in line */
};

static void h2_local(const struct exchange *x, struct address *a)
{
    conn_local(h2_of((struct exchange *)(uintptr_t)x)->conn, a);
}

static const struct carrier h2_carrier = {
    .scheme = SPAN_INIT("http"),
    .content_at_hand = conn_h2_at_hand,
    .local = h2_local,
    .interim = conn_h2_interim,
};
static const struct carrier h2_tls_carrier = {
    .scheme = SPAN_INIT("https"),
    .content_at_hand = conn_h2_at_hand,
    .local = h2_local,
    .interim = conn_h2_interim,
};

/* --- lines -------------------------------------------------------------------------- */

static void line_append(struct conn *c, struct exchange *x, bool last)
{
    struct h2_exchange *h = h2_of(x);
    struct link_node *line = &c->h2->ready[h->stream.priority.urgency];

    list_remove(&h->line);
    if (last)
        list_append(line, &h->line);
    else
        list_prepend(line, &h->line);
}

void conn_h2_ready(struct conn *c, struct exchange *x)
{
    line_append(c, x, true);
}

static struct exchange *line_next(struct conn *c)
{
    for (unsigned u = 0; u < H2_URGENCIES; u++) {
        struct link_node *node = list_pop(&c->h2->ready[u]);
        if (node)
            return h2_exchange_of(container_of(node, struct h2_exchange, line));
    }
    return NULL;
}

/* What an exchange's owner does when somebody wakes it. */
static void exchange_woken(struct owner *owner)
{
    struct h2_exchange *h = container_of(owner, struct h2_exchange, owner);

    conn_h2_ready(h->conn, h2_exchange_of(h));
    owner_wake(&h->conn->owner);
}

/* There is room on the wire again: whoever waits for it may go on. */
static void line_resume(struct conn *c)
{
    struct link_node *node;

    if (list_empty(&c->h2->waiting) || wire_waiting(&c->wire) >= WIRE_LOW ||
        !wire_has_room(&c->wire))
        return;
    while ((node = list_pop(&c->h2->waiting)))
        conn_h2_ready(c, h2_exchange_of(container_of(node, struct h2_exchange, line)));
}

/* Whose file has gone may end, if it was whole. */
void conn_h2_filed_go(struct conn *c)
{
    struct link_node *filed = &c->h2->filed, *next;

    for (struct link_node *n = filed->next; n != filed; n = next) {
        struct h2_exchange *h = container_of(n, struct h2_exchange, line);
        next = n->next;
        if (h2_file_gone(c, h))
            conn_h2_ready(c, h2_exchange_of(h));
    }
}

/* A window has opened: one stream's, or the connection's. */
void conn_h2_windows_opened(struct conn *c, struct h2_stream *stream)
{
    struct conn_h2 *h2 = c->h2;

    for (struct link_node *n = h2->exchanges.next; n != &h2->exchanges; n = n->next) {
        struct h2_exchange *h = container_of(n, struct h2_exchange, node);
        if (h->shut && (!stream || stream == &h->stream)) {
            h->shut = false;
            conn_h2_ready(c, h2_exchange_of(h));
        }
    }
}

/* --- an exchange: it begins, goes on, and is over --------------------------------------- */

static void exchange_finish(struct conn *c, struct exchange *x)
{
    struct h2_exchange *h = h2_of(x);

    list_remove(&h->line);
    list_remove(&h->node);
    owner_retire(&h->owner);
    /* Whoever says goodbye may still wake it. */
    x->owner = &c->owner;
    x->request_content.producer = x->response_content.consumer = NULL;
    exchange_end(x);
}

void conn_h2_over(struct conn *c, struct exchange *x)
{
    struct conn_h2 *h2 = c->h2;
    struct h2_exchange *h = h2_of(x);

    h2_credit(&h2->session, NULL, (uint32_t)(x->request_content.total - h->credited));
    h->credited = x->request_content.total;
    if (--h2->open == 0)
        c->since = conn_now(c);
    /* A file is its handler's until it has gone. */
    if (x->file < 0 || h2_file_gone(c, h)) {
        exchange_finish(c, x);
        return;
    }
    list_remove(&h->line);
    list_remove(&h->node);
    list_append(&h2->leaving, &h->node);
}

void conn_h2_reset(struct conn *c, struct exchange *x, enum h2_error error)
{
    h2_reset(&c->h2->session, &h2_of(x)->stream, error);
    conn_h2_over(c, x);
}

/* Those whose files have gone. */
void conn_h2_leaving_go(struct conn *c, bool all)
{
    struct link_node *next;

    for (struct link_node *n = c->h2->leaving.next; n != &c->h2->leaving; n = next) {
        next = n->next;
        struct h2_exchange *h = container_of(n, struct h2_exchange, node);
        if (all || h2_file_gone(c, h))
            exchange_finish(c, h2_exchange_of(h));
    }
}

static uint64_t exchange_progress(const struct exchange *x, const struct h2_exchange *h)
{
    return x->bytes_in + x->bytes_out + h->head_written + h->done + h->continue_said +
           (uint64_t)x->response_state + x->broken + x->content_wanted + h->credited;
}

static void exchange_wait(struct conn *c, struct exchange *x, enum h2_wrote wrote)
{
    struct h2_exchange *h = h2_of(x);

    list_remove(&h->line);
    switch (wrote) {
    case H2_WROTE_SOME:
        line_append(c, x, h->stream.priority.incremental);
        break;
    case H2_WROTE_WIRE:
        list_append(&c->h2->waiting, &h->line);
        break;
    case H2_WROTE_SHUT:
        if (!h->shut)
            h->wait_since = conn_now(c);
        h->shut = true;
        break;
    case H2_WROTE_FILE:
        list_append(&c->h2->filed, &h->line);
        break;
    case H2_WROTE_ALL:
        break;
    }
}

/* Answers and writes, at most one frame of content; false: it is no more. */
static bool exchange_run(struct conn *c, struct exchange *x)
{
    struct h2_exchange *h = h2_of(x);
    enum h2_wrote wrote = H2_WROTE_ALL;

    for (uint64_t before = ~UINT64_C(0), now = 0, n = 0; !h->done && !x->broken; n++) {
        now = exchange_progress(x, h);
        if (now == before)
            break;
        if (n == ROUNDS_MAX) {
            wrote = H2_WROTE_SOME;
            break;
        }
        before = now;
        conn_h2_want(c, x);
        exchange_answer(x);
        conn_h2_credit(c, x);
        wrote = conn_h2_write(c, x);
        if (wrote != H2_WROTE_ALL)
            break;
    }
    if (x->broken) {
        conn_h2_reset(c, x, H2_INTERNAL_ERROR);
        return false;
    }
    if (h->done && (h->stream.state & H2_GONE)) {
        conn_h2_over(c, x);
        return false;
    }
    if (h->done)
        conn_h2_rest(c, x);
    else
        exchange_wait(c, x, wrote);
    return true;
}

/* Is it worth no waiting in line? */
static bool is_short(const struct exchange *x)
{
    return x->response_state == RESPONSE_ENDED && !x->response_content.ended && x->file < 0 &&
           x->content.len <= AT_ONCE;
}

static void exchange_start(struct conn *c, struct exchange *x, const struct h2_event *ev)
{
    struct conn_h2 *h2 = c->h2;
    struct h2_exchange *h = h2_of(x);

    *h = (struct h2_exchange){.conn = c};
    conn_exchange_init(c, x, wire_is_tls(&c->wire) ? &h2_tls_carrier : &h2_carrier);
    owner_init(&h->owner, &conn_worker(c)->io->owners, exchange_woken);
    x->owner = &h->owner;
    list_append(&h2->exchanges, &h->node);
    h2->open++;
    h2->requests++;
    h2_accept(&h2->session, &h->stream, ev);
    x->request_content.limit = (uint32_t)c->listener->conf->h2_window;
    x->request_content.producer = &h->owner;
    x->times.begun = h2->head_since ? h2->head_since : conn_now(c);
    x->times.head = conn_now(c);
    if (ev->end || c->h2->session.head.protocol.ptr) { /* a tunnel is to come */
        h->content_done = true;
        flow_end(&x->request_content);
    }
}

void conn_h2_request(struct conn *c, const struct h2_event *ev)
{
    struct worker *w = conn_worker(c);
    const struct listener_conf *conf = c->listener->conf;
    const struct h2_head *head = &c->h2->session.head;
    struct exchange *x = exchange_new(w, c->listener->generation, conf);

    if (!x) {
        worker_counted(&w->stats.causes[CAUSE_out_of_memory]);
        h2_refuse(&c->h2->session, ev, H2_REFUSED_STREAM);
        return;
    }
    exchange_start(c, x, ev);
    enum cause cause = h2_head_request(head, ev->end, conf->limits.request_line_max, &x->request);
    x->head = (struct span){head->bytes, head->len};
    if (cause) {
        x->client = x->peer;
        respond_failed(x, cause);
    } else {
        exchange_begin(x);
        if (x->close_after)
            conn_drain(c);
        bool switches = x->route && x->route->handler->switches;
        if (x->request.protocol.len && !switches && !response_started(x))
            respond_failed(x, CAUSE_method_not_allowed);
    }
    if (ev->end)
        exchange_answer(x);
    if (ev->end && is_short(x) && !exchange_run(c, x))
        return;
    /* The head must outlive the bytes it came in. */
    if (exchange_keep(x) < 0) {
        x->cause = CAUSE_out_of_memory;
        conn_h2_reset(c, x, H2_REFUSED_STREAM);
    } else if (!link_linked(&h2_of(x)->line) && !h2_of(x)->shut && !h2_of(x)->done) {
        conn_h2_ready(c, x);
    }
}

/* --- the line is run ---------------------------------------------------------------------- */

void conn_h2_run(struct conn *c)
{
    struct exchange *x;
    unsigned n = 0;

    line_resume(c);
    while (c->state == CONN_OPEN && !c->wire.fail && (x = line_next(c))) {
        exchange_run(c, x);
        if (++n == RUNS_MAX) {
            owner_wake_later(&c->owner);
            return;
        }
    }
}
