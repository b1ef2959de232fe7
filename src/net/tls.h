/* The record layer under a wire: ciphertext in and out, plaintext on the other side.
 *
 * A layer (OpenSSL's; the simulator's toy) is a table of functions.  A
 * context is what a [tls] section says, immutable, shared by all workers and
 * counted, because connections keep their handshake's.  A set is the contexts
 * of one listener, among which the client's name chooses.  A struct tls is one
 * connection's state; it does no I/O: a wire hands it what has come and sends
 * what it puts out.
 */
#ifndef HEADGATE_NET_TLS_H
#define HEADGATE_NET_TLS_H

#include "base/fail.h"
#include "base/span.h"

#include <stdatomic.h>

enum {
    TLS_RECORD_MAX = 16 * 1024, /* plaintext of one record */
    TLS_BINDING = 32,           /* bytes */
    TLS_SECRET = 32,
    TLS_TICKET_KEY = 80, /* 16 of name, 32 for the MAC, 32 for AES */
};

struct tls_layer;
struct tls_context;
struct tls_settings;
struct tls;

/* --- contexts --------------------------------------------------------------------- */

/* A name that is served, lower case; ".example.com" for "*.example.com". */
struct tls_name {
    struct span name;
    unsigned part; /* the layer's: which of its certificates */
};

/* What every layer's own begins with. */
struct tls_context {
    const struct tls_layer *layer;
    _Atomic unsigned refs;
    struct span section; /* its name */
    struct span hsts;    /* value of Strict-Transport-Security; empty: none */
    bool client_ca;      /* clients may be known by certificate */
    /* Of the section, its client_ca and client_crl: what a session or a
     * request of another one must not have the rights of. */
    uint8_t binding[TLS_BINDING];
    struct tls_name *names; /* sorted */
    unsigned name_count;
};

struct tls_context *tls_context_use(struct tls_context *c);
void tls_context_done(struct tls_context *c); /* NULL is fine */

/* Which name of a context covers a host: exact, then wildcard (one label); NULL: none. */
const struct tls_name *tls_context_name(const struct tls_context *c, struct span host, bool exact);

/* The contexts of a listener, in its order.  Counted like them. */
struct tls_set {
    _Atomic unsigned refs;
    bool refuse_unknown; /* unknown_sni = refuse */
    bool client_ca;      /* of any of them */
    unsigned count;
    struct tls_context *list[];
};
MUST_USE int tls_set_new(struct tls_set **out, struct tls_context *const *list, unsigned count,
                         bool refuse_unknown);
struct tls_set *tls_set_use(struct tls_set *s);
void tls_set_done(struct tls_set *s); /* NULL is fine */

/* The one that serves a host: exact, then wildcard, then the first; NULL when
 * none does and the first may not. `host` empty: no name was asked for. */
struct tls_context *tls_set_choose(const struct tls_set *s, struct span host);

/* The one whose requests those for a host are: the same, but a wildcard covers
 * any number of labels, as those of routes do. */
struct tls_context *tls_set_owner(const struct tls_set *s, struct span host);

/* Both, but NULL when no name covers the host. */
enum tls_labels { TLS_ONE_LABEL, TLS_ANY_LABELS };
struct tls_context *tls_set_named(const struct tls_set *s, struct span host,
                                  enum tls_labels labels);

/* --- what a context is made of -------------------------------------------------------- */

struct tls_file {
    struct span path, content;
};
struct tls_files {
    struct tls_file *list;
    unsigned count;
};
enum tls_verify { TLS_VERIFY_OFF, TLS_VERIFY_OPTIONAL, TLS_VERIFY_REQUIRED };

/* Which setting a remark is about. */
enum tls_about {
    TLS_ABOUT_CERTIFICATE,
    TLS_ABOUT_KEY,
    TLS_ABOUT_NAMES,
    TLS_ABOUT_CIPHERS,
    TLS_ABOUT_GROUPS,
    TLS_ABOUT_TICKET_KEYS,
    TLS_ABOUT_OCSP,
    TLS_ABOUT_CLIENT_CA,
    TLS_ABOUT_CLIENT_CRL,
};
/* Says what is wrong: an error unless `warning`. */
typedef void tls_say_fn(void *data, enum tls_about about, bool warning, struct span text);

struct tls_settings {
    struct span section;
    struct tls_files certificates, keys; /* no keys: in the certificates' files */
    const struct span *names;            /* none: the certificates' */
    unsigned name_count;
    bool modern;
    struct span ciphers, suites, groups; /* OpenSSL's lists; empty: the profile's */
    const struct span *alpn;             /* in our order */
    unsigned alpn_count;
    bool tickets;
    uint64_t ticket_rotation_ns;
    struct tls_files ticket_keys; /* none: derived from the process's secret */
    const uint8_t *secret;        /* TLS_SECRET bytes, the process's; copied */
    struct tls_files ocsp;
    struct tls_file client_ca, client_crl; /* path empty: none */
    enum tls_verify verify;
    struct span hsts;
    int64_t now; /* seconds since 1970, for what has expired */
    tls_say_fn *say;
    void *say_data;
};

/* For origins. */
struct tls_client_settings {
    struct span section; /* for remarks: the upstream's name */
    struct span name;    /* that is verified; empty: each server's */
    bool verify;
    struct tls_file ca; /* path empty: the system's */
    struct tls_file certificate, key;
    const struct span *alpn;
    unsigned alpn_count;
    int64_t now;
    tls_say_fn *say;
    void *say_data;
};

/* --- connections -------------------------------------------------------------------------- */

/* A worker's part: what its connections share while one of them is at work. */
struct tls_worker;

/* Where a layer leaves ciphertext.  Copies; false: no memory. */
typedef bool tls_put_fn(void *data, struct span bytes);

/* What a layer works with during one call. */
struct tls_io {
    struct span in; /* ciphertext that has come; the layer takes from its front */
    tls_put_fn *put;
    void *put_data;
    uint64_t wall_ns; /* since 1970 */
};

/* What every layer's own begins with. */
struct tls {
    const struct tls_layer *layer;
    struct tls_context *context; /* the chosen one, counted; a client's; NULL before the choice */
    struct tls_set *set;         /* of a server, until the choice; counted */
    void *user;                  /* a client's: told of sessions */
    bool server;
    bool ready;   /* the handshake is over */
    bool resumed; /* by a ticket or session */
    bool refused; /* the peer gave up a handshake that was over for us: it has read nothing */
    bool pending; /* decrypted bytes, or part of what is in hand, need no further ciphertext */
};

/* Facts for variables; empty where there is none. */
enum tls_fact {
    TLS_FACT_VERSION,
    TLS_FACT_CIPHER,
    TLS_FACT_SNI,
    TLS_FACT_CERT_SUBJECT,
    TLS_FACT_CERT_SHA256,
    TLS_FACT_CERT_VERIFIED,
};
enum { TLS_FACT_MAX = 1024 };

/* To resume with: a client's.  Counted by the layer. */
struct tls_session;

struct tls_layer {
    const char *name;
    void (*entropy)(uint8_t *out, size_t len); /* secret random bytes, on main */

    /* NULL in *out and an error when something was said to be wrong. */
    int (*context_new)(struct tls_context **out, const struct tls_settings *s);
    int (*client_new)(struct tls_context **out, const struct tls_client_settings *s);
    void (*context_free)(struct tls_context *c);

    int (*worker_new)(struct tls_worker **out);
    void (*worker_free)(struct tls_worker *w);

    /* The set's reference is taken over when it succeeds. */
    int (*accept)(struct tls **out, struct tls_worker *w, struct tls_set *set);
    /* name: SNI, and what is verified; session: to resume, or NULL. */
    int (*connect)(struct tls **out, struct tls_worker *w, struct tls_context *c, struct span name,
                   struct tls_session *session);
    void (*close)(struct tls *t);

    /* Goes on with the handshake, then decrypts: at most `size` bytes to
     * `room`.  0 with *n 0: all ciphertext was taken and more must come.
     * FAIL_CLOSED: the peer said close_notify.  Other failures are final;
     * io->put may have been given an alert. */
    int (*receive)(struct tls *t, struct tls_io *io, char *room, size_t size, size_t *n);
    /* Encrypts all of it, at most TLS_RECORD_MAX bytes.  Only when ready. */
    int (*send)(struct tls *t, struct tls_io *io, struct span plain);
    /* close_notify. */
    int (*finish)(struct tls *t, struct tls_io *io);

    struct span (*alpn)(const struct tls *t); /* what was agreed; empty: nothing */
    /* Writes up to TLS_FACT_MAX bytes; returns how many. */
    size_t (*fact)(const struct tls *t, enum tls_fact fact, char *room);
    /* Why it failed, for the log; the same way. */
    size_t (*why)(const struct tls *t, char *room);

    /* A client's session, to be kept for the next connection; NULL: none that may be resumed. */
    struct tls_session *(*session_take)(struct tls *t);
    void (*session_free)(struct tls_session *session);
};

/* Ends one: gives back what it counted.  NULL is fine. */
void tls_close(struct tls *t);

/* The one that was built in; NULL when configured without. */
extern const struct tls_layer *const tls_layer_built;

#endif
