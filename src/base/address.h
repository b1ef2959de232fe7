/* Where a peer is: an IP address and port, or a unix socket.
 *
 * Plain data without any system's types, so that the log, the configuration
 * and the simulator can speak of addresses too.
 */
#ifndef HEADGATE_BASE_ADDRESS_H
#define HEADGATE_BASE_ADDRESS_H

#include "base/span.h"

enum address_family { ADDRESS_NONE, ADDRESS_IPV4, ADDRESS_IPV6, ADDRESS_UNIX };

enum { ADDRESS_PATH_MAX = 107, ADDRESS_TEXT_MAX = 128 };

/* IPv4 in the first 4 bytes of ip, network order.  A unix path in `path`,
 * path_len bytes; an abstract one begins with a NUL byte. */
struct address {
    uint8_t family; /* enum address_family */
    uint8_t path_len;
    uint16_t port;  /* host order */
    uint32_t scope; /* of a link-local IPv6 address */
    union {
        uint8_t ip[16];
        char path[ADDRESS_PATH_MAX + 1];
    };
};

/* A network: the first `bits` bits of ip.  ADDRESS_UNIX means any unix peer. */
struct net {
    uint8_t family;
    uint8_t bits;
    uint8_t ip[16];
};

/* "10.0.0.1:80", "[::1]:80", "unix:/path", "unix:@abstract".  Names are not
 * resolved: FAIL_BAD.  FAIL_BAD too when the port is missing. */
MUST_USE int address_parse(struct address *a, struct span text);

/* Only an IP address, no port, no brackets. */
MUST_USE int address_parse_ip(struct address *a, struct span text);

/* As address_parse reads it; returns the length, at most ADDRESS_TEXT_MAX.  Not terminated. */
size_t address_print(const struct address *a, char out[ADDRESS_TEXT_MAX]);
size_t address_print_ip(const struct address *a, char out[ADDRESS_TEXT_MAX]); /* unix: "unix:" */

/* "localhost" and names that end in ".localhost" are this machine whatever a
 * resolver knows of them (RFC 6761, 6.3).  Returns how many were put into
 * found, 0 for other names. */
unsigned address_localhost(struct span host, struct address found[2]);

/* ::ffff:a.b.c.d, as which an IPv4 client of a dual-stack socket arrives, becomes a.b.c.d. */
void address_unmap(struct address *a);

bool address_equal(const struct address *a, const struct address *b);
bool net_contains(const struct net *n, const struct address *a);

#endif
