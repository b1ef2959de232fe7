/* The challenge's events: what event i says, its bytes on the wire, and what n
 * of them must add up to.
 */
#ifndef HEADGATE_BENCH_EVENT_H
#define HEADGATE_BENCH_EVENT_H

#include "base/span.h"
#include "bench/url.h"

enum { EVENT_PREFIX_MAX = 64, EVENT_VALUES = 1000, EVENTS_MAX_BITS = 53 };

/* Event i is {"userId":"PREFIX<i mod users>","value":<i mod 1000>.5}.
 * Everything but the numbers is written once. */
struct event_form {
    char *head;    /* to "Content-Length: " */
    char *content; /* the end of the head and the beginning of the content, to the user's number */
    size_t head_len, content_len;
    size_t fixed_len; /* of the content without its two numbers */
    uint64_t users;
    size_t request_max;
};

/* False when there is no memory. */
MUST_USE bool event_form_init(struct event_form *f, const struct url *url, struct span prefix,
                              uint64_t users);
void event_form_free(struct event_form *f);

/* The whole request, at most request_max bytes; returns its length. */
size_t event_write(const struct event_form *f, uint64_t i, char *out);

/* Of the events 0 .. n-1: how many users, and the sum of the values, correctly rounded. */
uint64_t events_users(uint64_t n, uint64_t users);
double events_sum(uint64_t n);

/* "/event" below the URL's path: http://h/base → /base/event, a trailing slash
 * does not count.  For "/stats" too.  NULL when there is no memory; mem_free(). */
char *event_target(const struct url *url, const char *name);

#endif
