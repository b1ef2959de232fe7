/* One exchange with an origin; see leg.h. */
#include "gate/leg_own.h"
#include "gate/link.h"

/* --- for the exchange ---------------------------------------------------------------------- */

static void leg_refuse(struct leg *leg, enum cause cause)
{
    leg->state = LEG_FAILED;
    leg->cause = cause;
}

/* Why there is no server to try. */
static enum cause leg_nobody(const struct leg *leg)
{
    const struct upstream_conf *conf = leg->upstream;
    bool resolved = false;

    for (unsigned i = 0; i < conf->server_count; i++)
        if (conf->servers[i].address_count > 0)
            resolved = true;
    return resolved ? CAUSE_upstream_none_healthy : CAUSE_upstream_unresolved;
}

void leg_open(struct leg *leg)
{
    struct exchange *x = leg->x;
    const struct upstream_conf *conf = leg->upstream;
    const struct pool_view *view = x->generation->pools[conf->index];
    int i = pool_choose(view, conf, leg->tried);

    if (i < 0) /* all were tried: one more time from the beginning */
        i = pool_choose(view, conf, 0);
    if (i < 0) {
        leg_refuse(leg, leg_nobody(leg));
        return;
    }
    const struct server_entry *entry = &conf->servers[i];
    struct pool_server *server = view->servers[i];
    if (i < LEG_TRIED_MAX)
        leg->tried |= UINT64_C(1) << i;
    x->upstream = conf->name;
    x->server = entry->text;
    x->tries++;
    leg->state = LEG_WAITING;
    struct link *idle = pool_idle(server);
    if (idle) {
        link_serve(idle, leg);
        return;
    }
    const struct address *to = &entry->addresses[server->next_address++ % entry->address_count];
    if (!link_new(server, to, leg))
        leg_refuse(leg, CAUSE_out_of_memory);
}

void leg_close(struct leg *leg)
{
    if (leg->link)
        link_release(leg->link, leg);
}

void leg_again(struct leg *leg)
{
    leg_close(leg);
    leg->state = LEG_NEW;
    leg->cause = CAUSE_NONE;
    leg->fresh_failed = leg->reused = leg->response_begun = leg->cut = false;
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
    owner_wake(consumer);
    owner_wake(x->owner);
}

/* --- for the link -------------------------------------------------------------------------- */

void leg_tell(struct leg *leg)
{
    owner_wake(leg->x->owner);
}

void leg_fail(struct leg *leg, enum cause cause)
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

void leg_fail_fresh(struct leg *leg, enum cause cause)
{
    leg->fresh_failed = true;
    leg_fail(leg, cause);
}

void leg_begin(struct leg *leg, struct link *l)
{
    leg->link = l;
    leg->request_written = leg->request_done = leg->request_left_us = false;
    leg->since = io_now(exchange_io(leg->x));
}

bool leg_fields_ready(struct leg *leg)
{
    struct fields *f = &leg->response.fields;

    if (!f->list) {
        f->list = arena_alloc(&leg->x->arena, LEG_FIELDS_MAX * sizeof *f->list);
        f->max = LEG_FIELDS_MAX;
    }
    return f->list != NULL;
}

bool leg_keep_head(struct leg *leg, struct span head)
{
    struct span copy = arena_copy(&leg->x->arena, head);

    if (!copy.ptr)
        return false;
    response_rebase(&leg->response, head.ptr, head.len, copy.ptr);
    return true;
}

void leg_interim(struct leg *leg)
{
    int status = leg->response.status;

    /* 100 was ours to say when the content was asked for. */
    if (status != 100)
        respond_interim(leg->x, status, &leg->response.fields);
}

void leg_head_done(struct leg *leg)
{
    leg->state = LEG_HEAD;
    leg->x->times.first_byte = io_now(exchange_io(leg->x));
    leg_tell(leg);
}

void leg_content_done(struct leg *leg)
{
    leg->state = LEG_DONE;
    flow_end(&leg->x->response_content);
    leg_tell(leg);
}

void leg_remember(struct leg *leg, struct span s)
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

void leg_lost_early(struct leg *leg, bool sending)
{
    if (leg->response_begun)
        leg_fail(leg, CAUSE_upstream_bad_head);
    else if (leg->reused)
        leg_fail(leg, CAUSE_upstream_closed_unproven);
    else
        leg_fail(leg, CAUSE_upstream_reset_before_head);
    /* Nothing of it ever left: the origin cannot have seen it. */
    leg->fresh_failed = !leg->request_left_us && !sending;
}
