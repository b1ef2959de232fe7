/* [upstream NAME]: groups of origins. */
#include "gate/balance.h"
#include "gate/loading.h"
#include "http/chars.h"

struct upstream_raw {
    struct upstream_conf conf;
    struct lines servers;
    struct spans protocols;
    struct line balance, queue, budget;
    int family, unused;
};

#define AT(member, type) SETTING_MEMBER(struct upstream_raw, member, type)

static const char *const retry_words[] = {"connect", "unprocessed", "reset", "timeout", NULL};
static const char *const families[] = {"any", "ipv4", "ipv6", NULL}; /* enum address_family */
static const char *const only_off[] = {"off", NULL}, *const only_h1[] = {"http/1.1", NULL};
static const char *const later_proxy[] = {"v1", "v2", NULL}, *const later_h2[] = {"h2", NULL};

const struct setting upstream_settings[] = {
    {.name = "server",
     .type = SETTING_LINES,
     .flags = SETTING_REQUIRED | SETTING_UNIX_FIRST,
     .offset = AT(servers, struct lines),
     .help = "[http://]HOST:PORT or unix:PATH; weight=N, backup, down."},
    {.name = "balance",
     .type = SETTING_LINE, /* hash has words after it */
     .fallback = "p2c",
     .offset = AT(balance, struct line),
     .help = "How a server is chosen: round_robin, least_conn, p2c, random, hash ..."},
    {.name = "sticky", .flags = SETTING_LATER},
    {.name = "check", .flags = SETTING_LATER},
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
    {.name = "slow_start", .flags = SETTING_LATER},
    {.name = "max_connections", .flags = SETTING_LATER},
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
     .flags = SETTING_OFF,
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
    {.name = "tries",
     .type = SETTING_COUNT,
     .fallback = "2",
     .min = 1,
     .max = 100,
     .offset = AT(conf.tries, uint64_t),
     .help = "Tries in all, another server first."},
    {.name = "retry_on",
     .type = SETTING_WORDS,
     .flags = SETTING_OFF,
     .fallback = "connect, unprocessed, reset",
     .words = retry_words,
     .offset = AT(conf.retry_on, uint64_t),
     .help = "What is tried again: the first two whatever the method, the others if idempotent."},
    {.name = "retry_budget",
     .type = SETTING_LINE,
     .flags = SETTING_OFF,
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
     .words = only_off,
     .later = later_proxy,
     .offset = AT(unused, int),
     .help = "A PROXY header for the origin."},
    {.name = "protocols",
     .type = SETTING_WORD_ORDER,
     .fallback = "http/1.1",
     .words = only_h1,
     .later = later_h2,
     .offset = AT(protocols, struct spans),
     .help = "What is spoken to the origin."},
    {.name = "tls_verify", .flags = SETTING_LATER},
    {.name = "tls_ca", .flags = SETTING_LATER},
    {.name = "tls_name", .flags = SETTING_LATER},
    {.name = "tls_certificate", .flags = SETTING_LATER},
    {.name = "tls_key", .flags = SETTING_LATER},
    {0},
};

/* --- one server -------------------------------------------------------------- */

static void say_word(struct loading *l, const struct line *line, unsigned word, const char *why)
{
    diagnostics_say(l->d, SEVERITY_ERROR, line->places[word], "server: \"%.*s\": %s",
                    SPAN_ARG(line->words.list[word]), why);
}

/* The number behind "name=" of an option. */
static bool option_number(struct loading *l, const struct line *line, unsigned word, size_t skip,
                          uint64_t most, uint64_t *n)
{
    const char *why;

    if (value_count(span_after(line->words.list[word], skip), n, &why) < 0) {
        say_word(l, line, word, why);
        return false;
    }
    if (*n > most) {
        say_word(l, line, word, "too large");
        return false;
    }
    return true;
}

static void option_load(struct loading *l, const struct line *line, unsigned word,
                        struct server_entry *e)
{
    static const char *const options[] = {"weight=", "backup", "down",
                                          "max_in_flight=", "max_connections="};
    struct span text = line->words.list[word];
    size_t equals = span_find(text, '=');
    struct span name = span_first(text, equals < text.len ? equals + 1 : equals);
    uint64_t n = 1;

    if (span_equal(text, SPAN("backup"))) {
        e->backup = true;
    } else if (span_equal(text, SPAN("down"))) {
        e->down = true;
    } else if (span_equal(name, SPAN("weight="))) {
        if (option_number(l, line, word, name.len, 10000, &n))
            e->weight = (unsigned)n;
    } else if (span_equal(name, SPAN("max_in_flight="))) {
        if (option_number(l, line, word, name.len, UINT32_MAX, &n))
            e->max_in_flight = n;
        if (n == 0)
            say_word(l, line, word, "at least 1; weight=0 or down give a server no work");
    } else if (span_equal(name, SPAN("max_connections="))) {
        say_word(l, line, word, "not supported by this build");
    } else {
        diagnostics_say(l->d, SEVERITY_ERROR, line->places[word],
                        "server: there is no option \"%.*s\"%s", SPAN_ARG(text),
                        did_you_mean(l, name, options, COUNT_OF(options)));
    }
}

/* Takes the scheme off the front; false: one we do not speak, and that was said. */
static bool scheme_load(struct loading *l, const struct line *line, struct span *rest, bool *http)
{
    static const char *const later[] = {"https://", "h2c://", "srv:"};

    *http = span_starts(*rest, SPAN("http://"));
    if (*http)
        *rest = span_after(*rest, 7);
    for (size_t i = 0; i < COUNT_OF(later); i++)
        if (span_starts(*rest, span_of(later[i]))) {
            diagnostics_say(l->d, SEVERITY_ERROR, line->places[0],
                            "server: %s is not supported by this build", later[i]);
            return false;
        }
    return true;
}

static bool host_split(struct loading *l, const struct line *line, struct span rest, bool http,
                       struct server_entry *e)
{
    size_t end =
        rest.len > 0 && rest.ptr[0] == '[' ? span_find(rest, ']') + 1 : span_find(rest, ':');
    uint64_t port = 80;

    if (span_find(rest, '/') < rest.len) {
        say_word(l, line, 0, "a server has no path; a route has rewrite");
        return false;
    }
    e->host = span_first(rest, end);
    if (end >= rest.len && !http) {
        say_word(l, line, 0, "the port is missing: HOST:PORT");
        return false;
    }
    if (end < rest.len && (rest.ptr[end] != ':' || !span_number(span_after(rest, end + 1), &port) ||
                           port == 0 || port > UINT16_MAX)) {
        say_word(l, line, 0, "after the host stands : and a port from 1 to 65535");
        return false;
    }
    e->port = (uint16_t)port;
    return true;
}

static bool one_address(struct loading *l, struct server_entry *e, const struct address *a)
{
    if (!(e->addresses = loading_zalloc(l, sizeof *a)))
        return false;
    e->addresses[0] = *a;
    e->address_count = 1;
    return true;
}

/* Keeps the addresses of the wanted family and gives them the port. */
static void keep_family(struct server_entry *e, uint64_t family)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < e->address_count; i++) {
        if (family != ADDRESS_NONE && e->addresses[i].family != family)
            continue;
        e->addresses[kept] = e->addresses[i];
        e->addresses[kept++].port = e->port;
    }
    e->address_count = kept;
}

/* A name without an address does not stop us: its server has none then, and
 * requests get a named answer. */
static void resolve(struct loading *l, const struct line *line, uint64_t family,
                    struct server_entry *e)
{
    const struct source *source = l->config->conf.source;
    char *name = arena_text(&l->config->arena, e->host);
    int err = !name ? FAIL_MEMORY : FAIL_NOT_FOUND;

    if (name && source->resolve)
        err = source->resolve(source->data, &l->config->arena, name, &e->addresses,
                              &e->address_count);
    if (err == FAIL_MEMORY)
        diagnostics_memory(l->d);
    if (err < 0)
        e->address_count = 0;
    keep_family(e, family);
    if (e->address_count == 0 && err != FAIL_MEMORY)
        diagnostics_say(l->d, SEVERITY_WARNING, line->places[0],
                        "server: %.*s has no address now; the server gets no requests",
                        SPAN_ARG(e->host));
}

static void address_load(struct loading *l, const struct line *line, uint64_t family,
                         struct server_entry *e)
{
    struct span text = line->words.list[0], rest = text, name;
    struct address a;
    const char *why;
    bool http;

    if (!scheme_load(l, line, &rest, &http))
        return;
    if (span_starts(rest, SPAN("unix:"))) {
        if (http || address_parse(&a, rest) < 0)
            say_word(l, line, 0, "a unix socket is unix:/path or unix:@name, at most 107 bytes");
        else
            one_address(l, e, &a);
        return;
    }
    if (!host_split(l, line, rest, http, e))
        return;
    bool brackets = e->host.len >= 2 && e->host.ptr[0] == '[';
    struct span ip = brackets ? (struct span){e->host.ptr + 1, e->host.len - 2} : e->host;
    if (address_parse_ip(&a, ip) == 0 && brackets == (a.family == ADDRESS_IPV6)) {
        a.port = e->port;
        one_address(l, e, &a);
        return;
    }
    if (brackets || value_host(&l->config->arena, e->host, false, &name, &why) < 0) {
        say_word(l, line, 0, "not a server: [http://]HOST:PORT, [v6]:PORT or unix:PATH");
        return;
    }
    e->host = name;
    resolve(l, line, family, e);
}

static void servers_load(struct loading *l, const struct lines *lines, struct upstream_conf *u)
{
    bool may_be_used = false;

    if (!(u->servers = loading_zalloc(l, lines->count * sizeof *u->servers)))
        return;
    for (unsigned i = 0; i < lines->count; i++) {
        struct server_entry *e = &u->servers[u->server_count++];
        *e = (struct server_entry){.text = lines->list[i].words.list[0],
                                   .hash = balance_hash(lines->list[i].words.list[0]),
                                   .weight = 1,
                                   .max_in_flight = VALUE_OFF};
        address_load(l, &lines->list[i], u->family, e);
        for (unsigned w = 1; w < lines->list[i].words.count; w++)
            option_load(l, &lines->list[i], w, e);
        may_be_used = may_be_used || (!e->down && e->weight > 0);
    }
    if (lines->count > 0 && !may_be_used)
        loading_say(l, SEVERITY_WARNING, NULL, "every server of [upstream %.*s] is down",
                    SPAN_ARG(u->name));
}

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
    struct span word = line->words.count > 1 ? line->words.list[1] : SPAN("");
    size_t n = word_find(word, hashes, COUNT_OF(hashes));
    bool named = n == HASH_HEADER || n == HASH_COOKIE;

    if (n == COUNT_OF(hashes)) {
        loading_say(l, SEVERITY_ERROR, "balance",
                    "behind hash stands client_ip, path, header NAME or cookie NAME%s",
                    did_you_mean(l, word, hashes, COUNT_OF(hashes)));
        return;
    }
    if (line->words.count != (named ? 3 : 2)) {
        loading_say(l, SEVERITY_ERROR, "balance",
                    named ? "one name follows %s" : "nothing follows %s", hashes[n]);
        return;
    }
    u->hash_on = (enum hash_on)n;
    if (named)
        u->hash_name = line->words.list[2];
    if (named && !span_is_token(u->hash_name))
        loading_say(l, SEVERITY_ERROR, "balance", "\"%.*s\" is no name", SPAN_ARG(u->hash_name));
}

static void balance_load(struct loading *l, const struct line *line, struct upstream_conf *u)
{
    struct span word = line->words.count ? line->words.list[0] : SPAN("p2c");
    size_t n = word_find(word, balances, COUNT_OF(balances));

    if (n == COUNT_OF(balances)) {
        loading_say(l, SEVERITY_ERROR, "balance",
                    "\"%.*s\" is none of round_robin, least_conn, p2c, random, hash%s",
                    SPAN_ARG(word), did_you_mean(l, word, balances, COUNT_OF(balances)));
        return;
    }
    u->balance = (enum balance)n;
    if (u->balance == BALANCE_HASH)
        hash_load(l, line, u);
    else if (line->words.count > 1)
        loading_say(l, SEVERITY_ERROR, "balance", "nothing follows %s", balances[n]);
}

/* "N", "N timeout=D" or "off". */
static void queue_load(struct loading *l, const struct line *line, struct upstream_conf *u)
{
    const struct spans *words = &line->words;
    const struct span option = SPAN("timeout=");
    const char *why = "a count, and timeout=DURATION";

    u->queue_timeout = NS_PER_S;
    if (words->count == 0)
        return;
    bool good = value_count(words->list[0], &u->queue, &why) == 0 && words->count <= 2;
    if (good && u->queue > UINT32_MAX) {
        good = false;
        why = "too large";
    }
    if (good && words->count == 2) {
        struct span second = words->list[1];
        good = span_starts(second, option) &&
               value_duration(span_after(second, option.len), &u->queue_timeout, &why) == 0;
    }
    if (!good)
        loading_say(l, SEVERITY_ERROR, "queue", "%s", why);
}

/* "P%", "P% min=RATE" or "off". */
static void budget_load(struct loading *l, const struct line *line, struct upstream_conf *u)
{
    const struct spans *words = &line->words;
    const struct span option = SPAN("min=");
    const char *why = "a percentage, and min=RATE";

    u->retry_budget = VALUE_OFF;
    if (words->count == 0)
        return;
    bool good = value_percent(words->list[0], &u->retry_budget, &why) == 0 && words->count <= 2;
    if (good && words->count == 2) {
        struct span second = words->list[1];
        good = span_starts(second, option) &&
               value_rate(span_after(second, option.len), &u->retry_min, &why) == 0;
    }
    if (!good)
        loading_say(l, SEVERITY_ERROR, "retry_budget", "%s", why);
}

static bool is_limited(const struct upstream_conf *u)
{
    bool limited = u->max_in_flight != VALUE_OFF;

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
    u->family = (uint64_t)raw.family;
    servers_load(l, &raw.servers, u);
    queue_load(l, &raw.queue, u);
    budget_load(l, &raw.budget, u);
    u->limited = is_limited(u);
    u->ejects =
        u->server_count > 1 && (u->eject_failures != VALUE_OFF || u->eject_error_rate != VALUE_OFF);
    u->counted = is_counted(u);
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
