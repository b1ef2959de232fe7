/* Where log lines go: stderr or a file, as text or JSON, with the time. */
#ifndef HEADGATE_ERROR_LOG_H
#define HEADGATE_ERROR_LOG_H

#include "gate/config.h"

struct diagnostics;

/* Opens it and sends every line there from now on; again to change that.
 * 0, or FAIL_*: then nothing changes. */
MUST_USE int error_log_open(const struct log_target *target, int level);
int error_log_made(void); /* its descriptor, if the file is new; else -1 */
void error_log_diagnostics(struct diagnostics *d);
void error_log_reopen(void); /* after the file was moved away */

#endif
