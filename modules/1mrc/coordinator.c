/* One cut after the other.
 *
 * What is being gathered is ours; what is published in `result` others read
 * until the next cut comes to them, so it is written only when all of them
 * have reported of that next cut.  The same goes for every message here.
 */
#include "modules/1mrc/coordinator.h"

#include "base/mem.h"

#include <assert.h>

struct coordinator {
    unsigned workers;
    unsigned *asked;   /* by worker: wants that no cut serves yet */
    unsigned *serving; /* by worker: wants that the cut serves */
    bool cutting;
    enum count_want cut;
    unsigned reports;
    bool lost;
    bool estimated;       /* the users are, until a reset */
    uint64_t users_least; /* known when exactness was given up */
    bool lent;            /* shares are out, to be dropped */
    struct count_result gathered, result;
    struct estimate estimate;
    struct users_share *shares;      /* by worker */
    struct count_want_message *cuts; /* by worker */
    struct count_answer *answers;    /* by worker */
};

struct coordinator *coordinator_new(unsigned workers)
{
    struct coordinator *k = mem_zalloc(sizeof *k);

    if (!k)
        return NULL;
    k->workers = workers;
    k->asked = mem_zalloc(workers * sizeof *k->asked);
    k->serving = mem_zalloc(workers * sizeof *k->serving);
    k->shares = mem_zalloc(workers * sizeof *k->shares);
    k->cuts = mem_zalloc(workers * sizeof *k->cuts);
    k->answers = mem_zalloc(workers * sizeof *k->answers);
    if (k->asked && k->serving && k->shares && k->cuts && k->answers)
        return k;
    coordinator_free(k);
    return NULL;
}

void coordinator_free(struct coordinator *k)
{
    if (!k)
        return;
    mem_free(k->asked);
    mem_free(k->serving);
    mem_free(k->shares);
    mem_free(k->cuts);
    mem_free(k->answers);
    mem_free(k);
}

static void cut(struct count *c, enum count_want want)
{
    struct coordinator *k = c->coordinator;

    k->cutting = true;
    k->cut = want;
    k->reports = 0;
    k->lost = false;
    k->gathered = (struct count_result){0};
    memset(&k->estimate, 0, sizeof k->estimate);
    for (unsigned i = 0; i < k->workers; i++) {
        k->cuts[i] = (struct count_want_message){.m.kind = COUNT_CUT, .want = want};
        count_send(c, i, &k->cuts[i].m);
    }
}

/* What the next cut is for, of all that is wanted.  A reset goes first, but
 * two in a row would starve the others. */
static enum count_want choose(const struct coordinator *k, unsigned wanted)
{
    if (k->lent)
        wanted &= ~(unsigned)COUNT_SAVE;
    if ((wanted & COUNT_RESET) && (k->cut != COUNT_RESET || wanted == COUNT_RESET))
        return COUNT_RESET;
    if (wanted & COUNT_SAVE)
        return COUNT_SAVE;
    return wanted ? COUNT_STATS : 0;
}

static void cut_if_wanted(struct count *c)
{
    struct coordinator *k = c->coordinator;
    unsigned wanted = 0;

    if (k->cutting)
        return;
    for (unsigned i = 0; i < k->workers; i++)
        wanted |= k->asked[i];
    enum count_want want = choose(k, wanted);
    if (!want)
        return;
    unsigned serves = want;
    if (want != COUNT_RESET)
        serves |= COUNT_STATS | COUNT_CHECK;
    for (unsigned i = 0; i < k->workers; i++) {
        k->serving[i] = k->asked[i] & serves;
        k->asked[i] &= ~serves;
    }
    cut(c, want);
}

void coordinator_asked(struct count *c, unsigned from, unsigned want)
{
    c->coordinator->asked[from] |= want;
    cut_if_wanted(c);
}

static void drop_shares(struct count *c)
{
    struct coordinator *k = c->coordinator;

    for (unsigned i = 0; i < k->workers; i++) {
        k->shares[i] = (struct users_share){0};
        c->drop[i].kind = COUNT_DROP;
        count_send(c, i, &c->drop[i]);
    }
    k->lent = false;
}

void coordinator_saved(struct count *c)
{
    assert(c->coordinator->lent);
    drop_shares(c);
    cut_if_wanted(c);
}

/* The estimate, in the light of what is certain: there were so many when
 * exactness was given up, and each of them sent an event. */
static uint64_t estimated_users(const struct coordinator *k)
{
    uint64_t users = (uint64_t)(estimate_count(&k->estimate) + 0.5);

    if (users < k->users_least)
        users = k->users_least;
    return users < k->gathered.total ? users : k->gathered.total;
}

static void publish(struct coordinator *k)
{
    struct count_result *r = &k->gathered;

    r->estimated = k->estimated;
    r->users_least = k->users_least;
    r->shares = k->shares;
    r->estimate = &k->estimate;
    if (k->estimated)
        r->users = estimated_users(k);
    r->value = 0;
    r->sum_fits = exact_value(&r->sum, &r->value);
    k->result = *r;
}

static void answer_all(struct count *c)
{
    struct coordinator *k = c->coordinator;

    for (unsigned i = 0; i < k->workers; i++) {
        if (k->serving[i] & COUNT_SAVE)
            k->lent = true;
        k->answers[i] = (struct count_answer){
            .m.kind = COUNT_ANSWER,
            .served = k->serving[i],
            .cut = k->cut,
            .result = &k->result,
        };
        k->serving[i] = 0;
        count_send(c, i, &k->answers[i].m);
    }
}

static void all_reported(struct count *c)
{
    struct coordinator *k = c->coordinator;
    bool exact = k->cut != COUNT_RESET && k->cut != COUNT_ESTIMATE && !k->estimated;

    if (exact && (k->lost || k->gathered.users > c->users_max)) {
        /* Too many: whoever waits for this cut is answered by the next. */
        k->users_least = k->gathered.users;
        if (k->cut == COUNT_SAVE)
            drop_shares(c);
        cut(c, COUNT_ESTIMATE);
        return;
    }
    if (k->cut == COUNT_RESET)
        k->users_least = 0;
    if (k->cut == COUNT_RESET || k->cut == COUNT_ESTIMATE)
        k->estimated = k->cut == COUNT_ESTIMATE;
    publish(k);
    k->cutting = false;
    answer_all(c);
    cut_if_wanted(c);
}

void coordinator_reported(struct count *c, const struct count_report *report)
{
    struct coordinator *k = c->coordinator;

    assert(k->cutting);
    k->gathered.total += report->total;
    k->gathered.users += report->users;
    exact_merge(&k->gathered.sum, &report->sum);
    k->lost = k->lost || report->lost;
    if (report->fail)
        k->gathered.fail = report->fail;
    if (k->estimated || k->cut == COUNT_ESTIMATE)
        estimate_merge(&k->estimate, &report->estimate);
    if (k->cut == COUNT_SAVE)
        k->shares[report->m.from] = report->share;
    if (++k->reports == k->workers)
        all_reported(c);
}

uint64_t coordinator_users_least(const struct coordinator *k)
{
    return k->estimated ? k->users_least : 0;
}

void coordinator_restore(struct coordinator *k, const struct count_result *result)
{
    k->estimated = result->estimated;
    k->users_least = result->users_least;
}
