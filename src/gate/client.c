/* Who the client is; see client.h. */
#include "gate/client.h"

enum { HOPS_MAX = 64 };

bool nets_contain(const struct nets *nets, const struct address *a)
{
    for (unsigned i = 0; i < nets->count; i++)
        if (net_contains(&nets->list[i], a))
            return true;
    return false;
}

/* "192.0.2.1", "192.0.2.1:4711", "[2001:db8::1]:4711", "2001:db8::1", quoted
 * or not (RFC 7239, 6). */
static bool hop_parse(struct span text, struct address *a)
{
    text = span_trim(text);
    if (text.len >= 2 && text.ptr[0] == '"' && text.ptr[text.len - 1] == '"')
        text = (struct span){text.ptr + 1, text.len - 2};
    if (text.len >= 2 && text.ptr[0] == '[' && text.ptr[text.len - 1] == ']')
        text = (struct span){text.ptr + 1, text.len - 2};
    if (address_parse_ip(a, text) < 0 && address_parse(a, text) < 0)
        return false;
    address_unmap(a);
    return true;
}

/* A parameter of one element of Forwarded, without quotes (RFC 7239, 4). */
static struct span forwarded_parameter(struct span element, struct span name)
{
    struct span pair;

    while (field_parameter(&element, &pair)) {
        if (pair.len > name.len && pair.ptr[name.len] == '=' &&
            span_equal_nocase(span_first(pair, name.len), name)) {
            struct span value = span_after(pair, name.len + 1);
            bool quoted = value.len >= 2 && value.ptr[0] == '"' && value.ptr[value.len - 1] == '"';
            return quoted ? (struct span){value.ptr + 1, value.len - 2} : value;
        }
    }
    return (struct span){0};
}

/* Is it the one that tells the client's address? */
static bool is_source(const struct listener_conf *l, const struct field *f)
{
    switch (l->client_ip_from) {
    case CLIENT_IP_XFF:
        return f->id == FIELD_X_FORWARDED_FOR;
    case CLIENT_IP_FORWARDED:
        return f->id == FIELD_FORWARDED;
    case CLIENT_IP_FIELD:
        return span_equal_nocase(f->name, l->client_ip_field);
    case CLIENT_IP_OFF:
        break;
    }
    return false;
}

static bool next_member(enum field_id id, struct span *rest, struct span *item)
{
    return id == FIELD_FORWARDED ? field_item(rest, item) : field_piece(rest, item);
}

/* Collects the hops of all fields of a name, in order, from the last malformed one on.  When
 * there are more than fit, the last ones count: they are nearest to us. */
static unsigned hops_collect(const struct exchange *x, struct span hops[HOPS_MAX])
{
    const struct fields *fields = &x->request.fields;
    bool forwarded = x->listener->client_ip_from == CLIENT_IP_FORWARDED;
    unsigned n = 0;

    for (unsigned i = 0; i < fields->count; i++) {
        const struct field *f = &fields->list[i];
        if (!is_source(x->listener, f))
            continue;
        struct span rest = field_hops(f), item;
        if (rest.len < f->value.len)
            n = 0;
        while (next_member(f->id, &rest, &item)) {
            if (n == HOPS_MAX)
                memmove(hops, hops + 1, --n * sizeof *hops);
            hops[n++] = forwarded ? forwarded_parameter(item, SPAN("for")) : item;
        }
    }
    return n;
}

static void client_from_hops(struct exchange *x)
{
    struct span hops[HOPS_MAX];
    struct address hop;

    for (unsigned n = hops_collect(x, hops); n > 0; n--) {
        if (!hop_parse(hops[n - 1], &hop))
            return; /* "unknown", an obfuscated name: nothing left of it can be believed */
        x->client = hop;
        if (!nets_contain(&x->listener->trusted, &hop))
            return;
    }
}

void client_find(struct exchange *x)
{
    const struct listener_conf *l = x->listener;

    memcpy(&x->client, &x->peer, offsetof(struct address, ip) + 16);
    if (l->trusted.count == 0 || !nets_contain(&l->trusted, &x->peer))
        return;
    x->peer_trusted = true;
    client_from_hops(x);
}

/* --- what the client asked with and for ---------------------------------------------------- */

/* The last member of all fields of that id: it is the peer's own.  None, if that is malformed. */
static struct span last_member(const struct exchange *x, enum field_id id)
{
    const struct fields *fields = &x->request.fields;
    struct span last = {0}, item;

    for (unsigned i = 0; i < fields->count; i++) {
        if (fields->list[i].id != id)
            continue;
        struct span rest = field_hops(&fields->list[i]);
        if (rest.len < fields->list[i].value.len)
            last = (struct span){0};
        while (next_member(id, &rest, &item))
            last = item;
    }
    return last;
}

/* What the peer, which is trusted, says; empty: nothing. */
static struct span peer_says(const struct exchange *x, struct span parameter, enum field_id id)
{
    if (x->listener->client_ip_from == CLIENT_IP_FORWARDED)
        return forwarded_parameter(last_member(x, FIELD_FORWARDED), parameter);
    return last_member(x, id);
}

struct span exchange_scheme_told(const struct exchange *x)
{
    if (!x->peer_trusted)
        return x->carrier->scheme;
    struct span said = peer_says(x, SPAN("proto"), FIELD_X_FORWARDED_PROTO);
    return span_is_token(said) ? said : x->carrier->scheme;
}

struct span exchange_scheme(const struct exchange *x)
{
    struct span said = exchange_scheme_told(x);

    if (span_equal_nocase(said, SPAN("https")))
        return SPAN("https");
    if (span_equal_nocase(said, SPAN("http")))
        return SPAN("http");
    return x->carrier->scheme;
}

/* As it was written, and what of it is the name; false: nothing that is one. */
static bool peer_says_host(struct exchange *x, struct span *said, struct span *host)
{
    struct span port;

    if (!x->peer_trusted)
        return false;
    *said = peer_says(x, SPAN("host"), FIELD_X_FORWARDED_HOST);
    char *scratch = said->len > 0 ? arena_alloc(&x->arena, sizeof x->host_scratch) : NULL;
    return scratch && host_parse(*said, scratch, host, &port) && host->len > 0;
}

struct span exchange_host(struct exchange *x)
{
    struct span said, host;

    return peer_says_host(x, &said, &host) ? host : x->host;
}

struct span exchange_host_told(struct exchange *x)
{
    struct span said, host;

    return peer_says_host(x, &said, &host) ? said : x->request.host;
}

bool exchange_hops_told(const struct exchange *x, enum field_id id)
{
    switch (x->peer_trusted ? x->listener->client_ip_from : CLIENT_IP_OFF) {
    case CLIENT_IP_XFF:
        return id == FIELD_X_FORWARDED_FOR;
    case CLIENT_IP_FORWARDED:
        return id == FIELD_FORWARDED;
    case CLIENT_IP_FIELD:
        return false;
    case CLIENT_IP_OFF:
        break;
    }
    return true;
}
