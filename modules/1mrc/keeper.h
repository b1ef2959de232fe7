/* Keeps the count in a file while serving: on worker 0, every interval. */
#ifndef HEADGATE_MODULES_1MRC_KEEPER_H
#define HEADGATE_MODULES_1MRC_KEEPER_H

#include "gate/module.h"
#include "modules/1mrc/count.h"
#include "modules/1mrc/state.h"

struct keeper {
    struct owner owner;
    struct io *io;
    struct count *count;
    const struct hash_key *key;
    char *path; /* NULL: nothing is kept */
    uint64_t interval_ns;
    struct io_timer timer;

    struct count_ask ask;
    bool asked, answered;
    int fail; /* of the answer */
    uint64_t resets, saved_total, saved_resets;
    bool saved;   /* the file has saved_total events */
    bool failing; /* said so already */

    /* What the helper thread writes. */
    struct io_work work;
    char *work_path;
    int work_fail;
    struct state state;
    struct users_share *shares;
    struct estimate estimate;
};

void keeper_start(struct keeper *k, struct io *io, struct count *count, const struct hash_key *key);

/* Where and how often, from now on; an empty path: not at all. */
void keeper_set(struct keeper *k, struct span path, uint64_t interval_ns);

/* Waits for a write that has begun. */
void keeper_stop(struct keeper *k);

#endif
