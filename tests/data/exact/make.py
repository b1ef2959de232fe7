#!/usr/bin/env python3
"""Writes vectors.txt: sums of doubles with their correctly rounded value.

A line is `EXPECT TERM...`: EXPECT and terms are the 16 hex digits of a double,
EXPECT is `overflow` beyond the double range, and a term `BITS*2^K` counts 2^K
times.  The expectation comes from fractions.Fraction, never from addition of
floats.
"""
import random
import struct
from fractions import Fraction


def bits(x):
    return struct.unpack("<Q", struct.pack("<d", x))[0]


def double(b):
    return struct.unpack("<d", struct.pack("<Q", b))[0]


def rounded(q):
    """Fraction to double, ties to even, from the definition."""
    if q == 0:
        return "%016x" % 0
    sign, q = (1 << 63, -q) if q < 0 else (0, q)
    n = q * 2**1074
    assert n.denominator == 1
    n = n.numerator
    shift = max(n.bit_length() - 53, 0)
    m, rest = n >> shift, n & ((1 << shift) - 1)
    half = (1 << shift) >> 1
    if shift and (rest > half or (rest == half and m & 1)):
        m += 1
    b = (shift << 52) + m
    return "overflow" if b >= 0x7FF << 52 else "%016x" % (sign | b)


def any_double(r):
    while True:
        b = r.getrandbits(64)
        if (b >> 52) & 0x7FF != 0x7FF:
            return double(b)


def cases(r):
    greatest, least = double(0x7FEFFFFFFFFFFFFF), double(1)
    yield []
    for x in (0.0, -0.0, 1.0, -1.0, least, -least, greatest, -greatest, 2.0**-1022):
        yield [(x, 0)]
        yield [(x, 0), (-x, 0)]
        yield [(x, 62), (x, 62), (-x, 0)]
    # Halfway cases, decided by something tiny, or by evenness.
    for base in (1.0, 1.0 + 2.0**-52, 2.0**1000, 2.0**-1000, greatest):
        h = 2.0 ** ((bits(base) >> 52) - 1023 - 53)
        for tiny in (0.0, least, -least, 2.0**-600, -(2.0**-600)):
            for s in (1, -1):
                yield [(s * base, 0), (s * h, 0), (s * tiny, 0)]
    yield [(greatest, 1), (-greatest, 0)]
    yield [(greatest, 62), (-greatest, 62), (0.1, 0)]
    yield [(0.1, k) for k in range(62)]
    yield [(-0.1, k) for k in range(62)]
    for _ in range(60):  # everything, everywhere
        yield [(any_double(r), 0) for _ in range(r.randrange(1, 20))]
    for _ in range(40):  # cancellation: all but the crumbs goes away again
        xs = [any_double(r) for _ in range(r.randrange(1, 8))]
        crumbs = [any_double(r) * 2.0**-400 for _ in range(3)]
        case = [(x, 0) for x in xs] + [(-x, 0) for x in xs] + [(x, 0) for x in crumbs]
        r.shuffle(case)
        yield case
    for _ in range(40):  # one exponent, where carries run long
        e = r.randrange(0, 2047) << 52
        yield [(double(e | r.getrandbits(52)) * r.choice((1, 1, -1)), 0)
               for _ in range(r.randrange(1, 30))]
    for _ in range(40):  # subnormals and their neighbours
        yield [(double(r.getrandbits(r.randrange(1, 55))) * r.choice((1, -1)), 0)
               for _ in range(r.randrange(1, 12))]
    for _ in range(40):  # what people send
        yield [(round(r.uniform(-1000, 1000), r.randrange(0, 4)), 0) for _ in range(25)]
    for _ in range(40):  # huge counts
        yield [(any_double(r), r.randrange(0, 60)) for _ in range(r.randrange(1, 8))]


def main():
    r = random.Random(1009)
    with open("vectors.txt", "w") as out:
        for case in cases(r):
            total = sum((Fraction(x) * 2**k for x, k in case), Fraction(0))
            terms = ["%016x" % bits(x) + ("*2^%d" % k if k else "") for x, k in case]
            out.write(" ".join([rounded(total)] + terms) + "\n")


main()
