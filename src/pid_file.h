/* The file with the process's number, for who wants to send it signals. */
#ifndef HEADGATE_PID_FILE_H
#define HEADGATE_PID_FILE_H

#include "base/span.h"

/* Written anew, if what is there is nothing or a pid file, and a warning if not.  Its descriptor,
 * to be given away with the identity and closed by the caller; -1 if there is none. */
int pid_file_write(struct span path);

/* Whether what is there would give way to it, told without a trace: 0, or a failure with *why. */
MUST_USE int pid_file_may_write(struct span path, const char **why);

/* If it was written, and still is ours. */
void pid_file_remove(void);

#endif
