/* Who the process is after binding: user and group. */
#ifndef HEADGATE_IDENTITY_H
#define HEADGATE_IDENTITY_H

#include "base/span.h"

/* Becomes user (and group, or the user's own), keeping only the right to bind
 * ports below 1024.  The files (descriptors, if only O_PATH), which we have made just now, become the user's, so that they
 * can be opened again; -1 is none.  Before any thread or ring exists.  0, or a failure with *why. */
MUST_USE int identity_drop(struct span user, struct span group, const int *files, unsigned count,
                           const char **why);

/* Calls act() as who identity_drop() would make of us, and is who we were again.  Before any thread
 * exists.  0, or a failure with *why: it was not called. */
MUST_USE int identity_try(struct span user, struct span group, void (*act)(void *data), void *data,
                          const char **why);

/* Whether there are such a user and group: 0, or a failure with *why. */
MUST_USE int identity_known(struct span user, struct span group, const char **why);

/* Are we root, and about to stay it? */
bool identity_is_root(void);

/* No core dumps: there are keys in memory. */
void identity_keep_secrets(void);

#endif
