/* What all workers have counted, when none of them runs any more. */
#ifndef HEADGATE_MODULES_1MRC_GATHER_H
#define HEADGATE_MODULES_1MRC_GATHER_H

#include "modules/1mrc/count.h"

/* Fills the result as a cut to save would: `shares` has room for one a worker
 * and is to be dropped, `estimate` is the caller's.  Users on their way to
 * their owners arrive; a reset that has come to one has come to all. */
MUST_USE int count_gather(struct count *const *counts, unsigned workers, struct count_result *out,
                          struct users_share *shares, struct estimate *estimate);

#endif
