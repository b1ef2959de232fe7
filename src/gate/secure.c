/* What TLS asks of requests; see secure.h. */
#include "gate/secure.h"

enum { PORT_HTTPS = 443 };

bool secure_misdirected(const struct exchange *x)
{
    if (!x->tls || !x->tls_set)
        return false;
    const struct tls_context *mine = x->tls->context;
    if (!mine->client_ca && !x->tls_set->client_ca)
        return false;
    const struct tls_context *asked = tls_set_owner(x->tls_set, x->host);
    if (!asked)
        return true;
    return (mine->client_ca || asked->client_ca) &&
           memcmp(mine->binding, asked->binding, TLS_BINDING) != 0;
}

bool secure_outlived(const struct exchange *x)
{
    for (unsigned i = 0; i < x->tls_set->count; i++)
        if (memcmp(x->tls->context->binding, x->tls_set->list[i]->binding, TLS_BINDING) == 0)
            return false;
    return true;
}

static bool host_fits(struct span pattern, struct span host)
{
    if (!span_starts(pattern, SPAN("*.")))
        return span_equal(pattern, host);
    struct span rest = span_after(pattern, 1);
    return host.len > rest.len && span_equal(span_after(host, host.len - rest.len), rest);
}

static bool route_has_host(const struct route_conf *r, struct span host)
{
    for (unsigned i = 0; i < r->hosts.count; i++)
        if (host_fits(r->hosts.list[i], host))
            return true;
    return r->hosts.count == 0;
}

static bool served_with_tls(const struct config *config, struct span host)
{
    uint64_t listeners = 0;

    for (unsigned i = 0; i < config->listener_count; i++)
        if (config->listeners[i].tls_names.count > 0)
            listeners |= UINT64_C(1) << i;
    for (unsigned i = 0; i < config->route_count; i++) {
        const struct route_conf *r = &config->routes[i];
        if ((r->listener_bits & listeners) && route_has_host(r, host))
            return true;
    }
    return false;
}

bool secure_redirect(struct exchange *x)
{
    uint64_t port = x->listener->https_port;
    struct span uri = exchange_uri(x), where;

    if (x->host.len == 0 || !served_with_tls(x->config, x->host))
        return false;
    if (port == PORT_HTTPS)
        where = arena_print(&x->arena, "https://%.*s%.*s", SPAN_ARG(x->host), SPAN_ARG(uri));
    else
        where = arena_print(&x->arena, "https://%.*s:%u%.*s", SPAN_ARG(x->host), (unsigned)port,
                            SPAN_ARG(uri));
    respond_redirect(x, 308, where);
    return true;
}

void secure_response(struct exchange *x)
{
    if (!x->tls || x->tls->context->hsts.len == 0 ||
        fields_get(&x->response.fields, FIELD_STRICT_TRANSPORT_SECURITY))
        return;
    response_field(x, FIELD_STRICT_TRANSPORT_SECURITY, x->tls->context->hsts);
}

struct span secure_fact(struct exchange *x, enum tls_fact fact)
{
    char room[TLS_FACT_MAX];

    if (!x->tls)
        return (struct span){0};
    size_t len = x->tls->layer->fact(x->tls, fact, room);
    return arena_copy(&x->arena, (struct span){room, len});
}
