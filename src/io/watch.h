/* Watching files, made of looking at them and timers; see io_watch(). */
#ifndef HEADGATE_IO_WATCH_H
#define HEADGATE_IO_WATCH_H

#include "io/io.h"

void watch_start(struct io *io, struct io_watch *w); /* the operation has begun */
void watch_cancel(struct io_watch *w);

#endif
