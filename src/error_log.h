/* Where log lines go: stderr or a file, as text or JSON, with the time. */
#ifndef HEADGATE_ERROR_LOG_H
#define HEADGATE_ERROR_LOG_H

#include "gate/config.h"

struct diagnostics;

/* Opens it and sends every line there from now on; again to change that, where a file that is
 * open is not opened anew.
 * 0, or FAIL_*: then nothing changes.  Errors go to stderr as well until it is
 * said that all has started: who gets exit code 1 is to see why. */
MUST_USE int error_log_open(const struct log_target *target, int level);
void error_log_started(void);
int error_log_made(void); /* its descriptor, if the file is new; else -1 */
void error_log_diagnostics(struct diagnostics *d);
void error_log_reopen(void); /* after the file was moved away */

#endif
