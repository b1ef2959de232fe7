/* Room for connections to origins: max_connections of a server and of a group.
 *
 * All connections are counted, by the process, from before they are dialled
 * until they are closed, so that a limit that comes with a reload holds at
 * once.  Whoever finds no room waits in the group's queue.  An idle connection
 * is of use to its own worker alone: whoever waits elsewhere asks that worker,
 * by a message, to close one.  So whoever gets idle and finds somebody
 * waiting calls the queue, and who is called and cannot use it asks.
 */
#ifndef HEADGATE_GATE_ROOM_H
#define HEADGATE_GATE_ROOM_H

#include "gate/link.h"
#include "gate/upstream.h"

/* For one connection to leg->server; false: it, or the group, is at its limit.  A connection of
 * a check is counted, and finds room always. */
bool room_take(struct leg *leg);

/* It was not needed. */
void room_return(struct leg *leg);

/* What was taken is the link's, until it is closed. */
void room_belongs(struct link *l, const struct leg *leg);
void room_give(struct link *l);

/* Could it serve this exchange, with a connection that is there or one that may be made? */
bool room_is_there(const struct pool_server *server, const struct upstream_conf *u,
                   const struct server_entry *e, const struct exchange *x);

/* A leg waits: an idle connection that is in its way is closed, here or at another worker. */
void room_ask(const struct leg *leg);
void room_asked(struct io_message *m, struct io *io); /* pools.room arrives */

/* There is a limit from now on, or none any more: the newest generation says so. */
void room_limits(struct pool_server *s, bool limited);

/* Where there is a limit: one became idle, or shareable, and whoever waits is called; and it
 * is idle no more. */
void room_idles(const struct link *l);
void room_busy(const struct link *l);

#endif
