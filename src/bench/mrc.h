/* The One Million Request Challenge, as its client. */
#ifndef HEADGATE_BENCH_MRC_H
#define HEADGATE_BENCH_MRC_H

#include "bench/run.h"

/* Sends the events, fetches /stats, judges and reports.  The exit code. */
int mrc_run(const struct options *options, struct server *server, const _Atomic bool *stop);

#endif
