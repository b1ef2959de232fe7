/* Trailers of a message on their way through; see trailers.h. */
#include "gate/trailers.h"

/* Connection may speak of them, too (RFC 9110, 7.6.1). */
static bool connection_names(const struct fields *head, struct span name)
{
    return fields_get(head, FIELD_CONNECTION) && fields_has_item(head, FIELD_CONNECTION, name);
}

/* What the gateway itself says to the origin is said in the head, and by nobody else. */
static bool is_ours(const struct field *f)
{
    switch (f->id) {
    case FIELD_VIA:
    case FIELD_X_REQUEST_ID:
    case FIELD_TRACEPARENT:
        return true;
    default:
        return field_is_disguised(f);
    }
}

static bool keep_one(struct arena *arena, struct fields *to, const struct field *f)
{
    struct span name = arena_copy(arena, f->name), value = arena_copy(arena, f->value);

    return name.ptr && (f->value.len == 0 || value.ptr) &&
           fields_add(to, (enum field_id)f->id, name, value) == 0;
}

static bool keep(struct exchange *x, struct fields *to, const struct fields *head,
                 const struct fields *from, bool request)
{
    struct fields kept = {.max = from->count};

    if (from->count == 0)
        return true;
    if (!(kept.list = arena_alloc(&x->arena, kept.max * sizeof *kept.list)))
        return false;
    for (unsigned i = 0; i < from->count; i++) {
        const struct field *f = &from->list[i];
        if (connection_names(head, f->name) || (request && is_ours(f)))
            continue;
        if (!keep_one(&x->arena, &kept, f))
            return false;
    }
    *to = kept;
    return true;
}

bool trailers_keep_request(struct exchange *x, const struct fields *trailers)
{
    return keep(x, &x->request_trailers, &x->request.fields, trailers, true);
}

bool trailers_keep_response(struct exchange *x, const struct fields *head,
                            const struct fields *trailers)
{
    return keep(x, &x->trailers, head, trailers, false);
}
