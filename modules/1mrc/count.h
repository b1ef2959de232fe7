/* One count on many workers, exact, without locks.
 *
 * Each worker counts and sums its own events.  A user belongs to the worker
 * that the hash names, its owner, which keeps the set that decides.  Others
 * remember whom they have seen, and tell the owner about a first sight in
 * batches.
 *
 * Asking means cutting.  Worker 0 coordinates: it runs one cut at a time, for
 * all who had asked when it began.  Every worker, when the cut reaches it,
 * sends the sightings it still has, copies its count and sum, and passes the
 * cut on to every other; what it sends after that belongs to the next cut and
 * waits at the receiver.  When all have passed the cut on to an owner, the
 * owner's set is what had been seen before the cut, on all workers, and it
 * reports.  So an event that was counted before somebody asked is in the
 * answer, and no answer shows a user without its event.
 *
 * Resetting, saving, and giving up exactness (more users than users_max, or no
 * memory for them) are cuts too, so each happens between the same two events
 * for everybody.
 *
 * Nothing here knows threads: messages go out through post() and come in
 * through count_arrive(), in the order in which one worker sent them to
 * another.  All messages but the batches are parts of their sender, because
 * there is one cut at a time; the batches are the sender's too, and are used
 * again when the receiver is done with them.
 */
#ifndef HEADGATE_MODULES_1MRC_COUNT_H
#define HEADGATE_MODULES_1MRC_COUNT_H

#include "base/exact.h"
#include "base/list.h"
#include "io/io.h"
#include "modules/1mrc/estimate.h"
#include "modules/1mrc/users.h"

struct count;

enum count_message_kind {
    COUNT_SIGHTINGS, /* to an owner: users seen first */
    COUNT_ASK,       /* to the coordinator: what this worker wants */
    COUNT_CUT,       /* to all: the cut has come */
    COUNT_PASS,      /* to all: whatever follows is behind the cut */
    COUNT_REPORT,    /* to the coordinator: counted before the cut */
    COUNT_ANSWER,    /* to all: what the cut found */
    COUNT_DROP,      /* from the coordinator: the users lent for saving are no longer read */
};

struct count_message {
    struct io_message io; /* for whoever carries it */
    struct count *to;     /* theirs too */
    struct count_message *next;
    enum count_message_kind kind;
    unsigned from;
};

/* What one may want of a cut, and what a cut is for. */
enum count_want {
    COUNT_STATS = 1 << 0,
    COUNT_CHECK = 1 << 1, /* whether there are too many users; nobody waits for it */
    COUNT_SAVE = 1 << 2,
    COUNT_RESET = 1 << 3,
    COUNT_ESTIMATE = 1 << 4, /* the coordinator's own: stop being exact */
};

/* What a cut found. */
struct count_result {
    uint64_t total, users;
    bool estimated; /* users is an estimate */
    bool sum_fits;  /* the sum is in the range of a double */
    double value;   /* the sum, rounded once */
    struct exact sum;

    /* For saving: who they are, by owner, or the estimate if they are estimated.
     * fail: there was no memory to lend them. */
    struct users_share *shares;
    const struct estimate *estimate;
    uint64_t users_least; /* there are at least so many, whatever the estimate says */
    int fail;
};

/* Somebody who waits for a cut.  Set want and ready first. */
struct count_ask {
    struct link_node node;
    enum count_want want;
    void (*ready)(struct count_ask *ask, const struct count_result *result);
};

typedef void count_post_fn(struct count *from, unsigned to, struct count_message *m);

enum {
    COUNT_BATCH = 60,
    COUNT_QUEUE = 16, /* events whose users are looked up together: each waits for memory */
    COUNT_WORKERS_MAX = 1024,
};

struct count_batch {
    struct count_message m;
    struct count_batch *next_own;
    _Atomic bool busy; /* at the receiver, who clears it */
    unsigned count;
    struct user_hash users[COUNT_BATCH];
};

struct count_want_message {
    struct count_message m;
    unsigned want;
};

struct count_report {
    struct count_message m;
    uint64_t total, users;
    bool lost;
    int fail;
    struct exact sum;
    struct users_share share;
    struct estimate estimate;
};

struct count_answer {
    struct count_message m;
    unsigned served; /* of what this worker had asked */
    enum count_want cut;
    const struct count_result *result; /* the coordinator's, until the next cut */
};

struct coordinator;

struct count {
    unsigned self, workers;
    count_post_fn *post;
    uint64_t users_max;

    uint64_t total;
    struct exact sum;
    unsigned queued; /* users of counted events who are in no set yet; none across a cut */
    struct user_hash queue[COUNT_QUEUE];
    struct users own;         /* users whose owner this worker is */
    struct users seen;        /* others that were told to their owners */
    struct estimate estimate; /* of all in own; and, once estimating, of all seen here */
    bool estimating;
    bool lost;         /* a user is in the estimate only, for want of memory */
    uint64_t check_at; /* so many own users may be too many in all */

    unsigned batch_max;         /* users in a batch that is sent; tests make it smaller */
    struct count_batch **batch; /* by owner, being filled; NULL when empty */
    struct count_batch *batches, **batches_end; /* all of ours, the oldest first */

    bool cutting; /* the cut has come, but has not been passed by all */
    enum count_want cut;
    uint64_t cuts;   /* how many have come */
    uint64_t resets; /* of them */
    bool *passed;    /* by worker: what it sends now is behind the cut */
    unsigned passed_count;
    struct count_message *deferred; /* batches from behind the cut */

    struct link_node asked, waiting; /* asks the coordinator knows of; and those it will */
    unsigned asked_want;             /* what it was asked and has not answered; CHECK included */
    bool ask_sent;                   /* the message is on its way or being served */
    bool check_wanted;
    uint64_t users_reported;

    struct count_message *inbox, **inbox_end; /* from ourselves */
    bool running;

    struct count_want_message ask;
    struct count_message *pass, *drop; /* by receiver; drop only at the coordinator */
    struct count_report report;
    struct coordinator *coordinator; /* of worker 0 */
};

/* The struct is large: keep it where it starts.  FAIL_MEMORY: count_free() it. */
MUST_USE int count_init(struct count *c, unsigned self, unsigned workers, uint64_t users_max,
                        count_post_fn *post);

/* When no worker runs any more. */
void count_free(struct count *c);

/* The owner of a user. */
static inline unsigned count_owner(const struct count *c, struct user_hash user)
{
    return (unsigned)(((unsigned __int128)user.a * c->workers) >> 64);
}

/* Counts an event.  Never fails: without memory the users become an estimate. */
void count_event(struct count *c, struct user_hash user, double value);

/* Has ready() called once, perhaps before this returns, unless cancelled (which
 * those who want to save must not do). */
void count_ask(struct count *c, struct count_ask *ask);
void count_ask_cancel(struct count_ask *ask);

/* A message has come. */
void count_arrive(struct count *c, struct count_message *m);

/* A new limit, on every worker. */
void count_limit(struct count *c, uint64_t users_max);

/* Only worker 0 may ask to save, and one save at a time.  Its ready()
 * keeps what it needs of the result; the shares may be read, by another thread
 * too, until: */
void count_saved(struct count *c);

/* Before any event: what a file says.  All users are given to all workers,
 * which take their own; the rest only to worker 0, but for `estimated`. */
MUST_USE int count_restore_user(struct count *c, struct user_hash user);
void count_restore(struct count *c, const struct count_result *result);

/* Worker 0 knows: so many users there are at least, though they are estimated. */
uint64_t count_users_least(const struct count *c);

#endif
