/* Doubles as text, in the number syntax of JSON (RFC 8259, 6) and exactly.
 *
 * Reading gives the double nearest to what is written, ties to even.  Printing
 * gives the shortest text that reads back as the same double.  Neither knows
 * about locales.
 */
#ifndef HEADGATE_BASE_NUMBER_H
#define HEADGATE_BASE_NUMBER_H

#include "base/span.h"

/* Reads the number that the text begins with; *used is its length.  FAIL_BAD
 * when there is none, FAIL_FULL (with *used set) when it is beyond the greatest
 * double. */
MUST_USE int number_read(struct span text, size_t *used, double *value);

enum { NUMBER_TEXT_MAX = 32 };

/* Writes a finite number; the length, without a terminator.  Whole numbers
 * below 2^53 have neither point nor exponent; zero has no sign. */
size_t number_print(double value, char text[NUMBER_TEXT_MAX]);

#endif
