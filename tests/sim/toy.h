/* A record layer without cryptography, for stories over "TLS".
 *
 * A record is a head (kind, "TL", length) and a body that is XORed.  The head is larger than
 * most requests: whoever takes bytes of records for bytes of content is far off.  The client begins with a hello and what it says next; the server
 * answers the hello, and is ready when the client's second flight is there.
 * So whatever a wire does about records, handshakes and close_notify is
 * played, with every fault, by the stories that there are.
 */
#ifndef HEADGATE_TESTS_SIM_TOY_H
#define HEADGATE_TESTS_SIM_TOY_H

#include "io/sim.h"
#include "net/tls.h"

extern const struct tls_layer toy_layer;
extern const struct sim_codec toy_codec; /* the clients' side */

/* The origins': the handshake's answer is before the first that they say, and agrees on HTTP/2 or
 * not. */
extern const struct sim_codec toy_origin_codec, toy_h2_origin_codec;

#endif
