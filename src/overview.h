/* How upstream groups and their servers are, for who asks through the control
 * socket: as rows of a table, or as JSON. */
#ifndef HEADGATE_OVERVIEW_H
#define HEADGATE_OVERVIEW_H

#include "gate/upstream.h"

#include <stdio.h>

struct overview {
    FILE *out;
    const struct config *config;
    uint64_t now_ns; /* as workers' io_now() */
    bool json;
    bool seen; /* workers have said what they have: server_state.seen_* */
};

/* All groups, or what is named: one group, one server of it, by its text. */
void overview_put(const struct overview *o, const struct upstream_conf *group,
                  struct span server);

#endif
