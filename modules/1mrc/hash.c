/* SipHash-2-4 with 128 bits of output (J.-P. Aumasson, D. J. Bernstein,
 * "SipHash: a fast short-input PRF", 2012, and its 128-bit variant). */
#include "modules/1mrc/hash.h"

#include <endian.h>

static uint64_t rotate(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

static uint64_t load8(const char *at)
{
    uint64_t x;

    memcpy(&x, at, sizeof x);
    return le64toh(x);
}

/* Up to 7 bytes as a number, the first the lowest: the last n of id. */
static uint64_t load_few(struct span id, size_t n)
{
    const char *at = id.ptr + id.len - n;
    uint64_t x = 0;

    if (n > 0 && id.len >= 8)
        return load8(at + n - 8) >> (64 - 8 * n);
    for (size_t i = 0; i < n; i++)
        x |= (uint64_t)(unsigned char)at[i] << (8 * i);
    return x;
}

struct sip {
    uint64_t a, b, c, d;
};

static inline struct sip sip_round(struct sip v)
{
    v.a += v.b;
    v.c += v.d;
    v.b = rotate(v.b, 13) ^ v.a;
    v.d = rotate(v.d, 16) ^ v.c;
    v.a = rotate(v.a, 32);
    v.c += v.b;
    v.a += v.d;
    v.b = rotate(v.b, 17) ^ v.c;
    v.d = rotate(v.d, 21) ^ v.a;
    v.c = rotate(v.c, 32);
    return v;
}

static inline struct sip sip_take(struct sip v, uint64_t word)
{
    v.d ^= word;
    v = sip_round(sip_round(v));
    v.a ^= word;
    return v;
}

static inline struct sip sip_end(struct sip v)
{
    return sip_round(sip_round(sip_round(sip_round(v))));
}

struct user_hash user_hash(const struct hash_key *key, struct span id)
{
    struct sip v = {
        key->k[0] ^ UINT64_C(0x736f6d6570736575),
        key->k[1] ^ UINT64_C(0x646f72616e646f6d) ^ 0xee,
        key->k[0] ^ UINT64_C(0x6c7967656e657261),
        key->k[1] ^ UINT64_C(0x7465646279746573),
    };
    struct user_hash h;
    size_t rest = id.len & 7;
    const char *at = id.ptr, *end = id.ptr + (id.len - rest);

    for (; at < end; at += 8)
        v = sip_take(v, load8(at));
    v = sip_take(v, load_few(id, rest) | (uint64_t)id.len << 56);
    v.c ^= 0xee;
    v = sip_end(v);
    h.a = v.a ^ v.b ^ v.c ^ v.d;
    v.b ^= 0xdd;
    v = sip_end(v);
    h.b = v.a ^ v.b ^ v.c ^ v.d;
    return h;
}
