/* What links do with legs, whatever they speak; for files of src/gate only. */
#ifndef HEADGATE_GATE_LEG_OWN_H
#define HEADGATE_GATE_LEG_OWN_H

#include "gate/leg.h"

/* Has the exchange look at the leg, soon. */
void leg_tell(struct leg *leg);

/* It ends before its time, and the exchange is told; the first cause stays. */
void leg_fail(struct leg *leg, enum cause cause);

/* The same, when the origin cannot have seen the request. */
void leg_fail_fresh(struct leg *leg, enum cause cause);

/* A try begins: nothing was sent of it, nothing came. */
void leg_begin(struct leg *leg, struct link *l);

/* The head is about to be written: what it says of the time that is left is to be true. */
static inline void leg_stamp(struct leg *leg)
{
    if (leg->request.time_left)
        leg_say_time(leg);
}

/* The link is not its own any more. */
void leg_let_go(struct leg *leg);

/* Room to parse a head into, the worker's: valid until the step returns. */
void leg_borrow_fields(struct leg *leg);

/* Head and fields are kept in the exchange's arena: they outlive the link's
 * bytes.  False: no memory. */
bool leg_keep_head(struct leg *leg, struct span head);

/* The client can take trailers, and so can we (RFC 9110, 10.1.4); gRPC insists on it. */
static inline bool leg_takes_trailers(const struct leg *leg)
{
    const struct fields *f = &leg->x->request.fields;

    return fields_get(f, FIELD_TE) && fields_has_item(f, FIELD_TE, SPAN("trailers"));
}

/* An interim head is complete: it is passed on. */
void leg_interim(struct leg *leg);

/* The head is complete; content comes. */
void leg_head_done(struct leg *leg);

/* All content is in the flow. */
void leg_content_done(struct leg *leg);

/* Keeps what is sent, as long as another try may need it. */
void leg_remember(struct leg *leg, struct span s);

/* A byte of a response came: there will be no other try. */
void leg_answered(struct leg *leg);

/* The request begins to be written: from here on something of it may arrive. */
void leg_departs(struct leg *leg);

/* The connection ended, or broke, while it was waiting for a head, of which nothing came. */
void leg_lost_early(struct leg *leg, bool sending);

#endif
