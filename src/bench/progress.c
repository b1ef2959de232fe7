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

void progress_begin(struct progress *p, uint64_t total, bool quiet, uint64_t now_ns)
{
    *p = (struct progress){
        .quiet = quiet,
        .terminal = isatty(STDERR_FILENO) == 1,
        .total = total,
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

int progress_line(const struct progress *p, uint64_t done, unsigned width, char *out, unsigned size)
{
    char bar[BAR_WIDTH + 4] = "", eta[48] = "";
    unsigned percent = p->total ? (unsigned)(100.0 * (double)done / (double)p->total) : 100;
    unsigned filled = width ? percent * width / 100 : 0;

    if (width > 0) {
        bar[0] = '[';
        memset(bar + 1, '#', filled);
        memset(bar + 1 + filled, '.', width - filled);
        memcpy(bar + 1 + width, "] ", 3);
    }
    if (p->rate >= 1 && done < p->total) {
        uint64_t left = (uint64_t)((double)(p->total - done) / p->rate) + 1;
        if (left < 60)
            (void)snprintf(eta, sizeof eta, ", ETA %llu s", (unsigned long long)left);
        else
            (void)snprintf(eta, sizeof eta, ", ETA %llu min %llu s",
                           (unsigned long long)(left / 60), (unsigned long long)(left % 60));
    }
    return snprintf(out, size, "%s%3u %%  %llu of %llu, %.0f/s%s", bar, percent,
                    (unsigned long long)done, (unsigned long long)p->total, p->rate, eta);
}

void progress_show(struct progress *p, uint64_t done, uint64_t now_ns)
{
    char line[LINE_MAX];

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
    p->rate = passed > 0 ? (double)done * 1e9 / (double)passed : 0;
    (void)progress_line(p, done, BAR_WIDTH, line, sizeof line);
    (void)fprintf(stderr, "\r%s\033[K\n", line);
}
