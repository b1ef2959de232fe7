/* The field section of an HTTP/2 message, put together field by field.
 *
 * Everything that could mean something else in HTTP/1 makes it malformed
 * (RFC 9113, 8.2 and 8.3), and is found here, before anybody acts on it.  What is well
 * formed and still not to be served (a host nobody can have, too many fields)
 * has a cause with a status instead, and is answered.
 */
#ifndef HEADGATE_HTTP_H2_HEAD_H
#define HEADGATE_HTTP_H2_HEAD_H

#include "http/cause.h"
#include "http/message.h"

enum h2_section { H2_SECTION_REQUEST, H2_SECTION_RESPONSE, H2_SECTION_TRAILERS };

struct h2_priority { /* RFC 9218, 4 */
    uint8_t urgency; /* 0 comes first, 7 last */
    bool incremental;
};
enum { H2_URGENCY_USUAL = 3, H2_URGENCIES = 8 };

struct h2_head {
    enum h2_section section;
    bool connects;    /* extended CONNECT is allowed (RFC 8441) */
    bool malformed;   /* PROTOCOL_ERROR */
    enum cause cause; /* else: to be answered with this */
    bool regular;     /* a field that is no pseudo-field has come */
    uint8_t pseudo;   /* which pseudo-fields have come, a bit each */
    uint8_t cookies;  /* more than one: still to be joined */
    struct span method, scheme, authority, path, protocol;
    int status;
    struct h2_priority priority;
    bool has_length;
    uint64_t content_length;
    uint64_t size; /* as SETTINGS_MAX_HEADER_LIST_SIZE counts */
    uint32_t size_max, fields_max;
    struct fields fields; /* the array is ours */
    char *bytes;          /* what all spans point into */
    uint32_t len, room;
};

/* Begins a section; memory of the one before is used again. */
void h2_head_begin(struct h2_head *h, enum h2_section section);
void h2_head_free(struct h2_head *h);

/* Copies a field as it was decoded. What is wrong with it is remembered; FAIL_MEMORY
 * is the only failure. */
MUST_USE int h2_head_add(struct h2_head *h, struct span name, struct span value);

/* All fields are there, `end`: and no content follows.  The rules that take more than one
 * field to tell; cookie crumbs become one field (RFC 9113, 8.2.3). */
MUST_USE int h2_head_end(struct h2_head *h, bool end);

/* To a request; its field list, of at least fields_max, is the caller's. The spans are
 * into h->bytes.  path_max: more is request_line_too_long. */
enum cause h2_head_request(const struct h2_head *h, bool end, uint32_t path_max, struct request *r);
enum cause h2_head_response(const struct h2_head *h, bool end, enum method request_method,
                            struct response *r);

/* "u=1, i"; what is not understood leaves *p alone (RFC 9218, 4). */
void h2_priority_parse(struct span text, struct h2_priority *p);

#endif
