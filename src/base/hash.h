/* Hashes of text that are the same in every process and on every machine, and
 * who of several gets a key by them.
 *
 * Rendezvous hashing: each bidder draws a number for the key, and the lowest
 * for its weight wins.  When one comes, goes or changes its weight, only the
 * keys move that it wins or loses.
 */
#ifndef HEADGATE_BASE_HASH_H
#define HEADGATE_BASE_HASH_H

#include "base/span.h"

static inline uint64_t hash_mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t hash_text(struct span text);

/* What a bidder of this hash asks for a key of that: a number below 2^26.  Of
 * two the one with the lower cost / weight wins, so that each gets its share. */
uint64_t hash_cost(uint64_t key, uint64_t bidder);

#endif
