/* What a run says at its end, for people or as one JSON object, on stdout. */
#ifndef HEADGATE_BENCH_REPORT_H
#define HEADGATE_BENCH_REPORT_H

#include "bench/run.h"
#include "bench/verdict.h"

/* verdict is NULL when nothing was judged. */
void report_mrc(const struct options *o, const struct server *server, const struct outcome *outcome,
                const struct verdict *verdict, struct span prefix);

struct load_slo { /* beside options->slo */
    uint64_t measured_ns;
    bool ok;
};
void report_load(const struct options *o, const struct server *server,
                 const struct outcome *outcome, const struct load_slo *slo, bool ok);

#endif
