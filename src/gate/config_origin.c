/* The servers of an [upstream NAME], a line each. */
#include "base/hash.h"
#include "gate/loading.h"
#include "http/h2_hpack.h"

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
static bool scheme_load(struct loading *l, const struct line *line, struct span *rest,
                        struct server_entry *e, bool *named)
{
    e->h2 = span_starts(*rest, SPAN("h2c://"));
    e->secure = span_starts(*rest, SPAN("https://"));
    *named = e->h2 || e->secure || span_starts(*rest, SPAN("http://"));
    if (*named)
        *rest = span_after(*rest, span_find(*rest, ':') + 3);
    const char *later = NULL;
    if (e->h2 && !hpack_available())
        later = "h2c://";
    else if (span_starts(*rest, SPAN("srv:")))
        later = "srv:";
    if (later)
        diagnostics_say(l->d, SEVERITY_ERROR, line->places[0],
                        "server: %s is not supported by this build", later);
    return !later;
}

static bool host_split(struct loading *l, const struct line *line, struct span rest, bool named,
                       struct server_entry *e)
{
    size_t end =
        rest.len > 0 && rest.ptr[0] == '[' ? span_find(rest, ']') + 1 : span_find(rest, ':');
    uint64_t port = e->secure ? 443 : 80;

    if (span_find(rest, '/') < rest.len) {
        say_word(l, line, 0, "a server has no path; a route has rewrite");
        return false;
    }
    e->host = span_first(rest, end);
    if (end >= rest.len && !named) {
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
    struct address *at = loading_zalloc(l, sizeof *at);

    if (!at)
        return false;
    *at = *a;
    e->address = at;
    return true;
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
            say_word(l, line, 0, "a unix socket is unix:/path or unix:@name, at most 107 bytes");
        else
            one_address(l, e, &a);
        e->authority = SPAN("localhost");
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
        say_word(l, line, 0, "not a server: [http[s]://|h2c://]HOST:PORT, [v6]:PORT or unix:PATH");
        return;
    }
    e->host = name;
    e->named = true;
}

/* --- slots --------------------------------------------------------------------------------- */

/* Keeps the addresses of the wanted family and gives them the port. */
static unsigned keep_family(struct address *found, unsigned count, uint64_t family, uint16_t port)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < count && kept < SLOTS_PER_NAME; i++) {
        if (family != ADDRESS_NONE && found[i].family != family)
            continue;
        found[kept] = found[i];
        found[kept++].port = port;
    }
    return kept;
}

/* A name without an address does not stop us: its server has none then, and
 * requests get a named answer. */
static unsigned resolve(struct loading *l, const struct line *line, uint64_t family,
                        const struct server_entry *e, struct address **found)
{
    const struct source *source = l->config->conf.source;
    char *name = arena_text(&l->config->arena, e->host);
    int err = !name ? FAIL_MEMORY : FAIL_NOT_FOUND;
    unsigned count = 0;

    if (name && source->resolve)
        err = source->resolve(source->data, &l->config->arena, name, found, &count);
    if (err == FAIL_MEMORY)
        diagnostics_memory(l->d);
    if (err < 0)
        count = 0;
    count = keep_family(*found, count, family, e->port);
    if (count == 0 && err != FAIL_MEMORY)
        diagnostics_say(l->d, SEVERITY_WARNING, line->places[0],
                        "server: %.*s has no address now; the server gets no requests",
                        SPAN_ARG(e->host));
    return count;
}

/* What tells a slot from others of the same name, also after a reload. */
static struct span slot_key(struct loading *l, const struct server_entry *e, uint64_t family,
                            unsigned n)
{
    static const char *const families[] = {"any", "ipv4", "ipv6"};
    struct span key = arena_print(&l->config->arena, "%.*s %s %u", SPAN_ARG(e->text),
                                  families[family], n);

    if (!key.ptr)
        diagnostics_memory(l->d);
    return key;
}

static void slot_load(struct loading *l, struct upstream_conf *u, const struct server_entry *line,
                      unsigned n, const struct address *at)
{
    struct server_entry *e = &u->servers[u->server_count++];
    char text[ADDRESS_TEXT_MAX];

    *e = *line;
    e->key = e->named ? slot_key(l, e, u->family, n) : e->text;
    e->hash = hash_text(e->text);
    if (!e->named || !at)
        return;
    e->address = at;
    e->hash = hash_text((struct span){text, address_print(at, text)});
}

/* A server's slots: one, or those of a name. */
static void slots_load(struct loading *l, const struct line *line, struct upstream_conf *u,
                       const struct server_entry *e)
{
    struct address *found = NULL;
    unsigned count = e->named ? resolve(l, line, u->family, e, &found) : 0;

    for (unsigned n = 0; n < (e->named ? SLOTS_PER_NAME : 1); n++)
        slot_load(l, u, e, n, n < count ? &found[n] : NULL);
}

static void server_load(struct loading *l, const struct line *line, struct server_entry *e)
{
    *e = (struct server_entry){
        .text = line->words.list[0], .weight = 1, .max_in_flight = VALUE_OFF};
    address_load(l, line, e);
    for (unsigned w = 1; w < line->words.count; w++)
        option_load(l, line, w, e);
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
        if (e->secure != servers[0].secure || e->h2 != servers[0].h2)
            say_word(l, &lines->list[i], 0, "http, https and h2c together: one scheme for a group");
        may_be_used = may_be_used || (!e->down && e->weight > 0);
        slots += e->named ? SLOTS_PER_NAME : 1;
    }
    u->secure = lines->count > 0 && servers[0].secure;
    if (!(u->servers = loading_zalloc(l, slots * sizeof *u->servers)))
        return;
    for (unsigned i = 0; i < lines->count; i++)
        slots_load(l, &lines->list[i], u, &servers[i]);
    if (lines->count > 0 && !may_be_used)
        loading_say(l, SEVERITY_WARNING, NULL, "every server of [upstream %.*s] is down",
                    SPAN_ARG(u->name));
}
