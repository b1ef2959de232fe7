/* Serving: from a checked configuration to the last connection. */
#ifndef HEADGATE_SERVE_H
#define HEADGATE_SERVE_H

#include "gate/config.h"

/* Takes the configuration over.  Returns the exit code of the process. */
int serve(struct config *config);

/* The engine a configuration asks for; NULL and *why when it cannot run.
 * *passed says, in words, which better one was passed over and why. */
struct io_backend;
const struct io_backend *serve_engine(const struct server_conf *server, char *passed, size_t room,
                                      const char **why);

#endif
