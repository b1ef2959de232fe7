/* Helper threads: where calls go that block.
 *
 * A few threads of one engine, started when first needed, that run IO_FILE,
 * IO_WORK and IO_RESOLVE operations.  Results come back as an ordinary
 * message (io_post) and complete in a turn like everything else.
 */
#ifndef HEADGATE_IO_HELPERS_H
#define HEADGATE_IO_HELPERS_H

#include "io/io.h"

/* No thread is started yet; NULL without memory.  threads_max 0 means 2. */
struct io_helpers *helpers_new(struct io *io, uint32_t threads_max);

/* Joins the threads; no operation may be in flight.  NULL is fine. */
void helpers_free(struct io_helpers *h);

/* op is one of the three kinds and its arguments are set. */
void helpers_start(struct io_helpers *h, struct io_op *op);

/* One that has begun runs to its end and completes as it will. */
void helpers_cancel(struct io_helpers *h, struct io_op *op);

#endif
