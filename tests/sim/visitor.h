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

struct visitor {
    struct sim_peer *peer;
    struct ask asks[VISITOR_ASKS_MAX];
    unsigned count, sent, answered;
    size_t at; /* of what was heard: the first unread byte */
    bool pipelines;
    bool finishes; /* says FIN after the last request */
    bool tolerant; /* the connection may end at any time, and answers be errors of the gateway */
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
