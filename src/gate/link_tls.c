/* TLS to origins; see link_tls.h.
 *
 * A session is resumed by the rules it was begun with only: verification is
 * part of a handshake, and not done again when it is resumed.
 */
#include "gate/link_tls.h"

#include "base/log.h"
#include "base/mem.h"

/* [::1] is an address in brackets only where a port may follow. */
static struct span without_brackets(struct span host)
{
    bool brackets = host.len > 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']';

    return brackets ? (struct span){host.ptr + 1, host.len - 2} : host;
}

static struct span name_for(const struct upstream_conf *u, const struct server_entry *e,
                            const struct exchange *x)
{
    if (u->tls_by_host && x->host.len > 0)
        return without_brackets(x->host);
    return u->tls_name.len > 0 ? u->tls_name : without_brackets(e->host);
}

static struct span name_of(const struct leg *leg)
{
    return name_for(leg->upstream, leg->server, leg->x);
}

static struct span name_copy(struct span name)
{
    char *copy = mem_alloc(name.len + 1);

    if (copy)
        memcpy(copy, name.ptr, name.len);
    return (struct span){copy, name.len};
}

static void name_free(struct span *name)
{
    mem_free((char *)(uintptr_t)name->ptr);
    *name = (struct span){0};
}

/* The leg may be gone, and its configuration, when others wait for this link. */
bool link_tls_admit(struct link *l, const struct leg *leg)
{
    const struct upstream_conf *u = leg->upstream;

    if (!u->tls)
        return true;
    l->tls_name = name_copy(name_of(leg));
    if (!l->tls_name.ptr)
        return false;
    l->context = tls_context_use(u->tls);
    return true;
}

static bool session_fits(const struct pool_server *s, const struct link *l)
{
    return s->session && memcmp(s->session_binding, l->context->binding, TLS_BINDING) == 0 &&
           span_equal(s->session_name, l->tls_name);
}

int link_tls_begin(struct link *l)
{
    struct pool_server *s = l->server;

    return wire_connect_tls(&l->wire, l->context, l->tls_name,
                            session_fits(s, l) ? s->session : NULL);
}

bool link_tls_is_h2(const struct link *l)
{
    const struct tls *t = wire_tls(&l->wire);

    return span_equal(t->layer->alpn(t), SPAN("h2"));
}

/* HTTP/2 has to be agreed (RFC 9113, 3.3), or may be. */
static bool link_tls_agreed(const struct link *l)
{
    return l->undecided || l->protocol != &link_h2 || link_tls_is_h2(l);
}

static void failed_say(const struct link *l, struct span why)
{
    log_say(LOG_INFO, "upstream %.*s: %.*s: upstream_tls_failed: %.*s",
            SPAN_ARG(l->context->section), SPAN_ARG(l->server->text), SPAN_ARG(why));
}

static void why_say(const struct link *l)
{
    const struct tls *t = wire_tls(&l->wire);
    char room[TLS_FACT_MAX];
    size_t n = t->layer->why(t, room);

    failed_say(l, (struct span){room, n});
}

int link_tls_go_on(struct link *l)
{
    if (wire_ready(&l->wire) && !link_tls_agreed(l)) {
        failed_say(l, SPAN("it does not speak h2"));
        return FAIL_BAD;
    }
    if (wire_ready(&l->wire)) {
        wire_moved(&l->wire); /* what moved until now was no request */
        return 1;
    }
    if (!l->wire.eof && !l->wire.fail)
        return 0;
    why_say(l);
    return FAIL_BAD;
}

bool link_tls_broke(struct link *l)
{
    if (!wire_broken(&l->wire))
        return false;
    if (!l->tls_failed)
        why_say(l);
    l->tls_failed = true;
    return true;
}

void link_tls_keep(struct link *l)
{
    struct tls *t = wire_tls(&l->wire);
    struct pool_server *s = l->server;

    if (!t || l->session_kept)
        return;
    struct tls_session *session = t->layer->session_take(t);
    if (!session)
        return;
    l->session_kept = true;
    server_tls_end(s);
    s->session = session;
    s->session_layer = t->layer;
    s->session_name = name_copy(l->tls_name);
    if (!s->session_name.ptr) {
        server_tls_end(s);
        return;
    }
    memcpy(s->session_binding, l->context->binding, TLS_BINDING);
}

static bool rules_fit(const struct link *l, const struct upstream_conf *conf)
{
    return memcmp(l->context->binding, conf->tls->binding, TLS_BINDING) == 0;
}

bool link_tls_fits(const struct link *l, const struct upstream_conf *u,
                   const struct server_entry *e, const struct exchange *x)
{
    if (!l->context || !u->tls)
        return !l->context && !u->tls;
    return rules_fit(l, u) && span_equal(l->tls_name, name_for(u, e, x));
}

bool link_tls_is_others(const struct link *l, const struct leg *leg)
{
    return leg->upstream->tls_by_host && l->context && rules_fit(l, leg->upstream) &&
           !span_equal(l->tls_name, name_of(leg));
}

void link_tls_end(struct link *l)
{
    name_free(&l->tls_name);
    tls_context_done(l->context);
    l->context = NULL;
}

void server_tls_end(struct pool_server *server)
{
    if (server->session)
        server->session_layer->session_free(server->session);
    server->session = NULL;
    name_free(&server->session_name);
}
