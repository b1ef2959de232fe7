/* What the origin is told of the time that is left. */
#include "modules/forward/forward.h"

void deadline_load(struct loading *l, struct forward_conf *conf)
{
    struct span name = conf->deadline_header;
    struct edit *removed;

    if (name.len == 0)
        return;
    if (field_find(name) != FIELD_OTHER)
        loading_say(l, SEVERITY_ERROR, "deadline_header", "%.*s has a meaning of its own",
                    SPAN_ARG(name));
    else if (span_equal_nocase(name, SPAN("grpc-timeout")))
        loading_say(l, SEVERITY_ERROR, "deadline_header",
                    "grpc-timeout is the client's, and not in milliseconds");
    else if (conf->timeout == VALUE_OFF)
        loading_say(l, SEVERITY_ERROR, "deadline_header", "there is no timeout to tell of");
    if (!(removed = arena_zalloc(loading_arena(l), sizeof *removed))) {
        loading_say(l, SEVERITY_ERROR, "deadline_header", "out of memory");
        return;
    }
    *removed = (struct edit){.kind = EDIT_REMOVE, .name = name};
    conf->deadline_removed = (struct edits){.list = removed, .count = 1};
}

int deadline_add(struct exchange *x, const struct forward_conf *conf, struct leg_request *out)
{
    char *digits = arena_alloc(exchange_arena(x), LEG_TIME_DIGITS);

    edits_apply(&conf->deadline_removed, x, &out->fields);
    if (!digits || fields_add(&out->fields, FIELD_OTHER, conf->deadline_header,
                              (struct span){digits, LEG_TIME_DIGITS}) < 0)
        return FAIL_MEMORY;
    out->time_left = &out->fields.list[out->fields.count - 1];
    return 0;
}
