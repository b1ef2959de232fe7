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

bool forward_response(struct exchange *x, const struct response *from)
{
    for (unsigned i = 0; i < from->fields.count; i++) {
        const struct field *f = &from->fields.list[i];
        if (!response_passes(from, f))
            continue;
        if (response_field_passed(x, f) == FAIL_FULL)
            return false;
    }
    return true;
}
