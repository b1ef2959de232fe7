/* Connections to origins: per worker, group and slot.
 *
 * A pool outlives generations: it is found again by the group's name and the
 * slot's key, so that idle connections survive a reload.
 */
#ifndef HEADGATE_GATE_POOL_H
#define HEADGATE_GATE_POOL_H

#include "gate/leg.h"
#include "gate/worker_own.h"

struct link;
struct pool;

struct pool_server {
    struct link_node node; /* of pool->servers */
    struct pool *pool;
    struct span key, text; /* own copy of the slot's; the text is its beginning */
    struct address at;     /* these six as gate/upstream.h had them when it was looked at */
    uint64_t hash;
    uint32_t share;
    uint8_t behind;
    uint64_t stick;         /* its number in cookies; gate/sticky.h */
    uint32_t tenure;        /* 0: there is no address */
    struct link_node idle;  /* struct link, last used first */
    struct link_node busy;  /* and connecting, and closing */
    struct link_node spare; /* of those, what could serve one more leg; by link.spare */
    uint32_t streams_max;   /* HTTP/2: as it last said; 0: not known */
    bool chose_h1;          /* where it may choose, it last did so */
    unsigned idle_count;
    bool down;                   /* by hand: nothing is kept for it */
    unsigned views;              /* generations that name it */
    bool named;                  /* the newest does */
    struct tls_session *session; /* of the last link, for the next; or NULL */
    const struct tls_layer *session_layer;
    uint8_t session_binding[TLS_BINDING];
    struct span session_name;         /* own copy */
    int64_t current_weight;           /* of smooth weighted round robin */
    struct server_state *state;       /* while there are views */
    uint64_t keepalive, keepalive_ns; /* of the newest generation */
    bool learns;                      /* how long idle ones are kept */
    uint64_t wary_until;              /* it has said something on an idle one, too soon */
    bool limited;                     /* connections are, to it or to the group */
};

struct pool {
    struct link_node node; /* of pools->list */
    struct worker *worker;
    struct span name; /* own copy: the key */
    struct link_node servers;
    struct group_state *state; /* while there are views */
};

/* A group as one generation sees it. */
struct pool_view {
    struct pool *pool;
    unsigned count;
    unsigned reach;                /* from here on no slot has an address */
    struct pool_server *servers[]; /* by index in upstream_conf */
};

struct pools {
    struct link_node list;
    struct slab links[3];   /* by link_protocol.number */
    unsigned waiters;       /* of gate/queue.c, on this worker */
    struct io_message room; /* of gate/room.c, on its way to this worker if it ... */
    atomic_bool room_asked;
    struct field
        fields[LEG_FIELDS_MAX]; /* of the head that is being parsed, for as long as that takes */
};

MUST_USE int pools_open(struct worker *w);

/* Gives a generation its views, and takes them away. */
MUST_USE int pools_adopt(struct worker *w, struct generation *g);
void pools_leave(struct worker *w, struct generation *g);

/* Slots have other addresses, or none: what is idle is closed, what is busy will be. */
void pools_placed(struct worker *w);

/* Closes what is idle; true once nothing is left, else worker_check_done() is
 * called when the last link has gone. */
bool pools_close(struct worker *w);

/* What is idle of servers that are down now is closed. */
void pools_steered(struct worker *w);

/* Adds this worker's connections and legs to server_state.seen_*. */
void pools_look(struct worker *w);

void pools_free(struct worker *w); /* after pools_close() and the last generation */

/* A link to it for one more leg: one that is in use and could serve more, or an idle one.
 * NULL: there is none. */
struct link *pool_link(struct pool_server *server, const struct leg *leg);

/* Would it find one?  Nothing is looked at twice, and nothing closed. */
bool pool_has_link(const struct pool_server *server, const struct upstream_conf *u,
                   const struct server_entry *e, const struct exchange *x);

/* An idle link has been spoken on, or ended. */
void pool_spoiled(const struct link *l);

/* Keeps a link for the next leg, or closes it when enough are kept. */
void pool_keep(struct link *l);

/* It is not idle any more: from now on it is counted as busy, until it is freed. */
void pool_forget(struct link *l);

/* After a link was freed: servers that nobody names any more go too. */
void pool_link_gone(struct pool_server *server);

#endif
