/* Trailers of a message on their way through (RFC 9110, 6.5): kept in the exchange's arena until
 * the content before them has gone.
 *
 * What may never trail was dropped when they were read; what may not go on is dropped here.
 */
#ifndef HEADGATE_GATE_TRAILERS_H
#define HEADGATE_GATE_TRAILERS_H

#include "gate/exchange.h"

/* The client's, for an origin; before flow_end(&x->request_content).  False: no memory. */
MUST_USE bool trailers_keep_request(struct exchange *x, const struct fields *trailers);

/* An origin's, for the client; `head` are the fields that came before the content.  The same. */
MUST_USE bool trailers_keep_response(struct exchange *x, const struct fields *head,
                                     const struct fields *trailers);

#endif
