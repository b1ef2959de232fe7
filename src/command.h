/* What can be ordered through the control socket, a line each:
 *
 *     [json] upstream
 *     [json] upstream GROUP
 *     [json] upstream GROUP SERVER drain | down | up | weight=N
 *     [json] stats
 *     [json] reload
 *
 * The answer is text: lines with tabs are the rows of a table, the first of
 * which names its columns.  With json it is one object in one line.
 */
#ifndef HEADGATE_COMMAND_H
#define HEADGATE_COMMAND_H

#include "base/span.h"
#include "gate/gate.h"
#include "reload.h"

#include <stdio.h>

struct diagnostics;

/* What commands are carried out with: main's. */
struct command_means {
    struct gate *gate;
    /* Until they are released the workers are not taken down; false: they are being, already. */
    bool (*hold)(void);
    void (*release)(void);
    /* Begins one, d being the command's until it has ended; NULL: another is under way. */
    struct reload *(*reload_begin)(struct diagnostics *d);
    enum reload_state (*reload_step)(void);
};

enum command_stage {
    COMMAND_NEW,      /* nothing was done: workers may still be busy with another order */
    COMMAND_GOING_ON, /* it is done in steps, not all of them yet */
    COMMAND_SETTLING, /* the workers have been told */
    COMMAND_DONE,     /* the answer is complete */
};

enum command_outcome { COMMAND_OK, COMMAND_REFUSED, COMMAND_USAGE };

struct command {
    const struct command_means *means;
    struct span line; /* the caller's, until it is done */
    uint32_t uid;     /* who asks */
    FILE *out;        /* the answer, but for its first line */
    enum command_stage stage;
    enum command_outcome outcome;
    uint64_t
        give_up_ns; /* when workers that do not answer are waited for no longer; 0: not yet set */
    bool json;
    const struct verb *verb;
    struct span group, server, action; /* of upstream; may be empty */
    struct command_reload *reloaded;   /* what it says in the end */
};

const char *command_outcome_word(enum command_outcome outcome); /* "ok" ... */

/* What the line says.  It is COMMAND_DONE, and COMMAND_USAGE, when that is no command: nothing else
 * is looked at for that. */
void command_read(struct command *c);

/* Does what can be done now; to be called until it is COMMAND_DONE. */
void command_step(struct command *c, uint64_t now_ns);

/* Closes the answer and gives back what it took; at any time. */
void command_end(struct command *c);

#endif
