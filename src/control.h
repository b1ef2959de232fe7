/* The control socket: whoever may open it steers the gateway.
 *
 * It belongs to main and to who we are, mode 0600.  A client says one line,
 * and hears a line with the outcome (ok, refused or usage), what there is to
 * say, and the end of the stream.  There are few clients at a time; each has
 * so long to say its line and so long to take its answer, and none of them,
 * silent or slow, keeps main from its signals or from the others.
 */
#ifndef HEADGATE_CONTROL_H
#define HEADGATE_CONTROL_H

#include "command.h"

#include <poll.h>

struct io_backend;
struct control;

enum {
    CONTROL_CLIENTS_MAX = 8,
    CONTROL_POLLS_MAX = CONTROL_CLIENTS_MAX + 1,
    CONTROL_LINE_MAX = 1024,
};

/* The longest path of a socket. */
enum { CONTROL_PATH_MAX = 107 };

/* Makes the socket: a stale one is replaced, one that somebody answers at is
 * FAIL_IN_USE.  *made: a descriptor of its file, to be given away with the
 * identity and closed by the caller; -1 if there is none. */
MUST_USE int control_open(struct control **out, struct span path, const struct io_backend *backend,
                          const struct command_means *means, int *made);

/* NULL is fine here and below: there is no socket then. */
void control_close(struct control *c);

/* What main is to wait for: fills fds, at most CONTROL_POLLS_MAX, and says how
 * many; and until when, TIME_NEVER: however long. */
unsigned control_polls(struct control *c, struct pollfd *fds);
uint64_t control_due(const struct control *c);

/* Whatever can be done now: to be called after each wait, with what came of the same fds. */
void control_turn(struct control *c, const struct pollfd *fds, uint64_t now_ns);

#endif
