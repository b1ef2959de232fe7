/* Moves a parsed head to where its bytes have moved. */
#include "http/message.h"

struct move {
    const char *from;
    size_t len;
    const char *to;
};

/* Addresses are compared as numbers: the bytes may be gone already.  A span
 * at the very end of the bytes is empty, and moves too. */
static void span_move(struct span *s, const struct move *m)
{
    uintptr_t at = (uintptr_t)s->ptr, from = (uintptr_t)m->from;

    if (s->ptr && at >= from && at - from <= m->len && s->len <= m->len - (at - from))
        s->ptr = m->to + (at - from);
}

static void fields_move(struct fields *f, const struct move *m)
{
    for (uint32_t i = 0; i < f->count; i++) {
        span_move(&f->list[i].name, m);
        span_move(&f->list[i].value, m);
    }
}

void request_rebase(struct request *r, const char *from, size_t len, const char *to)
{
    struct move m = {from, len, to};

    span_move(&r->method_name, &m);
    span_move(&r->target_text, &m);
    span_move(&r->target.scheme, &m);
    span_move(&r->target.authority, &m);
    span_move(&r->target.path, &m);
    span_move(&r->target.query, &m);
    span_move(&r->protocol, &m);
    span_move(&r->host, &m);
    fields_move(&r->fields, &m);
}

void response_rebase(struct response *r, const char *from, size_t len, const char *to)
{
    struct move m = {from, len, to};

    span_move(&r->reason, &m);
    fields_move(&r->fields, &m);
}
