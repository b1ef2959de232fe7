/* Where log lines go; see error_log.h.
 *
 * Any thread may log, so a line is one write(2), and the descriptor is
 * replaced, never closed: dup2 keeps its number valid for whoever is writing.
 * Only main opens, and it alone knows the path.
 */
#include "error_log.h"

#include "base/clock.h"
#include "base/fail.h"
#include "base/log.h"
#include "base/utf8.h"
#include "io/descriptor.h"

#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { PATH_ROOM = 4096 };

static struct {
    int fd;                /* -1 until the first opening */
    _Atomic int format;    /* enum log_format */
    _Atomic bool starting; /* errors are for whoever started us, too */
    bool made;             /* by the last opening: it was not there before */
    char path[PATH_ROOM];  /* empty: stderr, or stdout */
} out = {.fd = -1};

static uint64_t wall_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static size_t put_json(char *at, size_t room, struct span s)
{
    size_t n = 0;

    for (size_t i = 0; i < s.len && n + 8 < room; i++) {
        size_t bytes = utf8_length(span_after(s, i));
        unsigned char c = (unsigned char)s.ptr[i];
        if (c == '"' || c == '\\')
            at[n++] = '\\';
        if (c < 0x20 || c == 0x7f || bytes == 0)
            c = '?';
        at[n++] = (char)c;
        for (size_t more = 1; more < bytes; more++)
            at[n++] = s.ptr[++i];
    }
    return n;
}

static size_t line_json(char *text, size_t room, enum log_level level, struct span line)
{
    char iso[CLOCK_ISO_LEN];

    clock_iso(iso, wall_ns());
    size_t used = (size_t)snprintf(text, 128, "{\"time\":\"%.*s\",\"level\":\"%s\",\"message\":\"",
                                   CLOCK_ISO_LEN, iso, log_level_name(level));
    used += put_json(text + used, room - 256, line);
    memcpy(text + used, "\"}\n", 3);
    return used + 3;
}

static size_t line_text(char *text, size_t room, enum log_level level, struct span line)
{
    char iso[CLOCK_ISO_LEN];

    clock_iso(iso, wall_ns());
    int n = snprintf(text, room, "%.*s %s: %.*s\n", CLOCK_ISO_LEN, iso, log_level_name(level),
                     SPAN_ARG(line));
    return (size_t)n < room ? (size_t)n : room - 1;
}

static void error_log_write(void *data, enum log_level level, struct span line)
{
    bool json = atomic_load_explicit(&out.format, memory_order_relaxed) == LOG_JSON;
    char text[6000];
    size_t n = (json ? line_json : line_text)(text, sizeof text, level, line);

    (void)data;
    descriptor_write(out.fd, text, n);
    if (level == LOG_ERROR && atomic_load_explicit(&out.starting, memory_order_relaxed))
        descriptor_write(2, text, n);
}

/* 1 or 2; -1: a file. */
static int standard_of(struct span path)
{
    if (path.len == 0 || span_equal(path, SPAN("stderr")))
        return 2;
    return span_equal(path, SPAN("stdout")) ? 1 : -1;
}

static int path_open(struct span path, char name[PATH_ROOM], int *fd)
{
    name[0] = '\0';
    if (standard_of(path) > 0)
        return descriptor_copy(standard_of(path), fd);
    if (path.len >= PATH_ROOM)
        return FAIL_BAD;
    memcpy(name, path.ptr, path.len);
    name[path.len] = '\0';
    *fd = descriptor_create(name, 0640);
    out.made = *fd >= 0;
    return out.made ? 0 : descriptor_append(name, fd);
}

/* Whoever writes has the old file or the new one. */
static void descriptor_replace(int fd)
{
    dup2(fd, out.fd);
    descriptor_close(fd);
}

/* A file that is open stays so: it may be root's, and we nobody who could open it again. */
static bool is_open(struct span path)
{
    return path.len > 0 && span_equal(path, span_of(out.path));
}

static void change(const struct log_target *target, int level)
{
    atomic_store_explicit(&out.format, target->format, memory_order_relaxed);
    log_level_set((enum log_level)level);
}

int error_log_open(const struct log_target *target, int level)
{
    char name[PATH_ROOM];
    int err, fd;

    if (is_open(target->path)) {
        change(target, level);
        return 0;
    }
    if ((err = path_open(target->path, name, &fd)) < 0)
        return err;
    memcpy(out.path, name, sizeof name);
    if (out.fd >= 0) {
        descriptor_replace(fd);
        change(target, level);
        return 0;
    }
    out.fd = fd;
    atomic_store_explicit(&out.format, target->format, memory_order_relaxed);
    atomic_store_explicit(&out.starting, standard_of(target->path) != 2, memory_order_relaxed);
    log_set((struct log_sink){.write = error_log_write}, (enum log_level)level);
    return 0;
}

void error_log_started(void)
{
    atomic_store_explicit(&out.starting, false, memory_order_relaxed);
}

int error_log_made(void)
{
    return out.made ? out.fd : -1;
}

void error_log_reopen(void)
{
    int fd, err;

    if (out.path[0] == '\0')
        return;
    if ((err = descriptor_append(out.path, &fd)) < 0) {
        log_say(LOG_ERROR, "error_log %s: %s, the old file stays in use", out.path, fail_text(err));
        return;
    }
    descriptor_replace(fd);
}

/* What is about no line of a file begins with its severity, which the log says itself. */
static void say(void *data, struct span line)
{
    static const char *const severities[] = {"error: ", "warning: ", "notice: "};

    for (size_t i = 0; i < COUNT_OF(severities); i++)
        if (span_starts(line, span_of(severities[i])))
            line = span_after(line, strlen(severities[i]));
    log_say(*(const enum log_level *)data, "%.*s", SPAN_ARG(line));
}

void error_log_diagnostics(struct diagnostics *d)
{
    enum log_level level = d->errors ? LOG_ERROR : LOG_WARNING;

    diagnostics_print(d, say, &level);
}
