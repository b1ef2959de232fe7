/* Until nothing is in flight at a server that was taken out. */
#ifndef HEADGATE_CTL_WAIT_H
#define HEADGATE_CTL_WAIT_H

#include "base/span.h"

/* The exit code: 0, or 1 when there still was something after so long, or headgate has gone,
 * refuses to say or does not know the server any more. */
int ctl_wait(const char *path, struct span group, struct span server, uint64_t ns);

#endif
