/* A run: crews on their threads, the progress bar, and what came of it all. */
#ifndef HEADGATE_BENCH_RUN_H
#define HEADGATE_BENCH_RUN_H

#include "bench/crew.h"
#include "bench/options.h"
#include "bench/server.h"

struct outcome {
    struct tally tally;
    uint64_t planned;
    uint64_t elapsed_ns; /* from the first request to the last answer */
    bool interrupted;
};

/* The works are the scenario's: crew i works at works[i], with connections,
 * threads and the rest from the plan.  Blocks until all crews are through.
 * FAIL_* with why when an engine or a thread could not be had. */
struct run {
    const struct options *options;
    const struct server *server;
    const _Atomic bool *stop;
    struct work *const *works;
    unsigned crews;
    uint64_t planned; /* 0: as many as there is time for */
};
MUST_USE int run_all(const struct run *run, struct outcome *outcome, char why[SERVER_WHY_MAX]);

#endif
