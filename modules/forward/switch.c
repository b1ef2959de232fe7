/* Upgrades: what is asked of the origin, and the tunnel that comes of it.
 *
 * HTTP/1 asks by GET, Upgrade and, for a WebSocket, a key, and agrees by 101 (RFC 6455); HTTP/2
 * by extended CONNECT and 200 (RFC 8441).  Client and origin may speak either.
 */
#include "modules/forward/forward.h"

/* Content has to end before another protocol begins (RFC 9110, 7.8): only none is over for sure. */
static bool has_content(const struct request *r)
{
    return r->framing != FRAMING_NONE && !(r->framing == FRAMING_LENGTH && r->content_length == 0);
}

/* The one token both sides may switch to. */
struct span forward_upgrade(const struct exchange *x, const struct forward_conf *conf)
{
    if (!x->request.upgrade || has_content(&x->request) || x->request.version < HTTP_1_1)
        return (struct span){0};
    for (unsigned i = 0; i < conf->upgrade.count; i++)
        if (x->request.protocol.len
                ? span_equal_nocase(x->request.protocol, conf->upgrade.list[i])
                : fields_has_item(&x->request.fields, FIELD_UPGRADE, conf->upgrade.list[i]))
            return conf->upgrade.list[i];
    return (struct span){0};
}

/* What HTTP/1 asks of a WebSocket client and HTTP/2 does not (RFC 8441, 5.1): a number that only
 * shows that the origin has understood. */
int forward_websocket_key(struct exchange *x, struct leg_request *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *key = arena_alloc(&x->arena, WEBSOCKET_KEY);

    if (!key || !span_equal_nocase(x->request.protocol, SPAN("websocket")))
        return key ? 0 : FAIL_MEMORY;
    for (unsigned i = 0; i < 22; i++)
        key[i] = digits[random_below(&exchange_io(x)->random, i < 21 ? 64 : 4) * (i < 21 ? 1 : 16)];
    key[22] = key[23] = '=';
    out->upgrade_key = (struct span){key, WEBSOCKET_KEY};
    return fields_add(&out->fields, FIELD_OTHER, WEBSOCKET_KEY_NAME, out->upgrade_key);
}

/* Over HTTP/1: did it switch to what was asked for, and did it understand our key? */
static bool agreed(const struct leg *leg)
{
    const struct response *r = &leg->response;
    const struct field *f = fields_get(&r->fields, FIELD_UPGRADE), *answer;
    char right[WEBSOCKET_ACCEPT];

    if (leg->request.upgrade.len == 0 || !f || !span_equal_nocase(f->value, leg->request.upgrade))
        return false;
    if (!websocket_accept(leg->request.upgrade_key, right))
        return true;
    answer = fields_find(&r->fields, WEBSOCKET_ACCEPT_NAME);
    return !answer || span_equal(answer->value, (struct span){right, sizeof right});
}

/* A client over HTTP/1 wants its key answered, which an origin over HTTP/2 never saw. */
static int answer_key(struct exchange *x)
{
    const struct field *key = fields_find(&x->request.fields, WEBSOCKET_KEY_NAME);
    char *room = arena_alloc(&x->arena, WEBSOCKET_ACCEPT);

    if (!room)
        return FAIL_MEMORY;
    if (!key || !websocket_accept(key->value, room))
        return 0;
    return response_field_named(x, WEBSOCKET_ACCEPT_NAME, (struct span){room, WEBSOCKET_ACCEPT});
}

void forward_switch(struct exchange *x, struct leg *leg)
{
    bool from_h2 = x->request.protocol.len > 0;
    int err = 0;

    if (!leg->connects && !agreed(leg)) {
        respond_failed(x, CAUSE_upstream_upgrade_refused);
        return;
    }
    if (!from_h2)
        err = response_field(x, FIELD_UPGRADE, leg->request.upgrade);
    if (err == 0 && !from_h2 && leg->connects &&
        span_equal_nocase(leg->request.upgrade, SPAN("websocket")))
        err = answer_key(x);
    if (err < 0) {
        respond_failed(x, CAUSE_out_of_memory);
        return;
    }
    respond_start(x, from_h2 ? 200 : 101, VALUE_OFF);
    leg_tunnel(leg);
}
