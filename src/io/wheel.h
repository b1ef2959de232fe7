/* The timers of one engine; see wheel.c for how a timer wheel works. */
#ifndef HEADGATE_IO_WHEEL_H
#define HEADGATE_IO_WHEEL_H

#include "io/io.h"

struct io_wheel *wheel_new(uint64_t now_ns); /* NULL without memory */
void wheel_free(struct io_wheel *w);         /* timers still set are forgotten */

/* What io_timer_set() and io_timer_clear() do.  TIME_NEVER is no deadline. */
void wheel_set(struct io_wheel *w, struct io_timer *t, uint64_t at_ns);
void wheel_clear(struct io_wheel *w, struct io_timer *t);

/* When wheel_advance() should be called again: perhaps sooner than the first
 * deadline, never later than the millisecond after it.  TIME_NEVER when no timer is set. */
uint64_t wheel_next(const struct io_wheel *w);

/* Fires what is due, in order of deadlines; returns how many. */
uint32_t wheel_advance(struct io_wheel *w, uint64_t now_ns);

#endif
