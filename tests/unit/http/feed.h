/* Feeds bytes to the parsers, in pieces, and says in one line of text what
 * came of it.  Two ways of feeding the same bytes must give the same line.
 */
#ifndef HEADGATE_TESTS_HTTP_FEED_H
#define HEADGATE_TESTS_HTTP_FEED_H

#include "http/h1_content.h"

enum feed_kind { FEED_REQUEST, FEED_RESPONSE, FEED_TRAILERS, FEED_CHUNKED };

struct feed {
    enum feed_kind kind;
    struct h1_limits limits;
    enum method method; /* the request's, for a response */
    bool no_fields;     /* trailers are only checked */
    /* The size of the n-th piece; 0 is all the rest. */
    size_t (*piece)(void *context, size_t n);
    void *context;
};

struct feed feed_default(enum feed_kind kind);

/* What a line may hold.  Longer ones are cut, the same way each time. */
enum { FEED_TEXT_MAX = 16384 };

/* Words separated by blanks: the verdict ("done", "more" or the cause's name),
 * then name=value; other bytes than visible ASCII as \xHH. */
void feed_run(const struct feed *f, struct span bytes, char text[FEED_TEXT_MAX]);

size_t feed_bytewise(void *context, size_t n);
size_t feed_whole(void *context, size_t n);
size_t feed_split(void *context, size_t n); /* context: size_t, where */

#endif
