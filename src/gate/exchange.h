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
struct generation;
struct exchange;

/* What the connection that carries an exchange does for it. */
struct carrier {
    struct span scheme; /* "http", "https" */
    bool lines;         /* it writes heads as text: those of struct prepared are of use */
    bool pipes;         /* it sends content as it is, so that may be in a pipe */

    /* All of the request's content if it has arrived already, without moving
     * it; false when it has not. */
    bool (*content_at_hand)(struct exchange *x, struct span *content);

    /* Where the client came to: our end of its connection. */
    void (*local)(const struct exchange *x, struct address *a);

    /* Writes an interim response. */
    void (*interim)(struct exchange *x, int status, const struct fields *fields);
};

enum response_state {
    RESPONSE_NONE,    /* the handler has not answered */
    RESPONSE_STARTED, /* status and fields are set; content is coming */
    RESPONSE_ENDED,   /* all content was given */
};

/* When things happened, ns of io_now(); 0: did not.  Of several tries at origins the last. */
struct exchange_times {
    uint64_t begun;      /* first byte of the head */
    uint64_t head;       /* head complete */
    uint64_t queued;     /* not when, but for how long: in a group's queue, in all tries */
    uint64_t tried;      /* a connection to an origin was looked for */
    uint64_t connected;  /* and was there */
    uint64_t first_byte; /* of the response */
};

enum {
    RESPONSE_FIELDS_INLINE = 24,
    REQUEST_FIELDS_INLINE = 128,
    CARRIER_ROOM = 256, /* bytes for the connection's own affairs */
};

struct exchange {
    struct worker *worker;
    struct owner *owner; /* the connection's, or its own: woken to move the exchange on */
    const struct carrier *carrier;
    struct generation *generation;
    struct config *config; /* the generation it began under */
    const struct listener_conf *listener;
    struct tls *tls;                /* the connection's; NULL: plain */
    struct tls_set *tls_set;        /* the listener's sections; until exchange_begin() is over */
    const struct route_conf *route; /* NULL: none, or not yet known */
    void *state;                    /* the handler's */

    struct span head; /* the bytes that request points into */
    struct request request;
    struct span host; /* lower case, no port; empty when there is none */
    struct path path;
    bool peer_trusted;
    struct span request_id; /* empty until exchange_request_id() is asked */
    struct span whole;      /* what request_content_whole() has gathered */
    size_t whole_room;

    enum response_state response_state;
    struct response response; /* status, fields; framing is the connection's affair */
    bool content_known;       /* content_length is the length of what will come */
    uint64_t content_length;
    struct span content; /* a response in one piece: valid until the exchange ends */
    int file;            /* or from a file: fd, -1 when not; the handler's to close */
    uint64_t file_offset, file_left;
    struct fields trailers;         /* of the response, after content of no known length */
    struct fields request_trailers; /* once the request's content has ended */
    struct span head_lines; /* of a prepared response, not in `response`; empty: it is not */

    enum cause cause;    /* why it went wrong; CAUSE_NONE: it did not */
    bool broken;         /* the response has begun and must be cut off */
    bool client_gone;    /* nobody is left to answer */
    bool waits;          /* for a place at an origin */
    bool tunnel;         /* after 101: bytes, not content */
    bool content_wanted; /* the handler asked for content: 100 goes out if expected */
    bool close_after;    /* the connection ends with this response */
    bool engaged;        /* the handler has been called */
    bool head_kept;      /* the head is in the arena, not in the connection's buffer */
    bool passed_on;      /* the response is an origin's: no Server but its own */
    struct exchange_times times;
    uint64_t bytes_in, bytes_out; /* content */
    struct span upstream, server; /* who answered, for the log */
    unsigned tries;

    /* What follows is not cleared between exchanges: it is written before it is read. */
    struct address peer;   /* who is connected; of a unix peer only the family */
    struct address client; /* whom we believe: peer, or through trusted hops */
    struct arena arena;
    struct route_match match; /* captures */
    struct flow request_content, response_content;
    char host_scratch[256];
    struct field response_fields[RESPONSE_FIELDS_INLINE];
    struct field request_fields[REQUEST_FIELDS_INLINE];
    uint64_t carrier_room[CARRIER_ROOM / sizeof(uint64_t)];
};

/* Has the handler run again, soon. */
void exchange_wake(struct exchange *x);

struct io *exchange_io(const struct exchange *x);

/* --- for connections --------------------------------------------------------- */

/* A fresh one with room for the fields of a head; NULL: no memory.  The
 * listener is one of that generation: routes know it by its index. */
struct exchange *exchange_new(struct worker *w, struct generation *g,
                              const struct listener_conf *listener);

/* The head is in x->request: finds the host, the path, the client and the
 * route, and makes it ready for exchange_answer().  What is wrong is answered. */
void exchange_begin(struct exchange *x);

/* Runs the handler once, if the response has not ended. */
void exchange_answer(struct exchange *x);

/* The bytes of the head are about to go, or are to be quoted for long: keeps a
 * copy.  Idempotent.  FAIL_MEMORY. */
MUST_USE int exchange_keep(struct exchange *x);

/* Says goodbye to the handler, logs, gives everything back. */
void exchange_end(struct exchange *x);

/* --- for modules --------------------------------------------------------------- */

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
/* Path and query as sent, also of an absolute form. */
struct span exchange_uri(struct exchange *x);

/* What the client asked with and for: the connection's scheme and the request's host,
 * without port, or what a trusted peer says that they were. */
struct span exchange_scheme(const struct exchange *x);
struct span exchange_host(struct exchange *x);

/* The same to be told on: as the trusted peer wrote it, the host with its port. */
struct span exchange_scheme_told(const struct exchange *x);
struct span exchange_host_told(struct exchange *x);

/* May the hops that the peer tells in this field be told on?  Not where the client's address
 * comes from another: these may be the client's own words. */
bool exchange_hops_told(const struct exchange *x, enum field_id id);

/* X-Request-Id: the trusted peer's, or made now; empty when the route says off. */
struct span exchange_request_id(struct exchange *x);

/* The state of this route's module on this worker. */
void *exchange_worker_state(const struct exchange *x);

/* The first value of a header field, the value of a cookie; empty: there is none. */
struct span request_header(const struct exchange *x, struct span name);
struct span request_cookie(const struct exchange *x, struct span name);

/* The request's cookies, one after the other, begun with a zeroed walk; false: no more. */
struct cookie_walk {
    unsigned field;   /* the next one */
    struct span rest; /* of the one before it */
};
bool cookie_next(const struct exchange *x, struct cookie_walk *walk, struct span *name,
                 struct span *value);

/* --- the request's content ------------------------------------------------- */

/* Content arrives in request_content only after it was asked for; this also
 * sends 100 (Continue) if that was expected (RFC 9110, 10.1.1). Idempotent. */
void request_content_want(struct exchange *x);

/* For handlers that need all of it at once, up to max bytes. */
enum whole {
    WHOLE_READY,   /* *content is all of it, valid until answer() returns */
    WHOLE_WAIT,    /* return; answer() will run again, then ask again */
    WHOLE_REFUSED, /* the exchange has been answered already: 413 and the like */
};
enum whole request_content_whole(struct exchange *x, size_t max, struct span *content);

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

/* The same for one of a message that was parsed: it is known to be good. */
int response_field_passed(struct exchange *x, const struct field *f);

/* The whole response: status and content, which must stay valid until the exchange ends. */
void respond(struct exchange *x, int status, struct span content);

/* Sends the client elsewhere.  `to` is encoded where it is no URI and, if a path, stays on this
 * host; empty, the request did not say where to: 400.  ptr NULL: no memory. */
void respond_redirect(struct exchange *x, int status, struct span to);

/* A response that is always the same, put together once: with the configuration, in
 * its arena.  FAIL_BAD: a name or a value that no head may have. */
enum { PREPARED_FIELDS = 2 };
struct prepared {
    int status;
    unsigned count;
    struct field fields[PREPARED_FIELDS];
    struct span content;
    struct span
        lines; /* status line, fields and length as HTTP/1 says them; empty: each time anew */
};
MUST_USE int prepared_make(struct prepared *p, struct arena *arena);

/* What respond() does, with less work. */
void respond_prepared(struct exchange *x, const struct prepared *p);

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

/* The same, not by the handler, which is not asked again. */
void exchange_give_up(struct exchange *x, enum cause cause);

/* The same with one more field: Allow, Content-Range ... */
void respond_failed_with(struct exchange *x, enum cause cause, enum field_id id, struct span value);

/* The same with a one-line reason as the content. */
void respond_reason(struct exchange *x, enum cause cause, struct span reason);

/* What a template stands for in this exchange; from the arena. ptr NULL: no memory. */
struct span template_text(const struct template *t, struct exchange *x);

/* The same for a path and perhaps a query: only what was written in the template,
 * and ${uri}, begins a query; a "?" that a client brings elsewhere is escaped. */
struct span template_target(const struct template *t, struct exchange *x);

#endif
