/* Status codes and their phrases (RFC 9110, 15). */
#ifndef HEADGATE_HTTP_STATUS_H
#define HEADGATE_HTTP_STATUS_H

#include "base/span.h"

struct span status_phrase(int status); /* "OK"; "Unknown" for one we do not know */

/* "HTTP/1.1 200 OK\r\n", ready to send; empty for one we do not know. */
struct span status_line(int status);

/* RFC 9110, 6.4.1: no content whatever the fields say. */
static inline bool status_has_no_content(int status)
{
    return status < 200 || status == 204 || status == 304;
}

#endif
