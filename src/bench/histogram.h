/* How long things took: counts in buckets that grow with the value.
 *
 * Log-linear: each power of two is cut into HISTOGRAM_FINE equal buckets, so a
 * percentile is off by less than one part in HISTOGRAM_FINE, whether it is
 * microseconds or minutes, in a fixed 37 KB and with one increment a value.
 */
#ifndef HEADGATE_BENCH_HISTOGRAM_H
#define HEADGATE_BENCH_HISTOGRAM_H

#include <stdint.h>

enum {
    HISTOGRAM_FINE_BITS = 7,
    HISTOGRAM_FINE = 1 << HISTOGRAM_FINE_BITS,
    HISTOGRAM_VALUE_BITS = 42, /* of nanoseconds: 73 minutes; more counts as that */
    HISTOGRAM_BUCKETS = (HISTOGRAM_VALUE_BITS - HISTOGRAM_FINE_BITS + 1) * HISTOGRAM_FINE,
};

/* A zeroed struct is an empty histogram. */
struct histogram {
    uint64_t count, total; /* of values, and their sum */
    uint64_t least, most;
    uint64_t bucket[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *h, uint64_t value);
void histogram_merge(struct histogram *h, const struct histogram *other);

/* The least value that `percent` of all values do not exceed, rounded up to its
 * bucket's end but never beyond the greatest; 0 when empty. */
uint64_t histogram_percentile(const struct histogram *h, double percent);
uint64_t histogram_mean(const struct histogram *h);

#endif
