/* A last cut without messages.
 *
 * Whoever saw a user first, and told or was about to tell its owner, still has
 * it in `seen`; so the sets of all workers together are complete whatever was
 * on its way when they stopped.
 */
#include "modules/1mrc/gather.h"

#include "base/fail.h"

static uint64_t latest_cut(struct count *const *counts, unsigned workers, bool *reset)
{
    uint64_t latest = 0;

    *reset = false;
    for (unsigned i = 0; i < workers; i++)
        if (counts[i]->cuts > latest) {
            latest = counts[i]->cuts;
            *reset = counts[i]->cut == COUNT_RESET;
        }
    return latest;
}

static int add_user(struct count *const *counts, struct user_hash user, bool estimated,
                    struct estimate *estimate)
{
    bool added;

    estimate_add(estimate, user);
    return estimated ? 0 : users_add(&counts[count_owner(counts[0], user)]->own, user, &added);
}

/* Gives what a worker has seen, and what it has counted and not looked up, to the owners
 * and to the estimate. */
static int add_seen(struct count *const *counts, const struct count *c, bool estimated,
                    struct estimate *estimate)
{
    struct users_share seen;
    int err = users_share(&c->seen, &seen);

    for (uint64_t i = 0; err == 0 && i < seen.count; i++)
        err = add_user(counts, users_share_at(&seen, i), estimated, estimate);
    for (unsigned i = 0; err == 0 && i < c->queued; i++)
        err = add_user(counts, c->queue[i], estimated, estimate);
    users_share_drop(&seen);
    return err;
}

int count_gather(struct count *const *counts, unsigned workers, struct count_result *out,
                 struct users_share *shares, struct estimate *estimate)
{
    bool reset;
    uint64_t latest = latest_cut(counts, workers, &reset);
    int err = 0;

    *out = (struct count_result){.shares = shares, .estimate = estimate};
    memset(estimate, 0, sizeof *estimate);
    memset(shares, 0, workers * sizeof *shares);
    for (unsigned i = 0; i < workers; i++) {
        if (reset && counts[i]->cuts < latest)
            users_clear(&counts[i]->own);
        else
            out->estimated = out->estimated || counts[i]->estimating || counts[i]->lost;
    }
    for (unsigned i = 0; i < workers; i++) {
        const struct count *c = counts[i];
        if (reset && c->cuts < latest)
            continue;
        out->total += c->total;
        exact_merge(&out->sum, &c->sum);
        estimate_merge(estimate, &c->estimate);
        if ((err = add_seen(counts, c, out->estimated, estimate)) < 0)
            return err;
    }
    if (!reset)
        out->users_least = count_users_least(counts[0]);
    for (unsigned i = 0; i < workers && !out->estimated; i++) {
        if ((err = users_share(&counts[i]->own, &shares[i])) < 0)
            return err;
        out->users += shares[i].count;
    }
    return 0;
}
