/* [route NAME]: which requests, which handler, and what every route may say. */
#include "gate/loading.h"

struct route_raw {
    struct route_conf conf;
    struct span handler;
    struct lines match_header, match_query, error_pages, response_edits, request_edits;
    int encoded_slash, request_id;
};

#define AT(member, type) SETTING_MEMBER(struct route_raw, member, type)

static const char *const slash_words[] = {"refuse", "pass", NULL};
static const char *const id_words[] = {"trust", "new", "off", NULL}; /* enum request_id_mode */

const struct setting route_settings[] = {
    {.name = "handler",
     .type = SETTING_NAME,
     .flags = SETTING_REQUIRED,
     .offset = AT(handler, struct span),
     .help = "What answers; its settings stand in the same section."},
    {.name = "listener",
     .type = SETTING_NAMES,
     .offset = AT(conf.listeners, struct spans),
     .help = "The listeners it is for; all if absent."},
    {.name = "host",
     .type = SETTING_HOSTS,
     .offset = AT(conf.hosts, struct spans),
     .help = "The hosts it is for, *.example.com too; any if absent."},
    {.name = "path",
     .type = SETTING_PATHS,
     .fallback = "/*",
     .offset = AT(conf.paths, struct spans),
     .help = "The paths it is for: /exact, /prefix/*, /users/{id}, /files/{rest*}."},
    {.name = "method",
     .type = SETTING_TOKENS,
     .offset = AT(conf.methods, struct spans),
     .help = "The methods it is for; GET includes HEAD; any if absent."},
    {.name = "match_header",
     .type = SETTING_LINES,
     .flags = SETTING_REST_FIRST,
     .offset = AT(match_header, struct lines),
     .help = "A condition on a field: NAME, !NAME, NAME=V, NAME!=V, NAME^=PREFIX."},
    {.name = "match_query",
     .type = SETTING_LINES,
     .flags = SETTING_REST_FIRST,
     .offset = AT(match_query, struct lines),
     .help = "The same on a parameter of the query, compared decoded."},
    {.name = "use", .flags = SETTING_LATER},
    {.name = "max_body",
     .type = SETTING_SIZE,
     .flags = SETTING_INHERIT | SETTING_OFF,
     .fallback = "1m",
     .offset = AT(conf.max_body, uint64_t),
     .help = "Longer request content: 413."},
    {.name = "body_min_rate",
     .type = SETTING_RATE,
     .flags = SETTING_INHERIT | SETTING_OFF,
     .fallback = "128b/s",
     .offset = AT(conf.body_min_rate, struct rate),
     .help = "Slower request content while we ask for more: 408."},
    {.name = "encoded_slash",
     .type = SETTING_WORD,
     .flags = SETTING_INHERIT,
     .fallback = "refuse",
     .words = slash_words,
     .offset = AT(encoded_slash, int),
     .help = "Whether %2F and %5C in a path are refused with 400."},
    {.name = "request_id",
     .type = SETTING_WORD,
     .flags = SETTING_INHERIT,
     .fallback = "trust",
     .words = id_words,
     .offset = AT(request_id, int),
     .help = "X-Request-Id: kept from trusted peers, always new, or off."},
    {.name = "error_page",
     .type = SETTING_LINES,
     .flags = SETTING_INHERIT | SETTING_FILE_SECOND,
     .offset = AT(error_pages, struct lines),
     .help = "503[,504...] FILE: the content of errors the gateway makes."},
    {.name = "log",
     .type = SETTING_BOOL,
     .flags = SETTING_INHERIT,
     .fallback = "yes",
     .offset = AT(conf.log, bool),
     .help = "Whether its exchanges go to the access log."},
    {.name = "response_header",
     .type = SETTING_LINES,
     .flags = SETTING_REST_THIRD,
     .offset = AT(response_edits, struct lines),
     .help = "set, add or default NAME TEMPLATE, remove NAME or remove PREFIX*."},
    {.name = "request_header",
     .type = SETTING_LINES,
     .flags = SETTING_REST_THIRD,
     .offset = AT(request_edits, struct lines),
     .help = "The same, on what the origin gets."},
    {0},
};

/* --- checks ------------------------------------------------------------------ */

static void check_methods(struct loading *l, const struct route_conf *r)
{
    for (unsigned i = 0; i < r->methods.count; i++) {
        struct span name = r->methods.list[i], upper = arena_copy(&l->config->arena, name);
        if (!upper.ptr) {
            diagnostics_memory(l->d);
            return;
        }
        for (size_t c = 0; c < upper.len; c++)
            if (upper.ptr[c] >= 'a' && upper.ptr[c] <= 'z')
                ((char *)(uintptr_t)upper.ptr)[c] &= 0x5f;
        enum method m = method_find(name);
        if (m == METHOD_OTHER && method_find(upper) != METHOD_OTHER)
            loading_say(l, SEVERITY_ERROR, "method", "\"%.*s\": methods are upper case: %.*s",
                        SPAN_ARG(name), SPAN_ARG(upper));
        else if (m == METHOD_CONNECT || m == METHOD_TRACE)
            loading_say(l, SEVERITY_ERROR, "method", "%.*s is answered with 405 before any route",
                        SPAN_ARG(name));
    }
}

static void find_listeners(struct loading *l, struct route_conf *r)
{
    const struct config *config = l->config;
    const char *words[LISTENERS_MAX];

    r->listener_bits = r->listeners.count ? 0 : UINT64_MAX;
    for (unsigned i = 0; r->listeners.count == 0 && i < config->listener_count; i++)
        if (config->listeners[i].https_redirect) /* serves what names it alone */
            r->listener_bits &= ~(UINT64_C(1) << i);
    for (unsigned i = 0; i < r->listeners.count; i++) {
        struct span name = r->listeners.list[i];
        unsigned n = 0;
        for (; n < config->listener_count; n++) {
            if (span_equal(config->listeners[n].name, name))
                break;
            words[n] = arena_text(l->d->arena, config->listeners[n].name);
        }
        if (n < config->listener_count)
            r->listener_bits |= UINT64_C(1) << n;
        else
            loading_say(l, SEVERITY_ERROR, "listener", "there is no [listener %.*s]%s",
                        SPAN_ARG(name), did_you_mean(l, name, words, n));
    }
}

static void handler_missing(struct loading *l, struct span name)
{
    const char *words[64];
    size_t count = 0;

    for (const struct module *const *m = l->modules; *m; m++)
        for (const struct handler *const *h = (*m)->handlers; h && *h; h++)
            if (count < COUNT_OF(words))
                words[count++] = (*h)->name;
    loading_say(l, SEVERITY_ERROR, "handler", "there is no handler %.*s%s", SPAN_ARG(name),
                did_you_mean(l, name, words, count));
}

static void find_module(struct loading *l, struct route_conf *r)
{
    const struct config *config = l->config;

    while (r->module_index < config->module_count &&
           config->modules[r->module_index].module != r->module)
        r->module_index++;
    bool found = r->module_index < config->module_count;
    r->module_conf = l->module_conf = found ? config->modules[r->module_index].conf : NULL;
}

/* --- ${path.NAME} --------------------------------------------------------------- */

/* The next {NAME} or {NAME*} of a path, from *at on; false: there is none. */
static bool path_name(struct span path, size_t *at, struct span *name)
{
    size_t open = *at + span_find(span_after(path, *at), '{');

    if (open == path.len)
        return false;
    struct span rest = span_after(path, open + 1);
    *name = span_first(rest, span_find(rest, '}'));
    *at = open + 1 + name->len;
    if (name->len > 0 && name->ptr[name->len - 1] == '*')
        name->len--;
    return true;
}

/* What no path of the route has would always be empty, so it is a mistake. */
static void check_path_name(struct loading *l, const struct route_conf *r, const char *key,
                            const struct position *place, struct span wanted)
{
    const char *words[64];
    size_t count = 0;
    struct span name;

    for (unsigned i = 0; i < r->paths.count; i++)
        for (size_t at = 0; path_name(r->paths.list[i], &at, &name);) {
            if (span_equal(name, wanted))
                return;
            if (count < COUNT_OF(words) && (words[count] = arena_text(l->d->arena, name)))
                count++;
        }
    diagnostics_say(l->d, SEVERITY_ERROR, place ? *place : conf_at(l->section, key),
                    "%s: no path of this route has a {%.*s}%s", key,
                    SPAN_ARG(span_first(wanted, 60)), did_you_mean(l, wanted, words, count));
}

static void check_template(struct loading *l, const struct route_conf *r, const char *key,
                           const struct position *place, const struct template *t)
{
    for (unsigned i = 0; t && i < t->count; i++)
        if (t->parts[i].variable == VARIABLE_path_name)
            check_path_name(l, r, key, place, t->parts[i].text);
}

/* Nothing was refused, so there is an edit for each line. */
static void check_edits(struct loading *l, const struct route_conf *r, const char *key,
                        const struct lines *lines, const struct edits *edits)
{
    for (unsigned i = 0; i < edits->count; i++)
        if (edits->list[i].value)
            check_template(l, r, key, &lines->list[i].places[2], edits->list[i].value);
}

static void check_templates(struct loading *l, const struct route_conf *r,
                            const struct route_raw *raw)
{
    check_edits(l, r, "response_header", &raw->response_edits, &r->response_edits);
    check_edits(l, r, "request_header", &raw->request_edits, &r->request_edits);
    for (const struct setting *s = r->handler->settings; s && s->name; s++)
        if (s->type == SETTING_TEMPLATE)
            check_template(l, r, s->name, NULL,
                           *(struct template *const *)((const char *)r->conf + s->offset));
}

/* --- loading ------------------------------------------------------------------- */

static void handler_load(struct loading *l, struct conf_section *s, struct route_conf *r)
{
    const struct handler *h = r->handler;
    void *conf = loading_zalloc(l, h->conf_size);

    if (!conf)
        return;
    unsigned errors = l->d->errors;
    if (h->settings)
        conf_fill(&l->config->conf, s, NULL, h->settings, conf, l->d);
    r->conf = conf;
    find_module(l, r);
    /* What is wrong already would only be said again in other words. */
    if (h->load && r->module_conf && l->d->errors == errors) {
        h->load(l, conf);
        r->loaded = true;
    }
}

/* `asked`: a module's own route. */
static void route_load(struct loading *l, struct conf_section *s, struct route_conf *r,
                       struct route_asked *asked)
{
    struct route_raw raw = {0};
    unsigned index = r->index, errors = l->d->errors;

    l->section = s;
    conf_fill(&l->config->conf, s, l->server, route_settings, &raw, l->d);
    if (asked) {
        raw.conf.listeners = asked->route.listeners;
        raw.conf.hosts = asked->route.hosts;
        raw.conf.paths = (struct spans){&asked->route.path, 1};
        raw.conf.methods = (struct spans){&asked->route.method, asked->route.method.len > 0};
    }
    *r = raw.conf;
    r->name = s->name;
    r->index = index;
    r->at = s->at;
    r->encoded_slash_pass = raw.encoded_slash == 1;
    r->request_id = (enum request_id_mode)raw.request_id;
    l->paths = &r->paths;
    find_listeners(l, r);
    route_tls_check(l, r);
    check_methods(l, r);
    conditions_load(l, "match_header", &raw.match_header, false, &r->match);
    conditions_load(l, "match_query", &raw.match_query, true, &r->match);
    edits_load(l, "response_header", &raw.response_edits, &r->response_edits);
    edits_load(l, "request_header", &raw.request_edits, &r->request_edits);
    if (conf_find(s, "error_page"))
        error_pages_load(l, &raw.error_pages, &r->error_pages);
    else
        r->error_pages = l->config->server.error_pages;
    r->handler = handler_find(l, raw.handler, &r->module);
    if (r->handler)
        handler_load(l, s, r);
    else if (raw.handler.len > 0)
        handler_missing(l, raw.handler);
    if (l->d->errors == errors && r->handler)
        check_templates(l, r, &raw);
    r->sound = l->d->errors == errors;
}

/* --- modules' own routes --------------------------------------------------------- */

/* A section that says only which handler. */
static struct conf_section *asked_section(struct loading *l, const struct route_asked *asked)
{
    struct conf_section *s = loading_zalloc(l, sizeof *s);
    struct conf_entry *e = loading_zalloc(l, sizeof *e);
    struct conf_value *v = loading_zalloc(l, sizeof *v);

    if (!s || !e || !v)
        return NULL;
    v->text = span_of(asked->route.handler);
    v->at = asked->section->at;
    *e = (struct conf_entry){.key = SPAN("handler"), .at = v->at, .values = v};
    *s = (struct conf_section){.type = SPAN("route"), .name = v->text, .at = v->at, .entries = e};
    return s;
}

static bool asked_clashes(struct loading *l, const struct route_asked *asked)
{
    struct span name = span_of(asked->route.handler);

    for (struct conf_section *s = sections_of(l->config->conf.sections, "route"); s;
         s = sections_of(s->next, "route"))
        if (span_equal(s->name, name)) {
            diagnostics_say(l->d, SEVERITY_ERROR, s->at,
                            "[route %.*s] has the name of a route of [module %s] (%s:%u)",
                            SPAN_ARG(name), asked->module->name, asked->section->at.file,
                            asked->section->at.line);
            return true;
        }
    return false;
}

static void inherited_load(struct loading *l)
{
    struct route_raw scratch = {0};

    l->section = l->server;
    conf_fill_inherited(&l->config->conf, l->server, route_settings, &scratch, l->d);
    error_pages_load(l, &scratch.error_pages, &l->config->server.error_pages);
}

void config_load_routes(struct loading *l)
{
    struct config *config = l->config;
    unsigned count = sections_count(config, "route") + 1;

    for (const struct route_asked *a = l->asked; a; a = a->next)
        count++;
    inherited_load(l);
    if (!(config->routes = loading_zalloc(l, count * sizeof *config->routes)))
        return;
    for (struct conf_section *s = sections_of(config->conf.sections, "route"); s;
         s = sections_of(s->next, "route")) {
        config->routes[config->route_count].index = config->route_count;
        route_load(l, s, &config->routes[config->route_count], NULL);
        config->route_count++;
    }
    for (struct route_asked *a = l->asked; a; a = a->next) {
        struct conf_section *s = asked_clashes(l, a) ? NULL : asked_section(l, a);
        if (!s)
            continue;
        config->routes[config->route_count].index = config->route_count;
        route_load(l, s, &config->routes[config->route_count], a);
        config->route_count++;
    }
}
