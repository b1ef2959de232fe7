/* What the fuzz targets of HTTP/1 share: the same bytes whole, one by one and in
 * pieces of sizes that the input itself chooses, with every scanner, must
 * give the same line.  The first bytes of the input choose limits and sizes.
 */
#ifndef HEADGATE_TESTS_FUZZ_FUZZ_H1_H
#define HEADGATE_TESTS_FUZZ_FUZZ_H1_H

#include "tests/fuzz/fuzz.h"
#include "tests/unit/http/feed.h"

int fuzz_h1(enum feed_kind kind, const uint8_t *data, size_t size);

#endif
