/* One name that is followed: what is known of it, and when to ask again. */
#ifndef HEADGATE_GATE_NAME_H
#define HEADGATE_GATE_NAME_H

#include "gate/upstream.h"
#include "net/lookup.h"

struct name {
    struct link_node node; /* of names.list */
    struct lookup lookup;
    bool asked;        /* it is the resolver's */
    bool heard;        /* answered, at least once */
    bool gone;         /* nobody wants it any more; freed when it is not asked */
    bool moved;        /* the last answer was news that is not placed yet */
    unsigned failures; /* in a row */
    uint64_t due;
    unsigned count; /* what is known: the last answer that was one */
    unsigned left_out;
    struct found found[LOOKUP_MAX];
    char host[LOOKUP_NAME_MAX + 1];
};

struct ttl_bounds {
    uint64_t min_ns, max_ns;
};

/* The lookup is answered: what is known now, and when to ask again. */
void name_heard(struct name *n, struct ttl_bounds bounds, uint64_t now);

/* Gives a server's SLOTS_PER_NAME slots the addresses that are known: who is among them keeps
 * his, who is not loses it, and what is new goes where nothing is, or who is of a later priority.
 * True: that was news.  *left_out: how many found no slot. */
bool name_place(const struct name *n, const struct server_entry *slots, unsigned *left_out);

#endif
