/* A superaccumulator with lazy carries (after R. M. Neal, "Fast exact
 * summation using small and large superaccumulators", 2015).
 *
 * A double is m 2^(e-1075) with m below 2^53.  Shifted to its place, m covers
 * the upper part of one limb's digit and up to 52 bits of the next limb, which
 * is where the 64-bit limbs' spare bits go: after PENDING_MAX additions they
 * are settled, so that every digit is again in 0 … 2^32-1 and only the top
 * limb has a sign.
 */
#include "base/exact.h"

#include <assert.h>
#include <string.h>

/* An addition changes a limb by less than 2^52, so limbs stay below 2^62 and
 * two of them can be added without a thought. */
enum { PENDING_MAX = 512 };

static void settle(struct exact *sum)
{
    int64_t carry = 0;

    for (int i = 0; i < EXACT_DIGITS - 1; i++) {
        int64_t all = sum->limb[i] + carry;
        carry = all >> 32; /* rounds down, so the digit that stays is not negative */
        sum->limb[i] = all & UINT32_MAX;
    }
    sum->limb[EXACT_DIGITS - 1] += carry;
    sum->pending = 0;
}

void exact_add(struct exact *sum, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    unsigned exponent = (unsigned)(bits >> 52) & 0x7ff;
    uint64_t m = bits & ((UINT64_C(1) << 52) - 1);

    assert(exponent != 0x7ff);
    /* Subnormals have the exponent of the smallest normals and no hidden bit. */
    unsigned place = exponent ? exponent - 1 : 0;
    m |= (uint64_t)(exponent != 0) << 52;

    int64_t low = (int64_t)((m << (place & 31)) & UINT32_MAX);
    int64_t high = (int64_t)(m >> (32 - (place & 31)));
    int64_t sign = -(int64_t)(bits >> 63); /* 0 or -1: (x ^ sign) - sign negates or not */
    int64_t *limb = &sum->limb[place >> 5];

    limb[0] += (low ^ sign) - sign;
    limb[1] += (high ^ sign) - sign;
    if (++sum->pending >= PENDING_MAX)
        settle(sum);
}

void exact_merge(struct exact *sum, const struct exact *share)
{
    settle(sum);
    for (int i = 0; i < EXACT_DIGITS; i++)
        sum->limb[i] += share->limb[i];
    settle(sum);
}

void exact_digits(const struct exact *sum, uint32_t digits[EXACT_DIGITS])
{
    struct exact settled = *sum;

    settle(&settled);
    for (int i = 0; i < EXACT_DIGITS; i++)
        digits[i] = (uint32_t)settled.limb[i];
}

void exact_from_digits(struct exact *sum, const uint32_t digits[EXACT_DIGITS])
{
    for (int i = 0; i < EXACT_DIGITS - 1; i++)
        sum->limb[i] = digits[i];
    sum->limb[EXACT_DIGITS - 1] = (int32_t)digits[EXACT_DIGITS - 1];
    sum->pending = 0;
}

/* Makes the number its absolute value; true if it was negative. */
static bool make_positive(uint32_t digits[EXACT_DIGITS])
{
    uint64_t carry = 1;

    if (!(digits[EXACT_DIGITS - 1] >> 31))
        return false;
    for (int i = 0; i < EXACT_DIGITS; i++) {
        carry += (uint32_t)~digits[i];
        digits[i] = (uint32_t)carry;
        carry >>= 32;
    }
    return true;
}

/* How many bits the number has: the place of its first one, plus 1. */
static int bit_length(const uint32_t digits[EXACT_DIGITS])
{
    for (int i = EXACT_DIGITS - 1; i >= 0; i--)
        if (digits[i])
            return 32 * i + 32 - __builtin_clz(digits[i]);
    return 0;
}

static bool bit_at(const uint32_t digits[EXACT_DIGITS], int place)
{
    return (digits[place / 32] >> (place % 32)) & 1;
}

static bool any_bit_below(const uint32_t digits[EXACT_DIGITS], int place)
{
    for (int i = 0; i < place / 32; i++)
        if (digits[i])
            return true;
    return (digits[place / 32] & ((UINT32_C(1) << (place % 32)) - 1)) != 0;
}

/* The 53 bits from place upwards. */
static uint64_t bits_from(const uint32_t digits[EXACT_DIGITS], int place)
{
    uint64_t m = 0;

    for (int i = 52; i >= 0; i--)
        m = m << 1 | bit_at(digits, place + i);
    return m;
}

bool exact_value(const struct exact *sum, double *out)
{
    uint32_t digits[EXACT_DIGITS];
    exact_digits(sum, digits);
    bool negative = make_positive(digits);
    int length = bit_length(digits);
    int place = length > 53 ? length - 53 : 0; /* of the last bit that is kept */
    uint64_t m = bits_from(digits, place);

    if (place > 0 && bit_at(digits, place - 1) && ((m & 1) || any_bit_below(digits, place - 1)))
        m++;
    /* The hidden bit of m adds the 1 that the exponent lacks, none for a
     * subnormal, and one more when rounding carried into a 54th bit. */
    uint64_t bits = ((uint64_t)place << 52) + m;
    if (bits >= UINT64_C(0x7ff) << 52)
        return false;
    bits |= (uint64_t)negative << 63;
    memcpy(out, &bits, sizeof bits);
    return true;
}
