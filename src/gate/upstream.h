/* What the process knows of origins, whichever worker learned it.
 *
 * main makes these when it takes a configuration over, and finds them again by
 * the group's name and the slot's key: they survive a reload.  Workers only
 * read and write the numbers, and only where a limit or an algorithm
 * needs them; each slot has a cache line of its own.
 *
 * Which address a slot has is main's to say (server_place).  Each time it has
 * another one it begins a new tenure, without a past: workers take the address
 * over when they are told (pools_placed), and what is learned of exchanges that
 * began in an earlier tenure is forgotten.
 */
#ifndef HEADGATE_GATE_UPSTREAM_H
#define HEADGATE_GATE_UPSTREAM_H

#include "base/list.h"
#include "base/mem.h"
#include "gate/config.h"
#include "http/cause.h"

#include <pthread.h>
#include <stdatomic.h>

/* What has been ordered by hand, beyond the configuration. */
enum steer {
    STEER_UP,    /* as the configuration says */
    STEER_DRAIN, /* no new work; what is under way, and sticky sessions, may finish */
    STEER_DOWN,  /* nothing at all */
};

struct server_state {
    struct link_node node; /* of group_state.servers; main's, as is the rest up to the line */
    struct span key, text; /* own copy of the key; the text is its beginning */
    unsigned users;        /* configurations */
    uint32_t tenures;      /* so far */
    /* What workers copy; it changes only while no order is under way. */
    struct address at;
    uint64_t hash;
    uint32_t share; /* times the server's weight; of a service's target its own weight */
    uint8_t behind; /* so many other priorities of its service go before its own */

    _Atomic uint32_t steered; /* main's to write, read with every choice; 0: as configured */

    char line_before[CACHE_LINE];
    _Atomic uint32_t tenure;      /* the number of the present one; 0: it has no address */
    _Atomic uint32_t in_flight;   /* legs; only of groups that are counted */
    _Atomic uint32_t connections; /* gate/room.c; the state stays while there are any */
    _Atomic uint32_t max_in_flight, max_connections; /* of the newest configuration; 0: none */
    _Atomic uint64_t
        idle_workers;         /* bits: they have idle connections; only where there is a limit */
    _Atomic uint64_t latency; /* ns to the first byte, smoothed; 0: not known */
    _Atomic uint64_t latency_at;

    /* gate/health.c; only of groups with more than one server */
    _Atomic uint32_t failures;               /* in a row */
    _Atomic uint32_t window_all, window_bad; /* since window_at */
    _Atomic uint32_t ejections;              /* in a row */
    _Atomic uint64_t window_at;
    _Atomic uint64_t ejected_until; /* 0: it is not */
    _Atomic uint64_t back_at;       /* when its last ejection is over, or it came back */
    atomic_bool probing;

    /* gate/idle.c: idle connections that the server ended; ns, 0: not known */
    _Atomic uint64_t idle_ended, idle_ended_at; /* the last: after what time, and when */
    _Atomic uint64_t idle_rule, idle_rule_at;   /* it ends them after this; since when known */

    _Atomic uint64_t last_failure;                    /* see server_failure_of(); 0: none */
    _Atomic uint32_t seen_idle, seen_busy, seen_legs; /* of all workers, as they last looked */

    /* gate/check.c; only of groups that are checked */
    _Atomic uint8_t check; /* enum check_state */
    char line_after[CACHE_LINE];
};

struct group_state {
    struct link_node node; /* of gate->groups */
    struct span name;      /* own copy */
    unsigned users;        /* configurations */
    struct link_node servers;

    char line_before[CACHE_LINE];
    _Atomic uint32_t in_flight;                      /* legs, when there is a limit */
    _Atomic uint32_t waiting;                        /* for a place; those who were called, too */
    _Atomic uint32_t connections;                    /* gate/room.c */
    _Atomic uint32_t max_in_flight, max_connections; /* as a server's */
    _Atomic uint32_t holders; /* connections, too, but until nothing here is needed for them */
    _Atomic int64_t budget;   /* for retries; gate/health.c */
    _Atomic uint64_t budget_at;
    pthread_mutex_t lock;   /* of queue, and of ejecting */
    struct link_node queue; /* who waits, longest first; see gate/queue.c */
    char line_after[CACHE_LINE];
};

/* Gives a configuration its states, and takes them away.  main only. */
MUST_USE int upstreams_adopt(struct link_node *groups, struct config *config);
void upstreams_leave(struct config *config);

/* What a configuration that is taken over says of limits holds from now on, also for those who
 * came before it and wait.  main only. */
void upstreams_limit(struct config *config);

/* What nobody names any more and has no connections goes. main only. */
void upstreams_sweep(struct link_node *groups);

/* A slot has this address from now on, or none.  main only, while no order is under way. */
void server_place(struct server_state *s, const struct address *at, uint64_t hash);
void server_vacate(struct server_state *s);

/* And it has this rank among others.  True: it had another. */
bool server_rank(struct server_state *s, uint32_t share, uint8_t behind);

/* --- by hand; main writes, all workers follow at once ---------------------------- */

/* steered: the enum in the lowest two bits, above it the weight, plus one; 0: the configured. */
static inline enum steer server_steer(const struct server_state *s)
{
    return (enum steer)(atomic_load_explicit(&s->steered, memory_order_relaxed) & 3);
}

static inline unsigned server_weight(const struct server_state *s, unsigned configured)
{
    uint32_t steered = atomic_load_explicit(&s->steered, memory_order_relaxed) >> 2;

    return steered ? steered - 1 : configured;
}

static inline bool server_takes_new_work(const struct server_state *s, unsigned configured)
{
    uint32_t steered = atomic_load_explicit(&s->steered, memory_order_relaxed);

    if (steered == 0)
        return configured > 0;
    return (steered & 3) == STEER_UP && steered >> 2 != 1;
}

/* STEER_UP also gives it its configured weight back. */
void server_steer_set(struct server_state *s, enum steer to);
void server_weight_set(struct server_state *s, unsigned weight);

/* Workers say what they have: zero it, then let them look (gate_look()). */
void server_seen_clear(struct server_state *s);

/* The last time that it failed, and how. */
struct server_failure {
    uint64_t wall_ms; /* 0: it never did */
    enum cause cause; /* CAUSE_NONE: it answered with status */
    int status;
};
struct server_failure server_failure_of(const struct server_state *s);

/* --- for workers ------------------------------------------------------------- */

void server_failure_set(struct server_state *s, struct server_failure f);

/* What checks say of a server. */
enum check_state { CHECK_UNKNOWN, CHECK_UP, CHECK_DOWN };

static inline bool check_allows(const struct server_state *s)
{
    return atomic_load_explicit(&s->check, memory_order_relaxed) != CHECK_DOWN;
}

static inline uint32_t server_tenure(const struct server_state *s)
{
    return atomic_load_explicit(&s->tenure, memory_order_relaxed);
}

/* Is a limit reached?  One that is 0 never is. */
static inline bool is_full(const _Atomic uint32_t *n, const _Atomic uint32_t *max)
{
    uint32_t most = atomic_load_explicit(max, memory_order_relaxed);

    return most > 0 && atomic_load(n) >= most;
}

/* One more, unless there are so many. */
static inline bool count_below(_Atomic uint32_t *n, uint64_t max)
{
    uint32_t now = atomic_load(n);

    while (now < max)
        if (atomic_compare_exchange_weak(n, &now, now + 1))
            return true;
    return false;
}

/* The same by a limit that is 0 when there is none. */
static inline bool count_up_to(_Atomic uint32_t *n, const _Atomic uint32_t *max)
{
    uint32_t most = atomic_load_explicit(max, memory_order_relaxed);

    return count_below(n, most ? most : UINT64_MAX);
}

/* In one order with group_state.waiting: who waits and then finds no place is
 * seen by whoever gives one back after that. */
static inline uint32_t server_in_flight(const struct server_state *s)
{
    return atomic_load(&s->in_flight);
}

/* What it took lately, ns; halved for every 10 s in which nothing was learned,
 * so that who was slow once is tried again.  0: not known. */
uint64_t server_latency(const struct server_state *s, uint64_t now);

/* It took this long to answer; and it failed to. */
void server_answered(struct server_state *s, uint64_t now, uint64_t took);
void server_failed(struct server_state *s, uint64_t now);

#endif
