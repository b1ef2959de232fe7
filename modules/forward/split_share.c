/* What share of all keys or draws each part of a split has. */
#include "modules/forward/forward.h"

#include "base/hash.h"

/* Rendezvous hashing: from 95 and 5 to 90 and 10 five keys of a hundred move, those
 * that the second wins, and no other changes sides. */
unsigned split_of_key(const struct split *s, struct span key)
{
    uint64_t hash = hash_text(key), least = 0;
    unsigned best = s->count;

    for (unsigned i = 0; i < s->count; i++) {
        const struct split_part *p = &s->parts[i];
        uint64_t cost = hash_cost(hash, p->hash);
        if (p->weight == 0 ||
            (best < s->count && cost * s->parts[best].weight >= least * p->weight))
            continue;
        best = i;
        least = cost;
    }
    return best;
}

unsigned split_of_draw(const struct split *s, uint64_t draw)
{
    unsigned i = 0;

    for (; draw >= s->parts[i].weight; i++)
        draw -= s->parts[i].weight;
    return i;
}
