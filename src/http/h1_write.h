/* Heads to bytes (RFC 9112, 4 and 5).
 *
 * What cannot be written safely is refused before a byte is: a name that is
 * no token, a value with a control in it.
 */
#ifndef HEADGATE_HTTP_H1_WRITE_H
#define HEADGATE_HTTP_H1_WRITE_H

#include "http/message.h"

/* Each writes at `at`, which has room for `room` bytes, and returns the bytes
 * written, or 0 when there is not room enough. */
size_t h1_write_status(char *at, size_t room, int status);
size_t h1_write_field(char *at, size_t room, struct span name, struct span value);
size_t h1_write_length(char *at, size_t room, uint64_t content_length); /* the field, with CRLF */

/* What fields take in bytes when written. */
size_t h1_fields_bytes(const struct fields *fields);
size_t h1_write_fields(char *at, size_t room, const struct fields *fields);

#endif
