/* What all resolvers do with lookups; see lookup.h. */
#include "net/lookup.h"

void lookup_add(struct lookup *l, const struct found *f)
{
    for (unsigned i = 0; i < l->count; i++)
        if (address_equal(&l->found[i].at, &f->at))
            return;
    if (l->count < LOOKUP_MAX) {
        l->found[l->count++] = *f;
        return;
    }
    struct found *last = &l->found[0];
    for (unsigned i = 1; i < l->count; i++)
        if (l->found[i].priority > last->priority)
            last = &l->found[i];
    if (f->priority < last->priority)
        *last = *f;
    l->left_out++;
}

bool lookup_localhost(struct lookup *l)
{
    struct address found[2];
    unsigned n = l->services ? 0 : address_localhost(span_of(l->name), found);

    for (unsigned i = 0; i < n; i++)
        if (l->family == ADDRESS_NONE || l->family == found[i].family)
            lookup_add(l, &(struct found){.at = found[i]});
    return n > 0;
}
