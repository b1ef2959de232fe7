/* Whether what /stats says is what was sent. */
#ifndef HEADGATE_BENCH_VERDICT_H
#define HEADGATE_BENCH_VERDICT_H

#include "bench/stats_json.h"

enum { VERDICT_CHECKS = 4, VERDICT_TEXT_MAX = 48, VERDICT_NOTE_MAX = 128 };

struct verdict_check {
    const char *name;
    bool ok;
    char want[VERDICT_TEXT_MAX], got[VERDICT_TEXT_MAX];
    char note[VERDICT_NOTE_MAX]; /* how it was compared */
};

struct verdict {
    bool from_zero, ok;
    struct stats before, after;
    struct verdict_check checks[VERDICT_CHECKS]; /* total, users, sum, avg */
};

/* Total and users are compared by difference.  From zero the sum must be the
 * correctly rounded one; otherwise both readings were rounded, and the true
 * difference lies within 1 ulp (of the greater) of theirs. */
void verdict_reach(struct verdict *v, const struct stats *before, const struct stats *after,
                   uint64_t events, uint64_t users);

bool stats_at_zero(const struct stats *s);

#endif
