/* What the fields of an HTTP/1 head mean together, once each is known to be good. */
#ifndef HEADGATE_HTTP_H1_RULES_H
#define HEADGATE_HTTP_H1_RULES_H

#include "http/cause.h"
#include "http/h1_scan.h"
#include "http/message.h"

/* First line and fields are there; host, framing, content_length, keep_alive and the
 * rest, which are cleared, are set.  The lines are those it was read from. */
enum cause h1_check_request(struct request *r, const struct h1_lines *l);
enum cause h1_check_response(struct response *r, const struct h1_lines *l,
                             enum method request_method);

#endif
