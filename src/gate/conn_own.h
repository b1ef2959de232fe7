/* The inside of a connection to a client: what is the same whatever it speaks
 * (conn.c), and what each protocol does its own way (struct conn_kind).
 *
 * For conn*.c only.
 */
#ifndef HEADGATE_GATE_CONN_OWN_H
#define HEADGATE_GATE_CONN_OWN_H

#include "gate/conn.h"

enum {
    DISCARD_MAX = 256 * 1024, /* bytes nobody wants, before the connection ends */
};
#define DRAIN_IDLE_NS (5 * NS_PER_S) /* how long idle connections are kept when it drains */

/* A connection is open, then lingers (its last answer is on the way, what the
 * client still says is thrown away, so that no reset destroys the answer),
 * then closes (operations come home, and it is freed). */
enum conn_state { CONN_OPEN, CONN_LINGER, CONN_CLOSING };

/* HTTP/1's part of a connection. */
struct conn_h1 {
    struct exchange *x; /* NULL while idle, and while a head is incomplete */
};

struct conn_h2; /* HTTP/2's; see conn_h2.h */
struct conn_kind;
enum conn_speaks { CONN_H1, CONN_H2, CONN_TLS, CONN_PROXY };

/* There may be very many that wait: an idle one is this, and nothing else of ours. */
struct conn {
    struct owner owner;
    struct listener *listener;
    struct wire wire;
    struct io_timer timer;
    uint64_t since; /* when the present wait began: idle, head, linger */
    union {
        struct conn_h1 h1;
        struct conn_h2 *h2;
    };
    uint32_t requests; /* answered, of HTTP/1 */
    union {
        uint32_t scanned;   /* of an incomplete head; see h1_parser */
        uint32_t discarded; /* bytes nobody wanted, of this request or while lingering */
    };
    uint8_t peer_ip[16]; /* who is connected: a struct address, but for a unix path */
    uint32_t peer_scope;
    uint16_t peer_port;
    uint8_t peer_family;
    uint8_t speaks : 2;  /* enum conn_speaks: its kind */
    uint8_t state : 2;   /* enum conn_state */
    bool draining : 1;   /* it is to end soon */
    bool starved : 1;    /* no memory to take content: reading pauses, and is tried again */
    bool reset : 1;      /* close by RST: the client must not take what it has for all */
    bool head_begun : 1; /* some bytes of a head are there */
};

/* What a connection speaks.  The first five are asked while it is CONN_OPEN. */
struct conn_kind {
    /* Reads, answers and writes as far as it goes.  May end in conn_linger() or
     * conn_close(); what it leaves on the wire is there again next time. */
    void (*serve)(struct conn *c);

    /* How many bytes it can do with now; 0: reading pauses. */
    uint32_t (*room)(struct conn *c);

    /* How long it waits for the client (or for anything but room on the wire);
     * then late() is called. */
    uint64_t (*deadline)(struct conn *c);
    void (*late)(struct conn *c);

    /* The connection is to end soon: c->draining has just been set. */
    void (*drain)(struct conn *c);

    /* Is there an exchange? */
    bool (*busy)(const struct conn *c);

    /* What fails, fails for this cause.  False when there is no exchange that
     * could say so. */
    bool (*blame)(struct conn *c, enum cause cause);

    /* A generation is over: ends what began under such. */
    void (*reloaded)(struct conn *c);

    /* The connection is closing, operations are still in flight: ends the
     * exchanges, but for those whose file the engine may still read. */
    void (*closing)(struct conn *c);

    /* Operations are idle: ends the exchanges that are left, frees its own. */
    void (*end)(struct conn *c);
};

extern const struct conn_kind conn_h1_kind, conn_h2_kind, conn_tls_kind, conn_proxy_kind;
extern const struct conn_kind *const conn_kinds[];

static inline const struct conn_kind *conn_kind(const struct conn *c)
{
    return conn_kinds[c->speaks];
}

/* An HTTP/1 connection without an exchange: its next answer is an error, and its last. */
void conn_h1_refuse(struct conn *c, enum cause cause);

/* It speaks HTTP/2 from its next byte on, the client's preface: after ALPN, or where that
 * preface came.  False: no memory, and the connection is closed. */
bool conn_h2_begin(struct conn *c);

/* May HTTP/2 begin without TLS? */
bool conn_h2_welcome(const struct conn *c);

/* Are these bytes, of a connection that has just begun, HTTP/2's preface?  Its first four
 * are what no HTTP/1 request has. */
enum preface { PREFACE_NONE, PREFACE_PART, PREFACE_WHOLE };
enum preface conn_h2_preface(struct span in);

static inline struct conn *conn_of(struct owner *owner)
{
    return container_of(owner, struct conn, owner);
}

static inline struct worker *conn_worker(const struct conn *c)
{
    return c->listener->worker;
}

static inline uint64_t conn_now(const struct conn *c)
{
    return io_now(conn_worker(c)->io);
}

/* Sends what is left, then FIN, then reads until the client has understood. */
void conn_linger(struct conn *c);

/* The same for a client that has said it would say no more: closes when all is sent. */
void conn_leave(struct conn *c);

/* Nothing more is sent or read; it is gone as soon as nothing is in flight. */
void conn_close(struct conn *c);

/* Why exchanges end when the wire has failed.  No peer causes FAIL_IO: a file was shorter than
 * it had been, or its disk failed. */
static inline enum cause conn_broken_by(const struct conn *c)
{
    switch (c->wire.fail) {
    case FAIL_MEMORY:
        return CAUSE_out_of_memory;
    case FAIL_IO:
        return CAUSE_file_error;
    default:
        return CAUSE_client_gone;
    }
}

/* Would more bytes of content be more than the route takes? */
static inline bool content_over(const struct exchange *x, uint64_t more)
{
    uint64_t max = x->route ? x->route->max_body : VALUE_OFF;

    return max != VALUE_OFF && x->bytes_in + more > max;
}

/* Who is connected. */
void conn_peer(const struct conn *c, struct address *peer);
void conn_set_peer(struct conn *c, const struct address *peer);

/* Our end of it. */
void conn_local(const struct conn *c, struct address *a);

/* The handshake comes next, where there is one, else a request. */
void conn_secure(struct conn *c);

/* What is the same before the first request, whatever is waited for. */
uint32_t conn_early_room(struct conn *c);
uint64_t conn_early_deadline(struct conn *c);
void conn_early_late(struct conn *c);
void conn_early_drain(struct conn *c);
bool conn_early_busy(const struct conn *c);
bool conn_early_blame(struct conn *c, enum cause cause);
void conn_early_reloaded(struct conn *c);
void conn_early_end(struct conn *c);

/* The connection's part of a new exchange: whose it is, and who is connected. */
void conn_exchange_init(struct conn *c, struct exchange *x, const struct carrier *carrier);

#endif
