/* What TLS asks of requests: that they belong to the handshake's section, that
 * plain ones go where there is TLS, and that clients remember to. */
#ifndef HEADGATE_GATE_SECURE_H
#define HEADGATE_GATE_SECURE_H

#include "gate/exchange.h"

/* Does the host belong to another section than the handshake's, and does one
 * of the two ask for certificates?  Then 421 (RFC 9110, 7.4). */
bool secure_misdirected(const struct exchange *x);

/* Is the handshake one of before a change of client_ca or client_crl?  Then the
 * next request on the connection would fare no better. */
bool secure_outlived(const struct exchange *x);

/* Answers with 308 to the same place behind https.  False when no listener
 * with TLS has a route for the host, or there is no host. */
bool secure_redirect(struct exchange *x);

/* Strict-Transport-Security, unless the response has one (RFC 6797). */
void secure_response(struct exchange *x);

/* A fact about the connection's TLS, from the arena; empty without. */
struct span secure_fact(struct exchange *x, enum tls_fact fact);

#endif
