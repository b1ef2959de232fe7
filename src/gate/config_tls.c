/* [tls NAME]: with which certificates, and how, clients are spoken to.
 *
 * What the files hold is made into a context at once, or refused; the bytes of
 * keys do not stay in our memory.  The same is done again when a file changes
 * (tls_watch.c), so building is apart from reading the section.
 */
#include "gate/loading.h"
#include "gate/tls_build.h"
#include "http/h2_hpack.h"

struct tls_raw {
    struct tls_conf conf;
    int profile, verify;
    struct line hsts;
};

#define AT(member, type) SETTING_MEMBER(struct tls_raw, member, type)

static const char *const profiles[] = {"intermediate", "modern", NULL};
static const char *const verify_words[] = {"off", "optional", "required", NULL}; /* tls_verify */
static const char *const protocols[] = {"h2", "http/1.1", NULL};

const struct setting tls_settings[] = {
    {.name = "certificate",
     .type = SETTING_FILES,
     .flags = SETTING_REQUIRED,
     .offset = AT(conf.certificates, struct spans),
     .help = "PEM chains, the server's own certificate first; one per type of key or name."},
    {.name = "key",
     .type = SETTING_FILES,
     .offset = AT(conf.keys, struct spans),
     .help = "PEM keys; each certificate takes the one that fits; else they are in its file."},
    {.name = "names",
     .type = SETTING_HOSTS,
     .offset = AT(conf.names, struct spans),
     .help = "The names it is for; the certificates' DNS names if absent."},
    {.name = "profile",
     .type = SETTING_WORD,
     .fallback = "intermediate",
     .words = profiles,
     .offset = AT(profile, int),
     .help = "TLS 1.2 and 1.3 with authenticated ciphers and forward secrecy, or 1.3 alone."},
    {.name = "ciphers",
     .type = SETTING_TOKENS,
     .offset = AT(conf.ciphers, struct spans),
     .help = "OpenSSL's names, instead of the profile's; TLS_... are suites of 1.3."},
    {.name = "groups",
     .type = SETTING_TOKENS,
     .offset = AT(conf.groups, struct spans),
     .help = "OpenSSL's names of key exchange groups, instead of the profile's."},
    {.name = "alpn",
     .type = SETTING_WORD_ORDER,
     .fallback = "h2, http/1.1",
     .words = protocols,
     .offset = AT(conf.alpn, struct spans),
     .help = "Protocols in order of preference; a client that has none of them is refused."},
    {.name = "tickets",
     .type = SETTING_BOOL,
     .fallback = "yes",
     .offset = AT(conf.tickets, bool),
     .help = "Whether clients may resume what they began, without state on our side."},
    {.name = "ticket_rotation",
     .type = SETTING_DURATION,
     .fallback = "12h",
     .min = NS_PER_S,
     .offset = AT(conf.ticket_rotation, uint64_t),
     .help = "How long a key issues tickets; it reads them for as long again."},
    {.name = "ticket_keys",
     .type = SETTING_FILES,
     .offset = AT(conf.ticket_keys, struct spans),
     .help = "Files of 80 random bytes, for fleets: the first issues, all read."},
    {.name = "ocsp",
     .type = SETTING_FILES,
     .offset = AT(conf.ocsp, struct spans),
     .help = "OCSP responses in DER, sent along with the certificate they are about."},
    {.name = "client_ca",
     .type = SETTING_FILE,
     .offset = AT(conf.client_ca, struct span),
     .help = "PEM certificates of those who certify clients."},
    {.name = "client_crl",
     .type = SETTING_FILE,
     .offset = AT(conf.client_crl, struct span),
     .help = "PEM lists of revoked clients' certificates."},
    {.name = "client_verify",
     .type = SETTING_WORD,
     .words = verify_words,
     .offset = AT(verify, int),
     .help = "Whether clients need a certificate; required if there is a client_ca, else off."},
    {.name = "hsts",
     .type = SETTING_LINE,
     .flags = SETTING_OFF | SETTING_OPTIONS,
     .fallback = "off",
     .offset = AT(hsts, struct line),
     .help = "Strict-Transport-Security: a duration [include_subdomains] [preload]."},
    {.name = "watch",
     .type = SETTING_DURATION,
     .flags = SETTING_OFF,
     .fallback = "10s",
     .min = NS_PER_S / 10,
     .offset = AT(conf.watch, uint64_t),
     .help = "How often the files are looked at; changed ones are taken into use."},
    {.name = "loose_keys",
     .type = SETTING_BOOL,
     .fallback = "no",
     .offset = AT(conf.loose_keys, bool),
     .help = "Whether keys may be readable by others than their owner and our groups."},
    {0},
};

/* --- values ---------------------------------------------------------------------------- */

static void hsts_load(struct loading *l, const struct line *line, struct tls_conf *c)
{
    const char *why = NULL, *more = "", *preload = "";
    uint64_t ns = 0;

    if (line->words.count == 0)
        return;
    if (value_duration(line->words.list[0], &ns, &why) < 0 || ns < NS_PER_S)
        loading_say_word(l, line, 0, "hsts", why ? why : "at least 1s");
    for (unsigned i = 1; i < line->words.count; i++)
        if (span_equal(line->words.list[i], SPAN("include_subdomains")))
            more = "; includeSubDomains";
        else if (span_equal(line->words.list[i], SPAN("preload")))
            preload = "; preload";
        else
            loading_say_word(l, line, i, "hsts",
                             "after the duration stand include_subdomains and preload");
    c->hsts = arena_print(&l->config->arena, "max-age=%llu%s%s",
                          (unsigned long long)(ns / NS_PER_S), more, preload);
    if (!c->hsts.ptr)
        diagnostics_memory(l->d);
}

/* Words to what OpenSSL takes: "A:B", terminated. */
static struct span list_join(struct loading *l, const struct spans *words, bool suites)
{
    struct span text = SPAN("");

    for (unsigned i = 0; i < words->count; i++) {
        if (span_starts(words->list[i], SPAN("TLS_")) != suites)
            continue;
        if (text.len > 0)
            text = arena_join(&l->config->arena, text, SPAN(":"));
        text = arena_join(&l->config->arena, text, words->list[i]);
    }
    const char *copy = arena_text(&l->config->arena, text);
    if (!copy)
        diagnostics_memory(l->d);
    return (struct span){copy, copy ? text.len : 0};
}

/* What this build speaks, in the order written. */
static void alpn_load(struct loading *l, struct tls_conf *c)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < c->alpn.count; i++)
        if (hpack_available() || !span_equal(c->alpn.list[i], SPAN("h2")))
            c->alpn.list[kept++] = c->alpn.list[i];
    if (kept == 0 && c->alpn.count > 0)
        loading_say(l, SEVERITY_ERROR, "alpn", "this build speaks http/1.1 only");
    c->alpn.count = kept;
}

static void verify_load(struct loading *l, int word, struct tls_conf *c)
{
    bool ca = c->client_ca.len > 0;

    c->verify = (enum tls_verify)word;
    if (!conf_find(l->section, "client_verify"))
        c->verify = ca ? TLS_VERIFY_REQUIRED : TLS_VERIFY_OFF;
    if (c->verify != TLS_VERIFY_OFF && !ca)
        loading_say(l, SEVERITY_ERROR, "client_verify", "there is no client_ca");
    if (c->client_crl.len > 0 && !ca)
        loading_say(l, SEVERITY_ERROR, "client_crl", "there is no client_ca");
}

/* --- files ------------------------------------------------------------------------------- */

/* As they are before they are read, so that no change is missed. */
static void looks_load(struct loading *l, struct tls_conf *c)
{
    const struct source *source = l->config->conf.source;
    unsigned count = tls_conf_files(c);

    if (!source->look || !(c->looks = loading_zalloc(l, (count + 1) * sizeof *c->looks)))
        return;
    for (unsigned i = 0; i < count; i++) {
        struct span path = tls_conf_file(c, i);
        char *name = arena_text(&l->config->arena, path);
        if (!name || source->look(source->data, name, &c->looks[i]) < 0)
            c->looks[i] = (struct source_look){0};
        else if (!c->loose_keys && tls_conf_file_is_key(c, i) &&
                 tls_key_is_loose(&c->looks[i], &c->who))
            loading_say(l, SEVERITY_ERROR, tls_about_key(tls_conf_file_about(c, i)),
                        "%s: mode %04o: a key readable by others; chmod 0600 (or 0640 for a "
                        "group of ours), or set loose_keys",
                        name, c->looks[i].mode & 07777);
    }
}

static bool readable_by(const struct source_look *look, const struct source_identity *who)
{
    if (who->uid == 0)
        return true;
    uint32_t bit = look->uid == who->uid ? 0400 : identity_has_group(who, look->gid) ? 0040 : 0004;
    return look->mode & bit;
}

/* Who we shall be; as long as nobody knows, root alone. */
static void identity_of(const struct config *config, struct source_identity *who)
{
    const struct source *source = config->conf.source;
    const struct server_conf *server = &config->server;
    struct arena arena = {0};
    const char *user = arena_text(&arena, server->user);
    const char *group = arena_text(&arena, server->group);

    *who = (struct source_identity){.group_count = 1};
    if (user && group && source->identity)
        source->identity(source->data, server->user.len > 0 ? user : NULL,
                         server->group.len > 0 ? group : NULL, who);
    arena_free(&arena);
}

struct readers {
    const struct config *config;
    struct source_identity who;
    void (*line)(void *data, struct span text);
    void *data;
};

static void say_readers(const struct readers *r, struct span path, const struct source_look *look)
{
    struct span user = r->config->server.user;
    struct arena arena = {0};
    struct span text = arena_print(
        &arena, "key %.*s: mode %04o, read by root at start and by %.*s at reload%s",
        SPAN_ARG(path), look->mode & 07777, SPAN_ARG(user),
        readable_by(look, &r->who) ? "" : ", who cannot: give it to the group with 0640");

    if (user.len == 0)
        text = arena_print(&arena, "key %.*s: mode %04o, read by whoever starts headgate",
                           SPAN_ARG(path), look->mode & 07777);
    if (text.ptr)
        r->line(r->data, text);
    arena_free(&arena);
}

void config_tls_readers(const struct config *config, void (*line)(void *data, struct span text),
                        void *data)
{
    struct readers r = {.config = config, .line = line, .data = data};

    identity_of(config, &r.who);
    for (unsigned i = 0; i < config->tls_count; i++) {
        const struct tls_conf *c = &config->tls[i];
        for (unsigned f = 0; c->looks && f < tls_conf_files(c); f++)
            if (tls_conf_file_is_key(c, f))
                say_readers(&r, tls_conf_file(c, f), &c->looks[f]);
    }
    for (unsigned i = 0; i < config->upstream_count; i++) {
        const struct upstream_conf *u = &config->upstreams[i];
        if (u->tls_key_look.mode != 0)
            say_readers(&r, tls_client_key(u), &u->tls_key_look);
    }
}

/* What the layer says about a file or a setting. */
static const char *const about_keys[] = {
    [TLS_ABOUT_CERTIFICATE] = "certificate",
    [TLS_ABOUT_KEY] = "key",
    [TLS_ABOUT_NAMES] = "names",
    [TLS_ABOUT_CIPHERS] = "ciphers",
    [TLS_ABOUT_GROUPS] = "groups",
    [TLS_ABOUT_TICKET_KEYS] = "ticket_keys",
    [TLS_ABOUT_OCSP] = "ocsp",
    [TLS_ABOUT_CLIENT_CA] = "client_ca",
    [TLS_ABOUT_CLIENT_CRL] = "client_crl",
};

const char *tls_about_key(enum tls_about about)
{
    return about_keys[about];
}

static void remark(void *data, enum tls_about about, bool warning, struct span text)
{
    struct loading *l = data;

    loading_say(l, warning ? SEVERITY_WARNING : SEVERITY_ERROR, about_keys[about], "%.*s",
                SPAN_ARG(text));
}

static void context_load(struct loading *l, struct tls_conf *c)
{
    struct tls_build build = {.source = l->config->conf.source,
                              .layer = l->tls_layer,
                              .secret = l->config->tls_secret,
                              .say = remark,
                              .say_data = l};
    unsigned errors = l->d->errors;
    int err = tls_build(&c->context, c, &build);

    if (err == FAIL_MEMORY)
        diagnostics_memory(l->d);
    else if (err < 0 && l->d->errors == errors)
        loading_say(l, SEVERITY_ERROR, NULL, "%s", fail_text(err));
}

static void tls_load(struct loading *l, struct conf_section *s, struct tls_conf *c)
{
    struct tls_raw raw = {0};
    unsigned index = c->index, errors = l->d->errors;

    l->section = s;
    conf_fill(&l->config->conf, s, NULL, tls_settings, &raw, l->d);
    *c = raw.conf;
    c->name = s->name;
    c->index = index;
    c->modern = raw.profile == 1;
    hsts_load(l, &raw.hsts, c);
    alpn_load(l, c);
    verify_load(l, raw.verify, c);
    c->cipher_list = list_join(l, &c->ciphers, false);
    c->suite_list = list_join(l, &c->ciphers, true);
    c->group_list = list_join(l, &c->groups, false);
    identity_of(l->config, &c->who);
    looks_load(l, c);
    if (l->d->errors == errors)
        context_load(l, c);
}

void config_load_tls(struct loading *l)
{
    struct config *config = l->config;
    unsigned count = sections_count(config, "tls");

    if (!(config->tls = loading_zalloc(l, (count ? count : 1) * sizeof *config->tls)))
        return;
    for (struct conf_section *s = sections_of(config->conf.sections, "tls"); s;
         s = sections_of(s->next, "tls")) {
        if (!l->tls_layer) {
            diagnostics_say(l->d, SEVERITY_ERROR, s->at,
                            "[tls] is not supported by this build: it was configured without TLS");
            continue;
        }
        config->tls[config->tls_count].index = config->tls_count;
        tls_load(l, s, &config->tls[config->tls_count]);
        config->tls_count++;
    }
}

/* --- listeners ------------------------------------------------------------------------------ */

static const struct tls_conf *tls_find(const struct config *config, struct span name)
{
    for (unsigned i = 0; i < config->tls_count; i++)
        if (span_equal(config->tls[i].name, name))
            return &config->tls[i];
    return NULL;
}

static void tls_missing(struct loading *l, struct span name)
{
    const char *words[64];
    unsigned n = 0;

    for (; n < l->config->tls_count && n < COUNT_OF(words); n++)
        words[n] = arena_text(l->d->arena, l->config->tls[n].name);
    loading_say(l, SEVERITY_ERROR, "tls", "there is no [tls %.*s]%s", SPAN_ARG(name),
                did_you_mean(l, name, words, n));
}

void listener_tls_load(struct loading *l, struct listener_conf *c)
{
    struct config *config = l->config;
    bool fine = true;

    if (c->tls_names.count == 0)
        return;
    if (!(c->tls = loading_zalloc(l, c->tls_names.count * sizeof *c->tls)))
        return;
    for (unsigned i = 0; i < c->tls_names.count; i++) {
        const struct tls_conf *t = tls_find(config, c->tls_names.list[i]);
        if (!t && l->tls_layer)
            tls_missing(l, c->tls_names.list[i]);
        fine = fine && t && t->context;
        if (t)
            c->tls[c->tls_count++] = t->index;
    }
    if (fine && listener_set_new(config, c, &c->tls_set) < 0)
        diagnostics_memory(l->d);
}

/* --- routes --------------------------------------------------------------------------------- */

/* A host that no name covers is spoken to by the first section.  `host`: as a
 * route has it; the * of a wildcard is a label like any other here. */
static void host_check(struct loading *l, const struct listener_conf *c, struct span host)
{
    const struct tls_context *first = c->tls_set->list[0];
    const struct tls_context *owner = tls_set_named(c->tls_set, host, TLS_ANY_LABELS);

    if (tls_set_named(c->tls_set, host, TLS_ONE_LABEL))
        return;
    if (!owner && !first->client_ca)
        loading_say(l, SEVERITY_WARNING, "host",
                    "%.*s: no [tls] section of listener %.*s has this name: the first, %.*s, "
                    "serves it without a certificate of the client",
                    SPAN_ARG(host), SPAN_ARG(c->name), SPAN_ARG(first->section));
    else if (owner && owner != first && (owner->client_ca || first->client_ca))
        loading_say(l, SEVERITY_WARNING, "host",
                    "%.*s: on listener %.*s it is 421, for it belongs to [tls %.*s], whose "
                    "wildcard stands for one label in a handshake: add the name there",
                    SPAN_ARG(host), SPAN_ARG(c->name), SPAN_ARG(owner->section));
}

void route_tls_check(struct loading *l, const struct route_conf *r)
{
    for (unsigned i = 0; i < l->config->listener_count; i++) {
        const struct listener_conf *c = &l->config->listeners[i];
        if (!(r->listener_bits >> i & 1) || !c->tls_set || !c->tls_set->client_ca ||
            c->tls_set->refuse_unknown)
            continue;
        for (unsigned h = 0; h < r->hosts.count; h++)
            host_check(l, c, r->hosts.list[h]);
    }
}

/* --- upstreams ------------------------------------------------------------------------------ */

/* The file of our key for origins, as it is before it is read. */
static void client_key_look(struct loading *l, struct upstream_conf *u)
{
    const struct source *source = l->config->conf.source;
    const char *name = arena_text(&l->config->arena, tls_client_key(u));
    struct source_identity who;

    identity_of(l->config, &who);
    if (!source->look || !name || source->look(source->data, name, &u->tls_key_look) < 0)
        u->tls_key_look = (struct source_look){0};
    else if (tls_key_is_loose(&u->tls_key_look, &who))
        loading_say(
            l, SEVERITY_WARNING, u->tls_key.len > 0 ? "tls_key" : "tls_certificate",
            "%s: mode %04o: a key readable by others; chmod 0600 (or 0640 for a group of ours)",
            name, u->tls_key_look.mode & 07777);
}

static void client_remark(void *data, enum tls_about about, bool warning, struct span text)
{
    static const char *const keys[] = {[TLS_ABOUT_CERTIFICATE] = "tls_certificate",
                                       [TLS_ABOUT_KEY] = "tls_key",
                                       [TLS_ABOUT_CLIENT_CA] = "tls_ca"};
    struct loading *l = data;
    const char *key = (size_t)about < COUNT_OF(keys) ? keys[about] : NULL;

    loading_say(l, warning ? SEVERITY_WARNING : SEVERITY_ERROR, key, "%.*s", SPAN_ARG(text));
}

void upstream_tls_load(struct loading *l, struct upstream_conf *u)
{
    struct tls_build build = {.source = l->config->conf.source,
                              .layer = l->tls_layer,
                              .say = client_remark,
                              .say_data = l};
    unsigned errors = l->d->errors;

    if (!u->secure)
        return;
    if (!l->tls_layer) {
        loading_say(l, SEVERITY_ERROR, "server", "https:// is not supported by this build");
        return;
    }
    if (u->tls_key.len > 0 && u->tls_certificate.len == 0)
        loading_say(l, SEVERITY_ERROR, "tls_key", "there is no tls_certificate");
    if (!u->tls_verify)
        loading_say(l, SEVERITY_WARNING, "tls_verify", "anybody may be the origin");
    if (u->tls_certificate.len > 0)
        client_key_look(l, u);
    int err = l->d->errors == errors ? tls_client_build(&u->tls, u, &build) : 0;
    if (err == FAIL_MEMORY)
        diagnostics_memory(l->d);
    else if (err < 0 && l->d->errors == errors)
        loading_say(l, SEVERITY_ERROR, NULL, "%s", fail_text(err));
}
