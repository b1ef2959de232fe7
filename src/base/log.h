/* What happened, for the operator: one line each, to the error log.
 *
 * Not the access log.  A line says what, where (address, file, limit) and
 * what to do; a repeated one is counted, not repeated, where it could flood.
 */
#ifndef HEADGATE_BASE_LOG_H
#define HEADGATE_BASE_LOG_H

#include "base/span.h"

#include <stdatomic.h>

enum log_level { LOG_ERROR, LOG_WARNING, LOG_NOTICE, LOG_INFO, LOG_DEBUG };

/* One per process, set once by main before workers start (and by tests).
 * write() must be safe from any thread.  Until then lines go to stderr. */
struct log_sink {
    void (*write)(void *data, enum log_level level, struct span line);
    void *data;
};
void log_set(struct log_sink sink, enum log_level most);

void log_level_set(enum log_level most); /* at any time, from any thread */

extern _Atomic int log_level_max; /* read by log_is */

static inline bool log_is(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&log_level_max, memory_order_relaxed);
}

void log_say(enum log_level level, const char *format, ...) PRINTF_LIKE(2, 3);

/* What somebody asked for: as a notice, whatever the level. */
void log_answer(const char *format, ...) PRINTF_LIKE(1, 2);

const char *log_level_name(enum log_level level); /* "error" ... */

#endif
