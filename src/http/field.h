/* Field names the program itself looks at, and the fields of a message.
 *
 * Known names are numbers, so that nothing compares text twice.
 */
#ifndef HEADGATE_HTTP_FIELD_H
#define HEADGATE_HTTP_FIELD_H

#include "base/fail.h"
#include "base/span.h"

/* id, name as we write it */
#define FIELD_LIST(ROW)                                                                            \
    ROW(HOST, "Host")                                                                              \
    ROW(CONNECTION, "Connection")                                                                  \
    ROW(CONTENT_LENGTH, "Content-Length")                                                          \
    ROW(TRANSFER_ENCODING, "Transfer-Encoding")                                                    \
    ROW(CONTENT_TYPE, "Content-Type")                                                              \
    ROW(CONTENT_ENCODING, "Content-Encoding")                                                      \
    ROW(CONTENT_RANGE, "Content-Range")                                                            \
    ROW(DATE, "Date")                                                                              \
    ROW(SERVER, "Server")                                                                          \
    ROW(EXPECT, "Expect")                                                                          \
    ROW(UPGRADE, "Upgrade")                                                                        \
    ROW(TE, "TE")                                                                                  \
    ROW(TRAILER, "Trailer")                                                                        \
    ROW(KEEP_ALIVE, "Keep-Alive")                                                                  \
    ROW(PROXY_CONNECTION, "Proxy-Connection")                                                      \
    ROW(PROXY_AUTHENTICATE, "Proxy-Authenticate")                                                  \
    ROW(PROXY_AUTHORIZATION, "Proxy-Authorization")                                                \
    ROW(HTTP2_SETTINGS, "HTTP2-Settings")                                                          \
    ROW(VIA, "Via")                                                                                \
    ROW(LOCATION, "Location")                                                                      \
    ROW(ALLOW, "Allow")                                                                            \
    ROW(RETRY_AFTER, "Retry-After")                                                                \
    ROW(ETAG, "ETag")                                                                              \
    ROW(LAST_MODIFIED, "Last-Modified")                                                            \
    ROW(ACCEPT_RANGES, "Accept-Ranges")                                                            \
    ROW(ACCEPT_ENCODING, "Accept-Encoding")                                                        \
    ROW(CACHE_CONTROL, "Cache-Control")                                                            \
    ROW(VARY, "Vary")                                                                              \
    ROW(RANGE, "Range")                                                                            \
    ROW(IF_RANGE, "If-Range")                                                                      \
    ROW(IF_MATCH, "If-Match")                                                                      \
    ROW(IF_NONE_MATCH, "If-None-Match")                                                            \
    ROW(IF_MODIFIED_SINCE, "If-Modified-Since")                                                    \
    ROW(IF_UNMODIFIED_SINCE, "If-Unmodified-Since")                                                \
    ROW(COOKIE, "Cookie")                                                                          \
    ROW(SET_COOKIE, "Set-Cookie")                                                                  \
    ROW(USER_AGENT, "User-Agent")                                                                  \
    ROW(REFERER, "Referer")                                                                        \
    ROW(FORWARDED, "Forwarded")                                                                    \
    ROW(X_FORWARDED_FOR, "X-Forwarded-For")                                                        \
    ROW(X_FORWARDED_PROTO, "X-Forwarded-Proto")                                                    \
    ROW(X_FORWARDED_HOST, "X-Forwarded-Host")                                                      \
    ROW(X_REQUEST_ID, "X-Request-Id")                                                              \
    ROW(PROXY_STATUS, "Proxy-Status")                                                              \
    ROW(STRICT_TRANSPORT_SECURITY, "Strict-Transport-Security")                                    \
    ROW(TRACEPARENT, "traceparent")

#define FIELD_ENUM(id, text) FIELD_##id,
enum field_id { FIELD_OTHER, FIELD_LIST(FIELD_ENUM) FIELD_COUNT };
#undef FIELD_ENUM

/* Compared without case; FIELD_OTHER when it is none of ours. */
enum field_id field_find(struct span name);
enum field_id field_find_token(struct span name); /* when it is known to be a token */
struct span field_name(enum field_id id);

/* Connection-specific fields, never forwarded (RFC 9110, 7.6.1), but for what
 * Connection itself names. */
bool field_hop_by_hop(enum field_id id);

/* May it stand behind the content (RFC 9110, 6.5.1)? */
bool field_may_trail(enum field_id id, struct span name);

struct field {
    struct span name, value; /* value without surrounding whitespace */
    uint16_t id;             /* enum field_id */
    bool checked;            /* every byte of both has been looked at, or is our own word;
                              * whoever changes a field keeps that so, or takes it back */
};

/* X_Forwarded_For is X-Forwarded-For to an origin that hands fields on as CGI variables (RFC
 * 3875, 4.1.18): is it one that we know, with other strokes? */
bool field_is_disguised(const struct field *f);

/* A list of fields in the order they came.  The array is the caller's. */
struct fields {
    struct field *list;
    uint32_t count, max;
    uint64_t seen; /* bit id is set when a field of that id may be there */
};

/* The first of that id; NULL when there is none. */
const struct field *fields_get(const struct fields *f, enum field_id id);
const struct field *fields_find(const struct fields *f, struct span name); /* without case */

/* How many there are of that id. */
unsigned fields_number(const struct fields *f, enum field_id id);

/* FAIL_FULL when the array is. */
MUST_USE int fields_add(struct fields *f, enum field_id id, struct span name, struct span value);

/* One of another message, as it is. */
MUST_USE static inline int fields_pass(struct fields *f, const struct field *other)
{
    if (f->count == f->max)
        return FAIL_FULL;
    f->list[f->count++] = *other;
    f->seen |= (uint64_t)1 << other->id;
    return 0;
}

/* Iterates over a comma-separated list, quotes respected, empty members
 * skipped (RFC 9110, 5.6.1): while (field_item(&rest, &item)) ... */
bool field_item(struct span *rest, struct span *item);
bool field_parameter(struct span *rest, struct span *item); /* of one, behind semicolons */

/* The same of X-Forwarded-For and its like, which know no quotes: to the next comma. */
bool field_piece(struct span *rest, struct span *item);

/* Of a value of Forwarded (RFC 7239, 4) or X-Forwarded-For what can be told apart into hops and
 * appended to: all of it, what follows its last piece with a malformed quote, or nothing. */
struct span field_hops(const struct field *f);

/* Does any field of this id have this member, compared without case? */
bool fields_has_item(const struct fields *f, enum field_id id, struct span item);

/* May a field of an origin's interim response go on to the client?  It may not
 * speak for our connection, nor announce content that it cannot have (RFC 9110,
 * 7.6.1 and 8.6). */
bool field_passes_interim(const struct fields *fields, const struct field *f);

bool span_is_token(struct span s);       /* RFC 9110, 5.6.2 */
bool span_is_field_value(struct span s); /* RFC 9110, 5.5: no CTL but HTAB */

#endif
