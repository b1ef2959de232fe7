/* A connection to a client, speaking HTTP/1.
 *
 * One exchange at a time: the requests behind it wait in the stash, which is
 * not filled further meanwhile.  Everything that can be answered from the
 * bytes at hand is answered in one step, and leaves in one send.
 *
 * A connection is open, then lingers (its last answer is on the way, what the
 * client still says is thrown away, so that no reset destroys the answer),
 * then closes (operations come home, and it is freed).
 */
#include "gate/conn.h"

#include "gate/conn_write.h"
#include "gate/gate.h"

#include <assert.h>

enum {
    CONN_BUDGET = 64,         /* requests a step */
    CONN_ROUNDS = 8,          /* of reading, answering and writing one exchange in a step */
    REST_BYTES = 1280,        /* in REST_NS, or the connection is not kept for it */
    DISCARD_MAX = 256 * 1024, /* bytes nobody wants, before the connection ends */
    PEER_BYTES = offsetof(struct address, ip) + 16,
};
#define LINGER_NS       (2 * NS_PER_S)
#define DRAIN_IDLE_NS   (5 * NS_PER_S)
#define DRAIN_LINGER_NS NS_PER_S
#define RATE_WINDOW_NS  (10 * NS_PER_S)
#define STARVED_NS      (10 * NS_PER_MS)
#define REST_NS         (10 * NS_PER_S) /* for REST_BYTES of content that nobody wants */

enum conn_state { CONN_OPEN, CONN_LINGER, CONN_CLOSING };

struct conn {
    struct owner owner;
    struct link_node node; /* of worker->conns */
    struct listener *listener;
    struct wire wire;
    struct io_timer timer;
    struct exchange *x;   /* NULL while idle, and while a head is incomplete */
    uint64_t since;       /* when the present wait began: idle, head, linger */
    uint64_t write_since; /* when the client last took bytes that wait; 0: none wait */
    uint32_t scanned;     /* of an incomplete head; see h1_parser */
    uint32_t requests;    /* answered */
    uint32_t discarded;   /* bytes, while lingering */
    uint8_t state;        /* enum conn_state */
    bool head_begun;      /* some bytes of a head are there */
    bool draining;
    bool starved; /* there was no memory to take content: reading pauses, and is tried again */
    bool reset;   /* close by RST: the client must not take what it has for all */
    char peer[PEER_BYTES]; /* the first bytes of a struct address: no unix path */
};

/* The connection's part of an exchange. */
struct h1_exchange {
    struct response_writer writer;
    struct h1_content content;
    bool content_done;
    bool continue_said;
    uint64_t rate_since; /* when the present window of asking began; 0: not asking */
    uint64_t rate_from;  /* bytes_in then */
    uint64_t rest_since; /* answered in full, content outstanding; 0: not so */
};
static_assert(sizeof(struct h1_exchange) <= CARRIER_ROOM, "fits what exchanges offer");

static void conn_step(struct owner *owner);

static struct conn *conn_of(struct owner *owner)
{
    return container_of(owner, struct conn, owner);
}

static struct h1_exchange *h1_of(struct exchange *x)
{
    return (struct h1_exchange *)(void *)x->carrier_room;
}

static struct worker *conn_worker(const struct conn *c)
{
    return c->listener->worker;
}

static uint64_t conn_now(const struct conn *c)
{
    return io_now(conn_worker(c)->io);
}

/* --- ending ------------------------------------------------------------------------ */

static void conn_exchange_end(struct conn *c)
{
    struct exchange *x = c->x;

    c->x = NULL;
    if (x)
        exchange_end(x);
}

static void conn_close(struct conn *c)
{
    if (c->state == CONN_CLOSING)
        return;
    c->state = CONN_CLOSING;
    if (c->x && !h1_of(c->x)->writer.done) {
        c->x->client_gone = c->wire.fail != 0;
        if (!c->x->cause)
            c->x->cause = c->wire.fail == FAIL_MEMORY ? CAUSE_out_of_memory : CAUSE_client_gone;
        /* What never left is not counted: a whole file may wait. */
        uint64_t left = wire_waiting(&c->wire);
        c->x->bytes_out -= left < c->x->bytes_out ? left : c->x->bytes_out;
    }
    wire_cancel(&c->wire);
    /* A file that is being sent is not closed under the engine's hands. */
    if (!c->x || c->x->file < 0 || !c->x->head_kept || !wire_busy(&c->wire))
        conn_exchange_end(c);
    owner_wake(&c->owner);
}

/* Sends what is left, then FIN, then reads until the client has understood. */
static void conn_linger(struct conn *c)
{
    if (c->state != CONN_OPEN)
        return;
    c->state = CONN_LINGER;
    c->since = 0; /* until FIN is sent */
    c->discarded = 0;
    wire_finish(&c->wire);
}

/* Frees the connection once nothing is in flight.  True when it is gone. */
static bool conn_gone(struct conn *c)
{
    struct listener *l = c->listener;
    struct worker *w = l->worker;

    if (wire_busy(&c->wire)) {
        wire_cancel(&c->wire);
        return false;
    }
    conn_exchange_end(c);
    wire_close(&c->wire, c->reset);
    io_timer_clear(w->io, &c->timer);
    list_remove(&c->node);
    owner_retire(&c->owner);
    slab_put(&w->conns_slab, c, NULL);
    listener_conn_closed(l);
    return true;
}

/* --- request content --------------------------------------------------------------- */

static bool h1_content_at_hand(struct exchange *x, struct span *content)
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

static void h1_interim(struct exchange *x, int status, const struct fields *fields)
{
    response_write_interim(&conn_of(x->owner)->wire, status, fields);
    owner_wake(x->owner); /* this was not its own step: write_timeout begins, or it failed */
}

static const struct carrier h1_carrier = {
    .scheme = SPAN_INIT("http"),
    .content_at_hand = h1_content_at_hand,
    .interim = h1_interim,
};

/* Raw bytes, after 101. */
static void conn_read_tunnel(struct conn *c)
{
    struct exchange *x = c->x;
    struct flow *f = &x->request_content;

    while (wire_in(&c->wire).len > 0 && flow_room(f) > 0) {
        uint32_t n = wire_take_to(&c->wire, f, wire_in(&c->wire).len);
        x->bytes_in += n;
        c->starved = n == 0;
        if (n == 0)
            return;
    }
    if (c->wire.eof && wire_in(&c->wire).len == 0)
        flow_end(f);
}

static void conn_content_bad(struct conn *c, enum cause cause)
{
    struct exchange *x = c->x;

    h1_of(x)->content_done = true;
    x->close_after = true;
    flow_break(&x->request_content, FAIL_BAD);
    respond_failed(x, cause);
}

static bool conn_content_over(const struct exchange *x, uint64_t more)
{
    uint64_t max = x->route ? x->route->max_body : 0;

    return max != VALUE_OFF && x->bytes_in + more > max &&
           !h1_of((struct exchange *)x)->writer.done;
}

/* Moves content from the wire to the exchange, or, when nobody will read it,
 * to nowhere. */
static void conn_read_content(struct conn *c, bool discard)
{
    struct exchange *x = c->x;
    struct h1_exchange *h = h1_of(x);
    struct flow *f = &x->request_content;

    while (!h->content_done && wire_in(&c->wire).len > 0 && (discard || flow_room(f) > 0)) {
        struct h1_piece piece = {0};
        enum cause cause = CAUSE_NONE;
        enum parse parse = h1_content_next(&h->content, wire_in(&c->wire), &piece, &cause);
        wire_take(&c->wire, piece.skip);
        if (parse == PARSE_BAD) {
            conn_content_bad(c, cause);
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
        if (!discard && conn_content_over(x, piece.content)) {
            conn_content_bad(c, CAUSE_content_too_large);
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

static void conn_want_content(struct conn *c)
{
    struct exchange *x = c->x;
    struct h1_exchange *h = h1_of(x);

    if (!x->content_wanted || h->content_done)
        return;
    if (x->request.expects_continue && !h->continue_said && !response_started(x) &&
        wire_in(&c->wire).len == 0 && x->bytes_in == 0)
        wire_say(&c->wire, SPAN("HTTP/1.1 100 Continue\r\n\r\n"));
    h->continue_said = true;
    conn_read_content(c, false);
}

/* --- an exchange ------------------------------------------------------------------- */

/* Whether the connection ends with this response; decided when its head is due. */
static void conn_decide_close(struct conn *c)
{
    struct exchange *x = c->x;
    struct h1_exchange *h = h1_of(x);
    uint64_t most = c->listener->conf->keepalive_requests;

    bool last = c->wire.eof && wire_in(&c->wire).len == 0;

    if (!x->request.keep_alive || c->draining || last ||
        (most != VALUE_OFF && c->requests + 1 >= most))
        x->close_after = true;
    if (x->response_state != RESPONSE_ENDED || h->content_done)
        return;
    /* The handler has not read the content and will not.  A little is thrown
     * away; a client that still waits for 100 may send it or not. */
    if (x->request.expects_continue && !h->continue_said)
        x->close_after = true;
    if (x->request.framing == FRAMING_LENGTH && h->content.remaining > DISCARD_MAX)
        x->close_after = true;
}

static void conn_write(struct conn *c)
{
    struct exchange *x = c->x;
    struct h1_exchange *h = h1_of(x);

    if (response_started(x) && !h->writer.head_written)
        conn_decide_close(c);
    response_write(&h->writer, x, &c->wire);
}

/* A number that changes whenever the exchange got further. */
static uint64_t conn_progress(const struct exchange *x, const struct h1_exchange *h)
{
    return x->bytes_in + x->bytes_out + h->writer.head_written + h->content_done +
           (uint64_t)x->response_state + x->tunnel + x->broken + x->content_wanted;
}

/* Reads, answers and writes as far as it goes.  True when the exchange is over. */
static bool conn_exchange(struct conn *c)
{
    struct exchange *x = c->x;
    struct h1_exchange *h = h1_of(x);
    unsigned round = 0;

    for (uint64_t before = ~UINT64_C(0), now = 0; !h->writer.done && !x->broken; round++) {
        now = conn_progress(x, h);
        if (now == before)
            break;
        if (round == CONN_ROUNDS) {
            owner_wake(&c->owner);
            break;
        }
        before = now;
        if (x->tunnel)
            conn_read_tunnel(c);
        else
            conn_want_content(c);
        exchange_answer(x);
        conn_write(c);
    }
    if (x->broken) {
        c->reset = h->writer.until_close || x->tunnel;
        x->close_after = true;
        return true;
    }
    if (!h->writer.done)
        return false;
    if (!h->content_done && !x->tunnel && !x->close_after) {
        if (h->rest_since == 0) {
            h->rest_since = conn_now(c);
            h->rate_from = c->discarded;
        }
        conn_read_content(c, true);
        if (c->discarded > DISCARD_MAX)
            x->close_after = true;
    }
    return h->content_done || x->tunnel || x->close_after;
}

static void conn_exchange_over(struct conn *c)
{
    struct exchange *x = c->x;
    struct h1_exchange *h = h1_of(x);
    bool close = x->close_after || x->tunnel;
    bool unread = !h->content_done && !x->tunnel;

    conn_exchange_end(c);
    c->requests++;
    c->head_begun = false;
    c->scanned = 0;
    c->discarded = 0;
    c->since = conn_now(c);
    if (!close)
        return;
    if (c->reset) {
        conn_close(c);
        return;
    }
    conn_linger(c);
    /* Nothing more can come that would make the kernel answer with a reset. */
    if (!unread && wire_in(&c->wire).len == 0 && c->wire.eof)
        c->discarded = DISCARD_MAX;
}

static void conn_exchange_begin(struct conn *c, struct exchange *x)
{
    struct h1_exchange *h = h1_of(x);

    *h = (struct h1_exchange){0};
    x->owner = &c->owner;
    x->carrier = &h1_carrier;
    memcpy(&x->peer, c->peer, PEER_BYTES);
    x->times.begun = c->since;
    x->times.head = conn_now(c);
    c->x = x;
}

/* Answers with an error although there is no request to speak of. */
static void conn_refuse(struct conn *c, struct exchange *x, enum cause cause)
{
    conn_exchange_begin(c, x);
    x->client = x->peer;
    h1_of(x)->content_done = true;
    if (x->request.version == 0)
        x->request.version = HTTP_1_1;
    x->close_after = true;
    respond_failed(x, cause);
}

/* Looks for the next request.  True when there is an exchange to run. */
static bool conn_next(struct conn *c)
{
    struct worker *w = conn_worker(c);
    const struct listener_conf *conf = c->listener->conf;
    struct span in = wire_in(&c->wire);
    struct h1_parser parser;
    struct exchange *x;

    if (in.len == 0 || !(x = exchange_new(w, c->listener->generation, conf))) {
        if (in.len > 0) {
            worker_counted(&w->stats.causes[CAUSE_out_of_memory]);
            conn_close(c);
        } else if (c->wire.eof) {
            conn_linger(c); /* answers may still be on their way */
        }
        return false;
    }
    if (!c->head_begun) {
        c->head_begun = true;
        if (c->requests > 0)
            c->since = io_now(w->io);
    }
    h1_parser_init(&parser, &conf->limits);
    parser.scanned = c->scanned;
    switch (h1_parse_request(&parser, in, &x->request)) {
    case PARSE_MORE:
        c->scanned = parser.scanned;
        exchange_end(x);
        if (c->wire.eof)
            conn_linger(c);
        return false;
    case PARSE_BAD:
        x->head = span_first(in, conf->limits.head_max); /* what the log will quote */
        wire_take(&c->wire, in.len);
        conn_refuse(c, x, parser.cause);
        return true;
    default:
        break;
    }
    x->head = span_first(in, parser.head_bytes);
    wire_take(&c->wire, parser.head_bytes);
    conn_exchange_begin(c, x);
    struct h1_exchange *h = h1_of(x);
    h1_content_init(&h->content, x->request.framing, x->request.content_length, &conf->limits,
                    NULL);
    h->content_done = h1_content_complete(&h->content);
    if (h->content_done)
        flow_end(&x->request_content);
    exchange_begin(x);
    return true;
}

static void conn_serve(struct conn *c)
{
    for (unsigned n = 0; c->state == CONN_OPEN; n++) {
        if (n == CONN_BUDGET) {
            owner_wake_later(&c->owner);
            break;
        }
        if (!c->x && (!wire_has_room(&c->wire) || !conn_next(c)))
            break;
        if (!conn_exchange(c)) {
            /* The head must outlive the bytes it came in. */
            if (exchange_keep(c->x) < 0)
                conn_close(c);
            break;
        }
        conn_exchange_over(c);
    }
}

/* --- time --------------------------------------------------------------------------- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Are we asking the client for content that it does not send? */
static bool conn_asks(const struct conn *c)
{
    struct exchange *x = c->x;

    return x && x->content_wanted && !h1_of(x)->content_done && !x->tunnel && x->route &&
           !c->starved && x->route->body_min_rate.amount && flow_room(&x->request_content) > 0;
}

static uint64_t conn_rate_deadline(struct conn *c)
{
    struct h1_exchange *h = h1_of(c->x);

    if (!conn_asks(c)) {
        h->rate_since = 0;
        return TIME_NEVER;
    }
    if (h->rate_since == 0) {
        h->rate_since = conn_now(c);
        h->rate_from = c->x->bytes_in;
    }
    return h->rate_since + RATE_WINDOW_NS;
}

static uint64_t conn_wait_deadline(struct conn *c)
{
    const struct listener_conf *conf = c->listener->conf;

    if (c->state == CONN_LINGER && c->since == 0)
        return TIME_NEVER;
    if (c->state == CONN_LINGER)
        return c->since + (c->draining ? DRAIN_LINGER_NS : LINGER_NS);
    if (c->x && h1_of(c->x)->rest_since > 0)
        return h1_of(c->x)->rest_since + REST_NS;
    if (c->x)
        return conn_rate_deadline(c);
    if (wire_waiting(&c->wire) > 0) /* not idle: answers are on their way */
        return TIME_NEVER;
    if (c->head_begun || c->requests == 0) {
        uint64_t head = after(c->since, conf->header_timeout);
        return c->draining && !c->head_begun ? earlier(head, c->since + DRAIN_IDLE_NS) : head;
    }
    return after(c->since, c->draining ? DRAIN_IDLE_NS : conf->keepalive_timeout);
}

static uint64_t conn_write_deadline(struct conn *c)
{
    if (wire_waiting(&c->wire) == 0) {
        c->write_since = 0;
        return TIME_NEVER;
    }
    if (wire_moved(&c->wire) || c->write_since == 0)
        c->write_since = conn_now(c);
    return after(c->write_since, c->listener->conf->write_timeout);
}

/* Content that nobody wants still comes: fast enough to be waited for? */
static void conn_rest_judge(struct conn *c)
{
    struct h1_exchange *h = h1_of(c->x);

    if (c->discarded - h->rate_from < REST_BYTES)
        c->x->close_after = true;
    h->rest_since = conn_now(c);
    h->rate_from = c->discarded;
}

static void conn_wait_over(struct conn *c)
{
    struct worker *w = conn_worker(c);
    struct exchange *x = c->x;

    if (c->state == CONN_LINGER) {
        conn_close(c);
    } else if (x && h1_of(x)->rest_since > 0) {
        conn_rest_judge(c);
    } else if (x) { /* the rate window is full */
        struct h1_exchange *h = h1_of(x);
        const struct rate *rate = &x->route->body_min_rate;
        uint64_t need = (uint64_t)((unsigned __int128)rate->amount * RATE_WINDOW_NS / rate->per_ns);
        if (x->bytes_in - h->rate_from < need)
            conn_content_bad(c, CAUSE_body_too_slow);
        h->rate_since = 0;
    } else if (c->head_begun) {
        if ((x = exchange_new(w, c->listener->generation, c->listener->conf)))
            conn_refuse(c, x, CAUSE_header_timeout);
        else
            conn_close(c);
    } else {
        worker_counted(&w->stats.causes[CAUSE_keepalive_timeout]);
        conn_linger(c);
    }
}

/* Which of the deadlines has passed is derived, not remembered. */
static void conn_timer_fired(struct conn *c)
{
    uint64_t now = conn_now(c);

    if (conn_write_deadline(c) <= now) {
        if (c->x && !c->x->cause)
            c->x->cause = CAUSE_write_timeout;
        else
            worker_counted(&conn_worker(c)->stats.causes[CAUSE_write_timeout]);
        c->reset = true;
        conn_close(c);
    } else if (conn_wait_deadline(c) <= now) {
        conn_wait_over(c);
    }
}

/* --- the step -------------------------------------------------------------------------- */

static void conn_lingering(struct conn *c)
{
    size_t n = wire_in(&c->wire).len;

    wire_take(&c->wire, n);
    if (n > DISCARD_MAX - c->discarded)
        c->discarded = DISCARD_MAX;
    else
        c->discarded += (uint32_t)n;
    if (!c->wire.finished) /* the last answer is still on its way: write_timeout's affair */
        return;
    if (c->since == 0)
        c->since = conn_now(c);
    if (c->wire.eof || c->discarded >= DISCARD_MAX)
        conn_close(c);
}

static uint32_t conn_room(struct conn *c)
{
    struct exchange *x = c->x;

    if (c->starved)
        return 0;
    if (c->state == CONN_LINGER || !x)
        return IO_ROOM_SMALL;
    if (!x->tunnel && h1_of(x)->content_done) /* notice a reset; at most one read ahead */
        return wire_in(&c->wire).len == 0 ? IO_ROOM_SMALL : 0;
    if (h1_of(x)->writer.done)
        return IO_ROOM_SMALL;
    if (!x->content_wanted && !x->tunnel)
        return 0;
    uint32_t room = flow_room(&x->request_content);
    return room < IO_ROOM_BULK ? room : IO_ROOM_BULK;
}

static void conn_step(struct owner *owner)
{
    struct conn *c = conn_of(owner);

    c->starved = false;
    wire_progress(&c->wire);
    if (c->state != CONN_CLOSING && c->wire.fail)
        conn_close(c);
    if (c->state != CONN_CLOSING && io_timer_take(&c->timer))
        conn_timer_fired(c);
    if (c->state == CONN_OPEN)
        conn_serve(c);
    if (c->state == CONN_LINGER)
        conn_lingering(c);
    if (c->state != CONN_CLOSING && (wire_settle(&c->wire) < 0 || c->wire.fail))
        conn_close(c);
    if (c->state == CONN_CLOSING) {
        conn_gone(c);
        return;
    }
    uint32_t room = conn_room(c);
    if (room > 0)
        wire_want(&c->wire, room);
    uint64_t deadline = earlier(conn_wait_deadline(c), conn_write_deadline(c));
    if (c->starved)
        deadline = earlier(deadline, conn_now(c) + STARVED_NS);
    io_timer_set(conn_worker(c)->io, &c->timer, deadline);
}

/* --- from outside ------------------------------------------------------------------------ */

static void conn_set_peer(struct conn *c, struct address peer)
{
    if (peer.family == ADDRESS_UNIX)
        peer.path_len = 0;
    memcpy(c->peer, &peer, PEER_BYTES);
}

void conn_open(struct listener *l, int fd, const struct address *peer)
{
    struct worker *w = l->worker;
    struct conn *c = slab_get(&w->conns_slab, NULL);

    if (!c) {
        worker_counted(&w->stats.causes[CAUSE_out_of_memory]);
        io_discard(w->io, fd);
        listener_conn_closed(l);
        return;
    }
    *c = (struct conn){.listener = l};
    owner_init(&c->owner, &w->io->owners, conn_step);
    conn_set_peer(c, *peer);
    c->timer.owner = &c->owner;
    c->timer.at = c->timer.wheel_at = TIME_NEVER;
    c->since = io_now(w->io);
    c->draining = l->leaving;
    list_append(&w->conns, &c->node);
    wire_open(&c->wire, &w->wires, &c->owner, fd);
    owner_wake(&c->owner);
}

void conn_drain(struct conn *c)
{
    c->draining = true;
    if (!c->x && !c->head_begun)
        c->since = conn_now(c);
    owner_wake(&c->owner);
}

void conn_cut(struct conn *c, enum cause cause)
{
    struct worker *w = conn_worker(c);

    if (c->state == CONN_CLOSING)
        return;
    if (c->x && !c->x->cause)
        c->x->cause = cause;
    else if (!c->x)
        worker_counted(&w->stats.causes[cause]);
    c->reset = c->x != NULL;
    conn_close(c);
}

const struct generation *conn_generation(const struct conn *c)
{
    return c->x ? c->x->generation : NULL;
}

struct conn *conn_of_node(struct link_node *node)
{
    return container_of(node, struct conn, node);
}

const struct listener *conn_listener(const struct conn *c)
{
    return c->listener;
}

size_t conn_size(void)
{
    return sizeof(struct conn);
}
