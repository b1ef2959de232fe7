/* Where log lines go; see error_log.h.
 *
 * Any thread may log, so a line is one write(2), and the descriptor is
 * replaced, never closed: dup2 keeps its number valid for whoever is writing.
 */
#include "error_log.h"

#include "base/clock.h"
#include "base/fail.h"
#include "base/log.h"
#include "io/descriptor.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

static struct {
    int fd;
    enum log_format format;
    char path[4096]; /* empty: stderr */
} out = {.fd = 2};

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
        unsigned char c = (unsigned char)s.ptr[i];
        if (c == '"' || c == '\\')
            at[n++] = '\\';
        if (c < 0x20 || c == 0x7f)
            c = '?';
        at[n++] = (char)c;
    }
    return n;
}

static void error_log_write(void *data, enum log_level level, struct span line)
{
    char text[6000], iso[CLOCK_ISO_LEN];
    int n;

    (void)data;
    clock_iso(iso, wall_ns());
    if (out.format == LOG_JSON) {
        n = snprintf(text, 128, "{\"time\":\"%.*s\",\"level\":\"%s\",\"message\":\"", CLOCK_ISO_LEN,
                     iso, log_level_name(level));
        size_t used = (size_t)n + put_json(text + n, sizeof text - 256, line);
        memcpy(text + used, "\"}\n", 3);
        descriptor_write(out.fd, text, used + 3);
        return;
    }
    n = snprintf(text, sizeof text, "%.*s %s: %.*s\n", CLOCK_ISO_LEN, iso, log_level_name(level),
                 SPAN_ARG(line));
    descriptor_write(out.fd, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

int error_log_open(const struct log_target *target, int level)
{
    int err, fd = 2;

    out.format = target->format;
    if (target->path.len > 0 && !span_equal(target->path, SPAN("stderr"))) {
        if (target->path.len >= sizeof out.path)
            return FAIL_BAD;
        memcpy(out.path, target->path.ptr, target->path.len);
        out.path[target->path.len] = '\0';
        if ((err = descriptor_append(out.path, &fd)) < 0)
            return err;
    }
    out.fd = fd;
    log_set((struct log_sink){.write = error_log_write}, (enum log_level)level);
    return 0;
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
    dup2(fd, out.fd);
    descriptor_close(fd);
}
