/* An exchange without a client; see inner.h. */
#include "gate/inner.h"

#include "gate/leg_own.h"
#include "gate/worker_own.h"

enum { ANSWER_MAX = 1024 * 1024 }; /* bytes of content that are read and thrown away */

/* --- its carrier --------------------------------------------------------------------------- */

static bool nothing_at_hand(struct exchange *x, struct span *content)
{
    (void)x;
    (void)content;
    return false;
}

static void interim_dropped(struct exchange *x, int status, const struct fields *fields)
{
    (void)x;
    (void)status;
    (void)fields;
}

static const struct carrier inner_carrier = {
    .scheme = SPAN_INIT("http"),
    .content_at_hand = nothing_at_hand,
    .interim = interim_dropped,
};

static const struct listener_conf no_listener; /* no limits of fields: they are counted before */

/* --- its life ------------------------------------------------------------------------------ */

static void answer_drop(struct flow *f)
{
    while (!flow_empty(f))
        flow_take(f, (uint32_t)flow_peek(f).len);
}

/* What was waited for when the time was over. */
static enum cause late_cause(const struct inner *in)
{
    if (in->leg.state == LEG_HEAD)
        return CAUSE_upstream_timeout;
    return in->x->times.connected ? CAUSE_upstream_head_timeout : CAUSE_upstream_connect_timeout;
}

/* True when no more is expected of it.  Who switches protocols has answered, and so has
 * who says more than anybody wants to read. */
static bool is_settled(struct inner *in)
{
    const struct leg *leg = &in->leg;

    switch (leg->state) {
    case LEG_FAILED:
        in->cause = leg->cause;
        return true;
    case LEG_DONE:
        return true;
    case LEG_HEAD:
        return leg->response.framing == FRAMING_TUNNEL ||
               in->x->response_content.total > ANSWER_MAX;
    default:
        return false;
    }
}

static void inner_over(struct inner *in)
{
    in->over = true;
    if (!in->cause)
        in->status = in->leg.response.status;
    leg_close(&in->leg);
    if (in->told)
        owner_wake(in->told);
    else
        inner_end(in);
}

static void inner_step(struct owner *owner)
{
    struct inner *in = container_of(owner, struct inner, owner);
    bool late = io_timer_take(&in->timer);

    if (in->over || !in->sent)
        return;
    answer_drop(&in->x->response_content);
    if (is_settled(in)) {
        inner_over(in);
    } else if (late) {
        in->cause = late_cause(in);
        leg_fail(&in->leg, in->cause);
        inner_over(in);
    }
}

struct inner *inner_new(struct worker *w, struct generation *g,
                        const struct upstream_conf *upstream, unsigned fields_max)
{
    struct exchange *x = exchange_new(w, g, &no_listener);
    struct inner *in = x ? arena_zalloc(&x->arena, sizeof *in) : NULL;
    struct field *fields = in ? arena_alloc(&x->arena, (fields_max + 1) * sizeof *fields) : NULL;

    if (!fields) {
        if (x)
            exchange_end(x);
        return NULL;
    }
    x->carrier = &inner_carrier;
    x->peer = x->client = (struct address){0};
    x->request.version = HTTP_1_1;
    owner_init(&in->owner, &w->io->owners, inner_step);
    x->owner = &in->owner;
    x->request_content.producer = &in->owner;
    in->x = x;
    in->timer = (struct io_timer){.owner = &in->owner, .at = TIME_NEVER};
    in->leg = (struct leg){
        .x = x,
        .upstream = upstream,
        .request.fields = {.list = fields, .max = fields_max},
        .first_byte_ns = upstream->first_byte_timeout,
        .idle_ns = upstream->idle_timeout,
        .stream_ns = upstream->stream_timeout,
        .content_lost = true, /* it is not tried again */
    };
    list_append(&w->inners, &in->node);
    return in;
}

bool inner_ask(struct inner *in, struct span method, struct span target)
{
    struct leg_request *r = &in->leg.request;

    r->method = arena_copy(&in->x->arena, method);
    r->target = arena_copy(&in->x->arena, target);
    in->x->request.method = method_find(method);
    in->x->request.method_name = r->method;
    return r->method.ptr && r->target.ptr;
}

bool inner_field(struct inner *in, const struct field *f)
{
    struct span name = arena_copy(&in->x->arena, f->name);
    struct span value = arena_copy(&in->x->arena, f->value);

    return name.ptr && value.ptr &&
           fields_add(&in->leg.request.fields, (enum field_id)f->id, name, value) == 0;
}

static void inner_begin(struct inner *in, uint64_t timeout_ns)
{
    struct exchange *x = in->x;

    in->sent = true;
    x->request.fields = in->leg.request.fields; /* what balance looks at */
    x->request.fields.max++;
    if (in->trailers)
        in->trailers = fields_add(&x->request.fields, FIELD_TE, SPAN("TE"), SPAN("trailers")) == 0;
    flow_end(&x->request_content);
    io_timer_set(exchange_io(x), &in->timer, io_now(exchange_io(x)) + timeout_ns);
    owner_wake(&in->owner);
}

void inner_send(struct inner *in, uint64_t timeout_ns)
{
    inner_begin(in, timeout_ns);
    leg_open_now(&in->leg);
}

void inner_send_to(struct inner *in, unsigned server, uint16_t port, uint64_t timeout_ns)
{
    inner_begin(in, timeout_ns);
    in->leg.port = port;
    leg_open_to(&in->leg, server);
}

void inner_end(struct inner *in)
{
    struct exchange *x = in->x;

    if (in->ended)
        in->ended(in);
    leg_end(&in->leg);
    io_timer_clear(exchange_io(x), &in->timer);
    list_remove(&in->node);
    owner_retire(&in->owner);
    x->owner = NULL; /* so that it is not counted and logged */
    exchange_end(x);
}

void inners_end(struct worker *w)
{
    while (!list_empty(&w->inners))
        inner_end(container_of(w->inners.next, struct inner, node));
}
