/* HTTP/1 content (RFC 9112, 6 and 7): which of the bytes on the connection
 * are content, and where it ends.
 */
#ifndef HEADGATE_HTTP_H1_CONTENT_H
#define HEADGATE_HTTP_H1_CONTENT_H

#include "http/h1_parse.h"

struct h1_content {
    enum framing framing;
    uint8_t state;      /* the chunk parser's */
    uint64_t remaining; /* of the length, or of the chunk */
    uint32_t line;      /* bytes of the current chunk-size line */
    struct h1_parser trailers;
    struct fields *fields; /* where trailers go; NULL: checked and dropped */
};

void h1_content_init(struct h1_content *c, enum framing framing, uint64_t content_length,
                     const struct h1_limits *trailer_limits, struct fields *trailers);

struct h1_piece {
    size_t skip;    /* framing bytes to drop first */
    size_t content; /* then so many bytes of content follow */
};

/* Looks at the bytes at hand; there may be none.  PARSE_DONE: after dropping skip (content is 0)
 * the content has ended.  PARSE_MORE: drop skip, use content; call again with
 * what follows (skip and content may both be 0: more bytes are needed with the
 * present ones kept, at most the length of a trailer section).  PARSE_BAD: cause in *cause.
 * Of a response's content the caller reports the upstream_ causes instead.
 * Chunk extensions are skipped, within limits; a chunk-size line is at most 256 bytes. */
enum parse h1_content_next(struct h1_content *c, struct span bytes, struct h1_piece *piece,
                           enum cause *cause);

/* Content is counted when it is taken, perhaps fewer bytes than there are:
 * h1_content_next() itself leaves `remaining` alone. */
static inline void h1_content_took(struct h1_content *c, uint64_t n)
{
    if (c->framing == FRAMING_LENGTH || c->framing == FRAMING_CHUNKED)
        c->remaining -= n;
}

/* Has all of a known length been taken?  Needs no further byte. */
static inline bool h1_content_complete(const struct h1_content *c)
{
    return c->framing == FRAMING_NONE || (c->framing == FRAMING_LENGTH && c->remaining == 0);
}

/* How many of the next bytes are content, whatever they are. */
uint64_t h1_content_sure(const struct h1_content *c);

/* Does the content end here, should the peer end the stream now? */
bool h1_content_ended(const struct h1_content *c);

/* "1f40\r\n" into out; returns the length.  A chunk is this, the bytes, CRLF. */
enum { H1_CHUNK_HEAD_MAX = 18 };
size_t h1_chunk_head(char out[H1_CHUNK_HEAD_MAX], uint64_t bytes);

#endif
