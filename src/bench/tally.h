/* What came of the requests: how long they took, and what went wrong, by kind. */
#ifndef HEADGATE_BENCH_TALLY_H
#define HEADGATE_BENCH_TALLY_H

#include "bench/histogram.h"

#include <stdbool.h>

/* id, name in the report, meaning */
#define TROUBLE_LIST(ROW)                                                                          \
    ROW(CONNECT_REFUSED, "connect_refused", "the server refused a connection")                     \
    ROW(CONNECT_TIMEOUT, "connect_timeout", "no connection within the timeout")                    \
    ROW(CONNECT_FAILED, "connect_failed", "no connection for another reason")                      \
    ROW(RESET, "reset", "the connection was reset under a request")                                \
    ROW(CLOSED_EARLY, "closed_early", "the server closed before it had answered")                  \
    ROW(TIMEOUT, "timeout", "no answer within the timeout")                                        \
    ROW(BAD_RESPONSE, "bad_response", "the answer is not well-formed HTTP")                        \
    ROW(STATUS_2XX, "status_2xx", "another success than the one expected")                         \
    ROW(STATUS_3XX, "status_3xx", "the answer is a redirect")                                      \
    ROW(STATUS_4XX, "status_4xx", "the answer is a client error")                                  \
    ROW(STATUS_5XX, "status_5xx", "the answer is a server error")                                  \
    ROW(UNSENT, "unsent", "never sent: every connection had been given up")                        \
    ROW(LOCAL, "local", "this machine had no memory or descriptors")

#define TROUBLE_ENUM(id, name, meaning) TROUBLE_##id,
enum trouble { TROUBLE_LIST(TROUBLE_ENUM) TROUBLE_COUNT };
#undef TROUBLE_ENUM

const char *trouble_name(enum trouble kind);
const char *trouble_meaning(enum trouble kind);

/* A zeroed struct is an empty tally. */
struct tally {
    struct histogram latency; /* of answered requests, good or bad */
    struct histogram late;    /* open loop: how long after its time a request was written */
    uint64_t good;            /* answered as they should be */
    uint64_t status[6];       /* answers by class; [0] is unused */
    uint64_t trouble[TROUBLE_COUNT];
    uint64_t connects, reconnects;
    uint64_t bytes_in, bytes_out;
};

void tally_merge(struct tally *t, const struct tally *other);
uint64_t tally_troubles(const struct tally *t);

#endif
