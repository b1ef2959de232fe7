/* What the process knows of origins, whichever worker learned it.
 *
 * main makes these when it takes a configuration over, and finds them again by
 * the group's name and the server's text: they survive a reload.  Workers only
 * read and write the numbers, and only where a limit or an algorithm
 * needs them; each server has a cache line of its own.
 */
#ifndef HEADGATE_GATE_UPSTREAM_H
#define HEADGATE_GATE_UPSTREAM_H

#include "base/list.h"
#include "base/mem.h"
#include "gate/config.h"

#include <pthread.h>
#include <stdatomic.h>

struct server_state {
    struct link_node node; /* of group_state.servers; main's, as is the rest up to the line */
    struct span text;      /* own copy */
    unsigned users;        /* configurations */

    char line_before[CACHE_LINE];
    _Atomic uint32_t in_flight; /* legs; only of groups that are counted */
    _Atomic uint64_t latency;   /* ns to the first byte, smoothed; 0: not known */
    _Atomic uint64_t latency_at;

    /* gate/health.c; only of groups with more than one server */
    _Atomic uint32_t failures;               /* in a row */
    _Atomic uint32_t window_all, window_bad; /* since window_at */
    _Atomic uint32_t ejections;              /* in a row */
    _Atomic uint64_t window_at;
    _Atomic uint64_t ejected_until; /* 0: it is not */
    _Atomic uint64_t back_at;       /* when its last ejection is over, or it came back */
    atomic_bool probing;
    char line_after[CACHE_LINE];
};

struct group_state {
    struct link_node node; /* of gate->groups */
    struct span name;      /* own copy */
    unsigned users;        /* configurations */
    struct link_node servers;

    char line_before[CACHE_LINE];
    _Atomic uint32_t in_flight; /* legs, when there is a limit */
    _Atomic uint32_t waiting;   /* for a place; those who were called, too */
    _Atomic int64_t budget;     /* for retries; gate/health.c */
    _Atomic uint64_t budget_at;
    pthread_mutex_t lock;   /* of queue, and of ejecting */
    struct link_node queue; /* who waits, longest first; see gate/queue.c */
    char line_after[CACHE_LINE];
};

/* Gives a configuration its states, and takes them away.  main only. */
MUST_USE int upstreams_adopt(struct link_node *groups, struct config *config);
void upstreams_leave(struct config *config);

/* --- for workers ------------------------------------------------------------- */

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
