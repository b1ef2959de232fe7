/* Names of origins, followed by main.
 *
 * Each name of the newest configuration is asked for, and again when its time
 * is over.  What was found is placed into slots (gate/upstream.h), and workers
 * are told when that is news.  Nobody being able to say changes nothing, and is
 * asked again soon; that there is nothing empties the slots.
 */
#ifndef HEADGATE_GATE_NAMES_H
#define HEADGATE_GATE_NAMES_H

#include "gate/gate.h"
#include "net/lookup.h"

struct names;

/* Takes the resolver over.  NULL: no memory, and it is freed. */
struct names *names_new(struct gate *gate, struct resolver *resolver);
void names_free(struct names *n); /* NULL is fine */

/* A configuration that is about to be the newest: what it names is asked for. */
MUST_USE int names_expect(struct names *n, const struct config *config, uint64_t now);

/* Takes answers, places nothing.  True: every name has been answered once, well or not. */
bool names_hear(struct names *n, uint64_t now);

/* Places what is known of a configuration's names, whose states main has just
 * made.  Workers are not told: they do not have it yet. */
void names_place(struct names *n, struct config *config);

/* It is the newest, or will not be: what gate->config does not name is forgotten. */
void names_keep(struct names *n);

/* When something is to be asked; TIME_NEVER. */
uint64_t names_due(const struct names *n);

/* Asks what is due; takes answers and tells workers what is news.  Does nothing
 * while orders are under way. */
void names_look(struct names *n, uint64_t now);

#endif
