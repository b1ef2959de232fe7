/* What the micro-benchmarks share: nanoseconds of an operation, and its bytes.
 *
 * An operation is done for all of many items, round after round, and the best
 * round counts, since everything else on the machine can only make one slower.
 * What the bytes are, each line says itself: read by an operation, moved, or kept
 * in memory for each.
 */
#ifndef HEADGATE_TESTS_BENCH_BENCH_H
#define HEADGATE_TESTS_BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

uint64_t bench_now_ns(void);

/* Item by item, 0 to n - 1; before() each round, not measured, or NULL. */
double bench_best(void (*step)(unsigned item), unsigned n, unsigned rounds, void (*before)(void));

/* One line: `what` is group and operation, `of` says of which bytes. */
void bench_report(const char *group, const char *what, double ns, double bytes, const char *of);

void *bench_alloc(size_t count, size_t size); /* zeroed; there is memory */

#endif
