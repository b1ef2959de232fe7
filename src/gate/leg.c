/* One exchange with an origin; see leg.h. */
#include "gate/balance.h"
#include "gate/health.h"
#include "gate/idle.h"
#include "gate/leg_own.h"
#include "gate/link.h"
#include "gate/link_tls.h"
#include "gate/mirror.h"
#include "gate/queue.h"
#include "gate/room.h"
#include "gate/sticky.h"
#include "gate/upstream.h"

static uint64_t leg_now(const struct leg *leg)
{
    return io_now(exchange_io(leg->x));
}

/* --- request content that another try may need ---------------------------------------------- */

static void replay_drop(struct replay *r)
{
    while (r->count > 0)
        buf_unref(r->list[--r->count].buf);
    r->bytes = 0;
}

/* --- for the exchange ---------------------------------------------------------------------- */

static void leg_refuse(struct leg *leg, enum cause cause)
{
    leg->state = LEG_FAILED;
    leg->cause = cause;
}

/* Why there is no server to try. */
static enum cause leg_nobody(const struct leg *leg)
{
    const struct pool_view *view = leg->x->generation->pools[leg->upstream->index];

    return view->reach > 0 ? CAUSE_upstream_none_healthy : CAUSE_upstream_unresolved;
}

/* A name, and which of its addresses. */
static struct span server_told(struct exchange *x, const struct server_entry *e,
                               const struct pool_server *server)
{
    char at[ADDRESS_TEXT_MAX];
    struct span text = arena_print(exchange_arena(x), "%.*s (%.*s)", SPAN_ARG(e->text),
                                   (int)address_print(&server->at, at), at);

    return text.ptr ? text : e->text;
}

/* A link that is there; NULL: one may be made, if there is room.  None was wanted that others
 * had used?  Better than none. */
static struct link *leg_find(struct leg *leg, struct pool_server *server, bool *room)
{
    struct link *one = leg->alone ? NULL : pool_link(server, leg);

    *room = one || room_take(leg);
    if (*room || !leg->was_stale)
        return one;
    leg->was_stale = false;
    one = pool_link(server, leg);
    *room = one;
    return one;
}

/* To the server that was chosen; a check on a connection of its own.  False: there is no room
 * for another connection. */
static inline bool leg_go(struct leg *leg, struct pool_server *server)
{
    struct exchange *x = leg->x;
    const struct server_entry *entry = leg->server;

    if (leg->request.servers_host)
        leg->request.fields.list[0].value = entry->authority;
    const struct link_protocol *protocol = leg_protocol(leg);
    bool admitted = !protocol->admit || protocol->admit(leg);
    bool room = false;
    struct link *one = admitted ? leg_find(leg, server, &room) : NULL;
    if (admitted && !room)
        return false;
    x->server = entry->named ? server_told(x, entry, server) : entry->text;
    x->tries++;
    x->times.tried = leg_now(leg);
    x->times.connected = 0;
    leg->state = LEG_WAITING;
    if (one) {
        link_serve(one, leg);
        return true;
    }
    if (admitted && link_new(server, leg))
        return true;
    if (admitted)
        room_return(leg);
    leg_let_go(leg);
    leg_refuse(leg, CAUSE_out_of_memory);
    return true;
}

/* Nothing came of it: somebody else may have what was taken for it. */
static void leg_stay(struct leg *leg)
{
    place_give(leg);
    if (leg->probe)
        health_unknown(leg->server->state, true);
    leg->probe = false;
}

/* As it seems. */
static bool leg_may_go(const struct leg *leg, const struct pool_server *server)
{
    return place_is_there(leg) && room_is_there(server, leg->upstream, leg->server, leg->x);
}

/* Has its slot still the address that it goes to?  Else nothing is learned from it. */
static bool leg_is_current(const struct leg *leg)
{
    return leg->tenure == server_tenure(leg->server->state);
}

static void tried_add(struct tried *t, unsigned i)
{
    t->list[t->count++ % LEG_TRIED_MAX] = (uint16_t)i;
}

/* Another one than before; rather one that is ejected (*last) than the same once more. */
static int leg_choose(const struct leg *leg, const struct pool_view *view, bool *last, bool *full)
{
    const struct upstream_conf *conf = leg->upstream;
    int i = balance_choose(view, conf, leg->x, &leg->tried, full);

    if (i < 0 && !*full && conf->ejects && leg->tried.count > 0) {
        i = balance_last(view, conf, leg->x, &leg->tried);
        *last = i >= 0;
    }
    return i < 0 ? balance_choose(view, conf, leg->x, &(struct tried){0}, full) : i;
}

/* False: whoever might serve is at a limit. */
static bool leg_try(struct leg *leg)
{
    const struct upstream_conf *conf = leg->upstream;
    const struct pool_view *view = leg->x->generation->pools[conf->index];
    bool full = false, last = false;
    int i = leg_choose(leg, view, &last, &full);

    if (i < 0 && full)
        return false;
    if (i < 0) {
        leg_refuse(leg, leg_nobody(leg));
        return true;
    }
    leg->server = &conf->servers[i];
    leg->tenure = view->servers[i]->tenure;
    if ((leg->waiter && !leg_may_go(leg, view->servers[i])) || !place_take(leg))
        return false;
    leg->probe = false;
    if (last)
        health_enter_last(leg->server->state, &leg->probe);
    else if (conf->ejects && leg_is_current(leg) &&
             !health_enter(leg->server->state, leg_now(leg), &leg->probe)) {
        place_give(leg);
        return leg_try(leg);
    }
    if (!leg_go(leg, view->servers[i])) {
        leg_stay(leg);
        return false;
    }
    tried_add(&leg->tried, (unsigned)i);
    if (conf->sticky)
        leg->stick = view->servers[i]->stick;
    return true;
}

static void leg_wait_over(struct leg *leg)
{
    if (!leg->waiter)
        return;
    queue_leave(leg);
    leg->x->times.queued += leg_now(leg) - leg->waits_since;
    leg->x->waits = false;
    io_timer_clear(exchange_io(leg->x), &leg->timer);
}

static void leg_wait(struct leg *leg)
{
    struct io *io = exchange_io(leg->x);
    int err = queue_join(leg);

    if (err < 0) {
        leg_refuse(leg, err == FAIL_FULL ? CAUSE_queue_full : CAUSE_out_of_memory);
        return;
    }
    leg->state = LEG_QUEUED;
    leg->waits_since = leg_now(leg);
    leg->x->waits = true;
    leg->timer = (struct io_timer){.owner = leg->x->owner, .at = TIME_NEVER};
    io_timer_set(io, &leg->timer, io_now(io) + leg->upstream->queue_timeout);
    if (queue_may_try(leg) && leg_try(leg)) /* a place may have been given back just before */
        leg_wait_over(leg);
    else
        room_ask(leg);
}

bool leg_has_other(const struct leg *leg)
{
    const struct upstream_conf *conf = leg->upstream;

    return balance_has_other(leg->x->generation->pools[conf->index], conf, leg->x, &leg->tried);
}

bool leg_stick(const struct leg *leg)
{
    return sticky_set(leg->upstream->sticky, leg->x, leg->stick);
}

bool leg_affords(struct leg *leg)
{
    return budget_draw(leg->upstream, leg_now(leg));
}

void leg_check(struct leg *leg)
{
    if (leg->state != LEG_QUEUED)
        return;
    bool called = leg->called, late = io_timer_take(&leg->timer);
    leg->called = false;
    if (called && leg_try(leg)) {
        leg_wait_over(leg); /* calls the next */
    } else if (late) {
        leg_wait_over(leg);
        leg_refuse(leg, CAUSE_queue_timeout);
    } else if (called) {
        room_ask(leg);
        queue_pass(leg);
    }
}

void leg_open(struct leg *leg)
{
    const struct upstream_conf *conf = leg->upstream;

    leg->x->upstream = conf->name;
    if (leg->x->tries == 0)
        budget_earn(conf);
    if ((conf->limited && queue_others_wait(leg)) || !leg_try(leg))
        leg_wait(leg);
}

void leg_overdue(struct leg *leg)
{
    if (leg->state == LEG_NEW || leg->state == LEG_QUEUED) {
        leg_wait_over(leg);
        leg_refuse(leg, CAUSE_upstream_timeout);
    } else {
        leg_fail(leg, CAUSE_upstream_timeout);
    }
}

void leg_open_now(struct leg *leg)
{
    const struct upstream_conf *conf = leg->upstream;

    leg->x->upstream = conf->name;
    if ((conf->limited && queue_others_wait(leg)) || !leg_try(leg))
        leg_refuse(leg, CAUSE_queue_full);
}

void leg_open_to(struct leg *leg, unsigned server)
{
    const struct pool_view *view = leg->x->generation->pools[leg->upstream->index];

    leg->alone = true;
    leg->x->upstream = leg->upstream->name;
    leg->server = &leg->upstream->servers[server];
    leg->tenure = view->servers[server]->tenure;
    if (leg->tenure != 0)
        leg_go(leg, view->servers[server]);
    else
        leg_refuse(leg, CAUSE_upstream_unresolved);
}

void leg_close(struct leg *leg)
{
    leg_wait_over(leg);
    if (leg->link)
        link_release(leg->link, leg);
}

void leg_end(struct leg *leg)
{
    if (leg->copy)
        mirror_end(leg);
    leg_close(leg);
    replay_drop(&leg->replay);
}

void leg_again(struct leg *leg)
{
    struct flow *content = &leg->x->response_content;

    leg_close(leg);
    flow_clear(content); /* of an answer that nobody wants */
    flow_init(content, content->pool, content->limit);
    leg->x->trailers = (struct fields){0};
    leg->state = LEG_NEW;
    leg->cause = CAUSE_NONE;
    leg->fresh_failed = leg->reused = leg->response_begun = leg->cut = false;
    leg->connecting_failed = false;
}

/* HTTP/1 says so by 101, HTTP/2 by any success (RFC 8441, 4). */
bool leg_switched(const struct leg *leg)
{
    int status = leg->response.status;

    return leg->connects ? status >= 200 && status <= 299 : status == 101;
}

/* The request had no content, so its flow has ended: it begins anew, as the
 * client's half of the tunnel. */
void leg_tunnel(struct leg *leg)
{
    struct exchange *x = leg->x;
    struct owner *consumer = x->request_content.consumer;

    flow_init(&x->request_content, x->request_content.pool, x->request_content.limit);
    x->request_content.consumer = consumer;
    x->request_content.producer = x->owner;
    x->tunnel = true;
    leg->request_done = false;
    owner_wake(consumer);
    owner_wake(x->owner);
}

/* --- for the link -------------------------------------------------------------------------- */

void leg_tell(struct leg *leg)
{
    owner_wake(leg->x->owner);
}

static bool is_servers_failure(const struct leg *leg, enum cause cause)
{
    int status = leg->response.status;

    switch (cause) {
    case CAUSE_NONE:
        return status >= 502 && status <= 504;
    case CAUSE_upstream_connect_refused:
    case CAUSE_upstream_connect_timeout:
    case CAUSE_upstream_unreachable:
    case CAUSE_upstream_tls_failed:
    case CAUSE_upstream_reset_before_head:
    case CAUSE_upstream_head_timeout:
    case CAUSE_upstream_truncated_body:
    case CAUSE_upstream_idle_timeout:
        return true;
    case CAUSE_upstream_timeout: /* perhaps the client was slow to send, or there is much to answer
                                  */
        return leg->state == LEG_WAITING && (leg->request_done || !leg->request_written);
    default:
        return false;
    }
}

/* Ours, or the client's. */
static bool is_nobodys_failure(enum cause cause)
{
    return cause < CAUSE_upstream_connect_refused || cause > CAUSE_upstream_h2_error ||
           cause == CAUSE_upstream_no_descriptors;
}

/* For who looks at the server later. */
static void leg_note(const struct leg *leg, enum cause cause)
{
    struct server_failure f = {.wall_ms = io_wall(exchange_io(leg->x)) / NS_PER_MS,
                               .cause = cause,
                               .status = cause ? 0 : leg->response.status};

    server_failure_set(leg->server->state, f);
}

static void leg_is_back(const struct leg *leg)
{
    health_back(
        &(struct judged){leg->upstream, leg->server->state, leg->x->server, leg_now(leg), true});
}

static void leg_judge(struct leg *leg, enum cause cause)
{
    if (leg->judged)
        return;
    leg->judged = true;
    if (cause == CAUSE_NONE && leg->response.status < 500 && !leg->upstream->ejects)
        return;
    if (!leg_is_current(leg))
        return;
    bool bad = is_servers_failure(leg, cause);
    uint64_t now = leg_now(leg);
    if (bad || (cause && !is_nobodys_failure(cause)))
        leg_note(leg, cause);
    if (!leg->upstream->ejects)
        return;
    if (bad)
        health_bad(
            &(struct judged){leg->upstream, leg->server->state, leg->x->server, now, leg->probe});
    else if (cause == CAUSE_NONE && leg->probe)
        leg_is_back(leg);
    else if (cause == CAUSE_NONE)
        health_good(leg->server->state, now);
    else
        health_unknown(leg->server->state, leg->probe);
    leg->probe = false;
}

/* A head alone says that a server is ill, or well enough to end a probe.  That it did well
 * is known at the end of the content, or when nobody wants more of it. */
static void leg_judge_head(struct leg *leg)
{
    if (leg->response.status < 500 && !leg->probe)
        return;
    if (is_servers_failure(leg, CAUSE_NONE)) {
        leg_judge(leg, CAUSE_NONE);
    } else if (leg->probe && leg_is_current(leg)) {
        leg_is_back(leg);
        leg->probe = false;
    }
}

/* How the server did, for whoever chooses the next.  What we lack is not its fault. */
static void leg_learn(struct leg *leg, enum cause cause)
{
    if (leg->alone)
        return;
    if (cause)
        leg_judge(leg, cause);
    else
        leg_judge_head(leg);
    if (!leg->counted || leg->upstream->balance != BALANCE_P2C || cause == CAUSE_out_of_memory ||
        cause == CAUSE_upstream_no_descriptors || leg->state != LEG_WAITING || !leg_is_current(leg))
        return;
    if (cause == CAUSE_upstream_timeout && !is_servers_failure(leg, cause))
        return;
    uint64_t now = leg_now(leg);
    if (cause)
        server_failed(leg->server->state, now);
    else
        server_answered(leg->server->state, now, now - leg->begun);
}

void leg_fail(struct leg *leg, enum cause cause)
{
    if (leg->state == LEG_DONE || leg->state == LEG_FAILED)
        return;
    leg_learn(leg, cause);
    leg->cut = leg->state == LEG_HEAD;
    leg->state = LEG_FAILED;
    leg->cause = cause;
    if (leg->cut)
        flow_break(&leg->x->response_content, FAIL_RESET);
    leg_tell(leg);
}

void leg_fail_fresh(struct leg *leg, enum cause cause)
{
    leg->fresh_failed = true;
    leg->connecting_failed = leg->link && leg->link->state == LINK_CONNECTING;
    leg_fail(leg, cause);
}

void leg_begin(struct leg *leg, struct link *l)
{
    leg->link = l;
    leg->request_written = leg->request_done = leg->request_left_us = false;
    leg->judged = leg->alone; /* of which nothing is said */
    leg->connects = false;
    leg->begun = leg->since = leg_now(leg);
}

void leg_say_time(struct leg *leg)
{
    struct field *f = leg->request.time_left;
    char *end = (char *)(uintptr_t)f->value.ptr + LEG_TIME_DIGITS, *at = end;
    uint64_t now = leg_now(leg);
    uint64_t left = leg->deadline > now ? (leg->deadline - now) / NS_PER_MS : 0;

    do
        *--at = (char)('0' + left % 10);
    while (left /= 10);
    size_t len = (size_t)(end - at);
    memmove(end - LEG_TIME_DIGITS, at, len);
    f->value.len = len;
}

void leg_let_go(struct leg *leg)
{
    leg->link = NULL;
    place_give(leg);
    if (leg->state == LEG_HEAD)
        leg_judge(leg, CAUSE_NONE);
    if (leg->probe && leg_is_current(leg)) /* it left before anything was known */
        health_unknown(leg->server->state, true);
    leg->probe = false;
}

void leg_borrow_fields(struct leg *leg)
{
    leg->response.fields =
        (struct fields){.list = leg->x->worker->pools->fields, .max = LEG_FIELDS_MAX};
}

bool leg_keep_head(struct leg *leg, struct span head)
{
    struct arena *arena = &leg->x->arena;
    struct fields *f = &leg->response.fields;
    struct span copy = arena_copy(arena, head);
    struct field *list = arena_alloc(arena, f->count * sizeof *list);

    if (!copy.ptr || !list)
        return false;
    if (f->count > 0)
        memcpy(list, f->list, f->count * sizeof *list);
    f->list = list;
    f->max = f->count;
    response_rebase(&leg->response, head.ptr, head.len, copy.ptr);
    return true;
}

void leg_interim(struct leg *leg)
{
    int status = leg->response.status;

    /* 100 was ours to say when the content was asked for. */
    if (status == 100)
        return;
    leg->interim_passed = true;
    respond_interim(leg->x, status, &leg->response.fields);
}

void leg_head_done(struct leg *leg)
{
    leg_learn(leg, CAUSE_NONE);
    leg->state = LEG_HEAD;
    leg->x->times.first_byte = leg_now(leg);
    leg_tell(leg);
}

void leg_content_done(struct leg *leg)
{
    leg->state = LEG_DONE;
    leg_judge(leg, CAUSE_NONE);
    flow_end(&leg->x->response_content);
    leg_tell(leg);
}

static bool replay_grow(struct replay *r, struct arena *arena)
{
    unsigned max = r->max ? r->max * 2 : 2;
    struct slice *list = arena_alloc(arena, max * sizeof *list);

    if (!list)
        return false;
    if (r->count > 0)
        memcpy(list, r->list, r->count * sizeof *list);
    r->list = list;
    r->max = max;
    return true;
}

/* The last buffer, if it has room, else another.  NULL: there is none to spare. */
static struct slice *replay_tail(struct leg *leg)
{
    struct replay *r = &leg->replay;
    struct slice *last = r->count ? &r->list[r->count - 1] : NULL;
    struct buf_pool *pool = &exchange_io(leg->x)->bufs;
    struct buf *b;

    if (last && last->len < last->buf->size)
        return last;
    if (buf_scarce(pool) || (r->count == r->max && !replay_grow(r, &leg->x->arena)) ||
        !(b = buf_get(pool)))
        return NULL;
    r->list[r->count] = (struct slice){.buf = b, .ptr = b->base};
    return &r->list[r->count++];
}

void leg_remember(struct leg *leg, struct span s)
{
    struct replay *r = &leg->replay;
    uint64_t max = leg->upstream->retry_buffer;

    if (leg->copy)
        mirror_remember(leg, s);
    if (leg->content_lost || (leg->response_begun && !leg->may_refuse))
        return;
    leg->content_lost = max == VALUE_OFF || s.len > max - r->bytes;
    while (s.len > 0 && !leg->content_lost) {
        struct slice *tail = replay_tail(leg);
        if (!tail) {
            leg->content_lost = true;
            break;
        }
        size_t n = tail->buf->size - tail->len;
        if (n > s.len)
            n = s.len;
        memcpy(tail->buf->base + tail->len, s.ptr, n);
        tail->len += (uint32_t)n;
        r->bytes += n;
        s = span_after(s, n);
    }
    if (leg->content_lost)
        replay_drop(r);
}

void leg_accept(struct leg *leg)
{
    if (!leg->may_refuse)
        return;
    leg->may_refuse = false;
    leg_answered(leg);
}

void leg_answered(struct leg *leg)
{
    leg->response_begun = true;
    if (leg->x->tries == 1 && !leg->may_refuse) /* else it may be just what is being sent */
        replay_drop(&leg->replay);
}

void leg_departs(struct leg *leg)
{
    leg->request_written = true;
    leg->sent_before = leg->link->wire.sent;
}

/* The origin's system has nothing of it, if as much as has left since is still on its way: at its
 * orderly end, which it said when it would have said what it had.  RST proves nothing: it may
 * answer what was read already. */
static bool leg_unheard(const struct leg *leg)
{
    const struct wire *w = &leg->link->wire;
    uint64_t unacked;

    return leg->request_written && w->fin && !wire_sending(w) &&
           io_unacked(exchange_io(leg->x), &w->sock, &unacked) &&
           unacked >= (uint32_t)(w->sent - leg->sent_before);
}

/* The origin has given up TLS.  If that was about our handshake there was no connection for it. */
static void leg_refused(struct leg *leg, bool sending)
{
    bool refused = wire_tls(&leg->link->wire)->refused;

    leg_fail(leg, CAUSE_upstream_tls_failed);
    leg->connecting_failed = refused;
    leg->fresh_failed = refused || (!leg->request_left_us && !sending);
}

void leg_lost_early(struct leg *leg, bool sending)
{
    if (leg->response_begun) { /* by an interim response */
        leg_fail(leg, CAUSE_upstream_reset_before_head);
        return;
    }
    leg->was_stale = leg->reused;
    if (link_tls_broke(leg->link)) {
        leg_refused(leg, sending);
        return;
    }
    /* Nothing of it ever left, or nothing arrived: the origin cannot have seen it. */
    bool unheard = (!leg->request_left_us && !sending) || leg_unheard(leg);
    if (leg->reused && unheard && leg_is_current(leg))
        idle_ended(leg->server->state, leg_now(leg), leg->begun - leg->link->since);
    if (!leg->reused)
        leg_fail(leg, CAUSE_upstream_reset_before_head);
    else
        leg_fail(leg, unheard ? CAUSE_upstream_unprocessed : CAUSE_upstream_closed_unproven);
    leg->fresh_failed = unheard;
}
