/* Accepting: one per address and worker. */
#ifndef HEADGATE_GATE_LISTENER_H
#define HEADGATE_GATE_LISTENER_H

#include "gate/worker_own.h"

enum { LISTENER_ACCEPTS = 16 };

struct port;

struct listener {
    struct owner owner;
    struct link_node node; /* of worker->listeners */
    struct worker *worker;
    struct port *port;
    struct generation *generation; /* that conf belongs to */
    const struct listener_conf *conf;
    struct tls_set *tls_set; /* as conf had it when it was last looked at; NULL: plain */
    struct io_sock sock;
    struct io_timer timer; /* while draining, full, or out of descriptors */
    uint64_t say_at;       /* when the next pause may be said */
    uint32_t conns;
    bool paused;    /* a limit is reached */
    bool starved;   /* that of descriptors */
    bool said;      /* that it is paused, and not yet that it is over */
    bool leaving;   /* not in the newest generation, or draining */
    bool closing;   /* nothing is accepted any more */
    uint8_t drains; /* how often there was time to accept what is left */
    struct io_accept accepts[LISTENER_ACCEPTS];
};

MUST_USE int listener_open(struct worker *w, struct port *port, int fd, struct generation *g,
                           const struct listener_conf *conf);
void listener_adopt(struct listener *l, struct generation *g, const struct listener_conf *conf);
void listener_tls_changed(struct listener *l); /* conf->tls_set is another */
void listener_leave(struct listener *l);       /* accept what is there already, then close */

/* One of its connections has gone. */
void listener_conn_closed(struct listener *l);

#endif
