/* Request methods: a handful of words, told apart by length and first letter. */
#include "http/method.h"

struct method_row {
    struct span name;
    bool safe, idempotent;
};

#define METHOD_ROW(name, safe, idempotent) [METHOD_##name] = {SPAN_INIT(#name), safe, idempotent},
static const struct method_row rows[METHOD_COUNT] = {METHOD_LIST(METHOD_ROW)};
#undef METHOD_ROW

static enum method candidate(struct span name)
{
    switch (name.len) {
    case 3:
        return name.ptr[0] == 'G' ? METHOD_GET : METHOD_PUT;
    case 4:
        return name.ptr[0] == 'P' ? METHOD_POST : METHOD_HEAD;
    case 5:
        return name.ptr[0] == 'P' ? METHOD_PATCH : METHOD_TRACE;
    case 6:
        return METHOD_DELETE;
    case 7:
        return name.ptr[0] == 'O' ? METHOD_OPTIONS : METHOD_CONNECT;
    default:
        return METHOD_OTHER;
    }
}

enum method method_find(struct span name)
{
    enum method m = candidate(name);

    return m != METHOD_OTHER && span_equal(rows[m].name, name) ? m : METHOD_OTHER;
}

struct span method_name(enum method m)
{
    return m == METHOD_OTHER ? SPAN("") : rows[m].name;
}

bool method_safe(enum method m)
{
    return rows[m].safe;
}

bool method_idempotent(enum method m)
{
    return rows[m].idempotent;
}
