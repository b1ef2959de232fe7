/* A leg: one exchange with an origin that answers an exchange with a client.
 *
 * A leg borrows a link (a connection) of a pool for one request and its
 * response and gives it back once.  Content goes straight between the
 * client's flows and the link: x->request_content is what is sent,
 * x->response_content is what comes.  The exchange is woken whenever the leg
 * has something to say.
 */
#ifndef HEADGATE_GATE_LEG_H
#define HEADGATE_GATE_LEG_H

#include "gate/exchange.h"
#include "http/websocket.h"
#include "io/io.h"

struct inner;
struct link;
struct pool_server;

enum leg_state {
    LEG_NEW,     /* nothing is under way: leg_open() may be called */
    LEG_QUEUED,  /* waiting for a place */
    LEG_WAITING, /* connecting, sending, waiting for the head */
    LEG_HEAD,    /* the response head is there, content is coming */
    LEG_DONE,    /* all of the response is in the flow */
    LEG_FAILED,  /* see cause */
};

enum { LEG_FIELDS_MAX = 100, LEG_TRIED_MAX = 16, LEG_UPGRADE_MAX = 64, LEG_TIME_DIGITS = 20 };

/* What is sent.  Fields are complete but for framing and Connection. */
struct leg_request {
    struct span method, target;
    struct fields fields;
    struct span upgrade;     /* the token asked for; empty: none; at most LEG_UPGRADE_MAX */
    struct span upgrade_key; /* of a WebSocket, where we made it ourselves; else empty */
    bool servers_host; /* the first field, Host, is to be the own one of the server that is tried */
    /* One of the fields, or NULL: says how many ms are left until the deadline when it is sent.
     * Its value has room for LEG_TIME_DIGITS. */
    struct field *time_left;
};

/* Request content sent so far, as long as it may be kept for another try. */
struct replay {
    struct slice *list; /* all but the last fill their buffers */
    unsigned count, max;
    uint64_t bytes;
};

/* Slots of the group that were tried, by index; of many the last LEG_TRIED_MAX. */
struct tried {
    uint16_t count, list[LEG_TRIED_MAX];
};

struct leg {
    struct exchange *x;
    const struct upstream_conf *upstream;
    const struct server_entry *server;
    uint32_t tenure;   /* of the server's slot: whose address it goes to */
    struct link *link; /* on loan; NULL when there is none */
    void *place;       /* what the link's protocol keeps of it */
    struct leg_request request;
    enum leg_state state;
    enum cause cause;       /* of LEG_FAILED */
    bool fresh_failed;      /* it never reached the origin: any method may be tried again */
    bool connecting_failed; /* and there was no connection */
    bool reused;            /* the link had served others before */
    bool was_stale;         /* an earlier try met the end of an idle connection: a new one then */
    bool response_begun;    /* a byte of a response came */
    bool connects;          /* HTTP/2: it asked for the upgrade by extended CONNECT (RFC 8441) */
    bool content_lost;      /* request content was sent that is kept nowhere */
    bool interim_passed;    /* to the client */
    bool may_refuse;        /* its user may not like the answer: until leg_accept() */
    bool cut;               /* failed after the head was passed on */
    bool alone;             /* it shares its link with nobody, and is no server's merit or fault */
    bool bare;              /* and says nothing on it: done when the connection stands */
    uint16_t port;          /* to go to instead of the server's own; 0: that */
    struct inner *copy;     /* of the request, for a mirror; NULL: none */
    struct response response;
    struct replay replay;
    uint64_t stick; /* the server's number, of a sticky group */
    struct tried tried;
    uint64_t first_byte_ns, idle_ns, stream_ns; /* timeouts in effect */
    uint64_t deadline;                          /* of the exchange; TIME_NEVER */

    /* Where it stands on its link, which writes this. */
    uint64_t begun; /* when this try began */
    uint64_t since; /* when the present wait began */
    bool counted;   /* in the server's in_flight */
    bool counted_in_group;
    bool probe;            /* whether an ejected server is well again */
    bool judged;           /* how the server did was said */
    bool called;           /* from the queue: there may be a place */
    struct waiter *waiter; /* in the group's queue; NULL: it does not wait */
    uint64_t waits_since;  /* there */
    struct io_timer timer; /* of that */
    bool request_written;  /* the head is the wire's */
    bool request_done;     /* and all content */
    bool request_left_us;  /* the kernel took a byte of it */
    uint8_t looks;         /* at what the origin has taken, since ... */
    uint64_t looked_since; /* ... this was `since` */
    uint64_t taken;        /* what io_taken() said then */
    uint32_t sent_before;  /* what wire.sent said when the request was written */
};

/* Borrows a link to a server that was not tried yet (if there is one left), or
 * begins to make one.  With no server to try: LEG_FAILED at once. */
void leg_open(struct leg *leg);

/* Is there another server that could take it now? */
bool leg_has_other(const struct leg *leg);

/* The same at once or not at all, for what nobody waits for: in no queue, and earning no retries.
 */
void leg_open_now(struct leg *leg);

/* The same to this server, whatever its state and limits, on a link of its own. */
void leg_open_to(struct leg *leg, unsigned server);

/* May the group's budget bear another try that the origin may have to process again? */
bool leg_affords(struct leg *leg);

/* To be called before its state is looked at: waiting may have taken too long. */
void leg_check(struct leg *leg);

/* Writes into request.time_left what is true now, as is done again when it is sent. */
void leg_say_time(struct leg *leg);

/* The exchange's own deadline has passed: fails with upstream_timeout, unless all of the
 * response is there. */
void leg_overdue(struct leg *leg);

/* Of a sticky group, before its response is passed on: has the client come back to this server.
 * False: no memory, or no room for a field. */
bool leg_stick(const struct leg *leg);

/* Gives the link back: to the pool when nothing is left over, else it is closed.
 * Idempotent. */
void leg_close(struct leg *leg);

/* The same, for good: when the exchange ends. */
void leg_end(struct leg *leg);

/* The answer will be passed on: there is no other try. */
void leg_accept(struct leg *leg);

/* After a failure, or an answer of which nothing was passed on: ready for another leg_open(). */
void leg_again(struct leg *leg);

/* After LEG_HEAD: has the origin switched to the protocol that was asked for, or to any? */
bool leg_switched(const struct leg *leg);

/* And then: both flows carry bytes from now on. */
void leg_tunnel(struct leg *leg);

#endif
