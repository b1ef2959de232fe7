/* [upstream NAME]: groups of origins. */
#include "gate/loading.h"
#include "http/chars.h"
#include "http/h2_hpack.h"

struct upstream_raw {
    struct upstream_conf conf;
    struct lines servers, retry_on;
    struct spans protocols;
    struct line balance, sticky, check, queue, budget;
    int family, proxy;
};

#define AT(member, type) SETTING_MEMBER(struct upstream_raw, member, type)

static const char *const families[] = {"any", "ipv4", "ipv6", NULL}; /* enum address_family */
static const char *const protocols[] = {"h2", "http/1.1", NULL};
static const char *const proxy_words[] = {"off", "v1", "v2", NULL}; /* enum proxy_versions */
static const char *const request_host[] = {"${host}", NULL};

const struct setting upstream_settings[] = {
    {.name = "server",
     .type = SETTING_LINES,
     .flags = SETTING_REQUIRED | SETTING_UNIX_FIRST | SETTING_OPTIONS,
     .offset = AT(servers, struct lines),
     .help = "[http[s]://|h2c://]HOST:PORT, unix:PATH or srv:NAME; weight=N, backup, down."},
    {.name = "balance",
     .type = SETTING_LINE, /* hash has words after it */
     .fallback = "p2c",
     .offset = AT(balance, struct line),
     .help = "How a server is chosen: round_robin, least_conn, p2c, random, hash ..."},
    {.name = "sticky",
     .type = SETTING_LINE,
     .flags = SETTING_OFF | SETTING_OPTIONS,
     .fallback = "off",
     .offset = AT(sticky, struct line),
     .help = "A cookie that names a visitor's server: COOKIE [max_age=D] [insecure]."},
    {.name = "check",
     .type = SETTING_LINE,
     .flags = SETTING_OFF | SETTING_OPTIONS,
     .fallback = "off",
     .offset = AT(check, struct line),
     .help = "How each server is asked whether it is well: METHOD PATH or tcp, and options."},
    {.name = "eject_failures",
     .type = SETTING_COUNT,
     .flags = SETTING_OFF,
     .fallback = "5",
     .min = 1,
     .max = UINT32_MAX,
     .offset = AT(conf.eject_failures, uint64_t),
     .help = "Failures in a row after which a server is left out."},
    {.name = "eject_error_rate",
     .type = SETTING_PERCENT,
     .flags = SETTING_OFF,
     .fallback = "50%",
     .offset = AT(conf.eject_error_rate, uint64_t),
     .help = "Failures of at least 20 requests in 10 s after which it is."},
    {.name = "eject_time",
     .type = SETTING_DURATION,
     .fallback = "10s",
     .offset = AT(conf.eject_time, uint64_t),
     .help = "For how long; doubles each time, to 5m."},
    {.name = "max_ejected",
     .type = SETTING_PERCENT,
     .fallback = "50%",
     .offset = AT(conf.max_ejected, uint64_t),
     .help = "Of the group's servers, rounded down."},
    {.name = "slow_start",
     .type = SETTING_DURATION,
     .flags = SETTING_OFF,
     .fallback = "10s",
     .offset = AT(conf.slow_start, uint64_t),
     .help = "Until a server that is back has all of its weight."},
    {.name = "max_connections",
     .type = SETTING_COUNT,
     .flags = SETTING_OFF,
     .fallback = "off",
     .min = 1,
     .max = UINT32_MAX,
     .offset = AT(conf.max_connections, uint64_t),
     .help = "Connections to all servers together, of all workers."},
    {.name = "max_in_flight",
     .type = SETTING_COUNT,
     .flags = SETTING_OFF,
     .fallback = "off",
     .min = 1,
     .max = UINT32_MAX,
     .offset = AT(conf.max_in_flight, uint64_t),
     .help = "Requests under way at all servers together."},
    {.name = "queue",
     .type = SETTING_LINE,
     .flags = SETTING_OFF | SETTING_OPTIONS,
     .fallback = "256 timeout=1s",
     .offset = AT(queue, struct line),
     .help = "How many wait for a place, and how long: 503 and 504."},
    {.name = "connect_timeout",
     .type = SETTING_DURATION,
     .fallback = "3s",
     .offset = AT(conf.connect_timeout, uint64_t),
     .help = "To a connection, per try: 504."},
    {.name = "first_byte_timeout",
     .type = SETTING_DURATION,
     .flags = SETTING_OFF,
     .fallback = "60s",
     .offset = AT(conf.first_byte_timeout, uint64_t),
     .help = "From the request sent to the response's head: 504."},
    {.name = "idle_timeout",
     .type = SETTING_DURATION,
     .flags = SETTING_OFF,
     .fallback = "60s",
     .offset = AT(conf.idle_timeout, uint64_t),
     .help = "No byte of content while we wait for the origin: 504, or the response is cut."},
    {.name = "stream_timeout",
     .type = SETTING_DURATION,
     .flags = SETTING_OFF,
     .fallback = "1h",
     .offset = AT(conf.stream_timeout, uint64_t),
     .help = "Instead of idle_timeout for tunnels, event streams and gRPC."},
    {.name = "keepalive",
     .type = SETTING_COUNT,
     .flags = SETTING_OFF,
     .fallback = "64",
     .min = 1,
     .max = 65536,
     .offset = AT(conf.keepalive, uint64_t),
     .help = "Idle connections kept per server and worker."},
    {.name = "keepalive_time",
     .type = SETTING_DURATION,
     .fallback = "60s",
     .offset = AT(conf.keepalive_time, uint64_t),
     .help = "How long an idle connection is kept."},
    {.name = "keepalive_learn",
     .type = SETTING_BOOL,
     .fallback = "yes",
     .offset = AT(conf.keepalive_learn, bool),
     .help = "Whether one is given up before the server is known to end it."},
    {.name = "tries",
     .type = SETTING_COUNT,
     .fallback = "2",
     .min = 1,
     .max = 100,
     .offset = AT(conf.tries, uint64_t),
     .help = "Tries in all, another server first."},
    {.name = "retry_on",
     .type = SETTING_LIST,
     .flags = SETTING_OFF,
     .fallback = "connect, unprocessed, reset",
     .offset = AT(retry_on, struct lines),
     .help =
         "What is tried again: those two of any method; reset, timeout, statuses if idempotent."},
    {.name = "retry_budget",
     .type = SETTING_LINE,
     .flags = SETTING_OFF | SETTING_OPTIONS,
     .fallback = "20% min=10/s",
     .offset = AT(budget, struct line),
     .help = "Retries per requests, and so many in any case."},
    {.name = "retry_buffer",
     .type = SETTING_SIZE,
     .flags = SETTING_OFF,
     .fallback = "16k",
     .max = 1 << 30,
     .offset = AT(conf.retry_buffer, uint64_t),
     .help = "Request content kept for another try."},
    {.name = "max_response_header",
     .type = SETTING_SIZE,
     .fallback = "32k",
     .min = 256,
     .max = 256 * 1024, /* a wire takes it whole, whatever we add */
     .offset = AT(conf.max_response_header, uint64_t),
     .help = "A longer response head: 502."},
    {.name = "family",
     .type = SETTING_WORD,
     .fallback = "any",
     .words = families,
     .offset = AT(family, int),
     .help = "Which of a name's addresses are used."},
    {.name = "proxy_protocol",
     .type = SETTING_WORD,
     .fallback = "off",
     .words = proxy_words,
     .offset = AT(proxy, int),
     .help = "A PROXY header for the origin; each request has a connection of its own."},
    {.name = "protocols",
     .type = SETTING_WORD_ORDER,
     .fallback = "http/1.1",
     .words = protocols,
     .offset = AT(protocols, struct spans),
     .help = "What is spoken to an https server; of both it chooses one (ALPN), our order."},
    {.name = "tls_verify",
     .type = SETTING_BOOL,
     .fallback = "yes",
     .offset = AT(conf.tls_verify, bool),
     .help = "Whether an https server's certificate must be valid and its own."},
    {.name = "tls_ca",
     .type = SETTING_FILE,
     .offset = AT(conf.tls_ca, struct span),
     .help = "PEM certificates of those who certify servers; the system's if absent."},
    {.name = "tls_name",
     .type = SETTING_HOST,
     .words = request_host,
     .offset = AT(conf.tls_name, struct span),
     .help =
         "The name that is asked for and verified; ${host}: the request's; absent: the server's."},
    {.name = "tls_certificate",
     .type = SETTING_FILE,
     .offset = AT(conf.tls_certificate, struct span),
     .help = "Our PEM chain, for servers that ask."},
    {.name = "tls_key",
     .type = SETTING_FILE,
     .offset = AT(conf.tls_key, struct span),
     .help = "Its PEM key; in the same file if absent."},
    {0},
};

static const char *const balances[] = {"round_robin", "least_conn", "p2c", "random", "hash"};
static const char *const hashes[] = {"client_ip", "path", "header", "cookie"};

static size_t word_find(struct span word, const char *const *words, size_t count)
{
    size_t n = 0;

    while (n < count && !span_equal(word, span_of(words[n])))
        n++;
    return n;
}

/* The words behind "hash". */
static void hash_load(struct loading *l, const struct line *line, struct upstream_conf *u)
{
    const unsigned count = line->words.count;
    struct span word = count > 1 ? line->words.list[1] : SPAN("");
    size_t n = word_find(word, hashes, COUNT_OF(hashes));
    bool named = n == HASH_HEADER || n == HASH_COOKIE;
    unsigned wanted = named ? 3 : 2;

    if (n == COUNT_OF(hashes)) {
        diagnostics_say(l->d, SEVERITY_ERROR, line->places[count > 1],
                        "balance: behind hash stands client_ip, path, header NAME or cookie NAME%s",
                        did_you_mean(l, word, hashes, COUNT_OF(hashes)));
        return;
    }
    if (count != wanted) {
        diagnostics_say(l->d, SEVERITY_ERROR, line->places[count < wanted ? count - 1 : wanted],
                        "balance: %s follows %s", named ? "one name" : "nothing", hashes[n]);
        return;
    }
    u->hash_on = (enum hash_on)n;
    if (named)
        u->hash_name = line->words.list[2];
    if (named && !span_is_token(u->hash_name))
        loading_say_word(l, line, 2, "balance", "not a name");
}

static void balance_load(struct loading *l, const struct line *line, struct upstream_conf *u)
{
    struct span word = line->words.count ? line->words.list[0] : SPAN("p2c");
    size_t n = word_find(word, balances, COUNT_OF(balances));

    if (n == COUNT_OF(balances)) {
        loading_say(l, SEVERITY_ERROR, "balance", /* at the value's start, which is that word's */
                    "\"%.*s\" is none of round_robin, least_conn, p2c, random, hash%s",
                    SPAN_ARG(word), did_you_mean(l, word, balances, COUNT_OF(balances)));
        return;
    }
    u->balance = (enum balance)n;
    if (u->balance == BALANCE_HASH)
        hash_load(l, line, u);
    else if (line->words.count > 1)
        diagnostics_say(l->d, SEVERITY_ERROR, line->places[1], "balance: nothing follows %s",
                        balances[n]);
}

/* "N", "N timeout=D" or "off". */
static void queue_load(struct loading *l, const struct line *line, struct upstream_conf *u)
{
    const struct spans *words = &line->words;
    const struct span option = SPAN("timeout=");
    const char *why;

    u->queue_timeout = NS_PER_S;
    if (words->count == 0)
        return;
    if (value_count(words->list[0], &u->queue, &why) < 0)
        loading_say_word(l, line, 0, "queue", why);
    else if (u->queue > UINT32_MAX)
        loading_say_word(l, line, 0, "queue", "too large");
    for (unsigned i = 1; i < words->count; i++) {
        why = "behind the count stands timeout=DURATION";
        if (!span_starts(words->list[i], option) ||
            value_duration(span_after(words->list[i], option.len), &u->queue_timeout, &why) < 0)
            loading_say_word(l, line, i, "queue", why);
    }
}

/* "P%", "P% min=RATE" or "off". */
static void budget_load(struct loading *l, const struct line *line, struct upstream_conf *u)
{
    const struct spans *words = &line->words;
    const struct span option = SPAN("min=");
    const char *why;

    u->retry_budget = VALUE_OFF;
    if (words->count == 0)
        return;
    if (value_percent(words->list[0], &u->retry_budget, &why) < 0)
        loading_say_word(l, line, 0, "retry_budget", why);
    for (unsigned i = 1; i < words->count; i++) {
        why = "behind the percentage stands min=RATE";
        if (!span_starts(words->list[i], option) ||
            value_rate(span_after(words->list[i], option.len), &u->retry_min, &why) < 0)
            loading_say_word(l, line, i, "retry_budget", why);
    }
}

static bool links_are_limited(const struct upstream_conf *u)
{
    bool limited = u->max_connections != VALUE_OFF;

    for (unsigned i = 0; i < u->server_count; i++)
        limited = limited || u->servers[i].max_connections != VALUE_OFF;
    return limited;
}

static bool is_limited(const struct upstream_conf *u)
{
    bool limited = u->max_in_flight != VALUE_OFF || u->links_limited;

    for (unsigned i = 0; i < u->server_count; i++)
        limited = limited || u->servers[i].max_in_flight != VALUE_OFF;
    return limited;
}

/* Counting costs a line that all workers write: only for who needs it. */
static bool is_counted(const struct upstream_conf *u)
{
    if (u->limited)
        return true;
    return u->server_count > 1 && (u->balance == BALANCE_LEAST_CONN || u->balance == BALANCE_P2C ||
                                   u->balance == BALANCE_HASH);
}

/* Over TLS it is agreed (ALPN); without, h2c:// says so. */
static void protocols_load(struct loading *l, const struct spans *list, struct upstream_conf *u)
{
    bool h2 = false;

    for (unsigned i = 0; i < list->count; i++)
        h2 = h2 || span_equal(list->list[i], SPAN("h2"));
    u->either = h2 && list->count > 1;
    u->protocols = *list;
    if (h2 && !u->secure)
        loading_say(l, SEVERITY_ERROR, "protocols", "without TLS it is server = h2c://...");
    else if (h2 && !hpack_available())
        loading_say(l, SEVERITY_ERROR, "protocols", "h2 is not supported by this build");
    for (unsigned i = 0; h2 && i < u->server_count; i++)
        u->servers[i].h2 = true;
}

/* tls_verify = yes is how things are without TLS, too, and what -T prints. */
static void check_tls_unused(struct loading *l, const struct upstream_conf *u)
{
    static const char *const keys[] = {"tls_ca", "tls_name", "tls_certificate", "tls_key"};
    static const char why[] = "does nothing, for no server of this group is https://";

    for (size_t i = 0; i < COUNT_OF(keys); i++)
        if (conf_find(l->section, keys[i]))
            loading_say(l, SEVERITY_ERROR, keys[i], "%s", why);
    if (!u->tls_verify)
        loading_say(l, SEVERITY_ERROR, "tls_verify", "%s", why);
}

static void upstream_load(struct loading *l, struct conf_section *s, struct upstream_conf *u)
{
    struct upstream_raw raw = {0};
    unsigned index = u->index;

    l->section = s;
    conf_fill(&l->config->conf, s, NULL, upstream_settings, &raw, l->d);
    *u = raw.conf;
    u->name = s->name;
    u->index = index;
    balance_load(l, &raw.balance, u);
    loading_sticky(l, &raw.sticky, u);
    u->family = (uint64_t)raw.family;
    u->proxy_protocol = (enum proxy_versions)raw.proxy;
    unsigned errors = l->d->errors;
    loading_servers(l, &raw.servers, u);
    if (!u->secure && u->server_count > 0 && l->d->errors == errors)
        check_tls_unused(l, u);
    protocols_load(l, &raw.protocols, u);
    u->tls_by_host = span_equal(u->tls_name, span_of(request_host[0]));
    if (u->tls_by_host)
        u->tls_name = (struct span){0};
    queue_load(l, &raw.queue, u);
    budget_load(l, &raw.budget, u);
    loading_retry_on(l, &raw.retry_on, &u->retry_on);
    check_load(l, &raw.check, u);
    u->links_limited = links_are_limited(u);
    u->limited = is_limited(u);
    u->ejects =
        u->server_count > 1 && (u->eject_failures != VALUE_OFF || u->eject_error_rate != VALUE_OFF);
    u->counted = is_counted(u);
    upstream_tls_load(l, u);
}

void config_load_upstreams(struct loading *l)
{
    struct config *config = l->config;
    unsigned count = sections_count(config, "upstream");

    if (!(config->upstreams = loading_zalloc(l, (count ? count : 1) * sizeof *config->upstreams)))
        return;
    for (struct conf_section *s = sections_of(config->conf.sections, "upstream"); s;
         s = sections_of(s->next, "upstream")) {
        config->upstreams[config->upstream_count].index = config->upstream_count;
        upstream_load(l, s, &config->upstreams[config->upstream_count]);
        config->upstream_count++;
    }
}

const struct upstream_conf *config_upstream(const struct config *config, struct span name)
{
    for (unsigned i = 0; i < config->upstream_count; i++)
        if (span_equal(config->upstreams[i].name, name))
            return &config->upstreams[i];
    return NULL;
}
