/* A connection that speaks HTTP/1.
 *
 * One exchange at a time: the requests behind it wait in the stash, which is
 * not filled further meanwhile.  Everything that can be answered from the
 * bytes at hand is answered in one step, and leaves in one send.
 */
#include "gate/conn_h1.h"

#include "base/mem.h"

enum {
    REQUESTS_MAX = 64, /* a step */
    ROUNDS_MAX = 8,    /* of reading, answering and writing one exchange in a step */
};
#define LOOK_NS (100 * NS_PER_MS)

static void h1_interim(struct exchange *x, int status, const struct fields *fields)
{
    response_write_interim(&conn_of(x->owner)->wire, status, fields);
    owner_wake(x->owner); /* this was not its own step: write_timeout begins, or it failed */
}

static void h1_local(const struct exchange *x, struct address *a)
{
    conn_local(conn_of(x->owner), a);
}

static const struct carrier h1_carrier = {
    .scheme = SPAN_INIT("http"),
    .lines = true,
    .pipes = true,
    .content_at_hand = h1_content_at_hand,
    .local = h1_local,
    .interim = h1_interim,
};
static const struct carrier h1_tls_carrier = {
    .scheme = SPAN_INIT("https"),
    .lines = true,
    .content_at_hand = h1_content_at_hand,
    .local = h1_local,
    .interim = h1_interim,
};

/* --- an exchange: it begins, goes on, and is over ------------------------------------- */

static void exchange_start(struct conn *c, struct exchange *x)
{
    conn_exchange_init(c, x, wire_is_tls(&c->wire) ? &h1_tls_carrier : &h1_carrier);
    mem_clear(h1_of(x), sizeof(struct h1_exchange));
    c->discarded = 0; /* it was what had been scanned */
    x->times.begun = c->since;
    x->times.head = conn_now(c);
    c->h1.x = x;
}

static void exchange_finish(struct conn *c)
{
    struct exchange *x = c->h1.x;

    c->h1.x = NULL;
    if (x)
        exchange_end(x);
}

/* Whether the connection ends with this response; decided when its head is due. */
static void decide_close(struct conn *c)
{
    struct exchange *x = c->h1.x;
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

static void exchange_write(struct conn *c)
{
    struct exchange *x = c->h1.x;
    struct h1_exchange *h = h1_of(x);

    if (response_started(x) && !h->writer.head_written)
        decide_close(c);
    response_write(&h->writer, x, &c->wire);
}

/* A number that changes whenever the exchange got further. */
static uint64_t exchange_progress(const struct exchange *x, const struct h1_exchange *h)
{
    return x->bytes_in + x->bytes_out + h->writer.head_written + h->content_done +
           (uint64_t)x->response_state + x->tunnel + x->broken + x->content_wanted;
}

/* Reads, answers and writes until nothing moves any more. */
static void exchange_move(struct conn *c)
{
    struct exchange *x = c->h1.x;
    struct h1_exchange *h = h1_of(x);
    unsigned round = 0;

    for (uint64_t before = ~UINT64_C(0), now = 0; !h->writer.done && !x->broken; round++) {
        now = exchange_progress(x, h);
        if (now == before)
            break;
        if (round == ROUNDS_MAX) {
            owner_wake(&c->owner);
            break;
        }
        before = now;
        if (x->tunnel)
            h1_read_tunnel(c);
        else
            h1_want_content(c);
        exchange_answer(x);
        exchange_write(c);
    }
}

/* True when the exchange is over. */
static bool exchange_run(struct conn *c)
{
    struct exchange *x = c->h1.x;
    struct h1_exchange *h = h1_of(x);

    exchange_move(c);
    if (x->broken) {
        c->reset = h->writer.until_close || x->tunnel;
        x->close_after = true;
        return true;
    }
    if (!h->writer.done)
        return false;
    if (!h->content_done && !x->tunnel && !x->close_after)
        h1_read_rest(c);
    return h->content_done || x->tunnel || x->close_after;
}

static void exchange_over(struct conn *c)
{
    struct exchange *x = c->h1.x;
    struct h1_exchange *h = h1_of(x);
    bool close = x->close_after || x->tunnel;
    bool unread = !h->content_done && !x->tunnel;
    /* RFC 9112, 9.6: who said close sends no further requests; and after content
     * some have been known to send a line's end. */
    bool goodbye = !x->request.keep_alive && !x->cause && x->request.framing == FRAMING_NONE;

    exchange_finish(c);
    c->requests++;
    c->head_begun = false;
    c->scanned = 0;
    c->since = conn_now(c);
    if (!close)
        return;
    if (c->reset) {
        conn_close(c);
        return;
    }
    /* Can anything more come that would make the kernel answer with a reset? */
    if (!unread && wire_in(&c->wire).len == 0 && (c->wire.eof || goodbye))
        conn_leave(c);
    else
        conn_linger(c);
}

/* --- heads ------------------------------------------------------------------------------ */

/* Answers with an error although there is no request to speak of. */
static void head_refuse(struct conn *c, struct exchange *x, enum cause cause)
{
    exchange_start(c, x);
    x->client = x->peer;
    h1_of(x)->content_done = true;
    if (x->request.version == 0)
        x->request.version = HTTP_1_1;
    x->close_after = true;
    respond_failed(x, cause);
}

void conn_h1_refuse(struct conn *c, enum cause cause)
{
    struct worker *w = conn_worker(c);
    struct exchange *x = exchange_new(w, c->listener->generation, c->listener->conf);

    if (x) {
        head_refuse(c, x, cause);
        return;
    }
    worker_counted(&w->stats.causes[cause]);
    conn_close(c);
}

static void head_taken(struct conn *c, struct exchange *x)
{
    exchange_start(c, x);
    struct h1_exchange *h = h1_of(x);
    h1_content_init(&h->content, x->request.framing, x->request.content_length,
                    &c->listener->conf->limits, &h->trailers);
    h->content_done = h1_content_complete(&h->content);
    if (h->content_done)
        flow_end(&x->request_content);
    exchange_begin(x);
}

/* RFC 9113, 3.4: what begins a connection and is like nothing in HTTP/1 is a preface that
 * went wrong; whoever sent it would not understand an answer. */
static bool preface_failed(const struct conn *c, enum cause cause)
{
    return cause == CAUSE_bad_request_line && c->requests == 0 && conn_h2_welcome(c) &&
           h1_is_foreign(wire_in(&c->wire));
}

/* True when there is an exchange to run. */
static bool head_parse(struct conn *c, struct exchange *x)
{
    const struct h1_limits *limits = &c->listener->conf->limits;
    struct span in = wire_in(&c->wire);
    struct h1_parser parser;

    h1_parser_init(&parser, limits);
    parser.scanned = c->scanned;
    switch (h1_parse_request(&parser, in, &x->request)) {
    case PARSE_MORE:
        c->scanned = parser.scanned;
        exchange_end(x);
        if (c->wire.eof)
            conn_linger(c);
        return false;
    case PARSE_BAD:
        if (preface_failed(c, parser.cause)) {
            worker_counted(&conn_worker(c)->stats.causes[CAUSE_h2_protocol_error]);
            exchange_end(x);
            conn_linger(c);
            return false;
        }
        x->head = span_first(in, limits->head_max); /* what the log will quote */
        wire_take(&c->wire, in.len);
        head_refuse(c, x, parser.cause);
        return true;
    default:
        x->head = span_first(in, parser.head_bytes);
        wire_take(&c->wire, parser.head_bytes);
        head_taken(c, x);
        return true;
    }
}

/* A connection that begins with HTTP/2's preface speaks HTTP/2 from there on. */
static bool head_is_preface(struct conn *c)
{
    if (c->requests > 0 || !conn_h2_welcome(c))
        return false;
    switch (conn_h2_preface(wire_in(&c->wire))) {
    case PREFACE_NONE:
        return false;
    case PREFACE_WHOLE:
        conn_h2_begin(c);
        return true;
    case PREFACE_PART:
        c->head_begun = true;
        if (c->wire.eof)
            conn_linger(c);
        return true;
    }
    return false;
}

/* Looks for the next request.  True when there is an exchange to run. */
static bool head_next(struct conn *c)
{
    struct worker *w = conn_worker(c);
    struct exchange *x;

    if (wire_in(&c->wire).len == 0) {
        if (c->wire.eof)
            conn_linger(c); /* answers may still be on their way */
        return false;
    }
    if (head_is_preface(c))
        return false;
    if (!(x = exchange_new(w, c->listener->generation, c->listener->conf))) {
        worker_counted(&w->stats.causes[CAUSE_out_of_memory]);
        conn_close(c);
        return false;
    }
    if (!c->head_begun) {
        c->head_begun = true;
        if (c->requests > 0)
            c->since = conn_now(c);
    }
    return head_parse(c, x);
}

/* --- what a kind of connection does (conn_own.h) ------------------------------------------ */

/* In the clear who has said all may still listen.  Who waits for a place is told to go on, which
 * any client of HTTP/1.1 understands (RFC 9110, 15.2): for one that has gone its system answers
 * by RST. */
static void client_ask(struct conn *c)
{
    struct exchange *x = c->h1.x;

    if (h1_of(x)->look_at || !x->waits || x->request.version < HTTP_1_1)
        return;
    wire_say(&c->wire, SPAN("HTTP/1.1 100 Continue\r\n\r\n"));
    h1_of(x)->look_at = conn_now(c) + LOOK_NS;
}

/* It has said all: has it gone?  Over TLS nobody says an end only to listen on.  A tunnel carries
 * what is left, and content that has not ended is truncated. */
static bool client_left(struct conn *c)
{
    struct exchange *x = c->h1.x;

    if (!h1_of(x)->content_done || x->tunnel || h1_of(x)->writer.done)
        return false;
    if (wire_is_tls(&c->wire))
        return true;
    client_ask(c);
    return h1_of(x)->look_at && io_broken(conn_worker(c)->io, &c->wire.sock);
}

static void h1_serve(struct conn *c)
{
    for (unsigned n = 0; c->state == CONN_OPEN; n++) {
        if (n == REQUESTS_MAX) {
            owner_wake_later(&c->owner);
            break;
        }
        if (!c->h1.x && (!wire_has_room(&c->wire) || !head_next(c))) {
            if (c->speaks != CONN_H1 && c->state == CONN_OPEN)
                conn_kind(c)->serve(c);
            break;
        }
        if (!exchange_run(c)) {
            if (c->wire.eof && client_left(c)) {
                conn_cut(c, CAUSE_client_gone);
                break;
            }
            /* The head must outlive the bytes it came in. */
            if (exchange_keep(c->h1.x) < 0)
                conn_close(c);
            break;
        }
        exchange_over(c);
    }
}

static uint32_t h1_room(struct conn *c)
{
    struct exchange *x = c->h1.x;

    if (!x)
        return IO_ROOM_SMALL;
    if (!x->tunnel && h1_of(x)->content_done) /* notice a reset; at most one read ahead */
        return wire_in(&c->wire).len == 0 ? IO_ROOM_SMALL : 0;
    if (h1_of(x)->writer.done)
        return IO_ROOM_SMALL;
    if (!x->content_wanted && !x->tunnel)
        return 0;
    uint32_t room = h1_content_room(x);
    return room < IO_ROOM_BULK ? room : IO_ROOM_BULK;
}

static uint64_t idle_deadline(struct conn *c)
{
    const struct listener_conf *conf = c->listener->conf;

    if (c->head_begun || c->requests == 0) {
        uint64_t head = after(c->since, conf->header_timeout);
        return c->draining && !c->head_begun ? earlier(head, c->since + DRAIN_IDLE_NS) : head;
    }
    return after(c->since, c->draining ? DRAIN_IDLE_NS : conf->keepalive_timeout);
}

static uint64_t look_deadline(struct exchange *x)
{
    uint64_t at = h1_of(x)->look_at;

    return at && !response_started(x) ? at : TIME_NEVER;
}

static uint64_t h1_deadline(struct conn *c)
{
    if (c->h1.x)
        return earlier(h1_content_deadline(c), look_deadline(c->h1.x));
    uint64_t at = idle_deadline(c);
    /* Not idle if answers are still on their way: then it is looked at when they have gone. */
    return at <= conn_now(c) && wire_waiting(&c->wire) > 0 ? TIME_NEVER : at;
}

static void h1_late(struct conn *c)
{
    if (c->h1.x && look_deadline(c->h1.x) <= conn_now(c)) {
        h1_of(c->h1.x)->look_at = conn_now(c) + LOOK_NS; /* as this step does */
    } else if (c->h1.x) {
        h1_content_judge(c);
    } else if (!c->head_begun) {
        worker_counted(&conn_worker(c)->stats.causes[CAUSE_keepalive_timeout]);
        conn_linger(c);
    } else {
        conn_h1_refuse(c, CAUSE_header_timeout);
    }
}

static void h1_drain(struct conn *c)
{
    if (!c->h1.x && !c->head_begun)
        c->since = conn_now(c);
}

static bool h1_busy(const struct conn *c)
{
    return c->h1.x != NULL;
}

static bool h1_blame(struct conn *c, enum cause cause)
{
    struct exchange *x = c->h1.x;

    if (!x || x->cause)
        return false;
    x->cause = cause;
    return true;
}

static void h1_reloaded(struct conn *c)
{
    struct exchange *x = c->h1.x;

    if (!x || !generation_overstayed(x))
        return;
    if (response_started(x) || !wire_has_room(&c->wire)) {
        conn_cut(c, CAUSE_reloaded);
        return;
    }
    exchange_give_up(x, CAUSE_reloaded);
    if (!h1_of(x)->content_done)
        x->close_after = true; /* it holds its generation no longer for what nobody wants */
    owner_wake(&c->owner);
}

static void h1_closing(struct conn *c)
{
    struct exchange *x = c->h1.x;

    if (!x)
        return;
    if (!h1_of(x)->writer.done) {
        x->client_gone = c->wire.fail || c->wire.eof;
        if (!x->cause)
            x->cause = conn_broken_by(c);
        /* What never left is not counted: a whole file may wait. */
        uint64_t left = wire_waiting(&c->wire);
        x->bytes_out -= left < x->bytes_out ? left : x->bytes_out;
    }
    /* A file that is being sent is not closed under the engine's hands. */
    if (x->file < 0 || !x->head_kept || !wire_busy(&c->wire))
        exchange_finish(c);
}

const struct conn_kind conn_h1_kind = {
    .serve = h1_serve,
    .room = h1_room,
    .deadline = h1_deadline,
    .late = h1_late,
    .drain = h1_drain,
    .busy = h1_busy,
    .blame = h1_blame,
    .reloaded = h1_reloaded,
    .closing = h1_closing,
    .end = exchange_finish,
};
