/* What shows a WebSocket client over HTTP/1 that it was understood (RFC 6455, 4.2.2). */
#ifndef HEADGATE_HTTP_WEBSOCKET_H
#define HEADGATE_HTTP_WEBSOCKET_H

#include "base/span.h"

enum { WEBSOCKET_KEY = 24, WEBSOCKET_ACCEPT = 28 };

#define WEBSOCKET_KEY_NAME    SPAN("Sec-WebSocket-Key")
#define WEBSOCKET_ACCEPT_NAME SPAN("Sec-WebSocket-Accept")

/* The Sec-WebSocket-Accept to a Sec-WebSocket-Key; false: it has not the length of one. */
bool websocket_accept(struct span key, char out[WEBSOCKET_ACCEPT]);

#endif
