/* The request onto an HTTP/2 link (RFC 9113, 8.3). */
#include "gate/link_h2.h"

#include <stdio.h>

enum { OWN_MAX = 8 };

static void add_own(struct fields *own, struct span name, struct span value)
{
    assert(own->count < own->max);
    own->list[own->count++] = (struct field){.name = name, .value = value};
}

/* Host has become :authority, and a WebSocket's key is HTTP/1's affair (RFC 8441, 5). */
static bool is_other(const struct leg *leg, const struct field *f)
{
    if (f->id == FIELD_HOST)
        return false;
    return !leg->connects || !span_equal_nocase(f->name, WEBSOCKET_KEY_NAME);
}

/* All that are said as they are: the list as it is, where Host stands first. */
static bool other_fields(const struct leg *leg, struct fields *rest)
{
    const struct fields *all = &leg->request.fields;
    bool host = fields_get(all, FIELD_HOST);

    *rest = *all;
    if (!host && !leg->connects)
        return true;
    if (!leg->connects && all->list[0].id == FIELD_HOST && fields_number(all, FIELD_HOST) == 1) {
        rest->list++;
        rest->count--;
        return true;
    }
    rest->list = arena_alloc(&leg->x->arena, all->count * sizeof *rest->list);
    rest->count = 0;
    for (uint32_t i = 0; rest->list && i < all->count; i++)
        if (is_other(leg, &all->list[i]))
            rest->list[rest->count++] = all->list[i];
    return rest->list;
}

static int begin(struct h2_link *l, struct h2_leg *h)
{
    struct leg *leg = h->leg;
    const struct request *r = &leg->x->request;
    const struct field *host = fields_get(&leg->request.fields, FIELD_HOST);
    struct field list[OWN_MAX];
    struct fields own = {.list = list, .max = COUNT_OF(list)}, rest;
    char digits[24];

    leg->connects = leg->request.upgrade.len > 0 && l->session.peer_connects;
    leg_stamp(leg);
    if (!other_fields(leg, &rest))
        return FAIL_MEMORY;
    add_own(&own, SPAN(":method"), leg->connects ? SPAN("CONNECT") : leg->request.method);
    if (leg->connects)
        add_own(&own, SPAN(":protocol"), leg->request.upgrade);
    add_own(&own, SPAN(":scheme"), wire_tls(&l->base.wire) ? SPAN("https") : SPAN("http"));
    if (host)
        add_own(&own, SPAN(":authority"), host->value);
    add_own(&own, SPAN(":path"), leg->request.target);
    if (r->framing == FRAMING_LENGTH) {
        int n = snprintf(digits, sizeof digits, "%llu", (unsigned long long)r->content_length);
        add_own(&own, SPAN("content-length"), (struct span){digits, (size_t)n});
    }
    if (leg_takes_trailers(leg))
        add_own(&own, SPAN("te"), SPAN("trailers"));
    bool end =
        r->framing != FRAMING_CHUNKED && (r->framing != FRAMING_LENGTH || r->content_length == 0);
    /* What waits stands before it: records may make it more, but not less. */
    h->from = l->sent + wire_waiting(&l->base.wire) + h2_out(&l->session).len;
    int err = h2_request(&l->session, &h->stream, &own, &rest, end && !leg->connects);
    if (err < 0)
        return err;
    h->stream.no_content = r->method == METHOD_HEAD;
    h->begun = true;
    leg_departs(leg);
    leg->request_done = end;
    leg->since = io_now(link_io(&l->base));
    return 0;
}

/* One frame of content from a slice that is the wire's from then on; false: the wire has failed. */
static bool write_slice(struct h2_link *l, struct h2_leg *h, struct slice s, bool end)
{
    struct wire *w = &l->base.wire;

    h->leg->since = io_now(link_io(&l->base));
    if (!h2_wire_data(&l->session, w, &h->stream, s.len, end)) {
        buf_unref(s.buf);
        return false;
    }
    h->leg->request_done = end;
    return wire_give(w, s);
}

/* What an earlier try had sent already goes first. */
static enum h2_leg_wrote write_replay(struct h2_link *l, struct h2_leg *h)
{
    struct slice s = h->leg->replay.list[h->replayed];
    uint32_t n = h2_take(&l->session, &h->stream, s.len - h->piece_sent);

    if (n == 0)
        return H2_LEG_SHUT;
    s.ptr += h->piece_sent;
    h->piece_sent += n;
    if (h->piece_sent == s.len) {
        h->piece_sent = 0;
        h->replayed++;
    }
    s.len = n;
    buf_ref(s.buf);
    return write_slice(l, h, s, false) ? H2_LEG_SOME : H2_LEG_WIRE;
}

static void write_end(struct h2_link *l, struct h2_leg *h)
{
    struct leg *leg = h->leg;
    const struct fields *trailers = &leg->x->request_trailers;

    if (trailers->count > 0)
        h2_trailers(&l->session, &h->stream, trailers);
    else
        h2_data(&l->session, &h->stream, 0, true);
    leg->request_done = true;
    leg->since = io_now(link_io(&l->base));
}

static enum h2_leg_wrote write_content(struct h2_link *l, struct h2_leg *h)
{
    struct leg *leg = h->leg;
    struct flow *f = &leg->x->request_content;

    if (flow_empty(f)) {
        if (!f->ended || f->fail)
            return H2_LEG_ALL;
        if (leg->x->request_trailers.count == 0 && !h2_may_end(&h->stream))
            return H2_LEG_SHUT;
        write_end(l, h);
        return H2_LEG_ALL;
    }
    uint32_t n = h2_take(&l->session, &h->stream, flow_peek(f).len);
    if (n == 0)
        return H2_LEG_SHUT;
    bool end = f->ended && !f->fail && n == f->bytes && leg->x->request_trailers.count == 0;
    struct slice s = flow_pop(f, n);
    leg_remember(leg, (struct span){s.ptr, s.len});
    if (!write_slice(l, h, s, end))
        return H2_LEG_WIRE;
    return end || (flow_empty(f) && !f->ended) ? H2_LEG_ALL : H2_LEG_SOME;
}

/* Until the origin's SETTINGS are there no more streams begin than it last allowed; one where
 * that is not known: it may refuse what is too much, and a try would be lost (RFC 9113, 5.1.2). */
static bool waits_for_settings(const struct h2_link *l)
{
    uint32_t said = l->base.server->streams_max;

    return !h2_settled(&l->session) && l->session.streams >= (said > 0 ? said : 1);
}

enum h2_leg_wrote h2_leg_write(struct h2_link *l, struct h2_leg *h)
{
    struct leg *leg = h->leg;
    struct wire *w = &l->base.wire;

    if (!h2_wire_flush(&l->session, w) || wire_waiting(w) >= WIRE_LOW || !wire_has_room(w))
        return H2_LEG_WIRE;
    if (!h->begun && leg->request.upgrade.len > 0) {
        if (!h2_settled(&l->session)) /* RFC 8441, 3: SETTINGS say, and open all windows */
            return H2_LEG_SHUT;
        if (leg->x->request.protocol.len > 0 && !l->session.peer_connects) {
            leg_fail(leg, CAUSE_upstream_upgrade_refused); /* a tunnel, which no GET would make */
            return H2_LEG_ALL;
        }
    }
    if (!h->begun && waits_for_settings(l))
        return H2_LEG_SHUT;
    if (!h->begun) {
        int err = begin(l, h);
        if (err == FAIL_FULL)
            return H2_LEG_FULL;
        if (err < 0) {
            leg_fail_fresh(leg, CAUSE_out_of_memory);
            return H2_LEG_ALL;
        }
        if (leg->request_done)
            return H2_LEG_ALL;
        if (!h2_wire_flush(&l->session, w))
            return H2_LEG_WIRE;
    }
    if (leg->request_done || (h->stream.state & H2_GONE))
        return H2_LEG_ALL;
    return h->replayed < h->replay_end ? write_replay(l, h) : write_content(l, h);
}
