/* Routes as tests write them, compiled, and asked. */
#ifndef HEADGATE_TESTS_UNIT_GATE_ROUTES_H
#define HEADGATE_TESTS_UNIT_GATE_ROUTES_H

#include "gate/route.h"

enum { ROUTES_MAX = 24 };

/* A route as a test writes it: lists separated by blanks, conditions as in the file. */
struct route_text {
    const char *name, *hosts, *paths, *methods, *listeners, *match;
};

struct set {
    struct arena arena;
    struct config config;
    struct route_conf routes[ROUTES_MAX];
    struct listener_conf listeners[2];
    struct diagnostics d;
    struct router *router;
};

/* A zeroed set is an empty one; what it holds is its arena's. */
void set_add(struct set *s, const struct route_text *t);
void set_compile(struct set *s); /* router: NULL when there is no memory */

/* "GET host/path?query", and fields "x: v" */
struct ask {
    const char *method, *host, *path, *query;
    unsigned listener;
    const char *field, *value;
    bool u; /* there is a field "u" too */
};

struct route_match ask(struct set *s, struct ask a);

#endif
