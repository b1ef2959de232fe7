/* What the parts of forward share. */
#ifndef HEADGATE_FORWARD_H
#define HEADGATE_FORWARD_H

#include "gate/module.h"

enum forwarded_mode { FORWARDED_X, FORWARDED_RFC7239, FORWARDED_BOTH, FORWARDED_OFF };
enum trace_mode { TRACE_PASS, TRACE_START, TRACE_OFF };

/* Which group gets a request, when a route names several: by their weights, and
 * always the same one for the same client, header or cookie. */
enum split_by { SPLIT_REQUEST, SPLIT_CLIENT_IP, SPLIT_HEADER, SPLIT_COOKIE };
struct split_part {
    const struct upstream_conf *upstream;
    uint64_t weight; /* 0: none of it */
    uint64_t hash;   /* of the group's name, in this route */
};
struct split {
    struct split_part *parts;
    unsigned count;
    uint64_t sum; /* of the weights; never 0 */
    enum split_by by;
    struct span name; /* of the header or cookie */
};

struct forward_conf {
    struct lines upstreams;
    struct line split_by;
    struct split split;
    struct span strip_prefix;
    struct template *rewrite;
    struct template *host_header; /* NULL: pass */
    int forwarded;                /* enum forwarded_mode */
    struct spans upgrade;
    uint64_t timeout;                                          /* of the whole; VALUE_OFF */
    struct span deadline_header;                               /* empty: off */
    struct edits deadline_removed;                             /* nobody else says it */
    int traceparent;                                           /* enum trace_mode */
    uint64_t buffer_request, buffer_response;                  /* VALUE_OFF */
    uint64_t first_byte_timeout, idle_timeout, stream_timeout; /* VALUE_AUTO: the upstream's */
    uint64_t tries;                                            /* VALUE_AUTO: the upstream's */
    struct lines retry_lines;
    struct retry_on retry_on_own;
    const struct retry_on *retry_on; /* NULL: the upstream's */
    struct line mirror_line;
    const struct upstream_conf *mirror; /* NULL: off */
    uint64_t mirror_share;              /* thousandths of a percent */
};

/* Says what is wrong with upstream and split_by. */
void split_load(struct loading *l, struct forward_conf *conf);

const struct upstream_conf *split_choose(const struct split *s, struct exchange *x);

/* The part that a key belongs to, and the one that a number below the sum falls into. */
unsigned split_of_key(const struct split *s, struct span key);
unsigned split_of_draw(const struct split *s, uint64_t draw);

/* Are messages of such a type to arrive as they are sent? */
bool is_stream(const struct fields *fields);

/* Begins to gather the request's content, up to so many bytes; false: it streams. */
bool buffer_request(struct exchange *x, uint64_t most);

/* Is there more to gather? */
bool buffer_request_waits(struct exchange *x, uint64_t most);

/* The origin may send so many bytes more than the client has taken. */
void buffer_response(struct exchange *x, const struct response *r, uint64_t most);

/* timeout, deadline_header: says what is wrong with them. */
void deadline_load(struct loading *l, struct forward_conf *conf);

/* The field that tells the origin how much time is left.  FAIL_MEMORY. */
MUST_USE int deadline_add(struct exchange *x, const struct forward_conf *conf,
                          struct leg_request *out);

/* Is it a traceparent (W3C Trace Context, level 1, 3.2)?  And a new one, of three random numbers.
 */
enum { TRACE_LEN = 55 };
bool trace_is_valid(struct span value);
void trace_write(char out[TRACE_LEN], const uint64_t numbers[3]);

/* `mirror`, after the settings are filled; and a request that is about to be sent, where
 * there is one: has it copied, or not. */
void forward_mirror_load(struct loading *l, struct forward_conf *conf);
void forward_mirror(struct exchange *x, const struct forward_conf *conf, struct leg *leg);

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

static inline const struct retry_on *retry_on_of(const struct forward_conf *conf,
                                                 const struct leg *leg)
{
    return conf->retry_on ? conf->retry_on : &leg->upstream->retry_on;
}

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
