/* The state in a file of the disk.  These block: for helper threads, and for
 * before and after serving. */
#ifndef HEADGATE_MODULES_1MRC_STATE_FILE_H
#define HEADGATE_MODULES_1MRC_STATE_FILE_H

#include "modules/1mrc/state.h"

/* Writes a new file beside `path`, and puts it in its place when all of it is
 * on the disk: at every moment there is one whole file. */
MUST_USE int state_file_save(const char *path, const struct state *state);

/* The whole file: to be freed with mem_free().  FAIL_NOT_FOUND if there is none. */
MUST_USE int state_file_load(const char *path, struct span *content);

/* Whether a file can be made beside it, and take its place. */
MUST_USE int state_file_may_save(const char *path);

#endif
