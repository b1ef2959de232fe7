/* The request onto an HTTP/1 link (RFC 9112). */
#include "gate/link_h1.h"

#include "gate/say.h"
#include "http/h1_write.h"

static void h1_link_write_head(struct h1_link *l)
{
    struct leg *leg = l->leg;
    struct exchange *x = leg->x;
    struct wire *w = &l->base.wire;
    char line[64];

    wire_say(w, leg->request.method);
    wire_say(w, SPAN(" "));
    wire_say(w, leg->request.target);
    wire_say(w, SPAN(" HTTP/1.1\r\n"));
    size_t bytes = h1_fields_bytes(&leg->request.fields);
    char *at = bytes > 0 && bytes <= IO_BUF_SIZE ? wire_room(w, (uint32_t)bytes) : NULL;
    if (at)
        wire_wrote(w, (uint32_t)h1_write_fields(at, bytes, &leg->request.fields));
    else
        for (unsigned i = 0; i < leg->request.fields.count; i++)
            say_field(w, leg->request.fields.list[i].name, leg->request.fields.list[i].value);
    switch (x->request.framing) {
    case FRAMING_LENGTH:
        wire_say(
            w, (struct span){line, h1_write_length(line, sizeof line, x->request.content_length)});
        l->request_left = x->request.content_length;
        break;
    case FRAMING_CHUNKED:
        wire_say(w, SPAN("Transfer-Encoding: chunked\r\n"));
        l->request_chunked = true;
        break;
    default:
        leg->request_done = true;
        break;
    }
    if (leg->request.upgrade.len > 0) {
        wire_say(w, SPAN("Connection: Upgrade\r\n"));
        say_field(w, SPAN("Upgrade"), leg->request.upgrade);
    }
    wire_say(w, SPAN("\r\n"));
    leg->request_written = true;
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

/* What an earlier try had sent already goes first. */
static void h1_link_write_replay(struct h1_link *l)
{
    struct leg *leg = l->leg;
    struct wire *w = &l->base.wire;
    char head[H1_CHUNK_HEAD_MAX];

    if (leg->replay.len == 0)
        return;
    if (l->request_chunked)
        wire_say(w, (struct span){head, h1_chunk_head(head, leg->replay.len)});
    else
        l->request_left -= leg->replay.len;
    wire_say(w, leg->replay);
    if (l->request_chunked)
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
            wire_say(w, SPAN("0\r\n\r\n"));
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
    if (!leg->request_written) {
        h1_link_write_head(l);
        h1_link_write_replay(l);
    }
    h1_link_write_content(l);
}
