/* The request onto an HTTP/1 link (RFC 9112). */
#include "gate/link_h1.h"

#include "gate/say.h"
#include "http/h1_write.h"

enum { OWN_FIELDS_MAX = 128 + LEG_UPGRADE_MAX };

/* What comes behind the fields that the exchange gave. */
static struct span own_fields(struct h1_link *l, char line[static OWN_FIELDS_MAX])
{
    const struct request *r = &l->leg->x->request;
    struct span upgrade = l->leg->request.upgrade;
    char *at = line;

    if (r->framing == FRAMING_LENGTH)
        at += h1_write_length(at, OWN_FIELDS_MAX, r->content_length);
    else if (r->framing == FRAMING_CHUNKED)
        at = span_put(at, SPAN("Transfer-Encoding: chunked\r\n"));
    bool te = leg_takes_trailers(l->leg);
    if (upgrade.len > 0) {
        at = span_put(at, te ? SPAN("TE: trailers\r\nConnection: TE, Upgrade\r\nUpgrade: ")
                             : SPAN("Connection: Upgrade\r\nUpgrade: "));
        at = span_put(at, span_first(upgrade, LEG_UPGRADE_MAX));
        at = span_put(at, SPAN("\r\n"));
    } else if (te) {
        at = span_put(at, SPAN("TE: trailers\r\nConnection: TE\r\n"));
    } else if (l->base.single) {
        at = span_put(at, SPAN("Connection: close\r\n"));
    }
    at = span_put(at, SPAN("\r\n"));
    return (struct span){line, (size_t)(at - line)};
}

static void h1_link_say_head(struct h1_link *l)
{
    const struct leg_request *r = &l->leg->request;
    struct wire *w = &l->base.wire;
    char line[OWN_FIELDS_MAX];
    struct span own = own_fields(l, line);
    const struct span version = SPAN(" HTTP/1.1\r\n");
    size_t fields = h1_fields_bytes(&r->fields);
    size_t need = r->method.len + 1 + r->target.len + version.len + fields + own.len;

    char *start = need <= IO_BUF_SIZE ? wire_room(w, (uint32_t)need) : NULL, *at = start;
    if (start) {
        at = span_put(at, r->method);
        *at++ = ' ';
        at = span_put(at, r->target);
        at = span_put(at, version);
        at += h1_write_fields(at, fields, &r->fields);
        at = span_put(at, own);
        wire_wrote(w, (uint32_t)(at - start));
        return;
    }
    wire_say(w, r->method);
    wire_say(w, SPAN(" "));
    wire_say(w, r->target);
    wire_say(w, version);
    say_fields(w, &r->fields);
    wire_say(w, own);
}

static void h1_link_write_head(struct h1_link *l)
{
    struct leg *leg = l->leg;
    const struct request *r = &leg->x->request;

    leg_stamp(leg);
    leg_departs(leg);
    h1_link_say_head(l);
    l->request_chunked = r->framing == FRAMING_CHUNKED;
    l->request_left = r->framing == FRAMING_LENGTH ? r->content_length : 0;
    leg->request_done = r->framing != FRAMING_CHUNKED && r->framing != FRAMING_LENGTH;
    leg->since = io_now(link_io(&l->base));
}

static void h1_link_write_piece(struct h1_link *l, struct slice s)
{
    struct wire *w = &l->base.wire;
    char head[H1_CHUNK_HEAD_MAX];

    if (l->request_chunked)
        wire_say(w, (struct span){head, h1_chunk_head(head, s.len)});
    else
        l->request_left -= s.len;
    wire_give(w, s);
    if (l->request_chunked)
        wire_say(w, SPAN("\r\n"));
}

/* What an earlier try had sent already goes first.  True when all of it has gone. */
static bool h1_link_write_replay(struct h1_link *l)
{
    while (l->replayed < l->replay_end && wire_has_room(&l->base.wire)) {
        struct slice s = l->leg->replay.list[l->replayed++];
        buf_ref(s.buf);
        h1_link_write_piece(l, s);
        l->leg->since = io_now(link_io(&l->base));
    }
    return l->replayed == l->replay_end;
}

static void h1_link_write_end(struct wire *w, const struct fields *trailers)
{
    wire_say(w, SPAN("0\r\n"));
    say_fields(w, trailers);
    wire_say(w, SPAN("\r\n"));
}

static void h1_link_write_content(struct h1_link *l)
{
    struct leg *leg = l->leg;
    struct wire *w = &l->base.wire;
    struct exchange *x = leg->x;
    struct flow *f = &x->request_content;
    bool moved = false;

    while (!leg->request_done && !flow_empty(f) && wire_has_room(w)) {
        uint32_t max = (uint32_t)flow_peek(f).len;
        if (!l->request_chunked && max > l->request_left)
            max = (uint32_t)l->request_left;
        struct slice s = flow_pop(f, max);
        leg_remember(leg, (struct span){s.ptr, s.len});
        h1_link_write_piece(l, s);
        moved = true;
    }
    if (!leg->request_done && flow_done(f) && !f->fail) {
        if (l->request_chunked)
            h1_link_write_end(w, &x->request_trailers);
        leg->request_done = true;
        moved = true;
    }
    if (moved)
        leg->since = io_now(link_io(&l->base));
}

static void h1_link_write_tunnel(struct h1_link *l)
{
    struct leg *leg = l->leg;
    struct wire *w = &l->base.wire;
    struct flow *f = &leg->x->request_content;

    while (!flow_empty(f) && wire_has_room(w)) {
        wire_give(w, flow_pop(f, UINT32_MAX));
        leg->since = io_now(link_io(&l->base));
    }
    if (flow_done(f))
        wire_finish(w);
}

void h1_link_write(struct h1_link *l)
{
    struct leg *leg = l->leg;

    if (leg->x->tunnel) {
        h1_link_write_tunnel(l);
        return;
    }
    if (!leg->request_written)
        h1_link_write_head(l);
    if (h1_link_write_replay(l))
        h1_link_write_content(l);
}
