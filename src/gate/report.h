/* What has been counted so far, for who reads the error log. */
#ifndef HEADGATE_GATE_REPORT_H
#define HEADGATE_GATE_REPORT_H

#include "base/log.h"

struct gate;
struct worker;

/* One worker's, when it ends; at LOG_INFO. */
void report_worker(const struct worker *w);

/* Everybody's, because somebody asked: whatever the log level.  From any
 * thread, while no worker is being taken down. */
void report_gate(struct gate *gate);

/* Each number by itself, the parts in order: causes that have come up, "gate", "engine". */
void report_read(const struct gate *gate,
                 void (*counter)(void *data, const char *part, struct span name, uint64_t n),
                 void *data);

#endif
