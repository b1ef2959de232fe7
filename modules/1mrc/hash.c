/* SipHash-2-4 with 128 bits of output (J.-P. Aumasson, D. J. Bernstein,
 * "SipHash: a fast short-input PRF", 2012, and its 128-bit variant). */
#include "modules/1mrc/hash.h"

static uint64_t rotate(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

static uint64_t load(const char *at, size_t n)
{
    uint64_t x = 0;

    if (n == 8 && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__) {
        memcpy(&x, at, 8);
        return x;
    }
    for (size_t i = 0; i < n; i++)
        x |= (uint64_t)(unsigned char)at[i] << (8 * i);
    return x;
}

static inline void rounds(uint64_t v[4], int n)
{
    while (n-- > 0) {
        v[0] += v[1];
        v[2] += v[3];
        v[1] = rotate(v[1], 13) ^ v[0];
        v[3] = rotate(v[3], 16) ^ v[2];
        v[0] = rotate(v[0], 32);
        v[2] += v[1];
        v[0] += v[3];
        v[1] = rotate(v[1], 17) ^ v[2];
        v[3] = rotate(v[3], 21) ^ v[0];
        v[2] = rotate(v[2], 32);
    }
}

struct user_hash user_hash(const struct hash_key *key, struct span id)
{
    uint64_t v[4] = {
        key->k[0] ^ UINT64_C(0x736f6d6570736575),
        key->k[1] ^ UINT64_C(0x646f72616e646f6d) ^ 0xee,
        key->k[0] ^ UINT64_C(0x6c7967656e657261),
        key->k[1] ^ UINT64_C(0x7465646279746573),
    };
    struct user_hash h;
    size_t whole = id.len & ~(size_t)7;

    for (size_t i = 0; i < whole; i += 8) {
        uint64_t m = load(id.ptr + i, 8);
        v[3] ^= m;
        rounds(v, 2);
        v[0] ^= m;
    }
    uint64_t last = load(id.ptr + whole, id.len - whole) | (uint64_t)id.len << 56;
    v[3] ^= last;
    rounds(v, 2);
    v[0] ^= last;

    v[2] ^= 0xee;
    rounds(v, 4);
    h.a = v[0] ^ v[1] ^ v[2] ^ v[3];
    v[1] ^= 0xdd;
    rounds(v, 4);
    h.b = v[0] ^ v[1] ^ v[2] ^ v[3];
    return h;
}
