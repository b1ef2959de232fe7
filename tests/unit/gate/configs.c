/* Modules to configure, and texts to configure them with; see configs.h. */
#include "tests/unit/gate/configs.h"

#include <check.h>

/* --- modules to configure ------------------------------------------------------- */

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
    {.name = "note",
     .type = SETTING_TEMPLATE,
     .offset = SETTING_MEMBER(struct plain_conf, note, struct template *)},
    {0},
};

const struct handler plain = {.name = "plain",
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
const struct handler counted = {.name = "counter.event", .conf_size = 1, .answer = plain_answer};

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
const struct module *const modules[] = {&plain_module, &counter_module, NULL};

/* --- the bench -------------------------------------------------------------------- */

struct fake fake;

void configs_setup(void)
{
    fake_init(&fake);
    loaded = 0;
}

void configs_teardown(void)
{
    fake_free(&fake);
    ck_assert_uint_eq(loaded, 0);
}

struct config *load(const char *text)
{
    fake_file(&fake, "a.ini", span_of(text));
    return config_load("a.ini", &fake.source, modules, &fake.d);
}

struct config *load_fine(const char *text)
{
    struct config *config = load(text);

    ck_assert_str_eq(fake_said(&fake), "");
    ck_assert_ptr_nonnull(config);
    return config;
}
