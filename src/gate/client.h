/* Who the client is: the peer, or whom trusted peers say it is. */
#ifndef HEADGATE_GATE_CLIENT_H
#define HEADGATE_GATE_CLIENT_H

#include "gate/exchange.h"

/* Sets x->client and x->peer_trusted.  Exactly one source is believed, from
 * trusted peers only, read from right to left to the first hop that is not
 * trusted. */
void client_find(struct exchange *x);

bool nets_contain(const struct nets *nets, const struct address *a);

#endif
