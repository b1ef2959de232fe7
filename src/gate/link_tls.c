/* TLS to origins; see link_tls.h.
 *
 * A session is resumed by the rules it was begun with only: verification is
 * part of a handshake, and not done again when it is resumed.
 */
#include "gate/link_tls.h"

#include "base/log.h"

int link_tls_begin(struct link *l)
{
    struct pool_server *s = l->server;
    struct tls_session *session =
        s->session && memcmp(s->session_binding, l->context->binding, TLS_BINDING) == 0 ? s->session
                                                                                        : NULL;

    return wire_connect_tls(&l->wire, l->context, l->tls_name, session);
}

int link_tls_go_on(struct link *l)
{
    struct tls *t = wire_tls(&l->wire);
    char room[TLS_FACT_MAX];

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
    tls_context_done(l->context);
    l->context = NULL;
}

void server_tls_end(struct pool_server *server)
{
    if (server->session)
        server->session_layer->session_free(server->session);
    server->session = NULL;
}
