/* What the fields of an HTTP/1 head mean together, once each is known to be good. */
#ifndef HEADGATE_HTTP_H1_RULES_H
#define HEADGATE_HTTP_H1_RULES_H

#include "http/cause.h"
#include "http/message.h"

/* First line and fields are there; host, framing, content_length, keep_alive and the
 * rest, which are cleared, are set.  `twice` has the bits of fields that came again. */
enum cause h1_check_request(struct request *r, uint64_t twice);
enum cause h1_check_response(struct response *r, uint64_t twice, enum method request_method);

#endif
