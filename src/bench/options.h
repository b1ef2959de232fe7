/* What the command line asks for. */
#ifndef HEADGATE_BENCH_OPTIONS_H
#define HEADGATE_BENCH_OPTIONS_H

#include "bench/url.h"
#include "http/method.h"

enum scenario { SCENARIO_MRC, SCENARIO_LOAD };

enum { SLOS_MAX = 16, FIELD_LINES_MAX = 32 };

/* "p99<5ms": what must stay below what. */
enum slo_kind { SLO_PERCENTILE, SLO_MEAN, SLO_MAX };
struct slo {
    struct span text;
    enum slo_kind kind;
    double percent;
    uint64_t limit_ns;
};

struct options {
    enum scenario scenario;
    struct url url;
    struct span engine; /* "auto" or a backend's name */
    uint64_t requests;  /* load: 0, the duration decides */
    uint64_t connections, threads, pipeline;
    uint64_t timeout_ns;
    bool json, quiet;

    /* 1mrc */
    uint64_t users, clients;
    struct span prefix; /* ptr NULL: chosen from what /stats says */
    bool verify;

    /* load */
    double rate; /* requests per second, of all threads */
    bool close;  /* each request asks for the end of its connection */
    bool closed; /* rate is max: the next one when the one before is answered */
    uint64_t duration_ns;
    enum method method;
    struct span method_name;
    struct span content;
    const char *fields[FIELD_LINES_MAX];
    unsigned field_count;
    struct slo slo[SLOS_MAX];
    unsigned slo_count;
};

enum options_result { OPTIONS_RUN, OPTIONS_SHOWN, OPTIONS_BAD };

/* OPTIONS_SHOWN: help or version was printed.  OPTIONS_BAD: what is wrong was
 * said on stderr, with a usage line.  Spans point into argv. */
enum options_result options_read(struct options *o, int argc, char **argv);

/* "p99<5ms,max<1s" appended to o->slo; false when it is not well formed, or too many. */
bool options_slo(struct options *o, struct span text);

/* "250us", "5ms", "1.5s", "2m", "1h": a unit always. */
bool options_duration(struct span text, uint64_t *ns);

#endif
