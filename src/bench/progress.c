/* How far a run has come, on stderr. */
#include "progress.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BAR_WIDTH = 30, LINE_MAX = 256 };

#define REDRAW_NS (100 * NS_PER_MS)
#define LINE_NS   NS_PER_S
#define SAMPLE_NS (200 * NS_PER_MS)

void progress_begin(struct progress *p, uint64_t total, uint64_t span_ns, bool quiet,
                    uint64_t now_ns)
{
    *p = (struct progress){
        .quiet = quiet,
        .terminal = isatty(STDERR_FILENO) == 1,
        .total = total,
        .span_ns = span_ns,
        .now_ns = now_ns,
        .begin_ns = now_ns,
        .shown_ns = now_ns,
        .seen_ns = now_ns,
    };
}

static void sample(struct progress *p, uint64_t done, uint64_t now_ns)
{
    uint64_t passed = now_ns - p->seen_ns;

    if (passed < SAMPLE_NS)
        return;
    double rate = (double)(done - p->seen) * 1e9 / (double)passed;
    p->rate = p->rate == 0 ? rate : 0.7 * p->rate + 0.3 * rate;
    p->seen = done;
    p->seen_ns = now_ns;
}

static double fraction(const struct progress *p, uint64_t done)
{
    double whole = (double)(p->total ? p->total : p->span_ns);
    double part = (double)(p->total ? done : p->now_ns - p->begin_ns);

    return part < whole ? part / whole : 1;
}

/* 0: nothing is, or not known yet. */
static uint64_t seconds_left(const struct progress *p, uint64_t done)
{
    uint64_t passed = p->now_ns - p->begin_ns;

    if (p->total == 0)
        return passed < p->span_ns ? (p->span_ns - passed) / NS_PER_S + 1 : 0;
    return p->rate >= 1 && done < p->total ? (uint64_t)((double)(p->total - done) / p->rate) + 1
                                           : 0;
}

int progress_line(const struct progress *p, uint64_t done, unsigned width, char *out, unsigned size)
{
    char bar[BAR_WIDTH + 4] = "", eta[48] = "", of[32] = "";
    unsigned percent = (unsigned)(100.0 * fraction(p, done));
    unsigned filled = width ? percent * width / 100 : 0;

    if (width > 0) {
        bar[0] = '[';
        memset(bar + 1, '#', filled);
        memset(bar + 1 + filled, '.', width - filled);
        memcpy(bar + 1 + width, "] ", 3);
    }
    uint64_t left = seconds_left(p, done);
    if (left >= 60)
        (void)snprintf(eta, sizeof eta, ", ETA %llu min %llu s", (unsigned long long)(left / 60),
                       (unsigned long long)(left % 60));
    else if (left > 0)
        (void)snprintf(eta, sizeof eta, ", ETA %llu s", (unsigned long long)left);
    if (p->total)
        (void)snprintf(of, sizeof of, " of %llu", (unsigned long long)p->total);
    return snprintf(out, size, "%s%3u %%  %llu%s, %.0f/s%s", bar, percent, (unsigned long long)done,
                    of, p->rate, eta);
}

void progress_show(struct progress *p, uint64_t done, uint64_t now_ns)
{
    char line[LINE_MAX];

    p->now_ns = now_ns;
    sample(p, done, now_ns);
    if (p->quiet || now_ns - p->shown_ns < (p->terminal ? REDRAW_NS : LINE_NS))
        return;
    p->shown_ns = now_ns;
    (void)progress_line(p, done, p->terminal ? BAR_WIDTH : 0, line, sizeof line);
    if (p->terminal) /* \033[K: what a longer line before left behind */
        (void)fprintf(stderr, "\r%s\033[K", line);
    else
        (void)fprintf(stderr, "%s\n", line);
}

void progress_end(struct progress *p, uint64_t done, uint64_t now_ns)
{
    char line[LINE_MAX];
    uint64_t passed = now_ns - p->begin_ns;

    if (p->quiet || !p->terminal)
        return;
    p->now_ns = now_ns;
    p->rate = passed > 0 ? (double)done * 1e9 / (double)passed : 0;
    (void)progress_line(p, done, BAR_WIDTH, line, sizeof line);
    (void)fprintf(stderr, "\r%s\033[K\n", line);
}
