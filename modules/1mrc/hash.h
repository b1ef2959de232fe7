/* A user is known by 128 bits: SipHash-2-4 of the id under a secret key.
 *
 * Two users would have to collide in all of them to be taken for one, which
 * nobody can arrange without the key and chance does not (a billion users:
 * 10^-21).  Different bits serve different ends: `a` chooses the owner and an
 * estimate's rank, `b` the places in tables.
 */
#ifndef HEADGATE_MODULES_1MRC_HASH_H
#define HEADGATE_MODULES_1MRC_HASH_H

#include "base/span.h"

struct hash_key {
    uint64_t k[2];
};

struct user_hash {
    uint64_t a, b;
};

struct user_hash user_hash(const struct hash_key *key, struct span id);

#endif
