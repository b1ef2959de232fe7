/* What forwarding stories have in common: a gateway before two origins, clients,
 * questions that say what the origin shall do, and answers that are checked. */
#ifndef HEADGATE_TESTS_SIM_TRAFFIC_H
#define HEADGATE_TESTS_SIM_TRAFFIC_H

#include "tests/sim/gateway.h"
#include "tests/sim/origin.h"

enum { TRAFFIC_CLIENTS = 5 };

struct traffic {
    struct sim *sim;
    char config[600];
    struct gateway gateway;
    struct origins origins;
    struct arena arena;
    struct address at;
    struct visitor clients[TRAFFIC_CLIENTS];
    unsigned count, ids;
    bool hurried;           /* no origin that takes its time */
    bool posts[ORIGIN_IDS]; /* the request with this id is not idempotent */
};

/* Every way to choose a server. */
extern const char *const balances[];
enum { BALANCES = 5 };

void traffic_begin(struct traffic *t, const struct telling *telling, unsigned faults);
uint64_t traffic_end(struct traffic *t);
bool traffic_over(void *data);
struct span request_text(struct traffic *t, enum origin_what what, unsigned id, size_t answer_bytes,
                         size_t bytes, bool chunks);
struct ask ask_origin(struct traffic *t, enum origin_what what);
enum origin_what calm_what(struct traffic *t);
struct visitor *client_new(struct traffic *t);
void client_go(struct traffic *t, struct visitor *v);
void client_forget(struct traffic *t); /* all: others may succeed them */

#endif
