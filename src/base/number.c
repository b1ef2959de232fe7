/* Decimal to double and back.
 *
 * A decimal is w 10^e.  There are three ways to make it a double, each exact:
 * one operation of the processor when w and 10^|e| are doubles themselves
 * (W. D. Clinger, "How to read floating point numbers accurately", 1990); one
 * 128-bit multiplication or division by a power of five when that fits in 64
 * bits; else long numbers, for what nobody writes but to annoy us.
 */
#include "base/number.h"

#include "base/fail.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdio.h>

static_assert(FLT_EVAL_METHOD == 0, "doubles are computed as doubles");

typedef unsigned __int128 wide;

enum {
    W_DIGITS = 19,    /* that surely fit into w */
    FIVES = 28,       /* powers of five below 2^64 */
    TENS = 23,        /* powers of ten that are doubles */
    LONG_DIGITS = 768 /* that can decide a rounding; any after them only break a tie */
};

/* The parts of a number as written. */
struct decimal {
    bool negative;
    uint64_t w;       /* the first W_DIGITS digits from the first that is not 0 */
    int64_t exponent; /* the value is about w 10^exponent */
    bool cut;         /* there are more digits, so w does not say it all */
    struct span text; /* all digits, with a point among them, when cut */
    int64_t text_exponent;
};

/* --- binary ----------------------------------------------------------------- */

static double double_of(uint64_t bits)
{
    double value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

/* q 2^exponent and, if sticky, a little more; rounded.  Beyond the greatest
 * double it is infinity. */
static double rounded(uint64_t q, int exponent, bool sticky)
{
    int zeros = __builtin_clzll(q);
    q <<= zeros;
    exponent -= zeros;

    /* A double keeps 53 bits, fewer when the last would be below 2^-1074. */
    int place = exponent + 11 + 1074; /* of the last bit, from 2^-1074 up */
    int drop = 11;
    if (place < 0) {
        drop -= place;
        place = 0;
    }
    if (drop > 64)
        return 0;
    uint64_t m = drop == 64 ? 0 : q >> drop;
    uint64_t rest = drop == 64 ? q : q & ((UINT64_C(1) << drop) - 1);
    uint64_t half = UINT64_C(1) << (drop - 1);

    if (rest > half || (rest == half && (sticky || (m & 1))))
        m++;
    if (place >= 2046)
        return HUGE_VAL;
    /* The hidden bit of m adds the 1 that the exponent lacks. */
    return double_of(((uint64_t)place << 52) + m);
}

static const uint64_t five_to[FIVES] = {
    1,
    5,
    25,
    125,
    625,
    3125,
    15625,
    78125,
    390625,
    1953125,
    9765625,
    48828125,
    244140625,
    1220703125,
    6103515625,
    30517578125,
    152587890625,
    762939453125,
    3814697265625,
    19073486328125,
    95367431640625,
    476837158203125,
    2384185791015625,
    11920928955078125,
    59604644775390625,
    298023223876953125,
    1490116119384765625,
    7450580596923828125,
};

static double times_five(uint64_t w, int e)
{
    wide product = (wide)w * five_to[e];
    uint64_t high = (uint64_t)(product >> 64);

    if (high == 0)
        return rounded((uint64_t)product, e, false);
    int zeros = __builtin_clzll(high);
    product <<= zeros;
    return rounded((uint64_t)(product >> 64), e + 64 - zeros, (uint64_t)product != 0);
}

static double by_five(uint64_t w, int e)
{
    /* With the first bits of both at the top, the quotient has 63 or 64 bits. */
    int up = __builtin_clzll(w), down = __builtin_clzll(five_to[e]);
    wide dividend = (wide)(w << up) << 63;
    uint64_t divisor = five_to[e] << down;
    uint64_t q = (uint64_t)(dividend / divisor);

    return rounded(q, down - up - 63 - e, (uint64_t)dividend != q * divisor);
}

/* --- long numbers ----------------------------------------------------------- */

/* 10^769 and 5^1093 have less than 2600 bits; one is shifted to the other's
 * length and 64 bits beyond. */
enum { LONG_WORDS = 88 };

struct longer {
    unsigned count; /* words in use; the top one is not 0 */
    uint32_t word[LONG_WORDS];
};

static void longer_multiply_add(struct longer *n, uint32_t factor, uint32_t addend)
{
    uint64_t carry = addend;

    for (unsigned i = 0; i < n->count; i++) {
        carry += (uint64_t)n->word[i] * factor;
        n->word[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry) {
        assert(n->count < LONG_WORDS);
        n->word[n->count++] = (uint32_t)carry;
    }
}

static void longer_times_five_to(struct longer *n, int64_t e)
{
    for (; e >= 13; e -= 13)
        longer_multiply_add(n, (uint32_t)five_to[13], 0);
    longer_multiply_add(n, (uint32_t)five_to[e], 0);
}

static int longer_bits(const struct longer *n)
{
    return (int)n->count * 32 - __builtin_clz(n->word[n->count - 1]);
}

static void longer_shift(struct longer *n, unsigned by)
{
    unsigned words = by / 32, bits = by % 32;

    assert(n->count + words < LONG_WORDS);
    n->word[n->count] = 0;
    for (unsigned i = n->count + 1; i-- > 0;) {
        uint64_t pair = (uint64_t)n->word[i] << 32 | (i ? n->word[i - 1] : 0);
        n->word[i + words] = (uint32_t)(pair >> (32 - bits));
    }
    memset(n->word, 0, words * sizeof n->word[0]);
    n->count += words + 1;
    while (n->count > 0 && n->word[n->count - 1] == 0)
        n->count--;
}

/* Takes b away from a if it can. */
static bool longer_subtract(struct longer *a, const struct longer *b)
{
    int64_t borrow = 0;

    if (a->count < b->count)
        return false;
    if (a->count == b->count) {
        unsigned i = a->count;
        while (i > 0 && a->word[i - 1] == b->word[i - 1])
            i--;
        if (i > 0 && a->word[i - 1] < b->word[i - 1])
            return false;
    }
    for (unsigned i = 0; i < a->count; i++) {
        borrow += (int64_t)a->word[i] - (i < b->count ? b->word[i] : 0);
        a->word[i] = (uint32_t)borrow;
        borrow >>= 32;
    }
    while (a->count > 0 && a->word[a->count - 1] == 0)
        a->count--;
    return true;
}

/* All the digits; the exponent of the last one taken. */
static int64_t longer_from_decimal(struct longer *n, const struct decimal *d)
{
    int64_t exponent = d->text_exponent;
    unsigned taken = 0;
    bool rest = false;

    *n = (struct longer){.count = 2, .word = {(uint32_t)d->w, (uint32_t)(d->w >> 32)}};
    if (n->word[1] == 0)
        n->count = 1;
    if (!d->cut)
        return d->exponent;
    *n = (struct longer){0};
    for (size_t i = 0; i < d->text.len; i++) {
        char c = d->text.ptr[i];
        if (c == '.')
            continue;
        if (taken == LONG_DIGITS) {
            rest = rest || c != '0';
            exponent++;
            continue;
        }
        longer_multiply_add(n, 10, (uint32_t)(c - '0'));
        taken++;
    }
    if (rest) { /* a digit that stands for all of them: it decides no more than whether it is a tie
                 */
        longer_multiply_add(n, 10, 1);
        exponent--;
    }
    return exponent;
}

static double long_way(const struct decimal *d)
{
    struct longer a, b = {.count = 1, .word = {1}};
    int e = (int)longer_from_decimal(&a, d);

    longer_times_five_to(e < 0 ? &b : &a, e < 0 ? -e : e);

    /* Line up so that the quotient has 63 or 64 bits, then divide bit by bit. */
    int shift = longer_bits(&b) - longer_bits(&a) + 63;
    if (shift >= 63)
        longer_shift(&a, (unsigned)(shift - 63));
    else
        longer_shift(&b, (unsigned)(63 - shift));
    uint64_t q = 0;
    for (int i = 0; i < 64; i++) {
        q = q << 1 | longer_subtract(&a, &b);
        if (i < 63)
            longer_shift(&a, 1);
    }
    return rounded(q, e - shift, a.count > 0);
}

/* --- decimal to double ------------------------------------------------------ */

static double magnitude(const struct decimal *d)
{
    static const double ten_to[TENS] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                        1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                        1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    int64_t e = d->exponent;

    if (!d->cut && d->w <= UINT64_C(1) << 53) {
        if (e <= 0 && e > -TENS)
            return (double)d->w / ten_to[-e];
        if (e > 0 && e < TENS)
            return (double)d->w * ten_to[e];
    }
    if (d->w == 0 || e < -343) /* below 10^19 10^-344 < 2^-1075 */
        return 0;
    if (e > 309)
        return HUGE_VAL;
    if (!d->cut && e >= 0 && e < FIVES)
        return times_five(d->w, (int)e);
    if (!d->cut && e < 0 && e > -FIVES)
        return by_five(d->w, (int)-e);
    return long_way(d);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Goes over digits, adding them to w while it has room.  `taken` counts those
 * from the first that is not 0. */
static const char *scan_digits(const char *at, const char *end, struct decimal *d, size_t *taken)
{
    for (; at < end && is_digit(*at); at++) {
        if (*taken == 0 && *at == '0')
            continue;
        if ((*taken)++ < W_DIGITS)
            d->w = d->w * 10 + (uint64_t)(*at - '0');
    }
    return at;
}

static const char *scan_exponent(const char *at, const char *end, int64_t *exponent)
{
    const int64_t most = INT64_C(1) << 59; /* far beyond any number of digits */
    const char *p = at + 1;
    bool negative = false;
    int64_t e = 0;

    if (p < end && (*p == '+' || *p == '-'))
        negative = *p++ == '-';
    if (p == end || !is_digit(*p))
        return NULL;
    for (; p < end && is_digit(*p); p++)
        if (e < most / 10)
            e = e * 10 + (*p - '0');
    *exponent += negative ? -e : e;
    return p;
}

/* What is written, as parts; NULL when it is not a number. */
static const char *scan(const char *at, const char *end, struct decimal *d)
{
    const char *first, *last;
    size_t taken = 0;

    if (at < end && *at == '-') {
        d->negative = true;
        at++;
    }
    first = at;
    at = scan_digits(at, end, d, &taken);
    if (at == first || (*first == '0' && at - first > 1))
        return NULL;
    if (at < end && *at == '.') {
        const char *point = at++;
        at = scan_digits(at, end, d, &taken);
        if (at == point + 1)
            return NULL;
        d->exponent = -(at - point - 1);
    }
    last = at;
    if (at < end && (*at == 'e' || *at == 'E') && !(at = scan_exponent(at, end, &d->exponent)))
        return NULL;
    if (taken > W_DIGITS) {
        while (*first == '0' || *first == '.')
            first++;
        d->cut = true;
        d->text = (struct span){first, (size_t)(last - first)};
        d->text_exponent = d->exponent;
        d->exponent += (int64_t)(taken - W_DIGITS);
    }
    return at;
}

int number_read(struct span text, size_t *used, double *value)
{
    struct decimal d = {0};
    const char *end = scan(text.ptr, text.ptr + text.len, &d);

    if (!end)
        return FAIL_BAD;
    *used = (size_t)(end - text.ptr);
    double x = magnitude(&d);
    if (x == HUGE_VAL)
        return FAIL_FULL;
    *value = d.negative ? -x : x;
    return 0;
}

/* --- double to decimal ------------------------------------------------------ */

/* The nearest decimal with so many digits. */
static struct decimal nearest(double value, int digits)
{
    struct decimal d = {0};
    char text[64], *p = text;

    snprintf(text, sizeof text, "%.*e", digits - 1, value);
    for (; *p != 'e'; p++) /* whatever the locale's point is, it is not a digit */
        if (is_digit(*p))
            d.w = d.w * 10 + (uint64_t)(*p - '0');
    bool negative = *++p == '-';
    for (p++; *p; p++)
        d.exponent = d.exponent * 10 + (*p - '0');
    d.exponent = (negative ? -d.exponent : d.exponent) - (digits - 1);
    return d;
}

/* The shortest that reads back.  17 digits always do.  A decimal of 15 digits
 * or fewer is never changed by a normal double, so 15 find any that is shorter;
 * subnormals have less precision and are tried from 1. */
static struct decimal shortest(double value)
{
    for (int digits = value < DBL_MIN ? 1 : 15; digits < 17; digits++) {
        struct decimal d = nearest(value, digits);
        if (magnitude(&d) == value)
            return d;
        /* Doubles below a power of two are twice as dense as those above, so
         * the decimal that is second nearest, above, may do when the nearest,
         * below, does not. */
        d.w++;
        if (digits == 16 && magnitude(&d) == value)
            return d;
    }
    return nearest(value, 17);
}

static char *put(char *at, const char *bytes, size_t n)
{
    memcpy(at, bytes, n);
    return at + n;
}

static char *put_zeros(char *at, int n)
{
    memset(at, '0', (size_t)n);
    return at + n;
}

/* w in decimal; the number of digits. */
static int put_whole(char *at, uint64_t w)
{
    char digits[20];
    int n = 0;

    do
        digits[sizeof digits - (size_t)++n] = (char)('0' + w % 10);
    while (w /= 10);
    memcpy(at, digits + sizeof digits - n, (size_t)n);
    return n;
}

/* Plain from a millionth to below 10^21, with an exponent beyond; the digits
 * are at most 17. */
static char *put_decimal(char *at, struct decimal d)
{
    char digits[20];

    while (d.w % 10 == 0) {
        d.w /= 10;
        d.exponent++;
    }
    int n = put_whole(digits, d.w);
    int e = (int)d.exponent;
    int power = e + n - 1; /* of ten, of the first digit */

    if (power < -6 || power >= 21) {
        *at++ = digits[0];
        if (n > 1) {
            *at++ = '.';
            at = put(at, digits + 1, (size_t)n - 1);
        }
        at = put(at, power < 0 ? "e-" : "e+", 2);
        return at + put_whole(at, (uint64_t)(power < 0 ? -power : power));
    }
    if (e >= 0)
        return put_zeros(put(at, digits, (size_t)n), e);
    if (power >= 0) {
        at = put(at, digits, (size_t)power + 1);
        *at++ = '.';
        return put(at, digits + power + 1, (size_t)(n - power - 1));
    }
    return put(put_zeros(put(at, "0.", 2), -power - 1), digits, (size_t)n);
}

size_t number_print(double value, char text[NUMBER_TEXT_MAX])
{
    char *at = text;

    assert(isfinite(value));
    if (value < 0) {
        *at++ = '-';
        value = -value;
    }
    if (value < 0x1p53 && value == (double)(uint64_t)value)
        at += put_whole(at, (uint64_t)value);
    else
        at = put_decimal(at, shortest(value));
    return (size_t)(at - text);
}
