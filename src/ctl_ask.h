/* One question through the control socket. */
#ifndef HEADGATE_CTL_ASK_H
#define HEADGATE_CTL_ASK_H

#include "base/span.h"

enum { EXIT_FINE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct ctl_answer {
    char *text;       /* all of it; to be freed */
    struct span body; /* behind its first line */
    int code;         /* what that says, as an exit code */
};

/* Asks a line, which has its end.  False: there is no answer, and why was said. */
MUST_USE bool ctl_ask(const char *path, struct span line, struct ctl_answer *answer);

#endif
