/* Names to addresses, and for how long that holds.
 *
 * The process has one resolver, and main asks it: hands over a lookup, goes on,
 * is told that something came, and takes the lookup back.  It asks DNS with
 * c-ares, on a thread of its own; where that was left out at configure, the
 * system's resolver; in the simulator it is a script.
 */
#ifndef HEADGATE_NET_LOOKUP_H
#define HEADGATE_NET_LOOKUP_H

#include "base/address.h"
#include "base/list.h"

enum { LOOKUP_MAX = 32, LOOKUP_NAME_MAX = 255 };
#define LOOKUP_TTL_NONE UINT32_MAX /* nobody knows how long it holds */

struct found {
    struct address at; /* of services with their port */
    uint16_t priority, weight;
};

struct lookup {
    struct link_node node; /* the resolver's, from ask() until take() */
    const char *name;
    bool services;  /* SRV, and the addresses of its targets */
    uint8_t family; /* ADDRESS_NONE for any */

    /* What came of it.  FAIL_NOT_FOUND: there is no such name, or nothing at it.  Other
     * failures: nobody could say, for this reason. */
    int fail;
    const char *why;
    bool partial; /* some could not be asked for: what is not among these may still be there */
    uint32_t ttl; /* seconds; of FAIL_NOT_FOUND too */
    unsigned count;
    unsigned left_out; /* there was no room for, or they are of services that were not asked for */
    struct found found[LOOKUP_MAX];
};

struct resolver_options {
    const char *servers; /* "10.0.0.1:53,[2001:db8::1]:53"; NULL: the system's */
    uint64_t timeout_ns; /* of a lookup, all tries */
};

struct resolver {
    /* How to ask from now on.  False: no memory. */
    bool (*set)(struct resolver *r, const struct resolver_options *options);
    void (*ask)(struct resolver *r, struct lookup *l);
    struct lookup *(*take)(struct resolver *r); /* one that is answered; NULL: none is */
    /* What was not taken is its asker's again.  False: but for what it is asking, which is left
     * to it for good. */
    bool (*free)(struct resolver *r);
};

/* Of this build; tell() is called, on another thread, when something can be
 * taken.  It starts with the first lookup.  NULL: no memory. */
struct resolver *resolver_new(void (*tell)(void));

/* Who asks: "c-ares 1.18.1"; NULL: the system, which knows neither SRV nor how long an answer
 * holds. */
extern const char *const resolver_library;

/* The address of this machine under the names that every system has for it (RFC 6761, 6.3), as if
 * it had been found.  False: it is no such name. */
bool lookup_localhost(struct lookup *l);

/* One more address, if it is not there yet; without room in place of one of a later priority. */
void lookup_add(struct lookup *l, const struct found *f);

#endif
