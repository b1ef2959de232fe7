/* The access log: a line for each exchange, never at a worker's expense.
 *
 * Lines are put together in a buffer per worker, which a helper thread writes
 * once a second, or when it is half full.  When disk or pipe cannot follow,
 * lines are dropped, counted, and the error log says how many.
 */
#ifndef HEADGATE_GATE_ACCESS_LOG_H
#define HEADGATE_GATE_ACCESS_LOG_H

#include "gate/exchange.h"
#include "gate/worker_own.h"

MUST_USE int access_log_open(struct worker *w, const struct log_target *target);
void access_log_adopt(struct worker *w, const struct log_target *target);
void access_log_reopen(struct worker *w);
bool access_log_close(struct worker *w); /* true once all is written; else asks again later */

void access_log_exchange(struct worker *w, struct exchange *x);

/* One exchange as a line, with its line end; 0 when it does not fit. For tests too. */
size_t access_log_line(char *at, size_t room, enum log_format format, struct exchange *x,
                       uint64_t wall_ns, uint64_t now_ns);

#endif
