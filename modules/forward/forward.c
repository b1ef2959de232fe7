/* forward: has an origin server answer, streaming both ways at once. */
#include "modules/forward/forward.h"

struct forwarding {
    struct leg leg;
    bool begun;
    bool gathers;          /* the request, before an origin is asked */
    bool passed;           /* the response head has gone to the client */
    struct io_timer timer; /* of the whole; zero when there is none */
};

static const char *const forwarded_words[] = {"x-forwarded", "rfc7239", "both", "off", NULL};
static const char *const trace_words[] = {"pass", "start", "off", NULL}; /* enum trace_mode */

static const struct setting forward_settings[] = {
    {.name = "upstream",
     .type = SETTING_LIST,
     .flags = SETTING_REQUIRED,
     .offset = SETTING_MEMBER(struct forward_conf, upstreams, struct lines),
     .help = "The groups that answer: NAME [WEIGHT] of 0 to 10000, 1 if not said."},
    {.name = "split_by",
     .type = SETTING_LINE,
     .fallback = "request",
     .offset = SETTING_MEMBER(struct forward_conf, split_by, struct line),
     .help = "What stays with one of them: request, client_ip, header NAME, cookie NAME."},
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
    {.name = "timeout",
     .type = SETTING_DURATION,
     .flags = SETTING_OFF,
     .fallback = "off",
     .min = NS_PER_MS,
     .offset = SETTING_MEMBER(struct forward_conf, timeout, uint64_t),
     .help = "From the request's head to the end of the origin's answer: 504; not of tunnels."},
    {.name = "deadline_header",
     .type = SETTING_TOKEN,
     .flags = SETTING_OFF,
     .fallback = "off",
     .offset = SETTING_MEMBER(struct forward_conf, deadline_header, struct span),
     .help = "The field that tells the origin how many milliseconds of timeout are left."},
    {.name = "traceparent",
     .type = SETTING_WORD,
     .words = trace_words,
     .fallback = "pass",
     .offset = SETTING_MEMBER(struct forward_conf, traceparent, int),
     .help = "W3C Trace Context: passed on if valid, begun where there is none, or taken away."},
    {.name = "buffer_request",
     .type = SETTING_SIZE,
     .flags = SETTING_OFF,
     .fallback = "off",
     .min = 1024,
     .max = 64 << 20,
     .offset = SETTING_MEMBER(struct forward_conf, buffer_request, uint64_t),
     .help = "Request content that is gathered before an origin is asked; more streams."},
    {.name = "buffer_response",
     .type = SETTING_SIZE,
     .flags = SETTING_OFF,
     .fallback = "off",
     .min = 1024,
     .max = 64 << 20,
     .offset = SETTING_MEMBER(struct forward_conf, buffer_response, uint64_t),
     .help = "Response content taken from an origin before the client does; more streams."},
    {.name = "mirror",
     .type = SETTING_LINE,
     .flags = SETTING_OFF,
     .fallback = "off",
     .offset = SETTING_MEMBER(struct forward_conf, mirror_line, struct line),
     .help = "NAME PERCENT: so many requests are copied to that upstream, too."},
    {0},
};

/* What begins with a variable is known only when a request comes. */
static void rewrite_load(struct loading *l, const struct template *t)
{
    const struct template_part *first = t && t->count > 0 ? &t->parts[0] : NULL;

    if (t && (!first || (!first->variable && !span_starts(first->text, SPAN("/")))))
        loading_say(l, SEVERITY_ERROR, "rewrite", "a path begins with /");
}

static void forward_load(struct loading *l, void *data)
{
    struct forward_conf *conf = data;

    split_load(l, conf);
    deadline_load(l, conf);
    rewrite_load(l, conf->rewrite);
    for (unsigned i = 0; i < conf->upgrade.count; i++)
        if (span_equal_nocase(conf->upgrade.list[i], SPAN("h2c")))
            loading_say(l, SEVERITY_ERROR, "upgrade", "h2c is never passed on");
        else if (conf->upgrade.list[i].len > LEG_UPGRADE_MAX)
            loading_say(l, SEVERITY_ERROR, "upgrade", "no protocol has a name that long");
    if (conf->host_header && span_equal(conf->host_header->source, SPAN("pass")))
        conf->host_header = NULL;
    loading_check_prefix(l, "strip_prefix", conf->strip_prefix);
    forward_mirror_load(l, conf);
    if (conf->retry_lines.count == 1 && span_equal(conf->retry_lines.list[0].text, SPAN("auto")))
        return;
    loading_retry_on(l, &conf->retry_lines, &conf->retry_on_own);
    conf->retry_on = &conf->retry_on_own;
}

/* For [test] sections. */
static void forward_foresee(struct exchange *x, struct foresight *f)
{
    const struct forward_conf *conf = exchange_conf(x);
    const struct split *split = &conf->split;
    struct span *names = arena_alloc(exchange_arena(x), split->count * sizeof *names);

    f->upstreams = (struct spans){.list = names};
    for (unsigned i = 0; names && i < split->count; i++)
        if (split->parts[i].weight > 0)
            names[f->upstreams.count++] = split->parts[i].upstream->name;
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
    const struct upstream_conf *u = leg->upstream = split_choose(&conf->split, x);
    x->upstream = u->name; /* edits may ask */
    leg->first_byte_ns = or_upstream(conf->first_byte_timeout, u->first_byte_timeout);
    leg->idle_ns = or_upstream(conf->idle_timeout, u->idle_timeout);
    leg->stream_ns = or_upstream(conf->stream_timeout, u->stream_timeout);
    leg->deadline = TIME_NEVER;
    if (conf->timeout != VALUE_OFF) {
        f->timer = (struct io_timer){.owner = x->owner, .at = TIME_NEVER};
        leg->deadline = x->times.head + conf->timeout;
        io_timer_set(exchange_io(x), &f->timer, leg->deadline);
    }
    leg->may_refuse = retry_on_of(conf, leg)->some_status && method_idempotent(x->request.method);
    /* The request's fields are quoted for as long as the exchange lives. */
    enum cause cause = exchange_keep(x) < 0 ? CAUSE_out_of_memory : CAUSE_NONE;
    if (!cause)
        cause = forward_request(x, conf, &leg->request);
    if (cause) {
        respond_failed(x, cause);
        return false;
    }
    if (leg->request.time_left) /* a copy may be taken of it */
        leg_say_time(leg);
    x->request_content.producer = x->owner;
    if (conf->buffer_request != VALUE_OFF)
        f->gathers = buffer_request(x, conf->buffer_request);
    return true;
}

/* Nothing is late from here on. */
static void forward_untime(struct exchange *x, struct forwarding *f)
{
    if (f->timer.owner)
        io_timer_clear(exchange_io(x), &f->timer);
    f->timer = (struct io_timer){0};
}

static void forward_pass_head(struct exchange *x, const struct forward_conf *conf,
                              struct forwarding *f)
{
    struct leg *leg = &f->leg;
    const struct response *r = &leg->response;

    f->passed = true;
    if (leg->copy)
        mirror_go_on(leg);
    leg_accept(leg);
    bool switched = leg_switched(leg);
    if (x->request.protocol.len > 0 && !switched && r->status <= 299) {
        leg_close(leg);
        respond_failed(x, CAUSE_upstream_upgrade_refused); /* 200 would make a tunnel of it */
        return;
    }
    if (!forward_response(x, leg)) {
        leg_close(leg);
        respond_failed(x, CAUSE_out_of_memory);
        return;
    }
    if (switched) {
        forward_untime(x, f);
        forward_switch(x, leg);
        return;
    }
    if (is_stream(&r->fields))
        leg->idle_ns = leg->stream_ns;
    if (conf->buffer_response != VALUE_OFF)
        buffer_response(x, r, conf->buffer_response);
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

    if (!f->begun && !forward_begin(x, conf, f))
        return;
    f->gathers = f->gathers && buffer_request_waits(x, conf->buffer_request);
    if (leg->state == LEG_NEW && !f->gathers && !x->request_content.fail) {
        leg_open(leg);
        if (conf->mirror)
            forward_mirror(x, conf, leg);
    }
    leg_check(leg);
    if (io_timer_take(&f->timer))
        leg_overdue(leg);
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
        forward_pass_head(x, conf, f);
    if (leg->state == LEG_DONE && response_started(x)) {
        respond_end(x);
        leg_close(leg);
    }
}

static void forward_ended(struct exchange *x)
{
    struct forwarding *f = exchange_state(x);

    forward_untime(x, f);
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
