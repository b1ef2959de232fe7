/* Edits of header fields: request_header and response_header of a route. */
#ifndef HEADGATE_GATE_EDIT_H
#define HEADGATE_GATE_EDIT_H

#include "gate/exchange.h"

/* Applies them in order.  Values come from x's arena; what does not fit or has
 * a forbidden byte in it is left out and logged. */
void edits_apply(const struct edits *edits, struct exchange *x, struct fields *fields);

#endif
