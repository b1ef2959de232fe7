/* A client that asks over HTTP/2 and knows what the answers should be: many at
 * a time, within its windows and the gateway's.
 */
#ifndef HEADGATE_TESTS_SIM_CALLER_H
#define HEADGATE_TESTS_SIM_CALLER_H

#include "http/h2_frame.h"
#include "http/h2_hpack.h"
#include "tests/sim/story.h"

enum { CALLS_MAX = 40 };

struct call {
    const char *method, *path;
    int status, or_status; /* expected; or another one */
    const char *text;      /* the answer's content, if it is no pattern */
    unsigned id;           /* of the contents' pattern */
    size_t content_len;    /* of the answer, expected; SIZE_MAX: any */
    size_t sends;          /* content of the request */
    bool named;            /* with a Content-Length */
    bool may_cut;          /* the answer may be cut off, and what came of it be wrong */
    size_t reset_at;       /* we reset it after so many bytes of the answer, and one; 0: never */

    uint32_t stream; /* 0: not begun */
    int64_t window;  /* for content of the request */
    size_t sent, heard;
    uint32_t owed; /* heard, not yet credited */
    int got;       /* status; 0: none yet */
    bool said_all, ended, cut, dropped, wrong;
};

struct caller {
    struct sim_peer *peer;
    struct call calls[CALLS_MAX];
    unsigned count, begun, over;
    unsigned at_once;      /* calls */
    uint32_t first_window; /* what we give each stream */
    bool slow;             /* credits come late */
    bool tolerant;         /* the connection may end at any time, calls be refused or fail */
    bool sloppy;           /* says its frames in pieces */
    bool parts;            /* says GOAWAY behind its last call, and leaves the end to the gateway */

    struct hpack hpack;
    size_t at;            /* of what was heard: the first unread byte */
    int64_t window;       /* the connection's, for content of requests */
    uint32_t peer_window; /* a stream's, at its beginning */
    uint32_t next, owed;
    bool ticking, going; /* GOAWAY has come */
    bool parted;         /* ours has gone */
    bool ended;
};

struct call *caller_asks(struct caller *c, struct call call);
void caller_start(struct caller *c, struct sim *sim, const struct address *to,
                  const struct address *from);
bool caller_done(const struct caller *c);
void caller_expect_all(const struct caller *c); /* every answer came */
void caller_end(struct caller *c);

#endif
