/* A connection to an origin, speaking HTTP/1; see link.h. */
#include "gate/link.h"

#include "base/mem.h"
#include "http/h1_write.h"

#include <assert.h>

#define STARVED_NS (10 * NS_PER_MS)

static void link_step(struct owner *owner);

static struct io *link_io(const struct link *l)
{
    return l->server->pool->worker->io;
}

/* --- the leg's side -------------------------------------------------------------------- */

static void leg_tell(struct leg *leg)
{
    owner_wake(leg->x->owner);
}

static void leg_fail(struct leg *leg, enum cause cause)
{
    if (leg->state == LEG_DONE || leg->state == LEG_FAILED)
        return;
    leg->cut = leg->state == LEG_HEAD;
    leg->state = LEG_FAILED;
    leg->cause = cause;
    if (leg->cut)
        flow_break(&leg->x->response_content, FAIL_RESET);
    leg_tell(leg);
}

/* --- coming and going ------------------------------------------------------------------- */

static void link_attach(struct link *l, struct leg *leg)
{
    l->leg = leg;
    leg->link = l;
    l->scanned = 0;
    l->request_written = l->request_done = l->request_chunked = l->response_done = false;
    l->request_left_us = false;
    l->origin_keeps = true;
    l->request_left = 0;
    wire_moved(&l->wire); /* what moved until now was another's */
    leg->x->request_content.consumer = &l->owner;
    leg->x->response_content.producer = &l->owner;
    leg->x->response_content.consumer = leg->x->owner;
    l->server->in_flight++;
    owner_wake(&l->owner);
}

struct link *link_new(struct pool_server *server, const struct address *to, struct leg *leg)
{
    struct worker *w = server->pool->worker;
    struct link *l = slab_get(&w->pools->links, NULL);

    if (!l)
        return NULL;
    *l = (struct link){.server = server, .state = LINK_CONNECTING, .to = *to};
    owner_init(&l->owner, &w->io->owners, link_step);
    l->dial.owner = &l->owner;
    l->timer.owner = &l->owner;
    l->timer.at = l->timer.wheel_at = TIME_NEVER;
    l->since = io_now(w->io);
    l->connect_ns = leg->upstream->connect_timeout;
    wire_open(&l->wire, &w->wires, &l->owner, -1);
    list_append(&server->busy, &l->node);
    link_attach(l, leg);
    io_connect(w->io, &l->dial, &l->wire.sock, &l->to);
    return l;
}

bool link_usable(const struct link *l)
{
    return l->state == LINK_IDLE && !l->wire.eof && !l->wire.fail && wire_in(&l->wire).len == 0 &&
           !l->wire.recv.done;
}

void link_serve(struct link *l, struct leg *leg)
{
    assert(l->state == LINK_IDLE);
    l->state = LINK_BUSY;
    leg->reused = true;
    leg->x->times.connected = io_now(link_io(l));
    link_attach(l, leg);
}

void link_close(struct link *l)
{
    if (l->state == LINK_CLOSING)
        return;
    if (l->state == LINK_IDLE && link_linked(&l->node)) {
        /* From the idle list to the busy one: it is counted until it is freed. */
        struct pool_server *s = l->server;
        for (struct link_node *n = s->idle.next; n != &s->idle; n = n->next)
            if (n == &l->node) {
                s->idle_count--;
                list_remove(&l->node);
                list_append(&s->busy, &l->node);
                break;
            }
    }
    l->state = LINK_CLOSING;
    wire_cancel(&l->wire);
    if (io_busy(&l->dial) && !l->dial.cancelled)
        io_cancel(link_io(l), &l->dial);
    owner_wake(&l->owner);
}

static void link_gone(struct link *l)
{
    struct pool_server *server = l->server;

    if (io_busy(&l->dial) || wire_busy(&l->wire)) {
        wire_cancel(&l->wire);
        return;
    }
    wire_close(&l->wire, false);
    io_timer_clear(link_io(l), &l->timer);
    list_remove(&l->node);
    owner_retire(&l->owner);
    slab_put(&server->pool->worker->pools->links, l, NULL);
    pool_link_gone(server);
}

void link_release(struct link *l)
{
    struct leg *leg = l->leg;
    struct exchange *x = leg->x;
    bool clean = l->state == LINK_BUSY && l->request_done && l->response_done && l->origin_keeps &&
                 !l->wire.eof && !l->wire.fail && wire_waiting(&l->wire) == 0 &&
                 wire_in(&l->wire).len == 0;

    x->request_content.consumer = NULL;
    x->response_content.producer = NULL;
    x->response_content.consumer = NULL;
    l->server->in_flight--;
    leg->link = NULL;
    l->leg = NULL;
    if (!clean) {
        link_close(l);
        return;
    }
    l->served++;
    l->state = LINK_IDLE;
    l->since = io_now(link_io(l));
    pool_keep(l);
    owner_wake(&l->owner);
}

/* --- the request -------------------------------------------------------------------------- */

static bool say_field(struct wire *w, struct span name, struct span value)
{
    return wire_say(w, name) && wire_say(w, SPAN(": ")) && wire_say(w, value) &&
           wire_say(w, SPAN("\r\n"));
}

static void link_write_head(struct link *l)
{
    struct leg *leg = l->leg;
    struct exchange *x = leg->x;
    struct wire *w = &l->wire;
    char line[64];

    wire_say(w, leg->request.method);
    wire_say(w, SPAN(" "));
    wire_say(w, leg->request.target);
    wire_say(w, SPAN(" HTTP/1.1\r\n"));
    size_t bytes = h1_fields_bytes(&leg->request.fields);
    char *at = bytes > 0 && bytes <= IO_BUF_SIZE ? wire_room(w, (uint32_t)bytes) : NULL;
    if (at)
        wire_wrote(w, (uint32_t)h1_write_fields(at, bytes, &leg->request.fields));
    else
        for (unsigned i = 0; i < leg->request.fields.count; i++)
            say_field(w, leg->request.fields.list[i].name, leg->request.fields.list[i].value);
    switch (x->request.framing) {
    case FRAMING_LENGTH:
        wire_say(
            w, (struct span){line, h1_write_length(line, sizeof line, x->request.content_length)});
        l->request_left = x->request.content_length;
        break;
    case FRAMING_CHUNKED:
        wire_say(w, SPAN("Transfer-Encoding: chunked\r\n"));
        l->request_chunked = true;
        break;
    default:
        l->request_done = true;
        break;
    }
    if (leg->request.upgrade.len > 0) {
        wire_say(w, SPAN("Connection: Upgrade\r\n"));
        say_field(w, SPAN("Upgrade"), leg->request.upgrade);
    }
    wire_say(w, SPAN("\r\n"));
    l->request_written = true;
    l->since = io_now(link_io(l));
}

/* Keeps what is sent, as long as another try may need it. */
static void leg_remember(struct leg *leg, struct span s)
{
    uint64_t max = leg->upstream->retry_buffer;

    if (leg->content_lost)
        return;
    if (max == VALUE_OFF || s.len > max - leg->replay.len) {
        leg->content_lost = true;
        return;
    }
    if (leg->replay.len + s.len > leg->replay_room) {
        size_t room = leg->replay_room ? leg->replay_room * 2 : 1024;
        while (room < leg->replay.len + s.len)
            room *= 2;
        char *at = arena_alloc(&leg->x->arena, room);
        if (!at) {
            leg->content_lost = true;
            return;
        }
        if (leg->replay.len)
            memcpy(at, leg->replay.ptr, leg->replay.len);
        leg->replay.ptr = at;
        leg->replay_room = room;
    }
    memcpy((char *)(uintptr_t)leg->replay.ptr + leg->replay.len, s.ptr, s.len);
    leg->replay.len += s.len;
}

static void link_write_piece(struct link *l, struct slice s)
{
    char head[H1_CHUNK_HEAD_MAX];

    if (l->request_chunked)
        wire_say(&l->wire, (struct span){head, h1_chunk_head(head, s.len)});
    else
        l->request_left -= s.len;
    wire_give(&l->wire, s);
    if (l->request_chunked)
        wire_say(&l->wire, SPAN("\r\n"));
}

/* What an earlier try had sent already goes first. */
static void link_write_replay(struct link *l)
{
    struct leg *leg = l->leg;
    char head[H1_CHUNK_HEAD_MAX];

    if (leg->replay.len == 0)
        return;
    if (l->request_chunked)
        wire_say(&l->wire, (struct span){head, h1_chunk_head(head, leg->replay.len)});
    else
        l->request_left -= leg->replay.len;
    wire_say(&l->wire, leg->replay);
    if (l->request_chunked)
        wire_say(&l->wire, SPAN("\r\n"));
}

static void link_write_content(struct link *l)
{
    struct leg *leg = l->leg;
    struct exchange *x = leg->x;
    struct flow *f = &x->request_content;
    bool moved = false;

    while (!l->request_done && !flow_empty(f) && wire_has_room(&l->wire)) {
        uint32_t max = (uint32_t)flow_peek(f).len;
        if (!l->request_chunked && max > l->request_left)
            max = (uint32_t)l->request_left;
        struct slice s = flow_pop(f, max);
        leg_remember(leg, (struct span){s.ptr, s.len});
        link_write_piece(l, s);
        moved = true;
    }
    if (!l->request_done && flow_done(f) && !f->fail) {
        if (l->request_chunked)
            wire_say(&l->wire, SPAN("0\r\n\r\n"));
        l->request_done = true;
        moved = true;
    }
    if (moved)
        l->since = io_now(link_io(l));
}

static void link_write_tunnel(struct link *l)
{
    struct flow *f = &l->leg->x->request_content;

    while (!flow_empty(f) && wire_has_room(&l->wire)) {
        wire_give(&l->wire, flow_pop(f, UINT32_MAX));
        l->since = io_now(link_io(l));
    }
    if (flow_done(f))
        wire_finish(&l->wire);
}

static void link_write(struct link *l)
{
    if (l->leg->x->tunnel) {
        link_write_tunnel(l);
        return;
    }
    if (!l->request_written) {
        link_write_head(l);
        link_write_replay(l);
    }
    link_write_content(l);
}

/* --- the response --------------------------------------------------------------------------- */

/* The head is kept in the exchange's arena: it outlives the link's bytes. */
static bool leg_keep_head(struct leg *leg, struct span head)
{
    struct span copy = arena_copy(&leg->x->arena, head);

    if (!copy.ptr)
        return false;
    response_rebase(&leg->response, head.ptr, head.len, copy.ptr);
    return true;
}

static bool leg_fields_ready(struct leg *leg)
{
    struct fields *f = &leg->response.fields;

    if (!f->list) {
        f->list = arena_alloc(&leg->x->arena, LEG_FIELDS_MAX * sizeof *f->list);
        f->max = LEG_FIELDS_MAX;
    }
    return f->list != NULL;
}

static void link_interim(struct link *l)
{
    struct leg *leg = l->leg;
    int status = leg->response.status;

    l->scanned = 0;
    /* 100 was ours to say when the content was asked for. */
    if (status != 100)
        respond_interim(leg->x, status, &leg->response.fields);
}

/* True when the head is complete, and not an interim one. */
static bool link_read_head(struct link *l)
{
    struct leg *leg = l->leg;
    const struct h1_limits limits = {
        .request_line_max = 8192,
        .head_max = (uint32_t)(leg->upstream->max_response_header < UINT32_MAX
                                   ? leg->upstream->max_response_header
                                   : UINT32_MAX),
        .fields_max = LEG_FIELDS_MAX,
    };
    struct h1_parser parser;

    while (wire_in(&l->wire).len > 0) {
        struct span in = wire_in(&l->wire);
        leg->response_begun = true;
        if (!leg_fields_ready(leg)) {
            leg_fail(leg, CAUSE_out_of_memory);
            return false;
        }
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
            link_interim(l);
            wire_take(&l->wire, parser.head_bytes);
            continue;
        }
        if (!leg_keep_head(leg, span_first(in, parser.head_bytes))) {
            leg_fail(leg, CAUSE_out_of_memory);
            return false;
        }
        wire_take(&l->wire, parser.head_bytes);
        return true;
    }
    return false;
}

static const struct h1_limits trailer_limits = {
    .request_line_max = 8192,
    .head_max = 32 * 1024,
    .fields_max = LEG_FIELDS_MAX,
};

static void link_head_done(struct link *l)
{
    struct leg *leg = l->leg;

    leg->state = LEG_HEAD;
    leg->x->times.first_byte = io_now(link_io(l));
    l->origin_keeps = leg->response.keep_alive;
    if (leg->response.framing == FRAMING_CLOSE || leg->response.framing == FRAMING_TUNNEL)
        l->origin_keeps = false;
    h1_content_init(&l->content, leg->response.framing, leg->response.content_length,
                    &trailer_limits, NULL);
    leg_tell(leg);
}

static void link_content_done(struct link *l)
{
    struct leg *leg = l->leg;

    l->response_done = true;
    leg->state = LEG_DONE;
    flow_end(&leg->x->response_content);
    leg_tell(leg);
}

static void link_read_tunnel(struct link *l)
{
    struct flow *f = &l->leg->x->response_content;

    while (wire_in(&l->wire).len > 0 && flow_room(f) > 0) {
        l->starved = wire_take_to(&l->wire, f, wire_in(&l->wire).len) == 0;
        if (l->starved)
            return;
        l->since = io_now(link_io(l));
    }
    if (l->wire.eof && wire_in(&l->wire).len == 0)
        link_content_done(l);
}

static void link_read_content(struct link *l)
{
    struct leg *leg = l->leg;
    struct flow *f = &leg->x->response_content;

    while (!l->response_done && !h1_content_complete(&l->content) && wire_in(&l->wire).len > 0 &&
           flow_room(f) > 0) {
        struct h1_piece piece = {0};
        enum cause cause;
        enum parse parse = h1_content_next(&l->content, wire_in(&l->wire), &piece, &cause);
        l->since = io_now(link_io(l));
        wire_take(&l->wire, piece.skip);
        if (parse == PARSE_BAD) {
            leg_fail(leg, CAUSE_upstream_bad_chunk);
            return;
        }
        if (parse == PARSE_DONE) {
            link_content_done(l);
            return;
        }
        if (piece.content == 0 && piece.skip == 0)
            return;
        uint32_t n = piece.content ? wire_take_to(&l->wire, f, piece.content) : 0;
        h1_content_took(&l->content, n);
        l->starved = piece.content > 0 && n == 0;
        if (l->starved)
            return;
    }
    if (!l->response_done && h1_content_complete(&l->content))
        link_content_done(l);
}

static void link_read(struct link *l)
{
    struct leg *leg = l->leg;

    /* Nothing was asked yet, so this answers nothing: what an idle connection
     * says before it is closed, or worse. */
    if (!l->request_written && wire_in(&l->wire).len > 0) {
        leg->fresh_failed = true;
        leg_fail(leg, CAUSE_upstream_closed_unproven);
        return;
    }
    if (leg->state == LEG_WAITING && link_read_head(l))
        link_head_done(l);
    if (leg->state != LEG_HEAD)
        return;
    if (leg->response.framing == FRAMING_TUNNEL) {
        if (leg->x->tunnel)
            link_read_tunnel(l);
        return;
    }
    link_read_content(l);
}

/* The origin has ended the stream, or the connection broke. */
static void link_lost(struct link *l)
{
    struct leg *leg = l->leg;

    if (l->wire.fail == FAIL_MEMORY) {
        leg_fail(leg, CAUSE_out_of_memory);
        return;
    }
    if (leg->state == LEG_WAITING) {
        if (leg->response_begun)
            leg_fail(leg, CAUSE_upstream_bad_head);
        else if (leg->reused)
            leg_fail(leg, CAUSE_upstream_closed_unproven);
        else
            leg_fail(leg, CAUSE_upstream_reset_before_head);
        /* Nothing of it ever left: the origin cannot have seen it. */
        leg->fresh_failed = !l->request_left_us && !wire_sending(&l->wire);
        return;
    }
    if (leg->state != LEG_HEAD || wire_in(&l->wire).len > 0)
        return;
    if (leg->x->tunnel || (!l->wire.fail && h1_content_ended(&l->content)))
        link_content_done(l);
    else
        leg_fail(leg, CAUSE_upstream_truncated_body);
}

/* --- time --------------------------------------------------------------------------------------
 */

static uint64_t after(uint64_t since, uint64_t ns)
{
    return ns == VALUE_OFF ? TIME_NEVER : since + ns;
}

/* Only waits for the origin count: not those for the client to send or take. */
static bool link_waits_for_origin(struct link *l)
{
    struct leg *leg = l->leg;

    if (wire_waiting(&l->wire) > 0)
        return true;
    if (l->starved)
        return false;
    if (leg->state == LEG_WAITING)
        return l->request_done;
    return leg->state == LEG_HEAD && flow_room(&leg->x->response_content) > 0;
}

static uint64_t link_deadline(struct link *l)
{
    struct leg *leg = l->leg;

    switch (l->state) {
    case LINK_CONNECTING:
        return after(l->since, l->connect_ns);
    case LINK_IDLE:
        return after(l->since, l->server->keepalive_ns);
    case LINK_BUSY:
        if (!leg)
            return TIME_NEVER;
        if (leg->x->tunnel)
            return after(l->since, leg->stream_ns);
        if (!link_waits_for_origin(l)) {
            l->since = io_now(link_io(l));
            return TIME_NEVER;
        }
        return after(l->since, leg->state == LEG_WAITING && l->request_done ? leg->first_byte_ns
                                                                            : leg->idle_ns);
    default:
        return TIME_NEVER;
    }
}

static void link_timed_out(struct link *l)
{
    struct leg *leg = l->leg;

    if (link_deadline(l) > io_now(link_io(l)))
        return;
    if (l->state == LINK_IDLE) {
        link_close(l);
    } else if (l->state == LINK_CONNECTING) {
        leg->fresh_failed = true;
        leg_fail(leg, CAUSE_upstream_connect_timeout);
    } else if (leg->state == LEG_WAITING) {
        leg_fail(leg, CAUSE_upstream_head_timeout);
    } else {
        leg_fail(leg, CAUSE_upstream_idle_timeout);
    }
}

/* --- the step
 * -------------------------------------------------------------------------------------- */

static enum cause dial_cause(int fail)
{
    switch (fail) {
    case FAIL_REFUSED:
    case FAIL_RESET:
    case FAIL_NOT_FOUND: /* a unix socket that is not there */
        return CAUSE_upstream_connect_refused;
    case FAIL_TIMEOUT:
        return CAUSE_upstream_connect_timeout;
    case FAIL_DESCRIPTORS:
        return CAUSE_upstream_no_descriptors;
    case FAIL_MEMORY:
        return CAUSE_out_of_memory;
    default:
        return CAUSE_upstream_unreachable;
    }
}

static void link_dialled(struct link *l)
{
    struct leg *leg = l->leg;

    if (l->state != LINK_CONNECTING || !leg)
        return;
    if (l->dial.fail) {
        leg->fresh_failed = true;
        leg_fail(leg, dial_cause(l->dial.fail));
        return;
    }
    l->state = LINK_BUSY;
    leg->x->times.connected = io_now(link_io(l));
}

static void link_work(struct link *l)
{
    if (l->leg->state == LEG_FAILED || l->leg->state == LEG_DONE)
        return;
    if (wire_moved(&l->wire)) {
        l->request_left_us = true;
        l->since = io_now(link_io(l));
    }
    link_read(l);
    if (l->leg && (l->wire.eof || l->wire.fail))
        link_lost(l);
    if (l->leg && l->leg->state != LEG_FAILED && !l->wire.fail)
        link_write(l);
    if (l->leg && l->wire.fail) /* there was no memory: nothing else would tell */
        link_lost(l);
}

static uint32_t link_room(struct link *l)
{
    if (l->starved)
        return 0;
    if (l->state == LINK_IDLE || !l->leg)
        return wire_in(&l->wire).len == 0 ? IO_ROOM_SMALL : 0;
    if (l->leg->state == LEG_WAITING)
        return IO_ROOM_SMALL;
    uint32_t room = flow_room(&l->leg->x->response_content);
    if (room == 0 || l->leg->state != LEG_HEAD)
        return 0;
    return l->content.framing == FRAMING_LENGTH && l->content.remaining < IO_ROOM_SMALL
               ? IO_ROOM_SMALL
               : IO_ROOM_BULK;
}

static void link_step(struct owner *owner)
{
    struct link *l = container_of(owner, struct link, owner);

    l->starved = false;
    if (io_take(&l->dial))
        link_dialled(l);
    wire_progress(&l->wire);
    if (io_timer_take(&l->timer))
        link_timed_out(l);
    if (l->state == LINK_BUSY && l->leg)
        link_work(l);
    if (l->state == LINK_IDLE && !link_usable(l))
        link_close(l);
    if (l->state != LINK_CLOSING && wire_settle(&l->wire) < 0 && l->leg)
        leg_fail(l->leg, CAUSE_out_of_memory);
    if (l->state == LINK_CLOSING) {
        link_gone(l);
        return;
    }
    if (l->state != LINK_CONNECTING) {
        uint32_t room = link_room(l);
        if (room > 0)
            wire_want(&l->wire, room);
    }
    uint64_t deadline = link_deadline(l), again = io_now(link_io(l)) + STARVED_NS;
    io_timer_set(link_io(l), &l->timer, l->starved && again < deadline ? again : deadline);
}
