/* The PROXY header that a link to an origin begins with.
 *
 * It says for whom the connection was made, so such a link serves the leg it was
 * made for and nobody after it.
 */
#ifndef HEADGATE_GATE_LINK_PROXY_H
#define HEADGATE_GATE_LINK_PROXY_H

#include "gate/link.h"

/* A link is made for a leg: notes what is to be said, if anything.  False: no memory. */
MUST_USE bool link_proxy_admit(struct link *l, const struct leg *leg);

/* The connection stands: says it, in the clear.  False: no memory. */
MUST_USE bool link_proxy_say(struct link *l);

void link_proxy_end(struct link *l);

#endif
