/* HTTP/1 on a link: one leg at a time; the response, and the end. */
#include "gate/link_h1.h"

#include "gate/idle.h"

#include "gate/trailers.h"

/* True when the head is complete, and not an interim one. */
static bool h1_link_read_head(struct h1_link *l)
{
    struct leg *leg = l->leg;
    struct wire *w = &l->base.wire;
    const struct h1_limits limits = {
        .request_line_max = 8192,
        .head_max = (uint32_t)(leg->upstream->max_response_header < UINT32_MAX
                                   ? leg->upstream->max_response_header
                                   : UINT32_MAX),
        .fields_max = LEG_FIELDS_MAX,
    };
    struct h1_parser parser;

    while (wire_in(w).len > 0) {
        struct span in = wire_in(w);
        leg_answered(leg);
        leg_borrow_fields(leg);
        h1_parser_init(&parser, &limits);
        parser.scanned = l->scanned;
        switch (h1_parse_response(&parser, in, leg->x->request.method, &leg->response)) {
        case PARSE_MORE:
            l->scanned = parser.scanned;
            return false;
        case PARSE_BAD:
            leg_fail(leg, parser.cause);
            return false;
        default:
            break;
        }
        if (leg->response.status < 200 && leg->response.status != 101) {
            l->scanned = 0;
            leg_interim(leg);
            wire_take(w, parser.head_bytes);
            continue;
        }
        if (!leg_keep_head(leg, span_first(in, parser.head_bytes))) {
            leg_fail(leg, CAUSE_out_of_memory);
            return false;
        }
        wire_take(w, parser.head_bytes);
        return true;
    }
    return false;
}

static const struct h1_limits trailer_limits = {
    .request_line_max = 8192,
    .head_max = 32 * 1024,
    .fields_max = LEG_FIELDS_MAX,
};

/* Keep-Alive: timeout=N. */
static void link_said(struct h1_link *l, struct span keep_alive)
{
    l->base.said_ns = idle_undercut(idle_said(keep_alive));
}

static void h1_link_head_done(struct h1_link *l)
{
    struct leg *leg = l->leg;
    enum framing framing = leg->response.framing;

    l->origin_keeps =
        leg->response.keep_alive && framing != FRAMING_CLOSE && framing != FRAMING_TUNNEL;
    if (l->origin_keeps && leg->response.fields.seen & (UINT64_C(1) << FIELD_KEEP_ALIVE))
        link_said(l, fields_get(&leg->response.fields, FIELD_KEEP_ALIVE)->value);
    l->trailers = (struct fields){.list = leg->x->worker->pools->fields, .max = LEG_FIELDS_MAX};
    h1_content_init(&l->content, framing, leg->response.content_length, &trailer_limits,
                    &l->trailers);
    leg_head_done(leg);
}

static void h1_link_read_tunnel(struct h1_link *l)
{
    struct leg *leg = l->leg;
    struct wire *w = &l->base.wire;
    struct flow *f = &leg->x->response_content;

    while (wire_in(w).len > 0 && flow_room(f) > 0) {
        l->base.starved = wire_take_to(w, f, wire_in(w).len) == 0;
        if (l->base.starved)
            return;
        leg->since = io_now(link_io(&l->base));
    }
    if (w->eof && wire_in(w).len == 0)
        leg_content_done(leg);
}

static void h1_link_take_piped(struct h1_link *l)
{
    uint32_t n = wire_piped(&l->base.wire);

    wire_take_piped(&l->base.wire, &l->leg->x->response_content);
    h1_content_took(&l->content, n);
    l->leg->since = io_now(link_io(&l->base));
}

static void h1_link_read_content(struct h1_link *l)
{
    struct leg *leg = l->leg;
    struct wire *w = &l->base.wire;
    struct flow *f = &leg->x->response_content;

    if (wire_piped(w) > 0)
        h1_link_take_piped(l);
    while (leg->state != LEG_DONE && !h1_content_complete(&l->content) && wire_in(w).len > 0 &&
           flow_room(f) > 0) {
        struct h1_piece piece = {0};
        enum cause cause;
        enum parse parse = h1_content_next(&l->content, wire_in(w), &piece, &cause);
        leg->since = io_now(link_io(&l->base));
        bool kept = parse != PARSE_DONE ||
                    trailers_keep_response(leg->x, &leg->response.fields, &l->trailers);
        wire_take(w, piece.skip);
        if (!kept) {
            leg_fail(leg, CAUSE_out_of_memory);
            return;
        }
        if (parse == PARSE_BAD) {
            leg_fail(leg, CAUSE_upstream_bad_chunk);
            return;
        }
        if (parse == PARSE_DONE) {
            leg_content_done(leg);
            return;
        }
        if (piece.content == 0 && piece.skip == 0)
            return;
        uint32_t n = piece.content ? wire_take_to(w, f, piece.content) : 0;
        h1_content_took(&l->content, n);
        l->base.starved = piece.content > 0 && n == 0;
        if (l->base.starved)
            return;
    }
    if (leg->state != LEG_DONE && h1_content_complete(&l->content))
        leg_content_done(leg);
}

static void h1_link_read(struct h1_link *l)
{
    struct leg *leg = l->leg;

    /* Nothing was asked yet, so this answers nothing: what an idle connection
     * says before it is closed, or worse. */
    if (!leg->request_written && wire_in(&l->base.wire).len > 0) {
        leg_fail_fresh(leg, leg->reused ? CAUSE_upstream_unprocessed : CAUSE_upstream_bad_head);
        return;
    }
    if (leg->state == LEG_WAITING && h1_link_read_head(l))
        h1_link_head_done(l);
    if (leg->state != LEG_HEAD)
        return;
    if (leg->response.framing == FRAMING_TUNNEL) {
        if (leg->x->tunnel)
            h1_link_read_tunnel(l);
        return;
    }
    h1_link_read_content(l);
}

/* The origin has ended the stream, or the connection broke. */
static void h1_link_lost(struct h1_link *l)
{
    struct leg *leg = l->leg;

    if (l->base.wire.fail == FAIL_MEMORY) {
        leg_fail(leg, CAUSE_out_of_memory);
        return;
    }
    if (leg->state == LEG_WAITING) {
        if (wire_in(&l->base.wire).len > 0)
            leg_fail(leg, CAUSE_upstream_bad_head); /* a part of one */
        else
            leg_lost_early(leg, wire_sending(&l->base.wire));
        return;
    }
    if (leg->state != LEG_HEAD || wire_in(&l->base.wire).len > 0)
        return;
    /* Over TLS an end that was not said may be anybody's (RFC 9112, 9.8). */
    bool ended = !l->base.wire.fail && !l->base.wire.truncated && h1_content_ended(&l->content);
    if (leg->x->tunnel || ended)
        leg_content_done(leg);
    else
        leg_fail(leg, CAUSE_upstream_truncated_body);
}

/* --- what every protocol has --------------------------------------------------------------- */

static struct h1_link *h1_of(struct link *l)
{
    return container_of(l, struct h1_link, base);
}

static void h1_attach(struct link *base, struct leg *leg)
{
    struct h1_link *l = h1_of(base);

    l->leg = leg;
    l->scanned = 0;
    l->request_chunked = false;
    l->request_left = 0;
    l->replayed = 0;
    l->replay_end = leg->replay.count;
    l->origin_keeps = true;
    base->wire.quiet = false;
    wire_moved(&base->wire); /* what moved until now was another's */
}

static enum link_left h1_release(struct link *base, struct leg *leg)
{
    struct h1_link *l = h1_of(base);
    struct wire *w = &base->wire;

    l->leg = NULL;
    bool clean = leg->request_done && leg->state == LEG_DONE && l->origin_keeps && !w->eof &&
                 !w->fail && wire_waiting(w) == 0 && wire_in(w).len == 0;
    return clean ? LINK_FREE : LINK_SPOILT;
}

static void h1_connected(struct link *base)
{
    h1_of(base)->leg->x->times.connected = io_now(link_io(base));
}

static void h1_work(struct link *base)
{
    struct h1_link *l = h1_of(base);
    struct leg *leg = l->leg;

    if (leg->state == LEG_FAILED || leg->state == LEG_DONE)
        return;
    if (wire_moved(&base->wire)) {
        leg->request_left_us = true;
        leg->since = io_now(link_io(base));
    }
    h1_link_read(l);
    if (base->wire.eof || base->wire.fail)
        h1_link_lost(l);
    if (leg->state != LEG_FAILED && !base->wire.fail)
        h1_link_write(l);
    if (base->wire.fail) /* there was no memory: nothing else would tell */
        h1_link_lost(l);
    base->wire.quiet = leg->request_done && leg->state == LEG_WAITING; /* for the head */
}

static void h1_fail(struct link *base, enum cause cause, bool fresh)
{
    struct leg *leg = h1_of(base)->leg;

    if (leg && fresh)
        leg_fail_fresh(leg, cause);
    else if (leg)
        leg_fail(leg, cause);
}

/* Of content that passes the client's connection as it is, and is much.  What is gathered on
 * the way is memory: a deep flow holds more than there are pipes for. */
static bool h1_passes(const struct h1_link *l)
{
    return wire_in(&l->base.wire).len == 0 && !l->leg->x->response_content.depth &&
           h1_content_sure(&l->content) >= link_io(&l->base)->piped_min &&
           !wire_is_tls(&l->base.wire);
}

/* A pipe may have more than there is room for, but not while there is little. */
static uint32_t h1_room_piped(struct h1_link *l)
{
    struct flow *f = &l->leg->x->response_content;
    uint64_t sure = h1_content_sure(&l->content);

    if (flow_room(f) < f->limit / 2 || !flow_has_slot(f))
        return 0;
    return sure < IO_PIPED_MAX ? (uint32_t)sure : IO_PIPED_MAX;
}

static uint32_t h1_room(struct link *base, bool *piped)
{
    struct h1_link *l = h1_of(base);
    struct leg *leg = l->leg;

    if (leg->state == LEG_WAITING)
        return IO_ROOM_SMALL;
    uint32_t room = flow_room(&leg->x->response_content);
    if (room == 0 || leg->state != LEG_HEAD)
        return 0;
    if (leg->x->carrier->pipes && h1_passes(l)) {
        *piped = true;
        return h1_room_piped(l);
    }
    return l->content.framing == FRAMING_LENGTH && l->content.remaining < IO_ROOM_SMALL
               ? IO_ROOM_SMALL
               : IO_ROOM_BULK;
}

static uint64_t h1_deadline(struct link *base)
{
    return leg_deadline(h1_of(base)->leg);
}

static void h1_timed_out(struct link *base)
{
    leg_timed_out(h1_of(base)->leg);
}

static unsigned h1_legs(const struct link *l)
{
    return container_of(l, const struct h1_link, base)->leg != NULL;
}

const struct link_protocol link_h1 = {
    .size = sizeof(struct h1_link),
    .number = LINK_H1,
    .attach = h1_attach,
    .release = h1_release,
    .legs = h1_legs,
    .connected = h1_connected,
    .work = h1_work,
    .fail = h1_fail,
    .room = h1_room,
    .deadline = h1_deadline,
    .timed_out = h1_timed_out,
};
