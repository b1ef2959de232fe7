/* A connection to an origin; owned by a pool, lent to legs.
 *
 * What every link has is here: dialling, its wire, its time, its place in the
 * pool.  What is said on it is its protocol's affair (link_h1.c): a protocol
 * is a table of functions, and its links begin with a struct link.
 */
#ifndef HEADGATE_GATE_LINK_H
#define HEADGATE_GATE_LINK_H

#include "gate/leg_own.h"
#include "gate/pool.h"

enum link_state {
    LINK_CONNECTING,
    LINK_BUSY,    /* serves legs */
    LINK_IDLE,    /* in the pool */
    LINK_CLOSING, /* operations come home */
};

/* What a link is once a leg has let go of it. */
enum link_left {
    LINK_SPOILT, /* something is left over: it serves nobody else */
    LINK_FREE,   /* the pool's, for the next leg */
    LINK_SHARED, /* in use by others still */
};

struct link_protocol {
    size_t size; /* of its links */
    enum { LINK_H1, LINK_H2, LINK_BARE, LINK_PROTOCOLS } number;

    /* May be NULL all three: what a leg needs for it is made ready, false: no memory; the
     * same for a link; and taken down again. */
    bool (*admit)(struct leg *leg);
    bool (*open)(struct link *l, struct leg *first);
    void (*close)(struct link *l);

    /* A leg comes: nothing was said for it yet.  And goes. */
    void (*attach)(struct link *l, struct leg *leg);
    enum link_left (*release)(struct link *l, struct leg *leg);

    /* Could it serve one more leg beside those it has?  NULL: it never could, and what comes
     * while it has none spoils it. */
    bool (*spare)(const struct link *l);

    /* How many it has; not asked of those that are single. */
    unsigned (*legs)(const struct link *l);

    /* The connection stands. */
    void (*connected)(struct link *l);

    /* Part of the step, while there are legs: reads, decides, writes. */
    void (*work)(struct link *l);

    /* Before it is connected: gives up all it has, for another protocol to take over.  The first of
     * its legs that can go on is returned, if there is one, the others are handed to `other`: all
     * of them on no link.  NULL: it is never asked to. */
    struct leg *(*resign)(struct link *l, void (*other)(struct link *l, struct leg *leg));

    /* None of the legs can go on.  fresh: no origin saw anything of them. */
    void (*fail)(struct link *l, enum cause cause, bool fresh);

    /* How many bytes it can do with, while there are legs; 0: none.  piped: by pipe, too. */
    uint32_t (*room)(struct link *l, bool *piped);

    /* When the first of its legs has waited too long; that has happened. */
    uint64_t (*deadline)(struct link *l);
    void (*timed_out)(struct link *l);
};

struct link {
    struct owner owner;
    struct link_node node;  /* of the server's idle or busy list */
    struct link_node spare; /* of those that could serve one more leg */
    const struct link_protocol *protocol;
    struct pool_server *server;
    struct wire wire;
    struct io_op dial;
    struct io_timer timer;
    struct address to;
    uint32_t tenure; /* of the server's slot, to whose address it leads */
    enum link_state state;
    struct tls_context *context; /* counted; NULL: plain */
    struct span tls_name;        /* asked for and verified; own copy */
    struct slab *slab;           /* where it lives */
    bool undecided;              /* HTTP/2, unless the origin wants HTTP/1 (ALPN) */
    struct span introduction;    /* a PROXY header, until it is said; own copy */
    bool single;                 /* it serves one leg, the one it was made for */
    bool introducing;            /* what precedes the handshake is on its way */
    bool session_kept;           /* for the next one */
    bool tls_failed;             /* and its legs were told */
    bool kept;                   /* it is on the idle list; the pool's to write */
    bool closed;                 /* and about to be freed */
    bool starved;                /* no memory to take content: reading pauses, and is tried again */
    uint64_t connect_ns;         /* timeout */
    uint64_t since;              /* when it began to connect, or was last idle */
    uint64_t said_ns;            /* the origin's own word on how long it may be idle */
    uint64_t idle_until;
    struct group_state *group; /* in which it is counted, and ... */
    struct server_state *counted;
};

extern const struct link_protocol link_h1, link_h2, link_bare;

/* Begins to connect for a leg, which it belongs to from now on; NULL: no memory. */
struct link *link_new(struct pool_server *server, struct leg *leg);

/* One that is idle, or could serve more, takes up a leg. */
void link_serve(struct link *l, struct leg *leg);

/* A leg of which nothing was said yet is given to another link, of the same server. */
void link_move(struct link *l, struct leg *leg);

/* The leg lets go of it. */
void link_release(struct link *l, struct leg *leg);

void link_close(struct link *l);

/* It is idle from now on: until when, by our settings and by what is known of the origin. */
void link_idles(struct link *l);

/* Could it serve another leg?  And one of this exchange to this server: is it what their
 * configuration asks for? */
bool link_usable(const struct link *l);
bool link_fits(const struct link *l, const struct upstream_conf *u, const struct server_entry *e,
               const struct exchange *x);

/* What is spoken to a server, and to that of a leg; or is tried first. */
static inline const struct link_protocol *server_protocol(const struct server_entry *e)
{
    return e->h2 ? &link_h2 : &link_h1;
}

static inline const struct link_protocol *leg_protocol(const struct leg *leg)
{
    return leg->bare ? &link_bare : server_protocol(leg->server);
}

/* --- for protocols and link.c ------------------------------------------------- */

static inline struct io *link_io(const struct link *l)
{
    return l->server->pool->worker->io;
}

/* When the step is to run whatever else happens. */
uint64_t link_deadline(struct link *l);

/* The timer fired: what was waited for too long fails. */
void link_timed_out(struct link *l);

/* Counts it among those that could serve one more leg, or no longer. */
void link_spare(struct link *l);

/* When a leg that is on a connected link has waited too long, and that it has.
 * waits: for the origin, not for the client. */
uint64_t leg_deadline(struct leg *leg);
uint64_t leg_deadline_if(struct leg *leg, bool waits);
void leg_timed_out(struct leg *leg);

#endif
