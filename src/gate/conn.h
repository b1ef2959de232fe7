/* A connection to a client. */
#ifndef HEADGATE_GATE_CONN_H
#define HEADGATE_GATE_CONN_H

#include "gate/listener.h"

struct conn;

size_t conn_size(void); /* for worker.conns, which is also how all are found */

/* Takes the descriptor over, whatever happens. */
void conn_open(struct listener *l, int fd, const struct address *peer);

/* The listener or the worker is leaving: idle connections end soon, busy ones
 * with their response. */
void conn_drain(struct conn *c);

/* Everything is cut, with this cause. */
void conn_cut(struct conn *c, enum cause cause);

/* A generation's reload_timeout is over: what began under such is answered 503, or cut where a
 * response has begun. */
void conn_reloaded(struct conn *c);

const struct listener *conn_listener(const struct conn *c);

#endif
