/* One line at a time to the error log; see log.h. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

enum { LINE_MAX_BYTES = 4096 };

static void log_to_stderr(void *data, enum log_level level, struct span line)
{
    (void)data;
    fprintf(stderr, "headgate: %s: %.*s\n", log_level_name(level), SPAN_ARG(line));
}

static struct log_sink sink = {.write = log_to_stderr};
_Atomic int log_level_max = LOG_NOTICE;

void log_set(struct log_sink new_sink, enum log_level most)
{
    sink = new_sink.write ? new_sink : (struct log_sink){.write = log_to_stderr};
    log_level_set(most);
}

void log_level_set(enum log_level most)
{
    atomic_store_explicit(&log_level_max, (int)most, memory_order_relaxed);
}

const char *log_level_name(enum log_level level)
{
    static const char *const names[] = {"error", "warning", "notice", "info", "debug"};

    return (unsigned)level < COUNT_OF(names) ? names[level] : "?";
}

/* A peer's bytes may be in a line; none of them may start a new one. */
static void log_clean(char *line, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
}

static PRINTF_LIKE(2, 0) void log_line(enum log_level level, const char *format, va_list args)
{
    char line[LINE_MAX_BYTES];
    int n = vsnprintf(line, sizeof line, format, args);

    if (n < 0)
        return;
    size_t len = (size_t)n < sizeof line ? (size_t)n : sizeof line - 1;
    log_clean(line, len);
    sink.write(sink.data, level, (struct span){line, len});
}

void log_say(enum log_level level, const char *format, ...)
{
    va_list args;

    if (!log_is(level))
        return;
    va_start(args, format);
    log_line(level, format, args);
    va_end(args);
}

void log_answer(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    log_line(LOG_NOTICE, format, args);
    va_end(args);
}
