/* What all resolvers do with lookups; see lookup.h. */
#include "net/lookup.h"

void lookup_add(struct lookup *l, const struct found *f)
{
    for (unsigned i = 0; i < l->count; i++)
        if (address_equal(&l->found[i].at, &f->at))
            return;
    if (l->count < LOOKUP_MAX)
        l->found[l->count++] = *f;
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
