/* Certificates that change: looked at by main, now and then, and taken into
 * use when they fit.  Connections keep what they began with. */
#ifndef HEADGATE_GATE_TLS_WATCH_H
#define HEADGATE_GATE_TLS_WATCH_H

#include "gate/gate.h"

struct tls_watch;

/* Of the gate's newest generation; NULL when there is nothing to look at, or no memory. */
struct tls_watch *tls_watch_new(struct gate *gate, const struct source *source);
void tls_watch_free(struct tls_watch *w);

/* When to look next; TIME_NEVER without a watch. */
uint64_t tls_watch_due(const struct tls_watch *w);

/* Looks at what is due, and at all of it again while something does not fit. */
void tls_watch_look(struct tls_watch *w, uint64_t now_ns);

#endif
