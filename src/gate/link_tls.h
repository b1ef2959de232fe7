/* TLS to origins: a link's handshake, and what makes the next one shorter. */
#ifndef HEADGATE_GATE_LINK_TLS_H
#define HEADGATE_GATE_LINK_TLS_H

#include "gate/link.h"

/* The connection stands: begins the handshake.  FAIL_MEMORY. */
MUST_USE int link_tls_begin(struct link *l);

/* A link is made for a leg: notes what its handshake will need, if there is one.  False: no memory.
 */
bool link_tls_admit(struct link *l, const struct leg *leg);

/* Part of the step while it lasts: 0 until something is decided, 1 when both
 * sides are done, FAIL_BAD when it failed, which was logged. */
int link_tls_go_on(struct link *l);

/* Has what came since put an end to it?  That is logged, once. */
bool link_tls_broke(struct link *l);

/* The first response is over: keeps the session for the server's next link. */
void link_tls_keep(struct link *l);

/* Was it made by the rules that the group has now, and for the name that this leg asks for? */
bool link_tls_fits(const struct link *l, const struct upstream_conf *u,
                   const struct server_entry *e, const struct exchange *x);

/* By the rules, yes, but it serves another name. */
bool link_tls_is_others(const struct link *l, const struct leg *leg);

/* Once both sides are done: did they agree on HTTP/2? */
bool link_tls_is_h2(const struct link *l);

void link_tls_end(struct link *l);
void server_tls_end(struct pool_server *server);

#endif
