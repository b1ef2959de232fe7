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

/* The for= parameter of one element of Forwarded (RFC 7239, 4). */
static struct span forwarded_for(struct span element)
{
    while (element.len > 0) {
        size_t end = span_find(element, ';');
        struct span pair = span_trim(span_first(element, end));
        if (pair.len > 4 && span_equal_nocase(span_first(pair, 4), SPAN("for=")))
            return span_after(pair, 4);
        element = end < element.len ? span_after(element, end + 1) : (struct span){0};
    }
    return (struct span){0};
}

/* Collects the hops of all fields of a name, in order.  When there are more
 * than fit, the last ones count: they are nearest to us. */
static unsigned hops_collect(const struct exchange *x, struct span hops[HOPS_MAX])
{
    const struct listener_conf *l = x->listener;
    const struct fields *fields = &x->request.fields;
    bool forwarded = l->client_ip_from == CLIENT_IP_FORWARDED;
    enum field_id id = forwarded ? FIELD_FORWARDED : FIELD_X_FORWARDED_FOR;
    unsigned n = 0;

    for (unsigned i = 0; i < fields->count; i++) {
        const struct field *f = &fields->list[i];
        struct span rest = f->value, item;
        if (f->id != id)
            continue;
        while (field_item(&rest, &item)) {
            if (n == HOPS_MAX)
                memmove(hops, hops + 1, --n * sizeof *hops);
            hops[n++] = forwarded ? forwarded_for(item) : item;
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

static void client_from_field(struct exchange *x)
{
    const struct field *f = fields_find(&x->request.fields, x->listener->client_ip_field);
    struct address a;

    if (f && hop_parse(f->value, &a))
        x->client = a;
}

void client_find(struct exchange *x)
{
    const struct listener_conf *l = x->listener;

    memcpy(&x->client, &x->peer, offsetof(struct address, ip) + 16);
    if (l->trusted.count == 0 || !nets_contain(&l->trusted, &x->peer))
        return;
    x->peer_trusted = true;
    switch (l->client_ip_from) {
    case CLIENT_IP_XFF:
    case CLIENT_IP_FORWARDED:
        client_from_hops(x);
        break;
    case CLIENT_IP_FIELD:
        client_from_field(x);
        break;
    case CLIENT_IP_OFF:
        break;
    }
}
