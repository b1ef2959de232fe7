/* What the parts of forward share. */
#ifndef HEADGATE_FORWARD_H
#define HEADGATE_FORWARD_H

#include "gate/module.h"

enum forwarded_mode { FORWARDED_X, FORWARDED_RFC7239, FORWARDED_BOTH, FORWARDED_OFF };

struct forward_target {
    const struct upstream_conf *upstream;
    uint64_t weight;
};

struct forward_conf {
    struct lines upstream_lines;
    struct span strip_prefix;
    struct template *rewrite;
    struct template *host_header; /* NULL: pass */
    int forwarded;                /* enum forwarded_mode */
    struct spans upgrade;
    uint64_t timeout;
    uint64_t first_byte_timeout, idle_timeout, stream_timeout; /* VALUE_AUTO: the upstream's */
    uint64_t tries;                                            /* VALUE_AUTO: the upstream's */
    struct lines retry_lines;
    struct retry_on retry_on_own;
    const struct retry_on *retry_on; /* in effect */
    const struct upstream_conf *upstream;
};

/* The request as the origin gets it.  CAUSE_NONE, or why it cannot be sent. */
enum cause forward_request(struct exchange *x, const struct forward_conf *conf,
                           struct leg_request *out);

/* The origin's fields onto the response. False: no memory. */
bool forward_response(struct exchange *x, const struct leg *leg);

/* What the client may and would switch to; empty: nothing (switch.c). */
struct span forward_upgrade(const struct exchange *x, const struct forward_conf *conf);

/* Adds what a WebSocket client over HTTP/2 does not bring.  FAIL_MEMORY, FAIL_FULL. */
MUST_USE int forward_websocket_key(struct exchange *x, struct leg_request *out);

/* The origin has switched: answers so, and from then on there is a tunnel; or a failure. */
void forward_switch(struct exchange *x, struct leg *leg);

/* Is it tried again: after a failure; although there is an answer, whose head has not gone
 * to the client? */
bool forward_retries_failure(const struct exchange *x, const struct forward_conf *conf,
                             struct leg *leg);
bool forward_retries_answer(const struct exchange *x, const struct forward_conf *conf,
                            struct leg *leg);

/* The path and query the origin gets; also what [test] expect_path compares.
 * ptr NULL: no memory, or a result that is no path. */
struct span forward_path(struct exchange *x, const struct forward_conf *conf);

#endif
