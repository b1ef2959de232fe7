/* `check` of an [upstream NAME]: METHOD PATH or tcp, and options. */
#include "gate/loading.h"
#include "http/chars.h"

static const struct {
    struct span name;
    uint64_t fallback; /* ns, or a count */
} numbers[] = {
    {SPAN_INIT("interval="), 2 * NS_PER_S},
    {SPAN_INIT("timeout="), NS_PER_S},
    {SPAN_INIT("fall="), 3},
    {SPAN_INIT("rise="), 2},
};
enum { INTERVAL, TIMEOUT, FALL, RISE, NUMBERS, ROW_MAX = 1000 };

#define INTERVAL_MIN_NS (10 * NS_PER_MS)

/* NULL, or what is wrong with a number. */
static const char *number_load(unsigned i, struct span value, uint64_t *n)
{
    const char *why = NULL;

    if (i >= FALL) {
        if (value_count(value, n, &why) < 0)
            return why;
        return *n >= 1 && *n <= ROW_MAX ? NULL : "a number from 1 to 1000";
    }
    if (value_duration(value, n, &why) < 0)
        return why;
    return *n >= INTERVAL_MIN_NS ? NULL : "at least 10ms";
}

static const char *expect_load(struct loading *l, struct span value, struct check_conf *c)
{
    const char *why = NULL;

    if (value_ranges(&l->config->arena, value, &c->expected, &why) < 0)
        return why;
    c->expect = value;
    for (unsigned i = 0; i < c->expected.count; i++)
        if (c->expected.list[i].from < 100 || c->expected.list[i].to > 599)
            return "statuses are 100 to 599";
    return NULL;
}

static const char *host_load(struct span value, struct check_conf *c)
{
    c->host = value;
    return value.len > 0 && host_is_valid(value) ? NULL : "not a host";
}

static const char *port_load(struct span value, const struct upstream_conf *u, struct check_conf *c)
{
    uint64_t n = 0;

    if (!span_number(value, &n) || n == 0 || n > UINT16_MAX)
        return "a port from 1 to 65535";
    c->port = (uint16_t)n;
    for (unsigned i = 0; i < u->server_count; i++)
        if (u->servers[i].host.len == 0)
            return "a unix socket has no port";
    return NULL;
}

static void option_load(struct loading *l, const struct line *line, unsigned word,
                        struct upstream_conf *u, uint64_t n[NUMBERS])
{
    static const char *const options[] = {
        "expect=", "interval=", "timeout=", "fall=", "rise=", "host=", "port="};
    struct check_conf *c = &u->check;
    struct span text = line->words.list[word];
    size_t equals = span_find(text, '=');
    struct span name = span_first(text, equals < text.len ? equals + 1 : equals);
    struct span value = span_after(text, name.len);
    const char *why = NULL;
    bool http = span_equal(name, SPAN("expect=")) || span_equal(name, SPAN("host="));
    unsigned i = 0;

    while (i < NUMBERS && !span_equal(name, numbers[i].name))
        i++;
    if (i < NUMBERS)
        why = number_load(i, value, &n[i]);
    else if (http && c->kind == CHECK_TCP)
        why = "nothing is asked with tcp";
    else if (span_equal(name, SPAN("expect=")))
        why = expect_load(l, value, c);
    else if (span_equal(name, SPAN("host=")))
        why = host_load(value, c);
    else if (span_equal(name, SPAN("port=")))
        why = port_load(value, u, c);
    else
        diagnostics_say(l->d, SEVERITY_ERROR, line->places[word],
                        "check: there is no option \"%.*s\"%s", SPAN_ARG(text),
                        did_you_mean(l, name, options, COUNT_OF(options)));
    if (why)
        loading_say_word(l, line, word, "check", why);
}

/* The path as it is asked for: no byte that would end it. */
static bool is_target(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] <= ' ' || s.ptr[i] > '~' || s.ptr[i] == '#')
            return false;
    return s.len > 0 && s.ptr[0] == '/';
}

/* Returns how many words that were; 0: what is wrong was said. */
static unsigned what_load(struct loading *l, const struct line *line, struct check_conf *c)
{
    const struct spans *words = &line->words;

    if (span_equal(words->list[0], SPAN("tcp"))) {
        c->kind = CHECK_TCP;
        return 1;
    }
    c->kind = CHECK_HTTP;
    c->method = words->list[0];
    bool names = span_is_token(c->method) && !span_equal(c->method, SPAN("CONNECT"));
    for (size_t i = 0; names && i < c->method.len; i++)
        names = c->method.ptr[i] < 'a' || c->method.ptr[i] > 'z';
    if (!names || words->count < 2) {
        loading_say_word(l, line, 0, "check", "METHOD PATH, tcp or off");
        return 0;
    }
    c->target = words->list[1];
    if (!is_target(c->target))
        loading_say_word(l, line, 1, "check",
                         "a path, perhaps with a query, begins with / and has no other bytes than "
                         "may stand in a request");
    return 2;
}

void check_load(struct loading *l, const struct line *line, struct upstream_conf *u)
{
    struct check_conf *c = &u->check;
    uint64_t n[NUMBERS];
    unsigned word;

    if (line->words.count == 0 || !(word = what_load(l, line, c)))
        return;
    for (unsigned i = 0; i < NUMBERS; i++)
        n[i] = numbers[i].fallback;
    c->words = line->words;
    expect_load(l, SPAN("200-299"), c);
    for (; word < line->words.count; word++)
        option_load(l, line, word, u, n);
    c->interval = n[INTERVAL];
    c->timeout = n[TIMEOUT];
    c->fall = n[FALL];
    c->rise = n[RISE];
}
