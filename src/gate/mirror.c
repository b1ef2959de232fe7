/* Copies of requests; see mirror.h. */
#include "gate/mirror.h"

#include "gate/inner.h"
#include "gate/leg_own.h"
#include "gate/worker_own.h"

enum {
    COPIES_MAX = 256,         /* under way, of a worker */
    CONTENT_MAX = 512 * 1024, /* bytes, whatever retry_buffer says: a flow holds that */
};
#define ANSWER_NS (60 * NS_PER_S)

/* How much content may be copied. */
static uint32_t content_max(const struct upstream_conf *u)
{
    if (u->retry_buffer == VALUE_OFF)
        return 0;
    return u->retry_buffer < CONTENT_MAX ? (uint32_t)u->retry_buffer : CONTENT_MAX;
}

static bool may_copy(const struct leg *leg)
{
    const struct request *r = &leg->x->request;
    uint32_t max = content_max(leg->upstream);

    if (leg->request.upgrade.len > 0 || leg->x->worker->mirrors >= COPIES_MAX ||
        buf_scarce(&exchange_io(leg->x)->bufs))
        return false;
    if (r->framing == FRAMING_LENGTH)
        return r->content_length <= max;
    return r->framing == FRAMING_NONE || max > 0;
}

static bool copy_fill(struct inner *in, const struct leg *leg)
{
    const struct leg_request *r = &leg->request;
    const struct exchange *from = leg->x;
    struct exchange *x = in->x;

    if (!inner_ask(in, r->method, r->target))
        return false;
    for (unsigned i = 0; i < r->fields.count; i++)
        if (!inner_field(in, &r->fields.list[i]))
            return false;
    in->leg.request.servers_host = r->servers_host;
    in->trailers = leg_takes_trailers(leg);
    x->host = arena_copy(&x->arena, from->host); /* for tls_name = ${host} */
    x->client = from->client;                    /* for balance = hash */
    x->path.normal = arena_copy(&x->arena, from->path.normal);
    flow_init(&x->request_content, &exchange_io(x)->bufs, content_max(leg->upstream));
    return x->path.normal.ptr && x->host.ptr;
}

static void copy_ended(struct inner *in)
{
    struct worker *w = in->x->worker;

    w->mirrors--;
    if (in->sent && (in->cause || !in->over))
        worker_counted(&w->stats.mirror_failed);
}

static void copy_drop(struct leg *leg)
{
    worker_counted(&leg->x->worker->stats.mirror_dropped);
    inner_end(leg->copy);
    leg->copy = NULL;
}

void mirror_begin(struct leg *leg, const struct upstream_conf *to)
{
    struct exchange *x = leg->x;
    struct worker *w = x->worker;
    struct inner *in =
        may_copy(leg) ? inner_new(w, x->generation, to, leg->request.fields.count) : NULL;

    if (!in) {
        worker_counted(&w->stats.mirror_dropped);
        return;
    }
    w->mirrors++;
    in->ended = copy_ended;
    leg->copy = in;
    if (copy_fill(in, leg))
        mirror_go_on(leg);
    else
        copy_drop(leg);
}

/* All of the content has passed by: what is left when the origin has answered
 * early is thrown away, and never does. */
static bool is_whole(const struct leg *leg)
{
    return leg->x->request.framing == FRAMING_NONE || leg->request_done;
}

void mirror_go_on(struct leg *leg)
{
    struct inner *in = leg->copy;

    if (!in || !is_whole(leg))
        return;
    leg->copy = NULL;
    if (leg->x->request.framing != FRAMING_NONE) {
        in->x->request.framing = FRAMING_LENGTH;
        in->x->request.content_length = in->x->request_content.total;
    }
    worker_counted(&leg->x->worker->stats.mirrored);
    inner_send(in, ANSWER_NS);
}

void mirror_end(struct leg *leg)
{
    mirror_go_on(leg);
    if (leg->copy)
        copy_drop(leg);
}

void mirror_remember(struct leg *leg, struct span s)
{
    if (flow_write(&leg->copy->x->request_content, s) < s.len)
        copy_drop(leg);
}
