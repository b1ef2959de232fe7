/* One thread: its engine, its share of everything, and what modules may use of it. */
#ifndef HEADGATE_GATE_WORKER_H
#define HEADGATE_GATE_WORKER_H

#include "gate/config.h"
#include "io/io.h"

struct worker;

struct io *worker_io(const struct worker *w);
unsigned worker_index(const struct worker *w);
unsigned worker_count(const struct worker *w); /* of all workers */

/* How many descriptors modules of this worker may keep open for later use,
 * beside those that exchanges are using. */
unsigned worker_descriptors_spare(const struct worker *w);

/* Delivers to another worker (or this one): see io_post. */
void worker_post(struct worker *from, unsigned to, struct io_message *m);

#endif
