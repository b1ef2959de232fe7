/* An HTTP/2 session on a wire: what connections to clients and links to origins
 * have in common. */
#ifndef HEADGATE_GATE_H2_WIRE_H
#define HEADGATE_GATE_H2_WIRE_H

#include "base/flow.h"
#include "http/h2_session.h"
#include "net/wire.h"

#include <assert.h>

/* Hands over what the session has to say, as far as there is room; true: all of it. */
bool h2_wire_flush(struct h2_session *s, struct wire *w);

/* The head of a DATA frame, at once: its n bytes of content follow, the caller's to hand
 * over.  False: the wire has failed, or the session is mute. */
bool h2_wire_data(struct h2_session *s, struct wire *w, struct h2_stream *stream, uint32_t n,
                  bool end);

/* Up to n bytes of content from the wire to the flow, which has room: the stream's window is
 * no wider.  How many; 0: there is no memory. */
uint32_t h2_wire_take(struct h2_session *s, struct wire *w, struct h2_stream *stream,
                      struct flow *f, uint32_t n);

#endif
