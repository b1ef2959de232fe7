/* About how many users there are, in 16 KiB however many: HyperLogLog.
 *
 * 2^14 registers, so the standard error is 0.8 %.  Adding is idempotent and
 * estimates merge without loss, in any order.  A zeroed one is empty.
 */
#ifndef HEADGATE_MODULES_1MRC_ESTIMATE_H
#define HEADGATE_MODULES_1MRC_ESTIMATE_H

#include "modules/1mrc/hash.h"

enum { ESTIMATE_BITS = 14, ESTIMATE_REGISTERS = 1 << ESTIMATE_BITS, ESTIMATE_RANK_MAX = 64 };

struct estimate {
    uint8_t rank[ESTIMATE_REGISTERS];
};

static inline void estimate_add(struct estimate *e, struct user_hash h)
{
    uint8_t *rank = &e->rank[h.b >> (64 - ESTIMATE_BITS)];
    uint8_t seen = (uint8_t)(h.a ? __builtin_clzll(h.a) + 1 : ESTIMATE_RANK_MAX);

    if (seen > *rank)
        *rank = seen;
}

void estimate_merge(struct estimate *e, const struct estimate *other);
double estimate_count(const struct estimate *e);

#endif
