/* What the challenge's GET /stats answers, read. */
#ifndef HEADGATE_BENCH_STATS_JSON_H
#define HEADGATE_BENCH_STATS_JSON_H

#include "base/fail.h"
#include "base/span.h"

struct stats {
    uint64_t total, users;
    double sum, avg;
    bool users_estimated; /* "uniqueUsersExact": false */
    bool sum_overflow;    /* "sumOverflow": true; sum and avg are null */
};

/* One flat JSON object; unknown keys are ignored.  FAIL_BAD with *why, a
 * static sentence, when it is none or lacks totalRequests, uniqueUsers, sum or avg. */
MUST_USE int stats_parse(struct stats *s, struct span text, const char **why);

#endif
