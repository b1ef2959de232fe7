/* [listener NAME]: where clients come in, and what they may do to us. */
#include "gate/loading.h"

#include <limits.h>

struct listener_raw {
    struct listener_conf conf;
    struct span client_ip_from;
    int unknown_sni;
    uint64_t request_line, header, fields;
    int proxy_protocol;
};

#define AT(member, type) SETTING_MEMBER(struct listener_raw, member, type)

static const char *const unknown_words[] = {"default", "refuse", NULL};
static const char *const proxy_words[] = {"off", "v1", "v2", "any", NULL}; /* enum proxy_versions */

const struct setting listener_settings[] = {
    {.name = "listen",
     .type = SETTING_ADDRESSES,
     .flags = SETTING_REQUIRED,
     .offset = AT(conf.listen, struct addresses),
     .help = "Where: :80, 10.0.0.1:80, [::1]:80, unix:/path or unix:@name."},
    {.name = "tls",
     .type = SETTING_NAMES,
     .offset = AT(conf.tls_names, struct spans),
     .help = "The [tls] sections clients choose among by name; the first for all others."},
    {.name = "unknown_sni",
     .type = SETTING_WORD,
     .fallback = "default",
     .words = unknown_words,
     .offset = AT(unknown_sni, int),
     .help = "Names no section has: the first section, or refused."},
    {.name = "h2c",
     .type = SETTING_BOOL,
     .fallback = "yes",
     .offset = AT(conf.h2c, bool),
     .help = "HTTP/2 by prior knowledge, where no TLS is spoken."},
    {.name = "https_redirect",
     .type = SETTING_BOOL,
     .fallback = "no",
     .offset = AT(conf.https_redirect, bool),
     .help = "Whether all but the routes that name this listener go to https."},
    {.name = "https_port",
     .type = SETTING_COUNT,
     .fallback = "443",
     .min = 1,
     .max = 65535,
     .offset = AT(conf.https_port, uint64_t),
     .help = "The port they go to."},
    {.name = "trusted",
     .type = SETTING_NETS,
     .offset = AT(conf.trusted, struct nets),
     .help = "Peers whose word on client address, scheme, host and request id counts."},
    {.name = "client_ip_from",
     .type = SETTING_TOKEN,
     .fallback = "x-forwarded-for",
     .offset = AT(client_ip_from, struct span),
     .help = "The one source of the client's address: x-forwarded-for, forwarded, off or a field."},
    {.name = "proxy_protocol",
     .type = SETTING_WORD,
     .fallback = "off",
     .words = proxy_words,
     .offset = AT(proxy_protocol, int),
     .help = "The PROXY header that trusted peers, and nobody else, begin with."},
    {.name = "max_connections",
     .type = SETTING_COUNT,
     .flags = SETTING_OFF,
     .fallback = "off",
     .min = 1,
     .offset = AT(conf.max_connections, uint64_t),
     .help = "Connections of this listener."},
    {.name = "backlog",
     .type = SETTING_COUNT,
     .flags = SETTING_RESTART,
     .fallback = "4096",
     .min = 1,
     .max = INT_MAX,
     .offset = AT(conf.backlog, uint64_t),
     .help = "Connections that may wait to be accepted; somaxconn caps it."},
    {.name = "socket_mode",
     .type = SETTING_OCTAL,
     .fallback = "0660",
     .offset = AT(conf.socket_mode, uint64_t),
     .help = "Permissions of unix sockets."},
    {.name = "handshake_timeout",
     .type = SETTING_DURATION,
     .flags = SETTING_INHERIT,
     .fallback = "10s",
     .offset = AT(conf.handshake_timeout, uint64_t),
     .help = "From accept to the end of the TLS handshake: closed."},
    {.name = "header_timeout",
     .type = SETTING_DURATION,
     .flags = SETTING_INHERIT,
     .fallback = "10s",
     .offset = AT(conf.header_timeout, uint64_t),
     .help = "To the end of a request's head: 408."},
    {.name = "keepalive_timeout",
     .type = SETTING_DURATION,
     .flags = SETTING_INHERIT,
     .fallback = "75s",
     .offset = AT(conf.keepalive_timeout, uint64_t),
     .help = "Idle between requests: closed."},
    {.name = "keepalive_requests",
     .type = SETTING_COUNT,
     .flags = SETTING_INHERIT | SETTING_OFF,
     .fallback = "off",
     .min = 1,
     .offset = AT(conf.keepalive_requests, uint64_t),
     .help = "Requests a connection."},
    {.name = "write_timeout",
     .type = SETTING_DURATION,
     .flags = SETTING_INHERIT,
     .fallback = "30s",
     .offset = AT(conf.write_timeout, uint64_t),
     .help = "Bytes are waiting and the client takes none: closed."},
    {.name = "max_request_line",
     .type = SETTING_SIZE,
     .flags = SETTING_INHERIT,
     .fallback = "8k",
     .min = 64,
     .max = 1 << 20,
     .offset = AT(request_line, uint64_t),
     .help = "A longer request line: 414."},
    {.name = "max_header",
     .type = SETTING_SIZE,
     .flags = SETTING_INHERIT,
     .fallback = "32k",
     .min = 256,
     .max = 256 * 1024, /* the way to an origin takes it whole, whatever we add */
     .offset = AT(header, uint64_t),
     .help = "A longer head, or trailers: 431."},
    {.name = "max_fields",
     .type = SETTING_COUNT,
     .flags = SETTING_INHERIT,
     .fallback = "100",
     .min = 1,
     .max = 10000,
     .offset = AT(fields, uint64_t),
     .help = "More fields than that: 431."},
    {.name = "h2_max_streams",
     .type = SETTING_COUNT,
     .flags = SETTING_INHERIT,
     .fallback = "128",
     .min = 1,
     .max = 10000,
     .offset = AT(conf.h2_max_streams, uint64_t),
     .help = "HTTP/2 streams of one connection at once; more are refused."},
    {.name = "h2_window",
     .type = SETTING_SIZE,
     .flags = SETTING_INHERIT,
     .fallback = "256k",
     .min = 64 * 1024,
     .max = 256 * 1024, /* what a flow's slices hold, however it comes */
     .offset = AT(conf.h2_window, uint64_t),
     .help = "Content a stream may send before we take it; a connection four times that."},
    {.name = "h2_resets",
     .type = SETTING_RATE,
     .flags = SETTING_INHERIT,
     .fallback = "500/10s",
     .offset = AT(conf.h2_resets, struct rate),
     .help = "HTTP/2 streams reset by or because of a client; more end its connection."},
    {.name = "h2_control",
     .type = SETTING_RATE,
     .flags = SETTING_INHERIT,
     .fallback = "1000/10s",
     .offset = AT(conf.h2_control, struct rate),
     .help = "HTTP/2 frames that carry nothing; more end the connection."},
    {0},
};

/* --- names in addresses ------------------------------------------------------ */

static bool is_name(const struct listen_address *a)
{
    return !a->any && a->address.family == ADDRESS_NONE;
}

/* All addresses of a name instead of it. */
static void resolve_one(struct loading *l, const struct listen_address *a, struct addresses *out)
{
    const struct source *source = l->config->conf.source;
    struct arena *arena = &l->config->arena;
    struct span host = span_first(a->text, span_find(a->text, ':'));
    char *name = arena_text(arena, host);
    struct address *found = NULL;
    unsigned count = 0;

    int err = !name             ? FAIL_MEMORY
              : source->resolve ? source->resolve(source->data, arena, name, &found, &count)
                                : FAIL_NOT_FOUND;
    struct listen_address *more = arena_alloc(arena, (out->count + count) * sizeof *more);
    if (err == FAIL_MEMORY || !more) {
        diagnostics_memory(l->d);
        return;
    }
    if (err < 0 || count == 0)
        loading_say(l, SEVERITY_ERROR, "listen", "%.*s has no address", SPAN_ARG(host));
    if (out->count > 0)
        memcpy(more, out->list, out->count * sizeof *more);
    out->list = more;
    for (unsigned i = 0; i < count; i++) {
        char text[ADDRESS_TEXT_MAX];
        found[i].port = a->address.port;
        size_t len = address_print(&found[i], text);
        struct span copy = arena_copy(arena, (struct span){text, len});
        if (!copy.ptr) {
            diagnostics_memory(l->d);
            return;
        }
        more[out->count++] = (struct listen_address){.address = found[i], .text = copy};
    }
}

static void resolve_names(struct loading *l, struct listener_conf *c)
{
    struct addresses plain = {0};
    bool names = false;

    for (unsigned i = 0; i < c->listen.count; i++)
        names = names || is_name(&c->listen.list[i]);
    if (!names)
        return;
    if (!(plain.list = loading_zalloc(l, c->listen.count * sizeof *plain.list)))
        return;
    for (unsigned i = 0; i < c->listen.count; i++)
        if (!is_name(&c->listen.list[i]))
            plain.list[plain.count++] = c->listen.list[i];
    for (unsigned i = 0; i < c->listen.count; i++)
        if (is_name(&c->listen.list[i]))
            resolve_one(l, &c->listen.list[i], &plain);
    c->listen = plain;
}

/* --- checks ------------------------------------------------------------------ */

/* Whether `all` takes what is meant for `one`: [::] takes IPv4, too, and nobody binds beside
 * a wildcard. */
static bool takes(const struct listen_address *all, const struct listen_address *one)
{
    static const uint8_t zeros[16];
    bool v4 = all->address.family == ADDRESS_IPV4, wild = all->any;

    if (one->address.family == ADDRESS_UNIX || all->address.family == ADDRESS_UNIX)
        return false;
    wild = wild || memcmp(all->address.ip, zeros, v4 ? 4 : 16) == 0;
    return wild && all->address.port == one->address.port &&
           (all->any || !v4 || one->any || one->address.family == ADDRESS_IPV4);
}

static bool same_place(const struct listen_address *a, const struct listen_address *b)
{
    if (takes(a, b) || takes(b, a))
        return true;
    return !a->any && !b->any && address_equal(&a->address, &b->address);
}

static void check_twice(struct loading *l, const struct listener_conf *c, unsigned n)
{
    const struct listen_address *mine = &c->listen.list[n];

    for (const struct listener_conf *other = l->config->listeners; other <= c; other++)
        for (unsigned i = 0; i < (other == c ? n : other->listen.count); i++)
            if (same_place(mine, &other->listen.list[i])) {
                loading_say(l, SEVERITY_ERROR, "listen", "%.*s: [listener %.*s] has %.*s already",
                            SPAN_ARG(mine->text), SPAN_ARG(other->name),
                            SPAN_ARG(other->listen.list[i].text));
                return;
            }
}

static void check_backlog(struct loading *l, const struct listener_conf *c)
{
    static const char path[] = "/proc/sys/net/core/somaxconn";
    const struct source *source = l->config->conf.source;
    struct span text;
    uint64_t most;

    if (!conf_find(l->section, "backlog") ||
        source->read(source->data, &l->config->arena, path, &text) < 0)
        return;
    text.len = span_find(text, '\n');
    if (span_number(text, &most) && most < c->backlog)
        loading_say(l, SEVERITY_WARNING, "backlog", "the system's somaxconn caps it at %llu",
                    (unsigned long long)most);
}

static void proxy_load(struct loading *l, struct listener_conf *c, int versions)
{
    c->proxy_protocol = (enum proxy_versions)versions;
    if (versions && !conf_find(l->section, "trusted"))
        loading_say(l, SEVERITY_ERROR, "proxy_protocol",
                    "this needs trusted: the peers whose PROXY header counts");
}

static void client_ip_load(struct loading *l, struct listener_conf *c, struct span from)
{
    if (span_equal_nocase(from, SPAN("x-forwarded-for"))) {
        c->client_ip_from = CLIENT_IP_XFF;
    } else if (span_equal_nocase(from, SPAN("forwarded"))) {
        c->client_ip_from = CLIENT_IP_FORWARDED;
    } else if (span_equal(from, SPAN("off"))) {
        c->client_ip_from = CLIENT_IP_OFF;
    } else {
        c->client_ip_from = CLIENT_IP_FIELD;
        c->client_ip_field = from;
    }
    /* The default is what -T prints, and must read back. */
    bool special = c->client_ip_from == CLIENT_IP_FORWARDED || c->client_ip_from == CLIENT_IP_FIELD;
    if (special && !conf_find(l->section, "trusted"))
        loading_say(l, SEVERITY_ERROR, "client_ip_from",
                    "nobody's word counts without trusted: add trusted, or remove this");
}

static void listener_load(struct loading *l, struct conf_section *s, struct listener_conf *c)
{
    struct listener_raw raw = {0};

    l->section = s;
    conf_fill(&l->config->conf, s, l->server, listener_settings, &raw, l->d);
    unsigned index = c->index;
    *c = raw.conf;
    c->name = s->name;
    c->index = index;
    c->limits = (struct h1_limits){.request_line_max = (uint32_t)raw.request_line,
                                   .head_max = (uint32_t)raw.header,
                                   .fields_max = (uint32_t)raw.fields};
    if (raw.request_line > raw.header && raw.header > 0)
        loading_say(l, SEVERITY_ERROR, "max_request_line", "more than max_header");
    c->unknown_sni_refused = raw.unknown_sni == 1;
    listener_tls_load(l, c);
    if (c->https_redirect && c->tls_names.count > 0)
        loading_say(l, SEVERITY_ERROR, "https_redirect", "this listener speaks TLS itself");
    client_ip_load(l, c, raw.client_ip_from);
    proxy_load(l, c, raw.proxy_protocol);
    check_backlog(l, c);
    resolve_names(l, c);
    for (unsigned i = 0; i < c->listen.count; i++)
        check_twice(l, c, i);
}

void config_load_listeners(struct loading *l)
{
    struct config *config = l->config;
    unsigned count = sections_count(config, "listener");
    struct listener_raw scratch = {0};

    conf_fill_inherited(&config->conf, l->server, listener_settings, &scratch, l->d);
    if (count == 0)
        diagnostics_say(l->d, SEVERITY_ERROR, (struct position){config->conf.path, 1, 1},
                        "there is no [listener NAME]");
    if (!(config->listeners = loading_zalloc(l, (count ? count : 1) * sizeof *config->listeners)))
        return;
    for (struct conf_section *s = sections_of(config->conf.sections, "listener"); s;
         s = sections_of(s->next, "listener")) {
        if (config->listener_count == LISTENERS_MAX) {
            diagnostics_say(l->d, SEVERITY_ERROR, s->at, "more than %d listeners", LISTENERS_MAX);
            return;
        }
        config->listeners[config->listener_count].index = config->listener_count;
        listener_load(l, s, &config->listeners[config->listener_count]);
        config->listener_count++;
    }
}
