/* Whether to send: servers that fail are ejected for a while, and retries have
 * a budget.  Both are the process's: see gate/upstream.h.
 *
 * An ejected server gets nothing until its time is over, then one request, the
 * probe; what becomes of that decides.  Each ejection that follows soon after
 * another is longer.  Checks (gate/check.h) are another matter: a server must
 * please both, but one that checks bring back begins anew here.
 */
#ifndef HEADGATE_GATE_HEALTH_H
#define HEADGATE_GATE_HEALTH_H

#include "gate/upstream.h"

/* May it be chosen: not ejected, or due for a probe that nobody makes? */
bool health_allows(const struct server_state *s, uint64_t now);

/* How long it has been well since it was ejected, or checks kept it out; UINT64_MAX: it never was. */
uint64_t health_back_for(const struct server_state *s, uint64_t now);

/* To be called for the one that was chosen.  False: another was faster, and it
 * was ejected or makes the probe.  *probe: this request is it. */
bool health_enter(struct server_state *s, uint64_t now, bool *probe);

/* It has another address: what was learned is not of that. */
void health_forget(struct server_state *s);

/* The same for whoever has nowhere else to go: it may, ejected or not.  If that
 * ends well before the time of the probe, the server is back; if not, nothing
 * is changed: all may be away at once, and then many try. */
void health_enter_last(struct server_state *s, bool *probe);

/* Of whom there is news. */
struct judged {
    const struct upstream_conf *upstream;
    struct server_state *server;
    struct span name; /* for the log: as written, and which of its addresses */
    uint64_t now;
    bool probe;
};

/* A request ended well, or a probe did; or it did not, or nothing can be said of it. */
void health_good(struct server_state *s, uint64_t now);
void health_back(const struct judged *j);
void health_bad(const struct judged *j);
void health_unknown(struct server_state *s, bool probe);

/* By hand, or by checks: what was held against it is forgotten. */
void health_forgive(struct group_state *g, struct server_state *s);

/* --- the retry budget ---------------------------------------------------------- */

/* A request, not a retry, goes to the group. */
void budget_earn(const struct upstream_conf *u);

/* A retry is paid for; false: there is nothing left. */
bool budget_draw(const struct upstream_conf *u, uint64_t now);

#endif
