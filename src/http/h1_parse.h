/* HTTP/1 heads (RFC 9112, 2-6): bytes to a struct request or response.
 *
 * The caller keeps all bytes of a head contiguous and calls again when more
 * have come: with the same start and a larger length, perhaps moved.  The
 * parser remembers how far it looked for the end of the head, so that a head
 * in n pieces costs n scans of new bytes only; it then parses once.  Bytes fed
 * whole and one by one give the same answer.
 *
 * Strict: what is ambiguous is refused with a cause.  Spans point into the
 * input.
 */
#ifndef HEADGATE_HTTP_H1_PARSE_H
#define HEADGATE_HTTP_H1_PARSE_H

#include "http/cause.h"
#include "http/message.h"

enum parse { PARSE_DONE, PARSE_MORE, PARSE_BAD };

struct h1_limits {
    uint32_t request_line_max; /* bytes, without CRLF */
    uint32_t head_max;         /* bytes of the whole head */
    uint32_t fields_max;
};

struct h1_parser {
    const struct h1_limits *limits;
    uint32_t scanned;    /* how far this head was searched for its end; 0 in the beginning */
    uint32_t head_bytes; /* after PARSE_DONE: its length with the empty line */
    enum cause cause;    /* after PARSE_BAD */
};

static inline void h1_parser_init(struct h1_parser *p, const struct h1_limits *limits)
{
    *p = (struct h1_parser){.limits = limits};
}

/* A bad first line is refused as soon as it is complete or too long, a bad field line
 * when the head is, at a bare LF, or at head_max: with the first thing wrong in it.
 *
 * r->fields.list and .max are the caller's; everything else is written, by each call
 * anew.  At most fields_max fields, nor more than .max.
 * Up to one empty line (CRLF) before the request line is skipped (RFC 9112, 2.2)
 * and counts in head_bytes.  Does not parse the target further than into r->target
 * and r->host; does check Host (RFC 9112, 3.2), both lengths, codings, version. */
enum parse h1_parse_request(struct h1_parser *p, struct span bytes, struct request *r);

/* Of a first line that was refused: is it like no request line at all?  Three words
 * of which none is HTTP's: no method that anyone knows, no target, no version. */
bool h1_is_foreign(struct span bytes);

/* A length of 0 is FRAMING_LENGTH too.  The causes are the upstream_ ones.
 * request_method decides whether a response has content (HEAD, CONNECT). */
enum parse h1_parse_response(struct h1_parser *p, struct span bytes, enum method request_method,
                             struct response *r);

/* Trailer sections: fields up to the empty line, added to *fields, or only checked
 * when it is NULL.  Those that may not stand there (framing, routing, content
 * type ...: RFC 9110, 6.5.1) are dropped: nobody downstream can merge them by mistake. */
enum parse h1_parse_trailers(struct h1_parser *p, struct span bytes, struct fields *fields);

/* Scanners, chosen at run time by what the CPU has.  For tests and
 * benchmarks: "scalar", "sse4.2", "avx2"; false when not available. */
bool h1_scanner_use(struct span name);
const char *h1_scanner_name(void);

#endif
