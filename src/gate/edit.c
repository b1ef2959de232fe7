/* Edits of header fields; see edit.h. */
#include "gate/edit.h"

#include "base/log.h"

/* Origins that hand fields on as CGI variables cannot tell X_User from X-User
 * (RFC 3875, 4.1.18): what is set or removed is so under both names. */
static bool name_equal(struct span a, struct span b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++) {
        char left = a.ptr[i] == '_' ? '-' : ascii_lower(a.ptr[i]);
        char right = b.ptr[i] == '_' ? '-' : ascii_lower(b.ptr[i]);
        if (left != right)
            return false;
    }
    return true;
}

static bool edit_names(const struct edit *e, const struct field *f)
{
    if (e->kind == EDIT_REMOVE_PREFIX) /* Host is host_header's */
        return f->id != FIELD_HOST && name_equal(span_first(f->name, e->name.len), e->name);
    return (e->id != FIELD_OTHER && f->id == e->id) || name_equal(f->name, e->name);
}

static bool fields_have(const struct fields *fields, const struct edit *e)
{
    for (unsigned i = 0; i < fields->count; i++)
        if (edit_names(e, &fields->list[i]))
            return true;
    return false;
}

static void fields_remove(struct fields *fields, const struct edit *e)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < fields->count; i++)
        if (!edit_names(e, &fields->list[i]))
            fields->list[kept++] = fields->list[i];
    fields->count = kept;
}

static void edit_add(const struct edit *e, struct exchange *x, struct fields *fields)
{
    struct span value = template_text(e->value, x);

    if (e->kind == EDIT_SET && value.len == 0)
        return;
    if (!value.ptr || !span_is_field_value(value) || fields_add(fields, e->id, e->name, value) < 0)
        log_say(LOG_INFO, "route %.*s: field %.*s was left out: no room, or a bad byte",
                SPAN_ARG(x->route->name), SPAN_ARG(e->name));
}

void edits_apply(const struct edits *edits, struct exchange *x, struct fields *fields)
{
    for (unsigned i = 0; i < edits->count; i++) {
        const struct edit *e = &edits->list[i];
        if (e->kind == EDIT_DEFAULT && fields_have(fields, e))
            continue;
        if (e->kind == EDIT_SET || e->kind == EDIT_REMOVE || e->kind == EDIT_REMOVE_PREFIX)
            fields_remove(fields, e);
        if (e->kind == EDIT_SET || e->kind == EDIT_ADD || e->kind == EDIT_DEFAULT)
            edit_add(e, x, fields);
    }
}
