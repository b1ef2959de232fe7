/* One request and its response.
 *
 * Lives from the first byte of a head until its last byte of response was
 * handed to the connection, the request's content was read or given up, and
 * the handler has said goodbye.  Everything it allocates comes from its arena.
 */
#ifndef HEADGATE_GATE_EXCHANGE_H
#define HEADGATE_GATE_EXCHANGE_H

#include "base/flow.h"
#include "gate/config.h"
#include "gate/route.h"
#include "http/cause.h"
#include "http/message.h"

struct io;
struct owner;
struct worker;
struct exchange;

/* What the connection that carries an exchange does for it: HTTP/1 today. */
struct carrier {
    /* There is room in the request's flow again. */
    void (*request_wanted)(struct exchange *x);
    /* Takes the connection's own bytes away for a tunnel: after a 101 was sent,
     * request_content carries what the client says and response_content what it gets. */
    bool can_tunnel;
    struct span scheme; /* "http", "https" */
};

enum response_state {
    RESPONSE_NONE,    /* the handler has not answered */
    RESPONSE_STARTED, /* status and fields are set; content is coming */
    RESPONSE_ENDED,   /* all content was given */
};

/* When things happened, ns of io_now(); 0: did not. */
struct exchange_times {
    uint64_t begun;      /* first byte of the head */
    uint64_t head;       /* head complete */
    uint64_t queued;     /* handed to an origin's queue or connection attempt */
    uint64_t connected;  /* to the origin */
    uint64_t first_byte; /* of the response */
};

enum { RESPONSE_FIELDS_INLINE = 24 };

struct exchange {
    struct worker *worker;
    struct owner *owner;            /* the connection's: woken to move the exchange on */
    const struct carrier *carrier;
    struct config *config;          /* the generation it began under */
    const struct listener_conf *listener;
    const struct route_conf *route; /* NULL: none, or not yet known */
    struct arena arena;

    struct request request;
    struct span host;               /* lower case, no port; empty when there is none */
    struct path path;
    struct route_match match;       /* captures */
    struct address peer;            /* who is connected */
    struct address client;          /* whom we believe: peer, or through trusted hops */
    bool peer_trusted;
    struct span request_id;         /* empty: off */
    struct flow request_content;

    enum response_state response_state;
    struct response response;       /* status, fields; framing is the connection's affair */
    struct field response_fields[RESPONSE_FIELDS_INLINE];
    bool content_known;             /* content_length is the length of what will come */
    uint64_t content_length;
    struct span content;            /* a response in one piece: valid until the exchange ends */
    struct flow response_content;   /* or in many */
    int file;                       /* or from a file: fd, -1 when not; the handler's to close */
    uint64_t file_offset, file_left;
    struct fields trailers;         /* of the response, after chunked content */

    enum cause cause;               /* why it went wrong; CAUSE_NONE: it did not */
    bool client_gone;               /* nobody is left to answer */
    bool tunnel;                    /* after 101: bytes, not content */
    bool continue_wanted;           /* the handler asked for content: 100 goes out if expected */
    bool close_after;               /* the connection ends with this response */
    uint8_t content_waiting;        /* request content is being asked for (body_min_rate runs) */
    void *state;                    /* the handler's */
    struct exchange_times times;
    uint64_t bytes_in, bytes_out;   /* content */
    struct span upstream, server;   /* who answered, for the log */
    unsigned tries;
};

/* Has the handler run again, soon. */
void exchange_wake(struct exchange *x);

struct io *exchange_io(const struct exchange *x);
static inline struct arena *exchange_arena(struct exchange *x)
{
    return &x->arena;
}
static inline const void *exchange_conf(const struct exchange *x)
{
    return x->route->conf;
}
static inline const void *exchange_module_conf(const struct exchange *x)
{
    return x->route->module_conf;
}
static inline void *exchange_state(const struct exchange *x)
{
    return x->state;
}
/* The state of this route's module on this worker. */
void *exchange_worker_state(const struct exchange *x);

/* --- the request's content ------------------------------------------------- */

/* Content arrives in request_content only after it was asked for; this also
 * sends 100 (Continue) if that was expected (RFC 9110, 10.1.1). Idempotent. */
void request_content_want(struct exchange *x);

/* For handlers that need all of it at once, up to max bytes.  0: it is in
 * *content (arena or lent: valid until the exchange ends).  1: not yet, answer() will run again.
 * -1: refused: the exchange was answered with 413 or the like already. */
int request_content_whole(struct exchange *x, size_t max, struct span *content);

static inline bool request_content_done(const struct exchange *x)
{
    return flow_done(&x->request_content);
}

/* --- the response ---------------------------------------------------------- */

static inline bool response_started(const struct exchange *x)
{
    return x->response_state != RESPONSE_NONE;
}

/* Before the response starts.  The value must stay valid until the exchange
 * ends (arena, configuration, literal).  Bad names or values are refused: FAIL_BAD;
 * too many: FAIL_FULL.  Date, Server, Content-Length, Connection and
 * Transfer-Encoding are the connection's. */
int response_field(struct exchange *x, enum field_id id, struct span value);
int response_field_named(struct exchange *x, struct span name, struct span value);

/* The whole response: status and content, which must stay valid until the exchange ends. */
void respond(struct exchange *x, int status, struct span content);

/* A part of a file as content; the handler keeps fd open until ended(). */
void respond_file(struct exchange *x, int status, int fd, uint64_t offset, uint64_t len);

/* A response that streams through response_content.  length: VALUE_OFF when
 * it is not known. */
void respond_start(struct exchange *x, int status, uint64_t length);
void respond_end(struct exchange *x); /* all content is in response_content */

/* An interim response: 103 and the like (RFC 9110, 15.2), from an origin. Sent at once. */
void respond_interim(struct exchange *x, int status, const struct fields *fields);

/* Answers with the cause's status and error page, or cuts the response off
 * when one has begun. */
void respond_failed(struct exchange *x, enum cause cause);

/* The same with a one-line reason as the content. */
void respond_reason(struct exchange *x, enum cause cause, struct span reason);

/* What a template stands for in this exchange; from the arena. ptr NULL: no memory. */
struct span template_text(const struct template *t, struct exchange *x);

#endif
