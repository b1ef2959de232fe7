/* An exchange without a client: a check of a server's health, a copy of a
 * request for another group.
 *
 * It is an ordinary exchange on an ordinary leg.  What carries it throws the
 * answer away and keeps how it ended.  It is nobody's request: neither the
 * access log nor the counters of requests and causes know it, it waits in no
 * queue, is tried once, and neither earns nor draws any budget.
 */
#ifndef HEADGATE_GATE_INNER_H
#define HEADGATE_GATE_INNER_H

#include "gate/leg.h"

struct inner {
    struct owner owner;
    struct link_node node; /* of worker->inners */
    struct exchange *x;    /* this lives in its arena */
    struct leg leg;
    struct owner *told;              /* woken when it is over; NULL: nobody waits, it ends itself */
    void (*ended)(struct inner *in); /* its last moment; or NULL */
    struct io_timer timer;
    bool trailers; /* its maker could take some: said to the origin, too */
    bool sent;
    bool over;
    enum cause cause; /* of its failure; CAUSE_NONE: there was an answer */
    int status;       /* of that; 0: nothing was asked but a connection */
};

/* Room for so many fields, and TE.  NULL: no memory. */
MUST_USE struct inner *inner_new(struct worker *w, struct generation *g,
                                 const struct upstream_conf *upstream, unsigned fields_max);

/* What is asked, and a field of it, Host first: copied.  False: no memory, or too many. */
MUST_USE bool inner_ask(struct inner *in, struct span method, struct span target);
MUST_USE bool inner_field(struct inner *in, const struct field *f);

/* Off it goes, with the content that is in x->request_content: to whom the
 * group's balance chooses.  It takes no longer than that. */
void inner_send(struct inner *in, uint64_t timeout_ns);

/* A check: to this server, past every limit, on a connection of its own; to
 * another port of it if that is not 0. */
void inner_send_to(struct inner *in, unsigned server, uint16_t port, uint64_t timeout_ns);

/* At any time: what is under way is given up. */
void inner_end(struct inner *in);

/* All of a worker's. */
void inners_end(struct worker *w);

#endif
