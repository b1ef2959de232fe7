/* Sticky sessions: a cookie names the server that a visitor began with.
 *
 * Its value is the hash of the server's address, so that it stays good over
 * reloads, restarts and several gateways, and says nothing of where in the
 * configuration the server stands.  It is read and set here and nowhere else:
 * the origin sees the cookies that the client has sent, as they are.
 */
#ifndef HEADGATE_GATE_STICKY_H
#define HEADGATE_GATE_STICKY_H

#include "gate/exchange.h"

struct sticky_conf {
    struct span cookie;     /* its name */
    struct span attributes; /* "; Path=/; HttpOnly; ..." */
};

/* The number of an address: the same in every process; never 0. */
uint64_t sticky_number(const struct address *at);

/* The servers that the request's cookies name, one after the other; 0: no more.
 * To be begun with a zeroed walk. */
uint64_t sticky_next(const struct sticky_conf *conf, const struct exchange *x,
                     struct cookie_walk *walk);

/* Sets the cookie to this server, on a response that has not begun, if the
 * request's do not name it.  False: no memory, or no room for a field. */
bool sticky_set(const struct sticky_conf *conf, struct exchange *x, uint64_t number);

#endif
