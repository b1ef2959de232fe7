/* How long things took: counts in buckets that grow with the value. */
#include "histogram.h"

static unsigned bucket_of(uint64_t value)
{
    if (value >> HISTOGRAM_VALUE_BITS)
        return HISTOGRAM_BUCKETS - 1;
    if (value < HISTOGRAM_FINE)
        return (unsigned)value;
    unsigned shift = 63u - (unsigned)__builtin_clzll(value) - HISTOGRAM_FINE_BITS;
    return (shift << HISTOGRAM_FINE_BITS) + (unsigned)(value >> shift);
}

/* The greatest value that falls into a bucket. */
static uint64_t bucket_end(unsigned bucket)
{
    if (bucket < 2 * HISTOGRAM_FINE)
        return bucket;
    unsigned shift = (bucket >> HISTOGRAM_FINE_BITS) - 1;
    uint64_t fine = (bucket & (HISTOGRAM_FINE - 1)) + HISTOGRAM_FINE;
    return ((fine + 1) << shift) - 1;
}

void histogram_add(struct histogram *h, uint64_t value)
{
    if (h->count == 0 || value < h->least)
        h->least = value;
    if (value > h->most)
        h->most = value;
    h->count++;
    h->total += value;
    h->bucket[bucket_of(value)]++;
}

void histogram_merge(struct histogram *h, const struct histogram *other)
{
    if (other->count == 0)
        return;
    if (h->count == 0 || other->least < h->least)
        h->least = other->least;
    if (other->most > h->most)
        h->most = other->most;
    h->count += other->count;
    h->total += other->total;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        h->bucket[i] += other->bucket[i];
}

uint64_t histogram_percentile(const struct histogram *h, double percent)
{
    /* The rank, rounded up; a hair is taken off first, since 99.9 % of 1000 is
     * a little more than 999 in binary. */
    double rank = percent / 100 * (double)h->count * (1 - 1e-12);
    uint64_t wanted = (uint64_t)rank + 1, seen = 0;

    if (wanted >= h->count)
        return h->most;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->bucket[i];
        if (seen >= wanted)
            return bucket_end(i) < h->most ? bucket_end(i) : h->most;
    }
    return h->most;
}

uint64_t histogram_mean(const struct histogram *h)
{
    return h->count ? h->total / h->count : 0;
}
