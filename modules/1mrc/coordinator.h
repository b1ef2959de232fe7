/* Worker 0's side of a cut: who has asked, what comes next, what was found. */
#ifndef HEADGATE_MODULES_1MRC_COORDINATOR_H
#define HEADGATE_MODULES_1MRC_COORDINATOR_H

#include "modules/1mrc/count.h"

/* NULL without memory. */
struct coordinator *coordinator_new(unsigned workers);
void coordinator_free(struct coordinator *k);

/* Worker `from` wants something of a cut. */
void coordinator_asked(struct count *c, unsigned from, unsigned want);
void coordinator_reported(struct count *c, const struct count_report *report);
void coordinator_saved(struct count *c);
uint64_t coordinator_users_least(const struct coordinator *k);
void coordinator_restore(struct coordinator *k, const struct count_result *result);

/* What the coordinator needs of count.c: delivers, to itself too. */
void count_send(struct count *c, unsigned to, struct count_message *m);

#endif
