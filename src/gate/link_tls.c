/* TLS to origins; see link_tls.h.
 *
 * A session is resumed by the rules it was begun with only: verification is
 * part of a handshake, and not done again when it is resumed.
 */
#include "gate/link_tls.h"

#include "base/log.h"
#include "base/mem.h"

/* The leg may be gone, and its configuration, when others wait for this link. */
bool link_tls_admit(struct link *l, const struct leg *leg)
{
    const struct upstream_conf *u = leg->upstream;
    struct span name = u->tls_name.len > 0 ? u->tls_name : leg->server->host;
    char *copy;

    if (!u->tls)
        return true;
    if (!(copy = mem_alloc(name.len + 1)))
        return false;
    memcpy(copy, name.ptr, name.len);
    l->tls_name = (struct span){copy, name.len};
    l->context = tls_context_use(u->tls);
    return true;
}

int link_tls_begin(struct link *l)
{
    struct pool_server *s = l->server;
    struct tls_session *session =
        s->session && memcmp(s->session_binding, l->context->binding, TLS_BINDING) == 0 ? s->session
                                                                                        : NULL;

    return wire_connect_tls(&l->wire, l->context, l->tls_name, session);
}

/* HTTP/2 has to be agreed (RFC 9113, 3.3). */
static bool link_tls_agreed(const struct link *l)
{
    const struct tls *t = wire_tls(&l->wire);

    return l->protocol != &link_h2 || span_equal(t->layer->alpn(t), SPAN("h2"));
}

int link_tls_go_on(struct link *l)
{
    struct tls *t = wire_tls(&l->wire);
    char room[TLS_FACT_MAX];

    if (wire_ready(&l->wire) && !link_tls_agreed(l)) {
        log_say(LOG_INFO, "upstream %.*s: %.*s: upstream_tls_failed: it does not speak h2",
                SPAN_ARG(l->context->section), SPAN_ARG(l->server->text));
        return FAIL_BAD;
    }
    if (wire_ready(&l->wire)) {
        wire_moved(&l->wire); /* what moved until now was no request */
        return 1;
    }
    if (!l->wire.eof && !l->wire.fail)
        return 0;
    size_t n = t->layer->why(t, room);
    log_say(LOG_INFO, "upstream %.*s: %.*s: upstream_tls_failed: %.*s",
            SPAN_ARG(l->context->section), SPAN_ARG(l->server->text), (int)n, room);
    return FAIL_BAD;
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
    memcpy(s->session_binding, l->context->binding, TLS_BINDING);
}

bool link_tls_fits(const struct link *l, const struct upstream_conf *conf)
{
    if (!l->context || !conf->tls)
        return !l->context && !conf->tls;
    return memcmp(l->context->binding, conf->tls->binding, TLS_BINDING) == 0;
}

void link_tls_end(struct link *l)
{
    mem_free((char *)(uintptr_t)l->tls_name.ptr);
    l->tls_name = (struct span){0};
    tls_context_done(l->context);
    l->context = NULL;
}

void server_tls_end(struct pool_server *server)
{
    if (server->session)
        server->session_layer->session_free(server->session);
    server->session = NULL;
}
