/* How long an origin keeps an idle connection: what was learned of it.
 *
 * Who closes idle connections after a time does so while a request is on its
 * way, sooner or later.  So connections are given up a little before.  Of the
 * time nothing is believed that one end says alone: origins also end them all
 * at once, when they are restarted.  Two ends at different moments after the
 * same time are a rule.  Since a rule that is kept shows no more, it is
 * believed for ten minutes, then for twice the time, and so on.
 */
#ifndef HEADGATE_GATE_IDLE_H
#define HEADGATE_GATE_IDLE_H

#include "gate/upstream.h"

/* It ended a connection that had been idle so long. */
void idle_ended(struct server_state *s, uint64_t now, uint64_t idle_ns);

/* How long one may be kept; UINT64_MAX: nothing is known. */
uint64_t idle_most(const struct server_state *s, uint64_t now);

/* A little less than the time after which the origin would end it. */
uint64_t idle_undercut(uint64_t ns);

/* What Keep-Alive: timeout=N says; UINT64_MAX: nothing. */
uint64_t idle_said(struct span keep_alive);

#endif
