/* Open-loop load: requests leave on a timetable, whatever becomes of the ones
 * before.
 */
#ifndef HEADGATE_BENCH_LOAD_H
#define HEADGATE_BENCH_LOAD_H

#include "bench/run.h"

/* Sends at the rate asked for, holds the latencies against the SLOs, reports.
 * The exit code. */
int load_run(const struct options *options, struct server *server, const _Atomic bool *stop);

#endif
