/* Where requests go: http://HOST[:PORT][/PATH][?QUERY]. */
#ifndef HEADGATE_BENCH_URL_H
#define HEADGATE_BENCH_URL_H

#include "base/fail.h"
#include "base/span.h"

enum { URL_HOST_MAX = 255 };

struct url {
    struct span text;            /* as given */
    struct span authority;       /* what the Host field says */
    struct span target;          /* path and query; "/" when there is no path */
    char host[URL_HOST_MAX + 1]; /* name or address, without brackets, terminated */
    uint16_t port;
};

/* The spans point into text.  FAIL_BAD with *why, a static sentence. */
MUST_USE int url_parse(struct url *url, struct span text, const char **why);

#endif
