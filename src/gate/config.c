/* A generation from its files: what is loaded in which order, and how it ends.
 *
 * Everything is checked even when something is wrong already, so that one run
 * tells all of it; only what a mistake makes meaningless is left out.
 */
#include "gate/loading.h"

#include <assert.h>
#include <stdio.h>

static const char *const section_types[] = {"server", "listener", "tls",  "upstream",
                                            "route",  "module",   "test", NULL};

/* --- sections and keys ------------------------------------------------------- */

static const struct setting no_settings[] = {{0}};

static const struct module *module_find(const struct module *const *modules, struct span name)
{
    for (; *modules; modules++)
        if (span_equal(name, span_of((*modules)->name)))
            return *modules;
    return NULL;
}

static const struct handler *handler_of(const struct module *const *modules,
                                        const struct conf_section *route)
{
    const struct loading l = {.modules = modules};
    const struct conf_entry *e = conf_find(route, "handler");
    const struct module *module;

    return e && e->values ? handler_find(&l, e->values->text, &module) : NULL;
}

void section_tables(const struct module *const *modules, const struct conf_section *s,
                    const struct setting *tables[SECTION_TABLES_MAX])
{
    unsigned n = 0;

    if (span_equal(s->type, SPAN("server"))) {
        tables[n++] = server_settings;
        tables[n++] = listener_settings;
        tables[n++] = route_settings;
    } else if (span_equal(s->type, SPAN("listener"))) {
        tables[n++] = listener_settings;
    } else if (span_equal(s->type, SPAN("tls"))) {
        tables[n++] = tls_settings;
    } else if (span_equal(s->type, SPAN("upstream"))) {
        tables[n++] = upstream_settings;
    } else if (span_equal(s->type, SPAN("test"))) {
        tables[n++] = test_settings;
    } else if (span_equal(s->type, SPAN("module"))) {
        const struct module *m = module_find(modules, s->name);
        tables[n++] = m && m->settings ? m->settings : no_settings;
    } else if (span_equal(s->type, SPAN("route"))) {
        const struct handler *h = handler_of(modules, s);
        tables[n++] = route_settings;
        if (h && h->settings)
            tables[n++] = h->settings;
    }
    tables[n] = NULL;
}

static bool table_has(const struct setting *table, struct span key)
{
    for (; table && table->name; table++)
        if (span_equal(key, span_of(table->name)))
            return true;
    return false;
}

/* Which handler has this key? */
static const char *key_handler(const struct loading *l, struct span key)
{
    for (const struct module *const *m = l->modules; *m; m++)
        for (const struct handler *const *h = (*m)->handlers; h && *h; h++)
            if (table_has((*h)->settings, key))
                return (*h)->name;
    return NULL;
}

/* A key that stands in the wrong section gets a better answer than "unknown". */
static void check_places(struct loading *l, const struct conf_section *s)
{
    static const struct {
        const char *type;
        const struct setting *table;
    } rows[] = {{"server", server_settings},
                {"listener", listener_settings},
                {"tls", tls_settings},
                {"upstream", upstream_settings},
                {"route", route_settings}};
    bool is_route = span_equal(s->type, SPAN("route"));
    bool unknown = is_route && !handler_of(l->modules, s);

    for (struct conf_entry *e = s->entries; e; e = e->next) {
        const char *handler = is_route && !e->used ? key_handler(l, e->key) : NULL;
        if (handler && !unknown)
            diagnostics_say(l->d, SEVERITY_ERROR, e->at,
                            "%.*s is a setting of handler %s, which this route does not have",
                            SPAN_ARG(e->key), handler);
        for (size_t i = 0; i < COUNT_OF(rows) && !e->used && !handler; i++)
            if (!span_equal(s->type, span_of(rows[i].type)) && table_has(rows[i].table, e->key)) {
                diagnostics_say(l->d, SEVERITY_ERROR, e->at, "%.*s is a key of [%s], not of [%.*s]",
                                SPAN_ARG(e->key), rows[i].type, SPAN_ARG(s->type));
                e->used = true;
            }
        e->used = e->used || handler;
    }
}

static bool check_section(struct loading *l, const struct conf_section *s)
{
    bool is_server = span_equal(s->type, SPAN("server")), known = false;

    for (size_t i = 0; section_types[i]; i++)
        known = known || span_equal(s->type, span_of(section_types[i]));
    if (!known)
        diagnostics_say(l->d, SEVERITY_ERROR, s->at, "there is no section type %.*s%s",
                        SPAN_ARG(s->type),
                        did_you_mean(l, s->type, section_types, COUNT_OF(section_types) - 1));
    else if (is_server && s->name.len > 0)
        diagnostics_say(l->d, SEVERITY_ERROR, s->at, "[server] has no name");
    else if (!is_server && s->name.len == 0)
        diagnostics_say(l->d, SEVERITY_ERROR, s->at, "[%.*s] needs a name: [%.*s NAME]",
                        SPAN_ARG(s->type), SPAN_ARG(s->type));
    else
        return true;
    return false;
}

static void check_module(struct loading *l, struct conf_section *s)
{
    const char *words[64];
    size_t count = 0;

    for (const struct module *const *m = l->modules; *m && count < COUNT_OF(words); m++)
        words[count++] = (*m)->name;
    diagnostics_say(l->d, SEVERITY_ERROR, s->at, "there is no module %.*s%s", SPAN_ARG(s->name),
                    did_you_mean(l, s->name, words, count));
}

void config_check_keys(struct loading *l)
{
    const struct setting *tables[SECTION_TABLES_MAX];

    for (struct conf_section *s = l->config->conf.sections; s; s = s->next) {
        if (!check_section(l, s))
            continue;
        if (span_equal(s->type, SPAN("module")) && !module_find(l->modules, s->name)) {
            check_module(l, s);
            continue;
        }
        check_places(l, s);
        section_tables(l->modules, s, tables);
        conf_unknown(s, tables, l->d);
    }
}

/* --- modules ------------------------------------------------------------------- */

static struct conf_section *section_find(const struct config *config, const char *type,
                                         struct span name)
{
    struct conf_section *s = sections_of(config->conf.sections, type);

    while (s && !span_equal(s->name, name))
        s = sections_of(s->next, type);
    return s;
}

const struct conf_section *config_section(const struct config *config, const char *type,
                                          struct span name)
{
    return section_find(config, type, name);
}

static struct conf_section *module_section(struct loading *l, const struct module *module)
{
    struct span name = span_of(module->name);
    struct conf_section *s = section_find(l->config, "module", name);

    if (!s && (s = loading_zalloc(l, sizeof *s)))
        *s = (struct conf_section){
            .type = SPAN("module"), .name = name, .at = {l->config->conf.path, 1, 1}};
    return s;
}

static void module_load(struct loading *l, const struct module *module, struct module_slot *slot)
{
    unsigned errors = l->d->errors;

    slot->module = module;
    if (!(l->section = module_section(l, module)) ||
        !(slot->conf = loading_zalloc(l, module->conf_size)))
        return;
    l->module = module;
    if (module->settings)
        conf_fill(&l->config->conf, l->section, NULL, module->settings, slot->conf, l->d);
    if (module->load && l->d->errors == errors)
        module->load(l, slot->conf);
}

void config_load_modules(struct loading *l)
{
    struct config *config = l->config;
    unsigned count = 0;

    while (l->modules[count])
        count++;
    if (!(config->modules = loading_zalloc(l, (count + 1) * sizeof *config->modules)))
        return;
    for (unsigned i = 0; i < count; i++)
        module_load(l, l->modules[i], &config->modules[config->module_count++]);
}

void config_rehearse(struct config *config, bool serving, struct diagnostics *d)
{
    struct loading l = {.config = config, .modules = config->modules_all, .d = d};

    for (unsigned i = 0; i < config->module_count; i++) {
        l.module = config->modules[i].module;
        if (l.module->rehearse && (l.section = module_section(&l, l.module)))
            l.module->rehearse(&l, config->modules[i].conf, serving);
    }
}

void config_rehearse_reload(struct config *config, void *const *processes, struct diagnostics *d)
{
    struct loading l = {.config = config, .modules = config->modules_all, .d = d};

    for (unsigned i = 0; i < config->module_count; i++) {
        l.module = config->modules[i].module;
        if (l.module->rehearse_reload && (l.section = module_section(&l, l.module)))
            l.module->rehearse_reload(&l, config->modules[i].conf, processes[i]);
    }
}

/* --- the whole ------------------------------------------------------------------- */

/* Routes that something is wrong with would only clash for the wrong reasons. */
static void router_load(struct loading *l)
{
    struct config *config = l->config;
    struct route_conf *all = config->routes, *sound;
    unsigned count = config->route_count;

    if (!all || !(sound = loading_zalloc(l, (count + 1) * sizeof *sound)))
        return;
    if (l->d->errors > 0) {
        config->route_count = 0;
        for (unsigned i = 0; i < count; i++)
            if (all[i].sound) {
                sound[config->route_count] = all[i];
                sound[config->route_count].index = config->route_count;
                config->route_count++;
            }
        config->routes = sound;
    }
    config->router = router_new(&config->arena, config, l->d);
    config->routes = all;
    config->route_count = count;
    if (!config->router && l->d->errors == 0)
        diagnostics_memory(l->d);
}

static bool server_section(struct loading *l)
{
    struct conf_section *s = section_find(l->config, "server", (struct span){0});

    if (!s && (s = loading_zalloc(l, sizeof *s)))
        *s = (struct conf_section){.type = SPAN("server"), .at = {l->config->conf.path, 1, 1}};
    l->server = s;
    return s != NULL;
}

static void load_all(struct loading *l)
{
    if (!server_section(l))
        return;
    config_load_server(l);
    config_load_tls(l);
    config_load_listeners(l);
    config_load_upstreams(l);
    config_load_modules(l);
    config_load_routes(l);
    config_load_tests(l);
    config_check_keys(l);
    router_load(l);
}

struct origin {
    const char *path;
    const struct source *source;
    const struct module *const *modules;
    const struct tls_layer *layer;
    const uint8_t *secret; /* NULL: to be made */
};

static struct config *load(const struct origin *from, struct diagnostics *d)
{
    const struct module *const *modules = from->modules;
    const struct source *source = from->source;
    const char *path = from->path;
    struct config *config = mem_zalloc(sizeof *config);
    struct loading l = {.config = config,
                        .tls_layer = from->layer,
                        .modules = modules,
                        .d = d,
                        .asked_last = &l.asked};

    if (!config) {
        diagnostics_memory(d);
        return NULL;
    }
    config->tls_layer = from->layer;
    if (from->secret)
        memcpy(config->tls_secret, from->secret, TLS_SECRET);
    else if (from->layer)
        from->layer->entropy(config->tls_secret, TLS_SECRET);
    config->arena.block_size = 64 << 10;
    config->modules_all = modules;
    config->path = arena_text(&config->arena, span_of(path));
    if (!config->path)
        diagnostics_memory(d);
    else
        conf_read(&config->conf, &config->arena, source, path, d);
    /* A file that cannot be read at all is one mistake, not several. */
    if (config->conf.sections || d->errors == 0)
        load_all(&l);
    if (d->errors == 0)
        return config;
    config_free(config);
    return NULL;
}

struct config *config_load_with(const char *path, const struct source *source,
                                const struct module *const *modules, const struct tls_layer *layer,
                                struct diagnostics *d)
{
    return load(
        &(struct origin){.path = path, .source = source, .modules = modules, .layer = layer}, d);
}

struct config *config_load(const char *path, const struct source *source,
                           const struct module *const *modules, struct diagnostics *d)
{
    return config_load_with(path, source, modules, tls_layer_built, d);
}

struct config *config_reload(const struct config *before, const struct source *source,
                             struct diagnostics *d)
{
    return load(&(struct origin){.path = before->path,
                                 .source = source,
                                 .modules = before->modules_all,
                                 .layer = before->tls_layer,
                                 .secret = before->tls_secret},
                d);
}

void config_free(struct config *config)
{
    if (!config)
        return;
    for (unsigned i = 0; i < config->route_count; i++) {
        struct route_conf *r = &config->routes[i];
        if (r->loaded && r->handler->unload)
            r->handler->unload((void *)(uintptr_t)r->conf);
    }
    for (unsigned i = 0; i < config->listener_count; i++)
        tls_set_done(config->listeners[i].tls_set);
    for (unsigned i = 0; i < config->upstream_count; i++)
        tls_context_done(config->upstreams[i].tls);
    for (unsigned i = 0; i < config->tls_count; i++)
        tls_context_done(config->tls[i].context);
    explicit_bzero(config->tls_secret, sizeof config->tls_secret);
    arena_free(&config->arena);
    mem_free(config);
}

static const struct listener_conf *listener_find(const struct config *config, struct span name)
{
    for (unsigned i = 0; i < config->listener_count; i++)
        if (span_equal(config->listeners[i].name, name))
            return &config->listeners[i];
    return NULL;
}

static bool backlog_differs(const struct config *before, const struct config *after)
{
    for (unsigned i = 0; i < after->listener_count; i++) {
        const struct listener_conf *old = listener_find(before, after->listeners[i].name);
        if (old && old->backlog != after->listeners[i].backlog)
            return true;
    }
    return false;
}

struct span config_needs_restart(const struct config *before, const struct config *after,
                                 char text[NEEDS_RESTART_TEXT])
{
    const char *names[SERVER_RESTART_MAX + 1];
    unsigned count = 0;
    size_t len = 0;

    server_needs_restart(&before->server, &after->server, names);
    while (names[count])
        count++;
    if (backlog_differs(before, after))
        names[count++] = "backlog";
    for (unsigned i = 0; i < count; i++) {
        int n = snprintf(text + len, NEEDS_RESTART_TEXT - len, "%s%s", i ? ", " : "", names[i]);
        len += (size_t)n;
        assert(len < NEEDS_RESTART_TEXT);
    }
    return (struct span){text, len};
}

int config_keep_running(struct config *after, const struct config *before)
{
    for (unsigned i = 0; i < after->listener_count; i++) {
        const struct listener_conf *old = listener_find(before, after->listeners[i].name);
        if (old)
            after->listeners[i].backlog = old->backlog;
    }
    return server_keep_running(&after->server, &before->server, &after->arena) ? 0 : FAIL_MEMORY;
}
