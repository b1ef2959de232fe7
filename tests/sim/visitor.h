/* A client that asks and knows what the answers should be.
 *
 * It reads answers in its own way, not with the program's parser, so that
 * both would have to be wrong in the same manner. */
#ifndef HEADGATE_TESTS_SIM_VISITOR_H
#define HEADGATE_TESTS_SIM_VISITOR_H

#include "tests/sim/story.h"

enum { VISITOR_ASKS_MAX = 256 };

struct ask {
    const char *request; /* as it is sent */
    size_t len;          /* 0: of its text */
    int status;          /* expected */
    struct span content; /* expected; ptr NULL: not compared */
    bool head;           /* a HEAD request: no content follows */
    bool last;           /* the connection ends after it */
    bool slow;           /* sent in pieces, with gaps */
    size_t piece;        /* sent in pieces of this size, quickly; 0: at once */
    size_t wait_at;      /* what is behind this is sent after 100 (Continue); 0: at once */
    int or_status;       /* another one that is right, too */
    struct span or_content; /* and other content of the same status; ptr NULL: none */
    bool may_cut;        /* the connection may end instead of an answer, or in it */
    unsigned id;         /* of its content's pattern, when content.ptr is NULL and ... */
    size_t content_len;  /* ... this is not 0 */
};

struct answer {
    int status;
    struct span head, content;
    size_t len; /* of all of it */
};

/* Reads one answer; 0 when it is incomplete, 1 when it is there, -1 when it is not HTTP.
 * `ended`: what there is is all; chunked content is decoded into `room`, which
 * is as large as the text. */
int answer_read(struct span text, bool head, bool ended, char *room, struct answer *a);
struct span answer_field(const struct answer *a, const char *name); /* ptr NULL: none */

/* The same for a request: 0 incomplete, 1 complete, -1 not HTTP.  `head_there` says whether
 * the head is; `path` and `method` are then set. */
struct asked {
    struct span method, path;
    struct answer message; /* status is 0 */
    bool head_there;
};
int asked_read(struct span text, char *room, struct asked *r);

/* What is said at this place of something with this number: order shows, and
 * nothing must be kept. */
static inline char pattern_at(size_t at, unsigned id)
{
    return (char)('!' + (at * 131 + (at >> 8) * 7 + id * 29) % 90);
}
void pattern_fill(char *out, size_t len, unsigned id);
bool pattern_is(struct span s, size_t len, unsigned id);

struct visitor {
    struct sim_peer *peer;
    struct ask asks[VISITOR_ASKS_MAX];
    unsigned count, sent, answered;
    size_t at; /* of what was heard: the first unread byte */
    bool pipelines;
    bool finishes; /* says FIN after the last request */
    bool tunnel;   /* the last answer was 101 */
    bool tolerant; /* the connection may end at any time, and answers be errors of the gateway */
    void (*sending)(struct visitor *v, const struct ask *ask); /* is about to be said; or NULL */
    void (*checked)(struct visitor *v, const struct ask *ask, const struct answer *a); /* or NULL */
    void *data;
};

void visitor_ask(struct visitor *v, struct ask ask);

/* Connects and begins; what is asked must be known. */
void visitor_start(struct visitor *v, struct sim *sim, const struct address *to,
                   const struct address *from);
bool visitor_done(const struct visitor *v); /* all is answered, or nothing more will come */

/* Every answer came, none was cut. */
void visitor_expect_all(const struct visitor *v);

#endif
