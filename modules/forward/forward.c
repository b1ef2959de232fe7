/* forward: has an origin server answer, streaming both ways at once. */
#include "modules/forward/forward.h"

struct forwarding {
    struct leg leg;
    bool begun;
    bool passed; /* the response head has gone to the client */
};

static const char *const forwarded_words[] = {"x-forwarded", "rfc7239", "both", "off", NULL};

static const struct setting forward_settings[] = {
    {.name = "upstream",
     .type = SETTING_LIST,
     .flags = SETTING_REQUIRED,
     .offset = SETTING_MEMBER(struct forward_conf, upstream_lines, struct lines),
     .help = "The upstream group that answers."},
    {.name = "strip_prefix",
     .type = SETTING_PATH,
     .offset = SETTING_MEMBER(struct forward_conf, strip_prefix, struct span),
     .help = "Whole segments to take from the front of the path."},
    {.name = "rewrite",
     .type = SETTING_TEMPLATE,
     .offset = SETTING_MEMBER(struct forward_conf, rewrite, struct template *),
     .help = "The whole new path; the query stays unless it has a ?."},
    {.name = "host_header",
     .type = SETTING_TEMPLATE,
     .fallback = "pass",
     .offset = SETTING_MEMBER(struct forward_conf, host_header, struct template *),
     .help = "The Host the origin gets: pass, server, or a template."},
    {.name = "forwarded",
     .type = SETTING_WORD,
     .words = forwarded_words,
     .fallback = "x-forwarded",
     .offset = SETTING_MEMBER(struct forward_conf, forwarded, int),
     .help = "Which fields tell the origin about the client."},
    {.name = "upgrade",
     .type = SETTING_TOKENS,
     .flags = SETTING_OFF,
     .fallback = "websocket",
     .offset = SETTING_MEMBER(struct forward_conf, upgrade, struct spans),
     .help = "Protocols a client may switch to; h2c never."},
    {.name = "first_byte_timeout",
     .type = SETTING_DURATION,
     .flags = SETTING_OFF | SETTING_AUTO,
     .fallback = "auto",
     .offset = SETTING_MEMBER(struct forward_conf, first_byte_timeout, uint64_t),
     .help = "Request sent to response head; auto is the upstream's."},
    {.name = "idle_timeout",
     .type = SETTING_DURATION,
     .flags = SETTING_OFF | SETTING_AUTO,
     .fallback = "auto",
     .offset = SETTING_MEMBER(struct forward_conf, idle_timeout, uint64_t),
     .help = "No byte of content from the origin; auto is the upstream's."},
    {.name = "stream_timeout",
     .type = SETTING_DURATION,
     .flags = SETTING_OFF | SETTING_AUTO,
     .fallback = "auto",
     .offset = SETTING_MEMBER(struct forward_conf, stream_timeout, uint64_t),
     .help = "The same for tunnels and event streams; auto is the upstream's."},
    {.name = "tries",
     .type = SETTING_COUNT,
     .flags = SETTING_AUTO,
     .fallback = "auto",
     .min = 1,
     .max = 64,
     .offset = SETTING_MEMBER(struct forward_conf, tries, uint64_t),
     .help = "Attempts in all; auto is the upstream's."},
    {.name = "retry_on",
     .type = SETTING_LIST,
     .flags = SETTING_OFF,
     .fallback = "auto",
     .offset = SETTING_MEMBER(struct forward_conf, retry_lines, struct lines),
     .help = "What is tried again, as in the upstream; auto is the upstream's."},
    {.name = "split_by", .flags = SETTING_LATER},
    {.name = "timeout", .flags = SETTING_LATER},
    {.name = "deadline_header", .flags = SETTING_LATER},
    {.name = "traceparent", .flags = SETTING_LATER},
    {.name = "buffer_request", .flags = SETTING_LATER},
    {.name = "buffer_response", .flags = SETTING_LATER},
    {.name = "mirror", .flags = SETTING_LATER},
    {0},
};

static void forward_load(struct loading *l, void *data)
{
    struct forward_conf *conf = data;

    if (conf->upstream_lines.count != 1 || conf->upstream_lines.list[0].words.count != 1) {
        loading_say(l, SEVERITY_ERROR, "upstream",
                    "one upstream name; weighted splits are not supported by this build");
        return;
    }
    const struct line *line = &conf->upstream_lines.list[0];
    conf->upstream = loading_upstream(l, line->words.list[0], line->at);
    for (unsigned i = 0; i < conf->upgrade.count; i++)
        if (span_equal_nocase(conf->upgrade.list[i], SPAN("h2c")))
            loading_say(l, SEVERITY_ERROR, "upgrade", "h2c is never passed on");
        else if (conf->upgrade.list[i].len > LEG_UPGRADE_MAX)
            loading_say(l, SEVERITY_ERROR, "upgrade", "no protocol has a name that long");
    if (conf->host_header && span_equal(conf->host_header->source, SPAN("pass")))
        conf->host_header = NULL;
    loading_check_prefix(l, "strip_prefix", conf->strip_prefix);
    if (conf->retry_lines.count == 1 && span_equal(conf->retry_lines.list[0].text, SPAN("auto"))) {
        conf->retry_on = conf->upstream ? &conf->upstream->retry_on : &conf->retry_on_own;
        return;
    }
    loading_retry_on(l, &conf->retry_lines, &conf->retry_on_own);
    conf->retry_on = &conf->retry_on_own;
}

/* For [test] sections. */
static void forward_foresee(struct exchange *x, struct foresight *f)
{
    const struct forward_conf *conf = exchange_conf(x);
    struct span *name = arena_alloc(exchange_arena(x), sizeof *name);

    if (name) {
        *name = conf->upstream->name;
        f->upstreams = (struct spans){name, 1};
    }
    f->target = forward_path(x, conf);
}

static uint64_t or_upstream(uint64_t own, uint64_t upstream)
{
    return own == VALUE_AUTO ? upstream : own;
}

/* --- answering ------------------------------------------------------------------------------- */

static bool forward_begin(struct exchange *x, const struct forward_conf *conf, struct forwarding *f)
{
    struct leg *leg = &f->leg;

    f->begun = true;
    leg->x = x;
    leg->upstream = conf->upstream;
    leg->first_byte_ns = or_upstream(conf->first_byte_timeout, conf->upstream->first_byte_timeout);
    leg->idle_ns = or_upstream(conf->idle_timeout, conf->upstream->idle_timeout);
    leg->stream_ns = or_upstream(conf->stream_timeout, conf->upstream->stream_timeout);
    leg->may_refuse = conf->retry_on->some_status && method_idempotent(x->request.method);
    /* The request's fields are quoted for as long as the exchange lives. */
    enum cause cause = exchange_keep(x) < 0 ? CAUSE_out_of_memory : CAUSE_NONE;
    if (!cause)
        cause = forward_request(x, conf, &leg->request);
    if (cause) {
        respond_failed(x, cause);
        return false;
    }
    x->times.queued = io_now(exchange_io(x));
    x->request_content.producer = x->owner;
    return true;
}

static bool is_stream(const struct response *r)
{
    const struct field *f = fields_get(&r->fields, FIELD_CONTENT_TYPE);

    if (!f)
        return false;
    return span_equal_nocase(span_first(f->value, 17), SPAN("text/event-stream")) ||
           span_equal_nocase(span_first(f->value, 16), SPAN("application/grpc"));
}

static void forward_pass_head(struct exchange *x, struct forwarding *f)
{
    struct leg *leg = &f->leg;
    const struct response *r = &leg->response;

    f->passed = true;
    leg_accept(leg);
    bool switched = leg_switched(leg);
    if (x->request.protocol.len > 0 && !switched && r->status <= 299) {
        respond_failed(x, CAUSE_upstream_upgrade_refused); /* 200 would make a tunnel of it */
        return;
    }
    if (!forward_response(x, leg)) {
        respond_failed(x, CAUSE_out_of_memory);
        return;
    }
    if (switched) {
        forward_switch(x, leg);
        return;
    }
    if (is_stream(r))
        leg->idle_ns = leg->stream_ns;
    uint64_t length = VALUE_OFF;
    if (r->framing == FRAMING_LENGTH) {
        length = r->content_length;
    } else if (r->framing == FRAMING_NONE) { /* to HEAD, or 304: the length may still be named */
        const struct field *named = fields_get(&r->fields, FIELD_CONTENT_LENGTH);
        if (!named && x->request.method != METHOD_HEAD)
            length = 0;
        else if (!named || !span_number(named->value, &length))
            length = VALUE_OFF;
    }
    respond_start(x, r->status, length);
}

static void forward_again(struct exchange *x, struct leg *leg)
{
    leg_again(leg);
    leg_open(leg);
    if (leg->state != LEG_FAILED)
        return;
    leg_close(leg);
    respond_failed(x, leg->cause);
}

static void forward_failed(struct exchange *x, const struct forward_conf *conf,
                           struct forwarding *f)
{
    struct leg *leg = &f->leg;
    enum cause cause = leg->cause;

    if (leg->cut || f->passed) {
        leg_close(leg);
        respond_failed(x, cause);
        return;
    }
    if (forward_retries_failure(x, conf, leg)) {
        forward_again(x, leg);
        return;
    }
    leg_close(leg);
    respond_failed(x, cause);
}

static void forward_answer(struct exchange *x)
{
    const struct forward_conf *conf = exchange_conf(x);
    struct forwarding *f = exchange_state(x);
    struct leg *leg = &f->leg;

    if (!f->begun) {
        if (!forward_begin(x, conf, f))
            return;
        leg_open(leg);
    }
    leg_check(leg);
    request_content_want(x);
    if (leg->state == LEG_FAILED) {
        forward_failed(x, conf, f);
        return;
    }
    if (x->request_content.fail && leg->state < LEG_HEAD) {
        leg_close(leg);
        respond_failed(x, CAUSE_client_truncated);
        return;
    }
    if (leg->state < LEG_HEAD)
        return;
    if (!f->passed && forward_retries_answer(x, conf, leg)) {
        forward_again(x, leg);
        return;
    }
    if (!f->passed)
        forward_pass_head(x, f);
    if (leg->state == LEG_DONE && response_started(x)) {
        respond_end(x);
        leg_close(leg);
    }
}

static void forward_ended(struct exchange *x)
{
    struct forwarding *f = exchange_state(x);

    leg_end(&f->leg);
}

static const struct handler forward_handler = {
    .name = "forward",
    .summary = "have an origin server answer",
    .settings = forward_settings,
    .conf_size = sizeof(struct forward_conf),
    .state_size = sizeof(struct forwarding),
    .load = forward_load,
    .answer = forward_answer,
    .switches = true,
    .foresee = forward_foresee,
    .ended = forward_ended,
};

const struct module forward_module = {
    .name = "forward",
    .summary = "has origin servers answer",
    .handlers = (const struct handler *const[]){&forward_handler, NULL},
};
