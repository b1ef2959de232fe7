/* The origin's fields onto the response: hop-by-hop fields stay behind. */
#include "modules/forward/forward.h"

static bool response_passes(const struct response *from, const struct field *f)
{
    enum field_id id = (enum field_id)f->id;

    if (field_hop_by_hop(id) || id == FIELD_CONTENT_LENGTH)
        return false;
    return !(from->fields.seen & (UINT64_C(1) << FIELD_CONNECTION)) ||
           !fields_has_item(&from->fields, FIELD_CONNECTION, f->name);
}

/* The answer to a WebSocket's key is for whoever has sent the key: not if it was ours, nor if the
 * origin cannot have seen one. */
static bool is_others_answer(const struct exchange *x, const struct leg *leg, const struct field *f)
{
    return (x->request.protocol.len > 0 || leg->connects) &&
           span_equal_nocase(f->name, WEBSOCKET_ACCEPT_NAME);
}

bool forward_response(struct exchange *x, const struct leg *leg)
{
    const struct response *from = &leg->response;

    x->passed_on = true;
    for (unsigned i = 0; i < from->fields.count; i++) {
        const struct field *f = &from->fields.list[i];
        if (!response_passes(from, f) || is_others_answer(x, leg, f))
            continue;
        if (response_field_passed(x, f) == FAIL_FULL)
            return false;
    }
    return !leg->upstream->sticky || leg_stick(leg);
}
