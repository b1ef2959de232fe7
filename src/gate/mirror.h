/* Copies of requests for another group, a mirror, whose answers nobody reads.
 *
 * The copy goes when all of the request has gone to its own origin, so that it
 * costs the original nothing but a copy of what passes by; what does not fit
 * into the buffer for that is not mirrored, and neither is what finds too many
 * copies under way.  Both is counted, as is a copy that is not answered.
 */
#ifndef HEADGATE_GATE_MIRROR_H
#define HEADGATE_GATE_MIRROR_H

#include "gate/leg.h"

/* For a leg whose request is known: begins a copy of that. */
void mirror_begin(struct leg *leg, const struct upstream_conf *to);

/* Where there is a copy, when the exchange has got further, and at its end: sends
 * the copy if it is whole; at the end, what is not is given up. */
void mirror_go_on(struct leg *leg);
void mirror_end(struct leg *leg);

/* Request content that is sent to the origin. */
void mirror_remember(struct leg *leg, struct span s);

#endif
