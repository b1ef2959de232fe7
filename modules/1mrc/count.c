/* A worker's side of the count: events, sightings, and cuts as they come.
 *
 * While a cut is open here (it has come, but not everybody has passed it on),
 * there are two sorts of sightings: those from before it, which belong to this
 * cut, and those from behind it, from workers that have passed it on and from
 * ourselves.  The latter are deferred; a reset, which leaves nothing from
 * before, throws the former away instead.
 */
#include "modules/1mrc/count.h"

#include "base/fail.h"
#include "base/mem.h"
#include "modules/1mrc/coordinator.h"

#include <assert.h>

enum { BATCH_TRIES = 4 }; /* batches looked at before a new one is made */

/* --- messages --------------------------------------------------------------- */

void count_send(struct count *c, unsigned to, struct count_message *m)
{
    m->from = c->self;
    if (to != c->self) {
        c->post(c, to, m);
        return;
    }
    m->next = NULL;
    *c->inbox_end = m;
    c->inbox_end = &m->next;
}

static bool has_wants(const struct count *c)
{
    return c->check_wanted || !list_empty(&c->waiting);
}

/* Tells the coordinator what this worker wants, all of it at once, when it
 * has answered what it was asked before. */
static void send_wants(struct count *c)
{
    if (c->ask_sent || !has_wants(c))
        return;
    c->asked_want = c->check_wanted ? COUNT_CHECK : 0;
    c->check_wanted = false;
    for (struct link_node *node; (node = list_pop(&c->waiting));) {
        c->asked_want |= container_of(node, struct count_ask, node)->want;
        list_append(&c->asked, node);
    }
    c->ask_sent = true;
    c->ask.m.kind = COUNT_ASK;
    c->ask.want = c->asked_want;
    count_send(c, 0, &c->ask.m);
}

static void want_check(struct count *c)
{
    if (c->asked_want & COUNT_CHECK)
        return; /* there is one on its way; the next new user will ask again */
    c->check_wanted = true;
    send_wants(c);
}

/* --- users ------------------------------------------------------------------ */

/* There is no memory to remember this user exactly.  It is not forgotten: it
 * is in the estimate, which the next cut will therefore turn to. */
static void lose(struct count *c, struct user_hash user)
{
    estimate_add(&c->estimate, user);
    c->lost = true;
    want_check(c);
}

static void add_own(struct count *c, struct user_hash user)
{
    bool added;

    if (users_add(&c->own, user, &added) < 0) {
        lose(c, user);
        return;
    }
    if (!added)
        return;
    estimate_add(&c->estimate, user);
    if (c->own.count >= c->check_at)
        want_check(c);
}

static void defer(struct count *c, struct count_message *m)
{
    m->next = c->deferred;
    c->deferred = m;
}

static void return_batch(struct count_batch *b)
{
    atomic_store_explicit(&b->busy, false, memory_order_release);
}

static void add_batch(struct count *c, struct count_batch *b)
{
    for (unsigned i = 0; i < b->count; i++)
        add_own(c, b->users[i]);
    return_batch(b);
}

static void add_deferred(struct count *c)
{
    while (c->deferred) {
        struct count_message *m = c->deferred;
        c->deferred = m->next;
        add_batch(c, container_of(m, struct count_batch, m));
    }
}

/* As the newest of ours. */
static void keep_batch(struct count *c, struct count_batch *b)
{
    b->next_own = NULL;
    *c->batches_end = b;
    c->batches_end = &b->next_own;
}

/* An empty batch: one of the oldest, if its receiver is done with it. */
static struct count_batch *take_batch(struct count *c)
{
    struct count_batch *b = NULL;

    for (int tries = 0; tries < BATCH_TRIES && c->batches && !b; tries++) {
        struct count_batch *oldest = c->batches;
        c->batches = oldest->next_own;
        if (!c->batches)
            c->batches_end = &c->batches;
        keep_batch(c, oldest);
        if (!atomic_load_explicit(&oldest->busy, memory_order_acquire))
            b = oldest;
    }
    if (!b) {
        b = mem_zalloc(sizeof *b);
        if (!b)
            return NULL;
        keep_batch(c, b);
    }
    b->m.kind = COUNT_SIGHTINGS;
    b->count = 0;
    atomic_store_explicit(&b->busy, true, memory_order_relaxed);
    return b;
}

static void send_batch(struct count *c, unsigned owner)
{
    struct count_batch *b = c->batch[owner];

    if (!b || b->count == 0)
        return;
    c->batch[owner] = NULL;
    if (owner == c->self)
        defer(c, &b->m);
    else
        count_send(c, owner, &b->m);
}

/* A user whom somebody else must hear of, once: another worker, or we
 * ourselves when the cut that is open has been passed by all. */
static void sight(struct count *c, unsigned owner, struct user_hash user)
{
    bool added;

    if (!c->batch[owner] && !(c->batch[owner] = take_batch(c))) {
        if (!users_has(&c->seen, user))
            lose(c, user);
        return;
    }
    if (users_add(&c->seen, user, &added) < 0) {
        lose(c, user);
        return;
    }
    if (!added)
        return;
    struct count_batch *b = c->batch[owner];
    b->users[b->count++] = user;
    if (b->count >= c->batch_max)
        send_batch(c, owner);
}

static void run(struct count *c);

/* The set that a user is looked for in. */
static const struct users *users_of(const struct count *c, struct user_hash user)
{
    return count_owner(c, user) == c->self ? &c->own : &c->seen;
}

static void count_user(struct count *c, struct user_hash user)
{
    unsigned owner = count_owner(c, user);

    if (c->estimating)
        estimate_add(&c->estimate, user);
    else if (owner != c->self)
        sight(c, owner, user);
    else if (!c->cutting || c->cut == COUNT_RESET)
        add_own(c, user);
    else if (!users_has(&c->own, user))
        sight(c, owner, user);
}

/* The users of some events: what memory they need was asked for when each came. */
static void count_queued(struct count *c)
{
    unsigned n = c->queued;

    for (unsigned i = 0; i < n; i++)
        users_prefetch_entry(users_of(c, c->queue[i]), c->queue[i]);
    for (unsigned i = 0; i < n; i++)
        count_user(c, c->queue[i]);
    c->queued = 0;
}

void count_event(struct count *c, struct user_hash user, double value)
{
    c->total++;
    exact_add(&c->sum, value);
    users_prefetch(users_of(c, user), user);
    c->queue[c->queued++] = user;
    if (c->queued < COUNT_QUEUE)
        return;
    count_queued(c);
    if (c->inbox)
        run(c);
}

/* --- cuts ------------------------------------------------------------------- */

/* All have passed the cut on: what is known now is what was before it. */
static void cut_passed(struct count *c)
{
    struct count_report *r = &c->report;

    assert(c->cutting);
    r->users = c->own.count;
    r->lost = c->lost;
    r->fail = 0;
    if (c->cut == COUNT_SAVE && !c->estimating)
        r->fail = users_share(&c->own, &r->share);
    c->users_reported = r->users;
    c->cutting = false;
    c->passed_count = 0;
    memset(c->passed, 0, c->workers * sizeof *c->passed);
    send_batch(c, c->self);
    add_deferred(c);
    r->m.kind = COUNT_REPORT;
    count_send(c, 0, &r->m);
}

static void passed(struct count *c, unsigned from)
{
    assert(!c->passed[from]);
    c->passed[from] = true;
    if (++c->passed_count == c->workers)
        cut_passed(c);
}

static void forget(struct count *c)
{
    c->resets++;
    c->total = 0;
    c->sum = (struct exact){0};
    users_clear(&c->own);
    users_clear(&c->seen);
    memset(&c->estimate, 0, sizeof c->estimate);
    c->estimating = c->lost = false;
    c->check_at = c->users_max / c->workers + 1;
    for (unsigned i = 0; i < c->workers; i++)
        if (c->batch[i])
            c->batch[i]->count = 0;
}

static void give_up_sets(struct count *c)
{
    c->estimating = true;
    c->lost = false; /* whoever was lost is in the estimate like all others now */
    users_clear(&c->own);
    users_clear(&c->seen);
}

static void cut_came(struct count *c, enum count_want cut)
{
    assert(!c->cutting);
    count_queued(c); /* they came before it */
    c->cutting = true;
    c->cut = cut;
    c->cuts++;
    c->report.total = c->total;
    c->report.sum = c->sum;
    if (cut == COUNT_RESET)
        forget(c);
    for (unsigned i = 0; i < c->workers; i++) {
        if (i == c->self)
            continue;
        send_batch(c, i);
        c->pass[i].kind = COUNT_PASS;
        count_send(c, i, &c->pass[i]);
    }
    if (cut == COUNT_ESTIMATE)
        give_up_sets(c);
    if (c->estimating)
        c->report.estimate = c->estimate;
    passed(c, c->self);
}

/* From before the cut that gave up the sets, so it belongs into the report too. */
static void estimate_batch(struct count *c, struct count_batch *b)
{
    for (unsigned i = 0; i < b->count; i++) {
        estimate_add(&c->estimate, b->users[i]);
        estimate_add(&c->report.estimate, b->users[i]);
    }
    return_batch(b);
}

static void sightings_came(struct count *c, struct count_message *m)
{
    struct count_batch *b = container_of(m, struct count_batch, m);

    if (c->passed[m->from])
        defer(c, m);
    else if (c->cutting && c->cut == COUNT_RESET)
        return_batch(b);
    else if (c->estimating)
        estimate_batch(c, b);
    else
        add_batch(c, b);
}

/* How many more users there may be before somebody must look: an even share of
 * what the last cut left.  No owner can use up more without asking. */
static void set_check(struct count *c, const struct count_result *result)
{
    uint64_t left = result->users < c->users_max ? c->users_max - result->users : 0;

    c->check_at = c->users_reported + left / c->workers + 1;
}

static void answered(struct count *c, const struct count_answer *a)
{
    struct link_node ready;

    c->asked_want &= ~a->served;
    if (a->cut != COUNT_RESET && !a->result->estimated)
        set_check(c, a->result);
    if (!a->served)
        return;
    list_init(&ready);
    for (struct link_node *node = c->asked.next, *next; node != &c->asked; node = next) {
        next = node->next;
        if (container_of(node, struct count_ask, node)->want & a->served) {
            list_remove(node);
            list_append(&ready, node);
        }
    }
    for (struct link_node *node; (node = list_pop(&ready));) {
        struct count_ask *ask = container_of(node, struct count_ask, node);
        ask->ready(ask, a->result);
    }
}

/* --- what moves it ---------------------------------------------------------- */

static void handle(struct count *c, struct count_message *m)
{
    switch (m->kind) {
    case COUNT_SIGHTINGS:
        sightings_came(c, m);
        break;
    case COUNT_ASK:
        coordinator_asked(c, m->from, container_of(m, struct count_want_message, m)->want);
        break;
    case COUNT_CUT:
        cut_came(c, (enum count_want)container_of(m, struct count_want_message, m)->want);
        break;
    case COUNT_PASS:
        passed(c, m->from);
        break;
    case COUNT_REPORT:
        coordinator_reported(c, container_of(m, struct count_report, m));
        break;
    case COUNT_ANSWER:
        answered(c, container_of(m, struct count_answer, m));
        if (!c->asked_want)
            c->ask_sent = false;
        send_wants(c);
        break;
    case COUNT_DROP:
        users_share_drop(&c->report.share);
        break;
    }
}

/* Messages to ourselves are handled one after the other, never from inside
 * the function that sends them. */
static void run(struct count *c)
{
    if (c->running)
        return;
    c->running = true;
    while (c->inbox) {
        struct count_message *m = c->inbox;
        c->inbox = m->next;
        if (!c->inbox)
            c->inbox_end = &c->inbox;
        handle(c, m);
    }
    c->running = false;
}

void count_arrive(struct count *c, struct count_message *m)
{
    handle(c, m);
    run(c);
}

void count_ask(struct count *c, struct count_ask *ask)
{
    assert(c->self == 0 || ask->want != COUNT_SAVE);
    ask->node = (struct link_node){0};
    list_append(&c->waiting, &ask->node);
    send_wants(c);
    run(c);
}

void count_ask_cancel(struct count_ask *ask)
{
    list_remove(&ask->node);
}

void count_saved(struct count *c)
{
    coordinator_saved(c);
    run(c);
}

void count_limit(struct count *c, uint64_t users_max)
{
    c->users_max = users_max;
    want_check(c);
    run(c);
}

/* --- beginning and end ------------------------------------------------------ */

int count_init(struct count *c, unsigned self, unsigned workers, uint64_t users_max,
               count_post_fn *post)
{
    assert(workers > 0 && workers <= COUNT_WORKERS_MAX && self < workers);
    *c = (struct count){
        .self = self,
        .workers = workers,
        .post = post,
        .users_max = users_max,
        .batch_max = COUNT_BATCH,
        .check_at = users_max / workers + 1,
    };
    list_init(&c->asked);
    list_init(&c->waiting);
    c->batches_end = &c->batches;
    c->inbox_end = &c->inbox;
    c->batch = mem_zalloc(workers * sizeof *c->batch);
    c->passed = mem_zalloc(workers * sizeof *c->passed);
    c->pass = mem_zalloc(workers * sizeof *c->pass);
    c->drop = mem_zalloc(workers * sizeof *c->drop);
    if (self == 0 && !(c->coordinator = coordinator_new(workers)))
        return FAIL_MEMORY;
    return c->batch && c->passed && c->pass && c->drop ? 0 : FAIL_MEMORY;
}

void count_free(struct count *c)
{
    users_clear(&c->own);
    users_clear(&c->seen);
    users_share_drop(&c->report.share);
    while (c->batches) {
        struct count_batch *b = c->batches;
        c->batches = b->next_own;
        mem_free(b);
    }
    mem_free(c->batch);
    mem_free(c->passed);
    mem_free(c->pass);
    mem_free(c->drop);
    coordinator_free(c->coordinator);
    c->batch = NULL;
    c->passed = NULL;
    c->pass = c->drop = NULL;
    c->coordinator = NULL;
}

int count_restore_user(struct count *c, struct user_hash user)
{
    bool added;

    if (count_owner(c, user) != c->self)
        return 0;
    estimate_add(&c->estimate, user);
    return users_add(&c->own, user, &added);
}

void count_restore(struct count *c, const struct count_result *result)
{
    c->estimating = result->estimated;
    if (c->self != 0)
        return;
    c->total = result->total;
    c->sum = result->sum;
    if (result->estimated)
        c->estimate = *result->estimate;
    coordinator_restore(c->coordinator, result);
}

uint64_t count_users_least(const struct count *c)
{
    return coordinator_users_least(c->coordinator);
}
