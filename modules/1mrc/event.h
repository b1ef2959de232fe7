/* The content of POST /event: {"userId":"…","value":n}, read strictly.
 *
 * RFC 8259 and nothing beyond it.  Both keys are required, once each, in any
 * order; others are ignored, whatever their value, as long as it is JSON.
 */
#ifndef HEADGATE_MODULES_1MRC_EVENT_H
#define HEADGATE_MODULES_1MRC_EVENT_H

#include "base/span.h"

enum { EVENT_DEPTH_MAX = 32 }; /* of arrays and objects in a value that is ignored */

struct event {
    struct span user; /* decoded; in the content, or in scratch if it had escapes */
    double value;     /* finite */
};

/* NULL, or why the content is refused: a static line for the client.  The
 * userId may have at most user_max bytes, which is the size of scratch. */
const char *event_read(struct span content, char *scratch, size_t user_max, struct event *out);

#endif
