/* HTTP/2 on a link: many legs, a stream each; see link_h2.h. */
#include "gate/link_h2.h"

#include "gate/link_h1.h"
#include "gate/trailers.h"

enum {
    LEGS_MAX = 100,           /* on a link, whatever the origin allows */
    WINDOW = 64 * 1024,       /* of a response's content: what its flow holds */
    CONTENT_MAX = 256 * 1024, /* a step */
    RUNS_MAX = 512,           /* of legs, a step */
    UNREAD_MAX = 4096,
    CONTROL_MAX = 20000, /* frames that carry nothing, a second */
    MOVES_MAX = 3,       /* of a leg: an origin may say each time that it takes no streams */
};

static uint64_t now_of(const struct h2_link *l)
{
    return io_now(link_io(&l->base));
}

static struct h2_leg *leg_at(struct link_node *n)
{
    return container_of(n, struct h2_leg, node);
}

static struct h2_leg *leg_of(struct h2_stream *stream)
{
    return container_of(stream, struct h2_leg, stream);
}

static bool is_over(const struct leg *leg)
{
    return leg->state == LEG_FAILED || leg->state == LEG_DONE;
}

/* --- the end of legs -------------------------------------------------------------------- */

/* The connection is lost, by a cause of its own or none. */
static void leg_lost(struct h2_link *l, struct leg *leg, enum cause cause)
{
    struct h2_leg *h = leg->place;
    struct wire *w = &l->base.wire;

    leg->request_left_us = h->begun && l->sent > h->from;
    if (w->fail == FAIL_MEMORY || h2_mute(&l->session))
        cause = CAUSE_out_of_memory;
    if (leg->state == LEG_WAITING && !cause)
        leg_lost_early(leg, h->begun && wire_sending(w));
    else
        leg_fail(leg, cause ? cause : CAUSE_upstream_truncated_body);
}

static void link_lost(struct h2_link *l, enum cause cause)
{
    l->dead = true;
    for (struct link_node *n = l->legs.next; n != &l->legs; n = n->next)
        if (!is_over(leg_at(n)->leg))
            leg_lost(l, leg_at(n)->leg, cause);
    if (l->count == 0)
        link_close(&l->base);
}

/* The origin says that it did not look at it (RFC 9113, 8.7): any method may be tried again. */
static void leg_unprocessed(struct leg *leg)
{
    if (leg->state == LEG_WAITING)
        leg_fail_fresh(leg, CAUSE_upstream_unprocessed);
    else
        leg_fail(leg, CAUSE_upstream_truncated_body);
}

static void on_reset(struct h2_link *l, const struct h2_event *ev)
{
    struct leg *leg = leg_of(ev->stream)->leg;

    (void)l;
    if (is_over(leg)) /* NO_ERROR behind a complete response, too */
        return;
    if (!ev->by_peer)
        leg_fail(leg, CAUSE_upstream_h2_error);
    else if (ev->error == H2_REFUSED_STREAM)
        leg_unprocessed(leg);
    else if (leg->state == LEG_WAITING)
        leg_fail(leg, CAUSE_upstream_reset_before_head);
    else
        leg_fail(leg, CAUSE_upstream_truncated_body);
}

/* --- responses -------------------------------------------------------------------------- */

/* s->head to leg->response, which then borrows it; false: it was refused. */
static bool head_take(struct h2_link *l, struct leg *leg, bool end)
{
    leg_answered(leg);
    leg_borrow_fields(leg);
    enum cause cause =
        h2_head_response(&l->session.head, end, leg->x->request.method, &leg->response);
    if (cause)
        leg_fail(leg, cause);
    return !cause;
}

static void on_head(struct h2_link *l, struct h2_leg *h, const struct h2_event *ev)
{
    const struct h2_head *head = &l->session.head;
    struct leg *leg = h->leg;

    if (is_over(leg) || !head_take(l, leg, ev->end))
        return;
    if (ev->kind == H2_INTERIM) {
        leg_interim(leg);
        return;
    }
    if (!leg_keep_head(leg, (struct span){head->bytes, head->len})) {
        leg_fail(leg, CAUSE_out_of_memory);
        return;
    }
    leg->since = now_of(l);
    leg_head_done(leg);
    if (ev->end)
        leg_content_done(leg);
    else
        h2_leg_ready(h); /* what is waited for is another thing now */
}

static bool on_content(struct h2_link *l, struct h2_leg *h, uint32_t n)
{
    struct leg *leg = h->leg;
    struct wire *w = &l->base.wire;

    if (is_over(leg)) {
        wire_take(w, n);
        h2_took(&l->session, n);
    } else {
        n = h2_wire_take(&l->session, w, &h->stream, &leg->x->response_content, n);
        leg->since = now_of(l);
        l->base.starved = n == 0;
    }
    h2_credit(&l->session, NULL, n);
    return n > 0;
}

static void on_end(struct h2_link *l, struct h2_leg *h, bool trailers)
{
    struct leg *leg = h->leg;

    if (is_over(leg))
        return;
    if (trailers && !trailers_keep_response(leg->x, &leg->response.fields, &l->session.head.fields))
        leg_fail(leg, CAUSE_out_of_memory);
    else
        leg_content_done(leg);
}

/* --- events of the connection ------------------------------------------------------------- */

/* A window has opened: one stream's, or the connection's. */
static void on_window(struct h2_link *l, struct h2_stream *stream)
{
    for (struct link_node *n = l->legs.next; n != &l->legs; n = n->next) {
        struct h2_leg *h = leg_at(n);
        if (h->shut && (!stream || stream == &h->stream)) {
            h->shut = false;
            h2_leg_ready(h);
        }
    }
    if (h2_settled(&l->session))
        l->base.server->streams_max = l->session.peer_streams_max;
}

/* GOAWAY: those above were not processed, those that have not begun go elsewhere. */
static void on_going(struct h2_link *l, uint32_t last)
{
    for (struct link_node *n = l->legs.next; n != &l->legs; n = n->next) {
        struct h2_leg *h = leg_at(n);
        if (!h->begun)
            h2_leg_ready(h);
        else if (h->stream.id > last && !is_over(h->leg))
            leg_unprocessed(h->leg);
    }
}

/* One event; false: reading pauses. */
static bool on_event(struct h2_link *l, const struct h2_event *ev)
{
    switch (ev->kind) {
    case H2_NOTHING:
        return false;
    case H2_FLUSH:
        return h2_wire_flush(&l->session, &l->base.wire);
    case H2_HEAD:
    case H2_INTERIM:
        on_head(l, leg_of(ev->stream), ev);
        return true;
    case H2_CONTENT:
        return on_content(l, leg_of(ev->stream), ev->content);
    case H2_TRAILS:
    case H2_END:
        on_end(l, leg_of(ev->stream), ev->kind == H2_TRAILS);
        return true;
    case H2_RESET:
        if (ev->stream)
            on_reset(l, ev);
        return true;
    case H2_WINDOW:
        on_window(l, ev->stream);
        return true;
    case H2_GOING:
        on_going(l, ev->id);
        return true;
    case H2_FAILED:
        link_lost(l, CAUSE_upstream_h2_error);
        return false;
    default:
        return true;
    }
}

static void link_read(struct h2_link *l)
{
    struct wire *w = &l->base.wire;
    struct h2_event ev;
    uint64_t done = 0;
    size_t used;
    bool fresh; /* the next record was decrypted: nothing will complete for it */

    do {
        if (done >= CONTENT_MAX) {
            owner_wake_later(&l->base.owner);
            return;
        }
        size_t unread = wire_in(w).len;
        h2_read(&l->session, wire_in(w), now_of(l), &used, &ev);
        wire_take(w, used);
        fresh = wire_in(w).len > unread - used;
        done += used + ev.content;
    } while (on_event(l, &ev) || (ev.kind == H2_NOTHING && fresh));
}

/* --- legs in line ------------------------------------------------------------------------- */

static void leg_credit(struct h2_link *l, struct h2_leg *h)
{
    const struct flow *f = &h->leg->x->response_content;
    uint64_t allowed = flow_allows(f);

    if (allowed <= h->credited)
        return;
    h2_credit_stream(&l->session, &h->stream, (uint32_t)(allowed - h->credited));
    h->credited = allowed;
    h->leg->since = now_of(l);
}

static uint64_t leg_due(struct h2_link *l, struct h2_leg *h)
{
    struct leg *leg = h->leg;
    bool unsent = link_linked(&h->line) || !h->begun;
    bool waits = h->shut || unsent;

    if (is_over(leg))
        return TIME_NEVER;
    if (unsent && leg->since < l->moved_at)
        leg->since = l->moved_at;
    if (leg->state == LEG_WAITING)
        waits = waits || leg->request_done;
    else
        waits = waits || (h->stream.receive_window > 0 && !l->base.starved);
    return leg_deadline_if(leg, waits);
}

static void leg_run(struct h2_link *l, struct h2_leg *h)
{
    if (is_over(h->leg))
        return;
    leg_credit(l, h);
    if (!h->shut) {
        switch (h2_leg_write(l, h)) {
        case H2_LEG_ALL:
            break;
        case H2_LEG_SOME:
            h2_leg_ready(h);
            break;
        case H2_LEG_WIRE:
            list_append(&l->waiting, &h->line);
            break;
        case H2_LEG_SHUT:
            h->shut = true;
            break;
        case H2_LEG_FULL:
            if (h->moves == MOVES_MAX)
                leg_fail_fresh(h->leg, CAUSE_upstream_unprocessed);
            else
                link_move(&l->base, h->leg);
            return;
        }
    }
    l->due = earlier(l->due, leg_due(l, h));
}

static void run_line(struct h2_link *l)
{
    struct wire *w = &l->base.wire;
    struct link_node *node;

    if (wire_waiting(w) < WIRE_LOW && wire_has_room(w))
        list_splice(&l->ready, &l->waiting);
    for (unsigned n = 0; !w->fail && !l->dead && (node = list_pop(&l->ready)); n++) {
        leg_run(l, container_of(node, struct h2_leg, line));
        if (n == RUNS_MAX) {
            owner_wake_later(&l->base.owner);
            return;
        }
    }
}

/* What a leg's owner does when somebody wakes it. */
static void leg_woken(struct owner *owner)
{
    struct h2_leg *h = container_of(owner, struct h2_leg, owner);

    if (link_linked(&h->line))
        return;
    h2_leg_ready(h);
    owner_wake(&h->link->base.owner);
}

/* --- what every protocol has --------------------------------------------------------------- */

static bool h2_admit(struct leg *leg)
{
    struct h2_leg *h = leg->place;

    if (!h)
        leg->place = h = arena_alloc(&leg->x->arena, sizeof *h);
    if (h)
        *h = (struct h2_leg){0};
    return h;
}

static bool h2_open(struct link *base, struct leg *first)
{
    struct h2_link *l = h2_link_of(base);
    uint64_t header_max = first->upstream->max_response_header;
    const struct h2_limits limits = {
        .client = true,
        .window = WINDOW,
        .header_max = header_max < UINT32_MAX ? (uint32_t)header_max : UINT32_MAX,
        .fields_max = LEG_FIELDS_MAX,
        .control = {.amount = CONTROL_MAX, .per_ns = NS_PER_S},
    };

    *l = (struct h2_link){.base = *base, .due = TIME_NEVER};
    list_init(&l->legs);
    list_init(&l->ready);
    list_init(&l->waiting);
    if (h2_init(&l->session, &limits) == 0)
        return true;
    h2_free(&l->session);
    return false;
}

static void h2_close(struct link *base)
{
    h2_free(&h2_link_of(base)->session);
}

static void h2_attach(struct link *base, struct leg *leg)
{
    struct h2_link *l = h2_link_of(base);
    struct h2_leg *h = leg->place;
    struct exchange *x = leg->x;

    *h = (struct h2_leg){.leg = leg,
                         .link = l,
                         .moves = (uint8_t)(h->moves + 1),
                         .credited = x->response_content.total,
                         .replay_end = leg->replay.count};
    owner_init(&h->owner, &link_io(base)->owners, leg_woken);
    x->request_content.consumer = x->response_content.producer = &h->owner;
    list_append(&l->legs, &h->node);
    l->count++;
    h2_leg_ready(h);
}

static enum link_left h2_release(struct link *base, struct leg *leg)
{
    struct h2_link *l = h2_link_of(base);
    struct h2_leg *h = leg->place;

    if (h->begun && !(h->stream.state & H2_GONE) && !l->dead)
        h2_reset(&l->session, &h->stream, H2_CANCEL);
    list_remove(&h->node);
    list_remove(&h->line);
    owner_retire(&h->owner);
    l->count--;
    owner_wake(&base->owner);
    if (l->count > 0)
        return LINK_SHARED;
    return l->dead || l->session.peer_going ? LINK_SPOILT : LINK_FREE;
}

static struct leg *h2_resign(struct link *base, void (*other)(struct link *l, struct leg *leg))
{
    struct h2_link *l = h2_link_of(base);
    struct leg *first = NULL;
    struct link_node legs, *node;

    static_assert(sizeof(struct h1_link) <= sizeof *l, "what takes over fits");
    list_init(&legs);
    list_splice(&legs, &l->legs);
    for (struct link_node *n = legs.next; n != &legs; n = n->next) {
        list_remove(&leg_at(n)->line);
        owner_retire(&leg_at(n)->owner);
    }
    h2_free(&l->session);
    memset(base + 1, 0, sizeof *l - sizeof *base);
    while ((node = list_pop(&legs))) {
        struct leg *leg = leg_at(node)->leg;
        if (!first && !is_over(leg))
            first = leg;
        else
            other(base, leg);
    }
    return first;
}

static bool h2_spare(const struct link *base)
{
    const struct h2_link *l = container_of((struct link *)(uintptr_t)base, struct h2_link, base);
    const struct h2_session *s = &l->session;
    uint32_t said = h2_settled(s) ? s->peer_streams_max : base->server->streams_max;
    uint32_t most = said < LEGS_MAX && (said > 0 || h2_settled(s)) ? said : LEGS_MAX;

    if (base->undecided && base->server->chose_h1)
        return false;
    return !l->dead && !s->failed && !s->peer_going && !h2_mute(s) && !base->wire.eof &&
           !base->wire.fail && s->next_id <= H2_STREAM_MASK && l->count < most;
}

static void h2_connected(struct link *base)
{
    struct h2_link *l = h2_link_of(base);

    for (struct link_node *n = l->legs.next; n != &l->legs; n = n->next)
        leg_at(n)->leg->x->times.connected = now_of(l);
}

static void h2_work(struct link *base)
{
    struct h2_link *l = h2_link_of(base);
    struct wire *w = &base->wire;

    if (l->dead)
        return;
    l->sent += (uint32_t)(w->sent - (uint32_t)l->sent);
    if (wire_moved(w))
        l->moved_at = now_of(l);
    link_read(l);
    if (!l->dead && (w->eof || w->fail))
        link_lost(l, CAUSE_NONE);
    if (l->dead)
        return;
    run_line(l);
    h2_wire_flush(&l->session, w);
    if (w->fail || h2_mute(&l->session))
        link_lost(l, CAUSE_out_of_memory);
    else if (l->count == 0)
        h2_idle(&l->session);
}

static void h2_fail_all(struct link *base, enum cause cause, bool fresh)
{
    struct h2_link *l = h2_link_of(base);

    l->dead = true;
    for (struct link_node *n = l->legs.next; n != &l->legs; n = n->next)
        if (fresh)
            leg_fail_fresh(leg_at(n)->leg, cause);
        else
            leg_fail(leg_at(n)->leg, cause);
    if (l->count == 0)
        link_close(base);
}

static uint32_t h2_room(struct link *base, bool *piped)
{
    struct h2_link *l = h2_link_of(base);

    (void)piped;
    if (l->dead || wire_in(&base->wire).len > UNREAD_MAX) /* reading pauses */
        return 0;
    return l->count > 0 ? IO_ROOM_BULK : IO_ROOM_SMALL;
}

static uint64_t h2_deadline(struct link *base)
{
    return h2_link_of(base)->due;
}

/* What was due may have moved on since: all are asked. */
static void h2_timed_out(struct link *base)
{
    struct h2_link *l = h2_link_of(base);
    uint64_t now = now_of(l), at;

    l->due = TIME_NEVER;
    for (struct link_node *n = l->legs.next; n != &l->legs; n = n->next) {
        struct h2_leg *h = leg_at(n);
        if ((at = leg_due(l, h)) <= now)
            leg_timed_out(h->leg);
        else
            l->due = earlier(l->due, at);
    }
}

static unsigned h2_legs(const struct link *l)
{
    return container_of(l, const struct h2_link, base)->count;
}

const struct link_protocol link_h2 = {
    .size = sizeof(struct h2_link),
    .number = LINK_H2,
    .admit = h2_admit,
    .open = h2_open,
    .close = h2_close,
    .attach = h2_attach,
    .release = h2_release,
    .resign = h2_resign,
    .spare = h2_spare,
    .legs = h2_legs,
    .connected = h2_connected,
    .work = h2_work,
    .fail = h2_fail_all,
    .room = h2_room,
    .deadline = h2_deadline,
    .timed_out = h2_timed_out,
};
