/* The parts of the OpenSSL layer; for tls_openssl*.c only. */
#ifndef HEADGATE_NET_TLS_OPENSSL_H
#define HEADGATE_NET_TLS_OPENSSL_H

#include "base/arena.h"
#include "net/tls.h"

#include <openssl/ssl.h>

enum { PARTS_MAX = 64, STAPLES_MAX = 64 };

/* An OCSP response and what it is about. */
struct openssl_staple {
    const X509 *leaf;
    struct span der;
    int64_t until; /* seconds since 1970; INT64_MAX: it does not say */
};

/* OpenSSL's contexts hold one certificate per type of key; a section that has
 * more, for different names, needs several of them: its parts. */
struct openssl_context {
    struct tls_context base;
    struct arena arena;
    SSL_CTX *parts[PARTS_MAX];
    unsigned part_count;
    enum tls_verify verify;
    bool modern, tickets, speaks_h1;
    struct span groups; /* terminated; may be empty */
    struct span alpn;   /* as on the wire */
    const uint8_t *ticket_keys;
    unsigned ticket_key_count;
    uint64_t ticket_rotation_ns;
    uint8_t *secret; /* TLS_SECRET bytes; this, too, in OpenSSL's memory */
    EVP_CIPHER *ticket_cipher;
    struct openssl_staple staples[STAPLES_MAX];
    unsigned staple_count;
};

struct openssl_tls {
    struct tls base;
    SSL *ssl;
    struct tls_worker *worker;
    unsigned long error; /* the first of OpenSSL's own */
    int failed;          /* enum fail; to be told when what came before it is taken */
    bool closed;         /* close_notify has come; to be told the same way */
    bool heard;          /* some plaintext has come */
};

/* One BIO serves all connections of a worker: `io` is that of the one at work. */
/* A key of tickets that was derived, kept because every handshake needs it again. */
struct openssl_ticket_key {
    uint8_t binding[TLS_BINDING];
    uint64_t period;
    uint8_t key[TLS_TICKET_KEY];
};
enum { TICKET_KEYS_KEPT = 8 };

struct tls_worker {
    struct openssl_ticket_key *ticket_keys; /* TICKET_KEYS_KEPT, in OpenSSL's memory */
    unsigned ticket_keys_next;              /* the oldest */
    BIO *bio;
    BIO_METHOD *method;
    struct tls_io *io;
    bool no_memory;
};

static inline struct openssl_context *openssl_context_of(struct tls_context *c)
{
    return (struct openssl_context *)(void *)c;
}
static inline struct openssl_tls *openssl_of(struct tls *t)
{
    return (struct openssl_tls *)(void *)t;
}

/* Server and client contexts; tls_openssl_context.c and tls_openssl_client.c. */
int openssl_context_new(struct tls_context **out, const struct tls_settings *s);
int openssl_client_new(struct tls_context **out, const struct tls_client_settings *s);
void openssl_context_free(struct tls_context *c);

/* The chain and the keys of files; tls_openssl_pair.c. */
struct openssl_pair {
    X509 *leaf;
    STACK_OF(X509) * chain; /* the others, in order */
    EVP_PKEY *key;
    const struct tls_file *file;
};
struct openssl_say {
    tls_say_fn *say;
    void *data;
    bool failed;
};
void openssl_remark(struct openssl_say *say, enum tls_about about, bool warning, const char *format,
                    ...) PRINTF_LIKE(4, 5);
/* The reason at the top of OpenSSL's queue, which is emptied. */
const char *openssl_reason(void);

/* One pair for each certificate; what is wrong was said.  `now`: for expiry. */
void openssl_pairs_load(struct openssl_pair *pairs, const struct tls_files *certificates,
                        const struct tls_files *keys, int64_t now, struct openssl_say *say);
void openssl_pair_free(struct openssl_pair *pair);

/* Calls back for every DNS name of a certificate. */
void openssl_names(const X509 *leaf, void (*each)(void *data, struct span name), void *data);

/* Tickets and staples; tls_openssl_ticket.c. */
void openssl_tickets_init(struct openssl_context *c, SSL_CTX *ctx);
bool openssl_ticket_keys_load(struct openssl_context *c, const struct tls_settings *s,
                              struct openssl_say *say);
void openssl_staples_load(struct openssl_context *c, const struct tls_settings *s,
                          const struct openssl_pair *pairs, struct openssl_say *say);
void openssl_staples_init(SSL_CTX *ctx);

/* The choice by name, early in a handshake; tls_openssl.c. */
int openssl_hello(SSL *ssl, int *alert, void *data);
int openssl_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                 const unsigned char *in, unsigned in_len, void *data);

#endif
