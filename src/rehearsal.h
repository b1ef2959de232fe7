/* What a start would refuse, tried without one, for headgate -t. */
#ifndef HEADGATE_REHEARSAL_H
#define HEADGATE_REHEARSAL_H

#include "gate/config.h"

/* Says it at the settings it is about.  Makes no file, opens no pipe and takes no port that
 * anybody could want.  Before any thread exists. */
void rehearse(struct config *config, struct diagnostics *d);

#endif
