/* [test NAME]: what a request is expected to meet.  Reading them; running them
 * is config_test_run.c's. */
#include "gate/loading.h"

struct test_raw {
    struct test_conf conf;
    struct line request;
    struct span client, expect_header;
};

#define AT(member, type) SETTING_MEMBER(struct test_raw, member, type)

const struct setting test_settings[] = {
    {.name = "request",
     .type = SETTING_LINE,
     .flags = SETTING_REQUIRED,
     .offset = AT(request, struct line),
     .help = "METHOD URL; scheme and port choose the listener."},
    {.name = "header",
     .type = SETTING_LINES,
     .flags = SETTING_REST_FIRST,
     .offset = AT(conf.headers, struct lines),
     .help = "NAME: VALUE of the request."},
    {.name = "client",
     .type = SETTING_TEXT,
     .fallback = "192.0.2.1",
     .offset = AT(client, struct span),
     .help = "The address the request comes from."},
    {.name = "listener",
     .type = SETTING_NAME,
     .offset = AT(conf.listener, struct span),
     .help = "The listener it comes in by."},
    {.name = "expect_route",
     .type = SETTING_NAME,
     .offset = AT(conf.expect_route, struct span),
     .help = "The route that answers; none when there is none."},
    {.name = "expect_status",
     .type = SETTING_COUNT,
     .min = 100,
     .max = 599,
     .offset = AT(conf.expect_status, uint64_t),
     .help = "The status, where neither disk nor origin decides."},
    {.name = "expect_upstream",
     .type = SETTING_NAMES,
     .offset = AT(conf.expect_upstream, struct spans),
     .help = "All groups that may be chosen."},
    {.name = "expect_path",
     .type = SETTING_TEXT,
     .offset = AT(conf.expect_path, struct span),
     .help = "Path and query that the origin would get."},
    {.name = "expect_header",
     .type = SETTING_TEXT,
     .offset = AT(expect_header, struct span),
     .help = "NAME or NAME: VALUE of the response."},
    {0},
};

static void say_url(struct loading *l, const struct line *request, const char *why)
{
    diagnostics_say(l->d, SEVERITY_ERROR, request->places[1], "request: \"%.*s\": %s",
                    SPAN_ARG(request->words.list[1]), why);
}

/* "http://HOST[:PORT][/PATH]" */
static void url_load(struct loading *l, const struct line *request, struct test_conf *t)
{
    struct span rest = request->words.list[1], name, port;
    char scratch[256];

    if (span_starts(rest, SPAN("http://")))
        t->scheme = SPAN("http");
    else if (span_starts(rest, SPAN("https://")))
        t->scheme = SPAN("https");
    else {
        say_url(l, request, "a URL begins with http:// or https://");
        return;
    }
    rest = span_after(rest, t->scheme.len + 3);
    size_t end = 0;
    while (end < rest.len && rest.ptr[end] != '/' && rest.ptr[end] != '?')
        end++;
    t->host = span_first(rest, end);
    t->target = end < rest.len ? span_after(rest, end) : SPAN("/");
    if (t->target.ptr[0] == '?')
        t->target = arena_join(&l->config->arena, SPAN("/"), t->target);
    if (t->host.len == 0 || !host_parse(t->host, scratch, &name, &port))
        say_url(l, request, "not a host");
    else if (port.len > 0)
        span_number(port, &t->port);
}

static void request_load(struct loading *l, const struct line *request, struct test_conf *t)
{
    const unsigned count = request->words.count;

    if (count == 0)
        return;
    if (count != 2) {
        loading_say_word(l, request, count > 2 ? 2 : 0, "request", "write METHOD URL");
        return;
    }
    t->method = request->words.list[0];
    if (!span_is_token(t->method))
        loading_say_word(l, request, 0, "request", "not a method");
    url_load(l, request, t);
}

/* "NAME: VALUE"; without ": " the value is missing. */
static bool header_split(struct span text, struct span *name, struct span *value)
{
    size_t colon = span_find(text, ':');

    *name = span_first(text, colon);
    *value = span_trim(span_after(text, colon < text.len ? colon + 1 : colon));
    return colon < text.len;
}

/* In "NAME: VALUE" as it was written, perhaps in quotes: what no name has, or else where the value
 * begins; 0 if there is none. */
static size_t header_wrong_at(struct span written)
{
    size_t begin = span_starts(written, SPAN("\"")), end = span_find(written, ':'), at = begin;

    while (at < end && span_is_token((struct span){written.ptr + at, 1}))
        at++;
    bool is_end_quote = begin > 0 && at + 1 == written.len;
    if (at == begin || (at < end && !is_end_quote))
        return at;
    for (at = end + 1; at < written.len && (written.ptr[at] == ' ' || written.ptr[at] == '\t');)
        at++;
    return at < written.len ? at : 0;
}

/* Of the value of a key that begins at this place. */
static struct position header_place(const struct conf_section *s, const char *key,
                                    struct position at)
{
    const struct conf_value *v = conf_find(s, key)->values;

    while (v->next && (v->at.line != at.line || v->at.column != at.column || v->at.file != at.file))
        v = v->next;
    return conf_value_at(v, header_wrong_at(v->text));
}

static void headers_load(struct loading *l, struct test_conf *t)
{
    struct span name, value;

    for (unsigned i = 0; i < t->headers.count; i++) {
        struct line *line = &t->headers.list[i];
        if (header_split(line->words.list[0], &name, &value) && span_is_token(name) &&
            span_is_field_value(value))
            continue;
        line->places[0] = header_place(t->section, "header", line->at);
        loading_say_word(l, line, 0, "header", "write NAME: VALUE");
    }
}

static void expect_header_load(struct loading *l, struct span text, struct test_conf *t)
{
    if (text.len == 0)
        return;
    t->expect_header_any = !header_split(text, &t->expect_header_name, &t->expect_header_value);
    t->expect_header_at =
        header_place(t->section, "expect_header", conf_at(t->section, "expect_header"));
    if (!span_is_token(t->expect_header_name))
        diagnostics_say(l->d, SEVERITY_ERROR, t->expect_header_at,
                        "expect_header: write NAME or NAME: VALUE");
}

static void listener_check(struct loading *l, const struct test_conf *t)
{
    const char *words[LISTENERS_MAX];
    unsigned n = 0;

    if (t->listener.len == 0)
        return;
    for (; n < l->config->listener_count; n++) {
        if (span_equal(l->config->listeners[n].name, t->listener))
            return;
        words[n] = arena_text(l->d->arena, l->config->listeners[n].name);
    }
    loading_say(l, SEVERITY_ERROR, "listener", "there is no [listener %.*s]%s",
                SPAN_ARG(t->listener), did_you_mean(l, t->listener, words, n));
}

static void test_load(struct loading *l, struct conf_section *s, struct test_conf *t)
{
    struct test_raw raw = {0};

    l->section = s;
    conf_fill(&l->config->conf, s, NULL, test_settings, &raw, l->d);
    *t = raw.conf;
    t->name = s->name;
    t->section = s;
    request_load(l, &raw.request, t);
    headers_load(l, t);
    listener_check(l, t);
    if (address_parse_ip(&t->client, raw.client) < 0 && raw.client.len > 0)
        loading_say(l, SEVERITY_ERROR, "client", "\"%.*s\" is no IP address", SPAN_ARG(raw.client));
    expect_header_load(l, raw.expect_header, t);
    for (unsigned i = 0; i < t->expect_upstream.count; i++)
        loading_upstream(l, t->expect_upstream.list[i], conf_at(s, "expect_upstream"));
    for (const struct conf_entry *e = s->entries; e; e = e->next)
        if (span_starts(e->key, SPAN("expect_")))
            return;
    loading_say(l, SEVERITY_ERROR, NULL, "[test %.*s] expects nothing", SPAN_ARG(s->name));
}

void config_load_tests(struct loading *l)
{
    struct config *config = l->config;
    unsigned count = sections_count(config, "test");

    if (!(config->tests = loading_zalloc(l, (count + 1) * sizeof *config->tests)))
        return;
    for (struct conf_section *s = sections_of(config->conf.sections, "test"); s;
         s = sections_of(s->next, "test"))
        test_load(l, s, &config->tests[config->test_count++]);
}
