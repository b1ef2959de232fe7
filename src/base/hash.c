/* Hashes of text; see hash.h. */
#include "base/hash.h"

/* FNV-1a, and a finish that spreads what it leaves together. */
uint64_t hash_text(struct span text)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < text.len; i++)
        h = (h ^ (unsigned char)text.ptr[i]) * UINT64_C(0x100000001b3);
    return hash_mix(h);
}

/* -log2(h / 2^64), 20 bits behind the point: the same on every machine. */
static uint64_t minus_log2(uint64_t h)
{
    unsigned zeros = h ? (unsigned)__builtin_clzll(h) : 63;
    uint64_t m = h ? h << zeros : UINT64_C(1) << 63, fraction = 0;

    for (unsigned i = 0; i < 20; i++) {
        unsigned __int128 square = (unsigned __int128)m * m;
        bool two = (uint64_t)(square >> 127) & 1;
        fraction = fraction << 1 | two;
        m = (uint64_t)(square >> (two ? 64 : 63));
    }
    return ((uint64_t)(zeros + 1) << 20) - fraction;
}

uint64_t hash_cost(uint64_t key, uint64_t bidder)
{
    return minus_log2(hash_mix(key ^ bidder));
}
