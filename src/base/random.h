/* Random numbers of one worker, from a seed that the engine supplies.
 *
 * Fast and statistically sound, not for secrets: keys come from io_entropy().
 */
#ifndef HEADGATE_BASE_RANDOM_H
#define HEADGATE_BASE_RANDOM_H

#include <stdint.h>

struct random {
    uint64_t state;
};

/* splitmix64 (Steele, Lea, Flood 2014). */
static inline uint64_t random_next(struct random *r)
{
    uint64_t z = (r->state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Below n, which may not be 0; the bias is below 2^-32 for n < 2^32. */
static inline uint64_t random_below(struct random *r, uint64_t n)
{
    return (uint64_t)(((unsigned __int128)random_next(r) * n) >> 64);
}

#endif
