/* The count as a file: written whole, read whole or refused.
 *
 * Little-endian: 8 bytes that say what it is, version, flags, the key of the
 * hashes, the count, the least number of users, the digits of the exact sum,
 * the number of hashes; then the hashes, or the registers of the estimate; and
 * CRC-64 of all that.  The number of workers is not in it: whoever reads it
 * takes the users it owns.
 */
#ifndef HEADGATE_MODULES_1MRC_STATE_H
#define HEADGATE_MODULES_1MRC_STATE_H

#include "base/exact.h"
#include "modules/1mrc/estimate.h"
#include "modules/1mrc/users.h"

struct state {
    struct hash_key key;
    uint64_t total;
    struct exact sum;
    bool estimated;
    uint64_t users_least;

    /* To write: who they are, in parts.  Nobody, if they are estimated. */
    const struct users_share *shares;
    unsigned share_count;

    /* What was read: hashes in the file's bytes. */
    const char *users;
    uint64_t user_count;

    const struct estimate *estimate; /* to write, and the caller's to read into */
};

/* Writes the state in pieces.  Ends with put()'s failure if it has one. */
typedef int state_put_fn(void *data, const void *bytes, size_t len);
MUST_USE int state_write(const struct state *state, state_put_fn *put, void *data);

/* NULL, or why the file is refused: "is cut off".  `estimate` is filled if the
 * users are estimated. */
const char *state_read(struct span file, struct state *out, struct estimate *estimate);

struct user_hash state_user(const struct state *state, uint64_t i);

#endif
