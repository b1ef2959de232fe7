/* Time, as numbers.  Who measures it is the engine (io_now, io_wall). */
#ifndef HEADGATE_BASE_CLOCK_H
#define HEADGATE_BASE_CLOCK_H

#include "base/span.h"

#define NS_PER_US UINT64_C(1000)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)

#define TIME_NEVER UINT64_MAX

enum { CLOCK_HTTP_LEN = 29, CLOCK_ISO_LEN = 24, CLOCK_CLF_LEN = 26 };

/* Seconds since 1970 as "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110, 5.6.7), not terminated. */
void clock_http(char out[CLOCK_HTTP_LEN], int64_t unix_s);

/* Any of the three date forms of RFC 9110, 5.6.7; false when it is none. */
bool clock_parse_http(struct span text, int64_t *unix_s);

/* "2026-11-23T04:22:22.123Z" and "23/Nov/2026:04:22:22 +0000", not terminated. */
void clock_iso(char out[CLOCK_ISO_LEN], uint64_t unix_ns);
void clock_clf(char out[CLOCK_CLF_LEN], int64_t unix_s);

#endif
