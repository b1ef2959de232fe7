/* The PROXY protocol: before its first byte a connection says for whom it was made.
 *
 * A load balancer that passes connections on as they are sends such a header, once,
 * in the clear, before TLS; as a line (version 1) or in binary (version 2).
 * Specified by HAProxy's doc/proxy-protocol.txt, revision of 2020.  Bytes only:
 * whose word is taken, and how long is waited for it, is decided elsewhere.
 */
#ifndef HEADGATE_NET_PROXY_HEADER_H
#define HEADGATE_NET_PROXY_HEADER_H

#include "base/address.h"

enum proxy_versions { PROXY_OFF = 0, PROXY_V1 = 1, PROXY_V2 = 2, PROXY_ANY = 3 };

enum {
    PROXY_HEADER_MAX = 4096, /* accepted, whatever is appended to the addresses */
    PROXY_WRITTEN_MAX = 107, /* by proxy_write(): a line of version 1, the longest */
};

/* Of families other than ADDRESS_NONE both are of the same. */
struct proxy_header {
    bool local; /* nobody's: a check of health, or a proxy that does not know.  No addresses */
    struct address source, destination;
};

/* The header at the beginning of `in`; versions: which are accepted.  Returns how many
 * bytes it takes, 0 when more must come, FAIL_BAD when this is none. */
int proxy_parse(struct proxy_header *h, enum proxy_versions versions, struct span in);

/* Returns the length.  Addresses that cannot be said together, of unix sockets for one,
 * are said to be unknown. */
size_t proxy_write(const struct proxy_header *h, enum proxy_versions version,
                   char out[PROXY_WRITTEN_MAX]);

#endif
