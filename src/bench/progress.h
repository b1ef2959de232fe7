/* How far a run has come, on stderr: a bar that is redrawn on a terminal,
 * otherwise a line a second.
 */
#ifndef HEADGATE_BENCH_PROGRESS_H
#define HEADGATE_BENCH_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    bool quiet, terminal;
    uint64_t total;   /* requests; 0: it ends by the clock */
    uint64_t span_ns; /* then, how long it takes */
    uint64_t now_ns;
    uint64_t begin_ns, shown_ns;
    uint64_t seen, seen_ns; /* the rate is of what has come since then, smoothed */
    double rate;            /* per second; 0: not known yet */
};

void progress_begin(struct progress *p, uint64_t total, uint64_t span_ns, bool quiet,
                    uint64_t now_ns);
void progress_show(struct progress *p, uint64_t done, uint64_t now_ns); /* as often as one likes */
void progress_end(struct progress *p, uint64_t done, uint64_t now_ns);

/* One line without its end: the bar when `width` is not 0, counts, rate, ETA.
 * Returns what snprintf would. */
int progress_line(const struct progress *p, uint64_t done, unsigned width, char *out,
                  unsigned size);

#endif
