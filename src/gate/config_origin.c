/* The servers of an [upstream NAME], a line each. */
#include "base/hash.h"
#include "gate/loading.h"
#include "http/h2_hpack.h"
#include "net/lookup.h"

/* The number behind "name=" of an option. */
static bool option_number(struct loading *l, const struct line *line, unsigned word, size_t skip,
                          uint64_t most, uint64_t *n)
{
    const char *why;

    if (value_count(span_after(line->words.list[word], skip), n, &why) < 0) {
        loading_say_word(l, line, word, "server", why);
        return false;
    }
    if (*n > most) {
        loading_say_word(l, line, word, "server", "too large");
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
            loading_say_word(l, line, word, "server",
                             "at least 1; weight=0 or down give a server no work");
    } else if (span_equal(name, SPAN("max_connections="))) {
        if (option_number(l, line, word, name.len, UINT32_MAX, &n))
            e->max_connections = n;
        if (n == 0)
            loading_say_word(l, line, word, "server",
                             "at least 1; weight=0 or down give a server no work");
    } else {
        diagnostics_say(l->d, SEVERITY_ERROR, line->places[word],
                        "server: there is no option \"%.*s\"%s", SPAN_ARG(text),
                        did_you_mean(l, name, options, COUNT_OF(options)));
    }
}

/* ftp://, or a scheme that was meant to be one of ours. */
static bool scheme_is_unknown(struct loading *l, const struct line *line, struct span text)
{
    static const char *const schemes[] = {"http", "https", "h2c"};
    size_t end = span_find(text, ':');
    struct span scheme = span_first(text, end);

    if (!span_starts(span_after(text, end), SPAN("://")) || span_equal(scheme, SPAN("unix")))
        return false;
    diagnostics_say(
        l->d, SEVERITY_ERROR, line->places[0], "server: \"%.*s\" is none of http, https, h2c%s",
        SPAN_ARG(span_first(scheme, 60)), did_you_mean(l, scheme, schemes, COUNT_OF(schemes)));
    return true;
}

/* Takes the scheme off the front; false: one we do not speak, and that was said. */
static bool scheme_load(struct loading *l, const struct line *line, struct span *rest,
                        struct server_entry *e, bool *named)
{
    e->h2 = span_starts(*rest, SPAN("h2c://"));
    e->secure = span_starts(*rest, SPAN("https://"));
    *named = e->h2 || e->secure || span_starts(*rest, SPAN("http://"));
    if (*named)
        *rest = span_after(*rest, span_find(*rest, ':') + 3);
    else if (scheme_is_unknown(l, line, *rest))
        return false;
    e->services = span_starts(*rest, SPAN("srv:"));
    const char *missing = NULL;
    if (e->h2 && !hpack_available())
        missing = "h2c://";
    else if (e->services && !resolver_library)
        missing = "srv:";
    if (missing)
        diagnostics_say(l->d, SEVERITY_ERROR, line->places[0],
                        "server: %s is not supported by this build", missing);
    return !missing;
}

static bool host_split(struct loading *l, const struct line *line, struct span rest, bool named,
                       struct server_entry *e)
{
    size_t end =
        rest.len > 0 && rest.ptr[0] == '[' ? span_find(rest, ']') + 1 : span_find(rest, ':');
    uint64_t port = e->secure ? 443 : 80;

    if (span_find(rest, '/') < rest.len) {
        loading_say_word(l, line, 0, "server", "a server has no path; a route has rewrite");
        return false;
    }
    e->host = span_first(rest, end);
    if (end >= rest.len && !named) {
        loading_say_word(l, line, 0, "server", "the port is missing: HOST:PORT");
        return false;
    }
    if (end < rest.len && (rest.ptr[end] != ':' || !span_number(span_after(rest, end + 1), &port) ||
                           port == 0 || port > UINT16_MAX)) {
        loading_say_word(l, line, 0, "server",
                         "after the host stands : and a port from 1 to 65535");
        return false;
    }
    e->port = (uint16_t)port;
    return true;
}

static bool one_address(struct loading *l, struct server_entry *e, const struct address *a)
{
    struct address *at = loading_zalloc(l, sizeof *at);

    if (!at)
        return false;
    *at = *a;
    e->address = at;
    return true;
}

/* srv:_service._tcp.name; its own Host is the name, for the targets are found by it. */
static void service_load(struct loading *l, const struct line *line, struct span rest, bool named,
                         struct server_entry *e)
{
    struct span service = span_after(rest, 4), name;
    size_t first = span_find(service, '.'), second = first + 1;
    const char *why = NULL;

    second += second < service.len ? span_find(span_after(service, second), '.') : 0;
    bool fine = !named && span_starts(service, SPAN("_")) && first > 1 && second < service.len &&
                span_equal(span_first(span_after(service, first), second - first), SPAN("._tcp"));
    e->authority = fine ? span_after(service, second + 1) : (struct span){0};
    if (!fine || value_host(&l->config->arena, e->authority, false, &name, &why) < 0 ||
        service.len > LOOKUP_NAME_MAX || span_find(service, ':') < service.len) {
        loading_say_word(l, line, 0, "server",
                         "a service is srv:_SERVICE._tcp.NAME, without scheme and port");
        return;
    }
    e->host = service;
    e->named = true;
}

/* No top-level domain is a number (RFC 3696, 2): it is an IPv4 address gone wrong. */
static bool is_number(struct span name)
{
    size_t last = name.len;

    while (last > 0 && name.ptr[last - 1] != '.')
        last--;
    struct span label = span_after(name, last);
    for (size_t i = 0; i < label.len; i++)
        if (label.ptr[i] < '0' || label.ptr[i] > '9')
            return false;
    return label.len > 0;
}

static void address_load(struct loading *l, const struct line *line, struct server_entry *e)
{
    struct span text = line->words.list[0], rest = text, name;
    struct address a;
    const char *why;
    bool named;

    if (!scheme_load(l, line, &rest, e, &named))
        return;
    if (span_starts(rest, SPAN("unix:"))) {
        if ((named && !e->h2) || address_parse(&a, rest) < 0)
            loading_say_word(l, line, 0, "server",
                             "a unix socket is unix:/path or unix:@name, at most 107 bytes");
        else
            one_address(l, e, &a);
        e->authority = SPAN("localhost");
        return;
    }
    if (e->services) {
        service_load(l, line, rest, named, e);
        return;
    }
    if (!host_split(l, line, rest, named, e))
        return;
    e->authority = rest;
    bool brackets = e->host.len >= 2 && e->host.ptr[0] == '[';
    struct span ip = brackets ? (struct span){e->host.ptr + 1, e->host.len - 2} : e->host;
    if (address_parse_ip(&a, ip) == 0 && brackets == (a.family == ADDRESS_IPV6)) {
        a.port = e->port;
        one_address(l, e, &a);
        return;
    }
    if (brackets || value_host(&l->config->arena, e->host, false, &name, &why) < 0) {
        loading_say_word(l, line, 0, "server",
                         "not a server: [http[s]://|h2c://]HOST:PORT, [v6]:PORT or unix:PATH");
        return;
    }
    if (is_number(name)) {
        loading_say_word(l, line, 0, "server", "neither an IPv4 address nor a name");
        return;
    }
    e->host = name;
    e->named = true;
}

/* --- slots --------------------------------------------------------------------------------- */

/* What tells a slot from others of the same name, also after a reload. */
static struct span slot_key(struct loading *l, const struct server_entry *e, uint64_t family,
                            unsigned n)
{
    static const char *const families[] = {"any", "ipv4", "ipv6"};
    struct span key =
        arena_print(&l->config->arena, "%.*s %s %u", SPAN_ARG(e->text), families[family], n);

    if (!key.ptr)
        diagnostics_memory(l->d);
    return key;
}

static void slot_load(struct loading *l, struct upstream_conf *u, const struct server_entry *line,
                      unsigned n)
{
    struct server_entry *e = &u->servers[u->server_count++];

    *e = *line;
    e->key = e->named ? slot_key(l, e, u->family, n) : e->text;
    e->hash = hash_text(e->text);
}

/* A server's slots: one, or those of a name. */
static void slots_load(struct loading *l, struct upstream_conf *u, const struct server_entry *e)
{
    for (unsigned n = 0; n < (e->named ? SLOTS_PER_NAME : 1); n++)
        slot_load(l, u, e, n);
}

/* What is known of a server, and ordered of it, is found by its text. */
static void check_server_twice(struct loading *l, const struct lines *lines, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (span_equal(lines->list[i].words.list[0], lines->list[n].words.list[0])) {
            struct position first = lines->list[i].places[0];
            diagnostics_say(l->d, SEVERITY_ERROR, lines->list[n].places[0],
                            "server: \"%.*s\" is there twice; the first is at %s:%u",
                            SPAN_ARG(lines->list[n].words.list[0]), first.file, first.line);
            return;
        }
}

static void server_load(struct loading *l, const struct line *line, struct server_entry *e)
{
    *e = (struct server_entry){.text = line->words.list[0],
                               .weight = 1,
                               .max_in_flight = VALUE_OFF,
                               .max_connections = VALUE_OFF};
    address_load(l, line, e);
    for (unsigned w = 1; w < line->words.count; w++)
        option_load(l, line, w, e);
}

static void check_family(struct loading *l, const struct line *line, const struct server_entry *e,
                         uint64_t family)
{
    uint8_t is = e->address ? e->address->family : ADDRESS_NONE;

    if (family == ADDRESS_IPV4 && is == ADDRESS_IPV6)
        loading_say_word(l, line, 0, "server", "an IPv6 address, and family = ipv4");
    if (family == ADDRESS_IPV6 && is == ADDRESS_IPV4)
        loading_say_word(l, line, 0, "server", "an IPv4 address, and family = ipv6");
}

void loading_servers(struct loading *l, const struct lines *lines, struct upstream_conf *u)
{
    struct server_entry *servers = loading_zalloc(l, lines->count * sizeof *servers);
    unsigned slots = 0;
    bool may_be_used = false;

    if (!servers)
        return;
    for (unsigned i = 0; i < lines->count; i++) {
        struct server_entry *e = &servers[i];
        server_load(l, &lines->list[i], e);
        check_server_twice(l, lines, i);
        check_family(l, &lines->list[i], e, u->family);
        if (e->secure != servers[0].secure || e->h2 != servers[0].h2)
            loading_say_word(l, &lines->list[i], 0, "server",
                             "http, https and h2c together: one scheme for a group");
        may_be_used = may_be_used || (!e->down && e->weight > 0);
        slots += e->named ? SLOTS_PER_NAME : 1;
    }
    u->secure = lines->count > 0 && servers[0].secure;
    if (!(u->servers = loading_zalloc(l, slots * sizeof *u->servers)))
        return;
    for (unsigned i = 0; i < lines->count; i++)
        slots_load(l, u, &servers[i]);
    if (lines->count > 0 && !may_be_used)
        loading_say(l, SEVERITY_WARNING, NULL, "every server of [upstream %.*s] is down",
                    SPAN_ARG(u->name));
}
