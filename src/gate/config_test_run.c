/* Runs [test] sections: a request that nobody sent goes through the router and,
 * where neither disk nor origin decides, through the handler. */
#include "gate/client.h"
#include "gate/module.h"
#include "gate/secure.h"

struct running {
    const struct config *config;
    const struct test_conf *test;
    struct diagnostics *d;
    struct exchange *x;
    int status; /* 0: disk or origin decides */
    bool pure;  /* the response's fields are known */
    struct foresight foresight;
};

static void say_at(struct running *r, struct position at, const char *key, struct span expected,
                   struct span found)
{
    diagnostics_say(r->d, SEVERITY_ERROR, at, "[test %.*s] %s: expected \"%.*s\", it is \"%.*s\"",
                    SPAN_ARG(r->test->name), key, SPAN_ARG(expected), SPAN_ARG(found));
}

static void say(struct running *r, const char *key, struct span expected, struct span found)
{
    say_at(r, conf_at(r->test->section, key), key, expected, found);
}

static void say_why(struct running *r, const char *key, const char *why)
{
    diagnostics_say(r->d, SEVERITY_ERROR, conf_at(r->test->section, key), "[test %.*s] %s: %s",
                    SPAN_ARG(r->test->name), key, why);
}

/* --- the request ----------------------------------------------------------------- */

static bool listens_on(const struct listener_conf *l, uint64_t port)
{
    for (unsigned i = 0; i < l->listen.count; i++)
        if (l->listen.list[i].address.port == port)
            return true;
    return false;
}

/* The one named, or the first that fits scheme and port. */
static const struct listener_conf *listener_choose(struct running *r)
{
    const struct test_conf *t = r->test;
    bool secure = span_equal(t->scheme, SPAN("https"));

    for (unsigned i = 0; i < r->config->listener_count; i++) {
        const struct listener_conf *l = &r->config->listeners[i];
        if (t->listener.len > 0
                ? span_equal(l->name, t->listener)
                : secure == (l->tls_names.count > 0) && (t->port == 0 || listens_on(l, t->port)))
            return l;
    }
    return NULL;
}

static bool fields_put(struct exchange *x, const struct test_conf *t)
{
    struct fields *f = &x->request.fields;
    bool fine = fields_add(f, FIELD_HOST, SPAN("Host"), t->host) == 0;

    for (unsigned i = 0; fine && i < t->headers.count; i++) {
        struct span text = t->headers.list[i].words.list[0];
        size_t colon = span_find(text, ':');
        struct span name = span_first(text, colon);
        fine = fields_add(f, field_find(name), name, span_trim(span_after(text, colon + 1))) == 0;
    }
    return fine;
}

static void request_fill(struct running *r)
{
    struct exchange *x = r->x;
    struct request *q = &x->request;

    q->method_name = r->test->method;
    q->method = method_find(q->method_name);
    q->version = HTTP_1_1;
    q->target_text = r->test->target;
    q->host = r->test->host;
    q->fields.list = x->request_fields;
    q->fields.max = REQUEST_FIELDS_INLINE;
    x->response.fields.list = x->response_fields;
    x->response.fields.max = RESPONSE_FIELDS_INLINE;
    x->peer = r->test->client;
    x->request_id = SPAN("00000000000000000000000000000000"); /* so that nothing is drawn */
    x->file = -1;
}

/* --- the way through ------------------------------------------------------------- */

static int find_route(struct running *r)
{
    struct exchange *x = r->x;
    struct span port;

    if (!target_parse(&x->request.target, x->request.target_text) ||
        !host_parse(x->request.host, x->host_scratch, &x->host, &port) ||
        path_normalise(&x->path, x->request.target.path, &x->arena) != PATH_OK)
        return 400;
    if (x->request.method == METHOD_CONNECT || x->request.method == METHOD_TRACE)
        return 405;
    client_find(x);
    router_find(r->config->router,
                &(struct route_query){.listener = x->listener->index,
                                      .host = x->host,
                                      .path = x->path.normal,
                                      .method = x->request.method,
                                      .method_name = x->request.method_name,
                                      .request = &x->request,
                                      .query = x->request.target.query},
                &x->match);
    x->route = x->match.route;
    if (!x->route)
        return x->match.methods_other ? 405 : 404;
    return x->path.has_encoded_slash && !x->route->encoded_slash_pass ? 400 : 0;
}

static void answer(struct running *r)
{
    struct exchange *x = r->x;
    const struct handler *h;

    if ((r->status = find_route(r)) != 0) {
        if (!x->route && x->listener->https_redirect && x->path.normal.len > 0 &&
            secure_redirect(x)) {
            r->status = x->response.status;
            r->pure = true;
        }
        return;
    }
    h = x->route->handler;
    if (h->foresee)
        h->foresee(x, &r->foresight);
    if (!h->pure)
        return;
    h->answer(x);
    r->status = x->response.status;
    r->pure = true;
}

/* --- the verdict ------------------------------------------------------------------ */

static void check_route(struct running *r)
{
    struct span expected = r->test->expect_route;
    struct span found = r->x->route ? r->x->route->name : SPAN("none");

    if (expected.len > 0 && !span_equal(expected, found))
        say(r, "expect_route", expected, found);
}

static void check_status(struct running *r)
{
    if (r->test->expect_status == 0 || (uint64_t)r->status == r->test->expect_status)
        return;
    if (r->status == 0) {
        say_why(r, "expect_status", "only a disk or an origin can tell");
        return;
    }
    struct span number = arena_print(&r->x->arena, "%d", r->status);
    struct span wanted = arena_print(&r->x->arena, "%d", (int)r->test->expect_status);
    say(r, "expect_status", wanted, number);
}

static bool spans_have(const struct spans *list, struct span one)
{
    for (unsigned i = 0; i < list->count; i++)
        if (span_equal(list->list[i], one))
            return true;
    return false;
}

static struct span spans_text(struct arena *arena, const struct spans *list)
{
    struct span all = SPAN("");

    for (unsigned i = 0; i < list->count && all.ptr; i++)
        all =
            arena_print(arena, "%.*s%s%.*s", SPAN_ARG(all), i ? ", " : "", SPAN_ARG(list->list[i]));
    return all;
}

static void check_upstream(struct running *r)
{
    const struct spans *expected = &r->test->expect_upstream, *found = &r->foresight.upstreams;
    bool same = expected->count == found->count;

    for (unsigned i = 0; i < expected->count; i++)
        same = same && spans_have(found, expected->list[i]);
    if (expected->count > 0 && !same)
        say(r, "expect_upstream", spans_text(&r->x->arena, expected),
            spans_text(&r->x->arena, found));
}

static void check_path(struct running *r)
{
    struct span expected = r->test->expect_path, found = r->foresight.target;

    if (expected.len > 0 && !span_equal(expected, found))
        say(r, "expect_path", expected, found);
}

static void check_header(struct running *r)
{
    const struct test_conf *t = r->test;

    if (t->expect_header_name.len == 0)
        return;
    if (!r->pure) {
        say_why(r, "expect_header", "only respond and redirect can tell");
        return;
    }
    const struct fields *fields = &r->x->response.fields;
    const struct field *found = NULL;
    for (unsigned i = 0; i < fields->count; i++) {
        const struct field *f = &fields->list[i];
        if (!span_equal_nocase(f->name, t->expect_header_name))
            continue;
        found = f;
        if (t->expect_header_any || span_equal(f->value, t->expect_header_value))
            return;
    }
    say_at(r, t->expect_header_at, "expect_header",
           t->expect_header_any ? t->expect_header_name : t->expect_header_value,
           found ? found->value : SPAN(""));
}

static void run(struct running *r)
{
    static const struct carrier carriers[] = {{.scheme = SPAN_INIT("http")},
                                              {.scheme = SPAN_INIT("https")}};
    struct exchange *x = r->x;

    x->carrier = &carriers[span_equal(r->test->scheme, SPAN("https"))];
    x->config = (struct config *)(uintptr_t)r->config;
    if (!(x->listener = listener_choose(r))) {
        say_why(r, "request", "no listener takes it");
        return;
    }
    request_fill(r);
    if (!fields_put(x, r->test)) {
        say_why(r, "header", "too many");
        return;
    }
    answer(r);
    check_route(r);
    check_status(r);
    check_upstream(r);
    check_path(r);
    check_header(r);
}

void config_run_tests(const struct config *config, struct diagnostics *d)
{
    for (unsigned i = 0; i < config->test_count; i++) {
        struct running r = {.config = config,
                            .test = &config->tests[i],
                            .d = d,
                            .x = mem_zalloc(sizeof(struct exchange))};
        if (!r.x) {
            diagnostics_memory(d);
            return;
        }
        run(&r);
        arena_free(&r.x->arena);
        mem_free(r.x);
    }
}
