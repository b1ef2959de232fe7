/* Fields onto a wire, one by one: for heads that do not fit one buffer. */
#ifndef HEADGATE_GATE_SAY_H
#define HEADGATE_GATE_SAY_H

#include "http/field.h"
#include "net/wire.h"

static inline bool say_field(struct wire *w, struct span name, struct span value)
{
    return wire_say(w, name) && wire_say(w, SPAN(": ")) && wire_say(w, value) &&
           wire_say(w, SPAN("\r\n"));
}

static inline bool say_fields(struct wire *w, const struct fields *fields)
{
    for (unsigned i = 0; i < fields->count; i++)
        if (!say_field(w, fields->list[i].name, fields->list[i].value))
            return false;
    return true;
}

#endif
