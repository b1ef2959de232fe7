/* Configurations from text: what they come to, and what is refused. */
#include "gate/module.h"
#include "tests/unit/conf/fake.h"

#include <check.h>

/* --- modules to configure ------------------------------------------------------- */

struct plain_conf {
    uint64_t status;
    struct span text;
};

static unsigned loaded;

static void plain_load(struct loading *l, void *conf)
{
    struct plain_conf *c = conf;

    loaded++;
    if (c->status == 299)
        loading_say(l, SEVERITY_ERROR, "status", "never that");
}

static void plain_unload(void *conf)
{
    (void)conf;
    loaded--;
}

static void plain_answer(struct exchange *x)
{
    const struct plain_conf *c = exchange_conf(x);

    response_field_named(x, SPAN("X-Text"), c->text);
    respond(x, (int)c->status, (struct span){0});
}

static const struct setting plain_settings[] = {
    {.name = "status",
     .type = SETTING_COUNT,
     .fallback = "200",
     .min = 200,
     .max = 599,
     .offset = SETTING_MEMBER(struct plain_conf, status, uint64_t)},
    {.name = "text",
     .type = SETTING_TEXT,
     .fallback = "hello",
     .offset = SETTING_MEMBER(struct plain_conf, text, struct span)},
    {0},
};

static const struct handler plain = {.name = "plain",
                                     .settings = plain_settings,
                                     .conf_size = sizeof(struct plain_conf),
                                     .load = plain_load,
                                     .unload = plain_unload,
                                     .answer = plain_answer,
                                     .pure = true};

struct origin_conf {
    struct lines upstream;
    struct span strip_prefix;
    const struct upstream_conf *found;
};

static const struct setting origin_settings[] = {
    {.name = "upstream",
     .type = SETTING_LIST,
     .flags = SETTING_REQUIRED,
     .offset = SETTING_MEMBER(struct origin_conf, upstream, struct lines)},
    {.name = "strip_prefix",
     .type = SETTING_PATH,
     .offset = SETTING_MEMBER(struct origin_conf, strip_prefix, struct span)},
    {0},
};

static void origin_load(struct loading *l, void *conf)
{
    struct origin_conf *c = conf;

    for (unsigned i = 0; i < c->upstream.count; i++)
        c->found = loading_upstream(l, c->upstream.list[i].words.list[0], c->upstream.list[i].at);
    loading_check_prefix(l, "strip_prefix", c->strip_prefix);
}

static void origin_foresee(struct exchange *x, struct foresight *f)
{
    const struct origin_conf *c = exchange_conf(x);

    f->upstreams.list = arena_alloc(&x->arena, c->upstream.count * sizeof(struct span));
    for (unsigned i = 0; i < c->upstream.count; i++)
        f->upstreams.list[f->upstreams.count++] = c->upstream.list[i].words.list[0];
    f->target = span_after(x->request.target_text, c->strip_prefix.len);
}

static const struct handler origin = {.name = "origin",
                                      .settings = origin_settings,
                                      .conf_size = sizeof(struct origin_conf),
                                      .load = origin_load,
                                      .answer = plain_answer,
                                      .foresee = origin_foresee};
static const struct handler counted = {
    .name = "counter.event", .conf_size = 1, .answer = plain_answer};

struct counter_conf {
    bool enabled;
    struct span path;
    struct spans hosts;
};

static const struct setting counter_settings[] = {
    {.name = "enabled",
     .type = SETTING_BOOL,
     .fallback = "no",
     .offset = SETTING_MEMBER(struct counter_conf, enabled, bool)},
    {.name = "event_path",
     .type = SETTING_PATH,
     .fallback = "/event",
     .offset = SETTING_MEMBER(struct counter_conf, path, struct span)},
    {.name = "host",
     .type = SETTING_HOSTS,
     .offset = SETTING_MEMBER(struct counter_conf, hosts, struct spans)},
    {0},
};

static void counter_load(struct loading *l, void *conf)
{
    struct counter_conf *c = conf;

    if (c->enabled)
        loading_route(l, &(struct default_route){.handler = "counter.event",
                                                 .path = c->path,
                                                 .method = SPAN("POST"),
                                                 .hosts = c->hosts});
}

static const struct module plain_module = {
    .name = "plain", .handlers = (const struct handler *const[]){&plain, &origin, NULL}};
static const struct module counter_module = {.name = "counter",
                                             .handlers =
                                                 (const struct handler *const[]){&counted, NULL},
                                             .settings = counter_settings,
                                             .conf_size = sizeof(struct counter_conf),
                                             .load = counter_load};
static const struct module *const modules[] = {&plain_module, &counter_module, NULL};

/* --- the bench -------------------------------------------------------------------- */

static struct fake fake;

static void setup(void)
{
    fake_init(&fake);
    loaded = 0;
}

static void teardown(void)
{
    fake_free(&fake);
    ck_assert_uint_eq(loaded, 0);
}

static struct config *load(const char *text)
{
    fake_file(&fake, "a.ini", span_of(text));
    return config_load("a.ini", &fake.source, modules, &fake.d);
}

static struct config *load_fine(const char *text)
{
    struct config *config = load(text);

    ck_assert_str_eq(fake_said(&fake), "");
    ck_assert_ptr_nonnull(config);
    return config;
}

#define ck_assert_span_eq(got, want)                                                               \
    do {                                                                                           \
        struct span s_ = (got);                                                                    \
        ck_assert_msg(span_equal(s_, span_of(want)), "\"%.*s\" is not \"%s\"", SPAN_ARG(s_),       \
                      want);                                                                       \
    } while (0)

#define LISTENER "[listener a]\nlisten = :80\n"

START_TEST(a_small_file_has_all_the_defaults)
{
    struct config *c = load_fine(LISTENER "[route r]\nhandler = plain\n");

    ck_assert_uint_eq(c->server.workers, VALUE_AUTO);
    ck_assert_span_eq(c->server.engine, "auto");
    ck_assert_uint_eq(c->server.drain_timeout, 30 * UINT64_C(1000000000));
    ck_assert_uint_eq(c->server.reload_timeout, VALUE_OFF);
    ck_assert(c->server.tests_required);
    ck_assert(c->server.access_log.off);
    ck_assert_span_eq(c->server.error_log.path, "stderr");
    ck_assert_int_eq(c->server.error_log.format, LOG_TEXT);
    ck_assert_int_eq(c->server.log_level, LOG_NOTICE);
    ck_assert_span_eq(c->server.server_header, "headgate");
    ck_assert_uint_eq(c->listener_count, 1);
    const struct listener_conf *l = &c->listeners[0];
    ck_assert_span_eq(l->name, "a");
    ck_assert(l->listen.list[0].any);
    ck_assert_uint_eq(l->listen.list[0].address.port, 80);
    ck_assert_uint_eq(l->limits.request_line_max, 8192);
    ck_assert_uint_eq(l->limits.head_max, 32768);
    ck_assert_uint_eq(l->limits.fields_max, 100);
    ck_assert_uint_eq(l->keepalive_requests, VALUE_OFF);
    ck_assert_uint_eq(l->max_connections, VALUE_OFF);
    ck_assert_uint_eq(l->socket_mode, 0660);
    ck_assert_int_eq(l->client_ip_from, CLIENT_IP_XFF);
    const struct route_conf *r = &c->routes[0];
    ck_assert_uint_eq(r->max_body, 1 << 20);
    ck_assert_uint_eq(r->body_min_rate.amount, 128);
    ck_assert_uint_eq(r->body_min_rate.per_ns, 1000000000);
    ck_assert_uint_eq(r->listener_bits, UINT64_MAX);
    ck_assert_span_eq(r->paths.list[0], "/*");
    ck_assert(r->log);
    ck_assert_ptr_eq(r->handler, &plain);
    ck_assert_uint_eq(((const struct plain_conf *)r->conf)->status, 200);
    ck_assert_uint_eq(c->module_count, 2);
    config_free(c);
}
END_TEST

Suite *config_suite(void)
{
    Suite *suite = suite_create("config");
    TCase *test = tcase_create("config");

    tcase_add_checked_fixture(test, setup, teardown);
    tcase_add_test(test, a_small_file_has_all_the_defaults);
    suite_add_tcase(suite, test);
    return suite;
}
