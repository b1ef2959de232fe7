/* The exact sum of doubles, in any order and from any number of threads' shares.
 *
 * Every finite double is a whole number of 2^-1074, so a wide enough integer
 * holds any sum of them without rounding; it is rounded once, when somebody
 * asks.  The integer is kept as 32-bit digits in 64-bit limbs: adding touches
 * two limbs and leaves the carries for later, a few nanoseconds a number.
 * There is room for 2^63 doubles, all shares together.
 *
 * A zeroed struct is an empty sum.
 */
#ifndef HEADGATE_BASE_EXACT_H
#define HEADGATE_BASE_EXACT_H

#include <stdbool.h>
#include <stdint.h>

/* 2098 bits of double, 63 of count and a sign: 2162 bits in digits of 32. */
enum { EXACT_DIGITS = 68 };

struct exact {
    int64_t limb[EXACT_DIGITS]; /* limb i counts 2^(32 i - 1074); signed, carries pending */
    uint32_t pending;           /* additions since the carries were last settled */
};

/* The value must be finite. */
void exact_add(struct exact *sum, double value);

void exact_merge(struct exact *sum, const struct exact *share);

/* The true sum, rounded once to the nearest double, ties to even; 0 is never
 * negative.  False when that is beyond the greatest double. */
bool exact_value(const struct exact *sum, double *out);

/* The sum as digits, least significant first, in two's complement: equal sums
 * give equal digits, however they came about.  For files. */
void exact_digits(const struct exact *sum, uint32_t digits[EXACT_DIGITS]);
void exact_from_digits(struct exact *sum, const uint32_t digits[EXACT_DIGITS]);

#endif
