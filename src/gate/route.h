/* Decides which route answers a request.
 *
 * Compiled once per generation into a hash of hosts and a path trie for each;
 * looking one up allocates nothing.  Of all routes whose every condition
 * holds: exact host before longest wildcard before any; then path segment by
 * segment from the left, literal before {name} before *; then more
 * conditions.
 */
#ifndef HEADGATE_GATE_ROUTE_H
#define HEADGATE_GATE_ROUTE_H

#include "gate/config.h"
#include "http/message.h"

struct router;

enum { ROUTE_CAPTURES_MAX = 8 };

struct route_query {
    unsigned listener; /* index */
    struct span host;  /* lower case, no port, no trailing dot; empty: none */
    struct span path;  /* normal form */
    enum method method;
    struct span method_name;
    const struct request *request; /* for match_header */
    struct span query;             /* for match_query */
};

struct route_capture {
    struct span name, value;
};

struct route_match {
    const struct route_conf *route; /* NULL: none */
    uint32_t methods_other;         /* when none: 1 + bits of enum method that would have matched
                                       (bit 0: some would, with methods of other names) */
    unsigned captures;
    struct route_capture capture[ROUTE_CAPTURES_MAX];
};

/* All methods that some route has for a request but for its own. */
enum { ROUTE_NAMES_MAX = 16 };
struct route_methods {
    uint32_t bits;  /* of enum method; all ones: any method at all */
    unsigned count; /* methods of other names, this many at most are told */
    struct span names[ROUTE_NAMES_MAX];
};

/* Errors (routes equal on all that matters) and shadowed routes (warnings) go to d. */
struct router *router_new(struct arena *arena, const struct config *config, struct diagnostics *d);
void router_find(const struct router *router, const struct route_query *q,
                 struct route_match *match);
void router_methods(const struct router *router, const struct route_query *q,
                    struct route_methods *methods);

#endif
