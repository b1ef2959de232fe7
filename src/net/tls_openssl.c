/* Connections by OpenSSL, in completion style; see tls.h.
 *
 * OpenSSL reads and writes through a BIO of ours that knows only memory: what
 * the wire was lent, and the wire's queue of ciphertext.  It belongs to the
 * worker, not to the connection: an idle connection has none.
 *
 * The section is chosen in the callback that comes before all else (client
 * hello), not in the one for the server name, which is called when a session
 * may have been resumed already, by another section's rules.
 */
#include "net/tls_openssl.h"

#include "base/mem.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/x509.h>

#include <stdlib.h>

/* --- the BIO ------------------------------------------------------------------------ */

static int bio_read(BIO *bio, char *out, int len)
{
    struct tls_worker *w = BIO_get_data(bio);
    struct span in = span_first(w->io->in, len > 0 ? (size_t)len : 0);

    BIO_clear_retry_flags(bio);
    if (in.len == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    memcpy(out, in.ptr, in.len);
    w->io->in = span_after(w->io->in, in.len);
    return (int)in.len;
}

static int bio_write(BIO *bio, const char *in, int len)
{
    struct tls_worker *w = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    if (len <= 0)
        return 0;
    if (!w->io->put(w->io->put_data, (struct span){in, (size_t)len})) {
        w->no_memory = true;
        return -1;
    }
    return len;
}

static long bio_ctrl(BIO *bio, int command, long number, void *data)
{
    (void)bio;
    (void)number;
    (void)data;
    return command == BIO_CTRL_FLUSH;
}

static void worker_free(struct tls_worker *w)
{
    if (!w)
        return;
    BIO_free(w->bio);
    BIO_meth_free(w->method);
    OPENSSL_clear_free(w->ticket_keys, TICKET_KEYS_KEPT * sizeof *w->ticket_keys);
    mem_free(w);
}

static int worker_new(struct tls_worker **out)
{
    struct tls_worker *w = mem_zalloc(sizeof *w);

    if (!w)
        return FAIL_MEMORY;
    w->method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "wire");
    if (w->method) {
        BIO_meth_set_read(w->method, bio_read);
        BIO_meth_set_write(w->method, bio_write);
        BIO_meth_set_ctrl(w->method, bio_ctrl);
        w->bio = BIO_new(w->method);
    }
    w->ticket_keys = OPENSSL_zalloc(TICKET_KEYS_KEPT * sizeof *w->ticket_keys);
    if (!w->bio || !w->ticket_keys) {
        worker_free(w);
        return FAIL_MEMORY;
    }
    BIO_set_data(w->bio, w);
    BIO_set_init(w->bio, 1);
    *out = w;
    return 0;
}

static void enter(struct openssl_tls *o, struct tls_io *io)
{
    o->worker->io = io;
    o->worker->no_memory = false;
    ERR_clear_error();
}

/* What a call that did not succeed means.  Once a goodbye has come OpenSSL takes every failure
 * for that. */
static int outcome(struct openssl_tls *o, int result)
{
    int error = SSL_get_error(o->ssl, result);

    if (o->worker->no_memory)
        return FAIL_MEMORY;
    switch (error) {
    case SSL_ERROR_WANT_READ:
        return 0;
    case SSL_ERROR_ZERO_RETURN:
        return FAIL_CLOSED;
    default:
        o->error = ERR_peek_error();
        return ERR_GET_REASON(o->error) == ERR_R_MALLOC_FAILURE ? FAIL_MEMORY : FAIL_BAD;
    }
}

/* --- the choice --------------------------------------------------------------------- */

/* RFC 6066, 3: a list with one name of type host_name. */
static bool hello_name(SSL *ssl, char room[256], struct span *name)
{
    const unsigned char *at;
    size_t len;

    *name = (struct span){0};
    if (!SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &at, &len))
        return true;
    if (len < 5 || ((size_t)at[0] << 8 | at[1]) != len - 2 || at[2] != TLSEXT_NAMETYPE_host_name)
        return false;
    size_t n = (size_t)at[3] << 8 | at[4];
    if (n != len - 5 || n == 0 || n > 255)
        return false;
    for (size_t i = 0; i < n; i++)
        room[i] = ascii_lower((char)at[5 + i]);
    if (room[n - 1] == '.')
        n--;
    *name = (struct span){room, n};
    return true;
}

static bool hello_take(struct openssl_tls *o, struct openssl_context *c, unsigned part)
{
    static const int modes[] = {SSL_VERIFY_NONE, SSL_VERIFY_PEER,
                                SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT};
    SSL *ssl = o->ssl;

    /* Only some of a context's properties change hands with it. */
    SSL_set_SSL_CTX(ssl, c->parts[part]);
    SSL_set_verify(ssl, modes[c->verify], NULL);
    SSL_set_min_proto_version(ssl, c->modern ? TLS1_3_VERSION : TLS1_2_VERSION);
    if (c->tickets)
        SSL_clear_options(ssl, SSL_OP_NO_TICKET);
    else
        SSL_set_options(ssl, SSL_OP_NO_TICKET);
    SSL_set_num_tickets(ssl, c->tickets);
    if (!SSL_set_session_id_context(ssl, c->base.binding, sizeof c->base.binding))
        return false;
    return c->groups.len == 0 || SSL_set1_groups_list(ssl, c->groups.ptr);
}

int openssl_hello(SSL *ssl, int *alert, void *data)
{
    struct openssl_tls *o = SSL_get_app_data(ssl);
    char room[256];
    struct span name;

    (void)data;
    if (o->base.context) /* after a HelloRetryRequest */
        return SSL_CLIENT_HELLO_SUCCESS;
    if (!hello_name(ssl, room, &name)) {
        *alert = SSL_AD_DECODE_ERROR;
        return SSL_CLIENT_HELLO_ERROR;
    }
    struct tls_context *c = tls_set_choose(o->base.set, name);
    if (!c) {
        *alert = SSL_AD_UNRECOGNIZED_NAME;
        return SSL_CLIENT_HELLO_ERROR;
    }
    const struct tls_name *found = tls_context_name(c, name, true);
    if (!found)
        found = tls_context_name(c, name, false);
    if (!hello_take(o, openssl_context_of(c), found ? found->part : 0)) {
        *alert = SSL_AD_INTERNAL_ERROR;
        return SSL_CLIENT_HELLO_ERROR;
    }
    o->base.context = tls_context_use(c);
    tls_set_done(o->base.set);
    o->base.set = NULL;
    return SSL_CLIENT_HELLO_SUCCESS;
}

/* Ours decide the order.  No overlap is an alert (RFC 7301, 3.2). */
int openssl_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                 const unsigned char *in, unsigned in_len, void *data)
{
    struct openssl_tls *o = SSL_get_app_data(ssl);
    struct openssl_context *c = openssl_context_of(o->base.context);
    static const unsigned char old[] = "\x08http/1.0"; /* goes with http/1.1 */
    unsigned char *chosen;

    (void)data;
    if (SSL_select_next_proto(&chosen, out_len, (const unsigned char *)c->alpn.ptr,
                              (unsigned)c->alpn.len, in, in_len) != OPENSSL_NPN_NEGOTIATED &&
        (!c->speaks_h1 || SSL_select_next_proto(&chosen, out_len, old, sizeof old - 1, in,
                                                in_len) != OPENSSL_NPN_NEGOTIATED))
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* --- connections ------------------------------------------------------------------------ */

static struct openssl_tls *openssl_new(struct tls_worker *w, SSL_CTX *ctx)
{
    struct openssl_tls *o = mem_zalloc(sizeof *o);

    if (!o || !(o->ssl = SSL_new(ctx))) {
        ERR_clear_error();
        mem_free(o);
        return NULL;
    }
    o->worker = w;
    SSL_set_app_data(o->ssl, (char *)o);
    BIO_up_ref(w->bio);
    SSL_set_bio(o->ssl, w->bio, w->bio);
    return o;
}

static int openssl_accept(struct tls **out, struct tls_worker *w, struct tls_set *set)
{
    struct openssl_tls *o = openssl_new(w, openssl_context_of(set->list[0])->parts[0]);

    if (!o)
        return FAIL_MEMORY;
    o->base.layer = tls_layer_built;
    o->base.server = true;
    o->base.set = set;
    SSL_set_accept_state(o->ssl);
    *out = &o->base;
    return 0;
}

static int openssl_connect(struct tls **out, struct tls_worker *w, struct tls_context *c,
                           struct span name, struct tls_session *session)
{
    struct openssl_tls *o = openssl_new(w, openssl_context_of(c)->parts[0]);
    char host[256];

    if (!o)
        return FAIL_MEMORY;
    o->base.layer = tls_layer_built;
    SSL_set_connect_state(o->ssl);
    if (name.len > 0 && name.len < sizeof host) {
        memcpy(host, name.ptr, name.len);
        host[name.len] = '\0';
        bool is_ip = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(o->ssl), host);
        if (!is_ip)
            SSL_set_tlsext_host_name(o->ssl, host);
        if (!is_ip && !SSL_set1_host(o->ssl, host))
            o->failed = FAIL_MEMORY;
    }
    if (session)
        SSL_set_session(o->ssl, (SSL_SESSION *)(void *)session);
    ERR_clear_error();
    if (o->failed) {
        SSL_free(o->ssl);
        mem_free(o);
        return FAIL_MEMORY;
    }
    o->base.context = tls_context_use(c);
    *out = &o->base;
    return 0;
}

static void openssl_close(struct tls *t)
{
    struct openssl_tls *o = openssl_of(t);

    /* Otherwise the session counts as broken, and is never resumed. */
    if (!o->failed && t->ready)
        SSL_set_shutdown(o->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(o->ssl);
    mem_free(o);
}

static int openssl_handshake(struct openssl_tls *o)
{
    int result = SSL_do_handshake(o->ssl);

    if (result != 1)
        return outcome(o, result);
    o->base.ready = true;
    o->base.resumed = SSL_session_reused(o->ssl);
    return 0;
}

/* By TLS 1.3 a client is done before the server has looked at its certificate, or the lack of one;
 * what the server thinks of it (RFC 8446, 6.2) may be the first that comes then. */
static bool is_refusal(unsigned long error)
{
    switch (ERR_GET_REASON(error) - SSL_AD_REASON_OFFSET) {
    case SSL_AD_HANDSHAKE_FAILURE:
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_CERTIFICATE_REVOKED:
    case SSL_AD_CERTIFICATE_EXPIRED:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_UNKNOWN_CA:
    case SSL_AD_ACCESS_DENIED:
    case SSL_AD_DECRYPT_ERROR:
    case SSL_AD_CERTIFICATE_REQUIRED:
        return true;
    default:
        return false;
    }
}

static int openssl_receive(struct tls *t, struct tls_io *io, char *room, size_t size, size_t *n)
{
    struct openssl_tls *o = openssl_of(t);
    int err = o->failed ? o->failed : o->closed ? FAIL_CLOSED : 0;

    *n = 0;
    t->pending = false;
    if (err)
        return err;
    enter(o, io);
    if (!t->ready)
        err = openssl_handshake(o);
    while (t->ready && err == 0 && *n < size && (io->in.len > 0 || SSL_pending(o->ssl) > 0)) {
        size_t got = 0;
        int result = SSL_read_ex(o->ssl, room + *n, size - *n, &got);
        *n += got;
        if (result != 1 && ((err = outcome(o, result)) == 0))
            break;
    }
    o->heard = o->heard || *n > 0;
    if (err == FAIL_CLOSED) {
        o->closed = true;
    } else if (err) {
        o->failed = err;
        t->refused = t->ready && !o->heard && is_refusal(o->error);
    }
    if (err && *n > 0) { /* the next call will say so */
        t->pending = true;
        return 0;
    }
    /* Not SSL_has_pending(), which counts a record that has not come whole. */
    t->pending = io->in.len > 0 || SSL_pending(o->ssl) > 0;
    return err;
}

static int openssl_send(struct tls *t, struct tls_io *io, struct span plain)
{
    struct openssl_tls *o = openssl_of(t);
    size_t done;

    enter(o, io);
    int result = SSL_write_ex(o->ssl, plain.ptr, plain.len, &done);
    if (result == 1)
        return 0;
    int err = outcome(o, result);
    return o->failed = err ? err : FAIL_BAD;
}

static int openssl_finish(struct tls *t, struct tls_io *io)
{
    struct openssl_tls *o = openssl_of(t);

    if (o->failed || !t->ready)
        return 0;
    enter(o, io);
    if (SSL_shutdown(o->ssl) < 0 && o->worker->no_memory)
        return FAIL_MEMORY;
    return 0;
}

/* --- what is known ------------------------------------------------------------------------ */

static struct span openssl_agreed(const struct tls *t)
{
    const unsigned char *name;
    unsigned len;

    SSL_get0_alpn_selected(openssl_of((struct tls *)(uintptr_t)t)->ssl, &name, &len);
    return (struct span){(const char *)name, len};
}

static size_t subject_print(const X509 *cert, char *room)
{
    BIO *bio = BIO_new(BIO_s_mem());
    int len = 0;

    if (bio && X509_NAME_print_ex(bio, X509_get_subject_name(cert), 0, XN_FLAG_RFC2253) >= 0)
        len = BIO_read(bio, room, TLS_FACT_MAX);
    BIO_free(bio);
    return len > 0 ? (size_t)len : 0;
}

static size_t fingerprint_print(const X509 *cert, char *room)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    if (!X509_digest(cert, EVP_sha256(), digest, &len))
        return 0;
    for (unsigned i = 0; i < len; i++) {
        room[2 * i] = digits[digest[i] >> 4];
        room[2 * i + 1] = digits[digest[i] & 15];
    }
    return 2 * (size_t)len;
}

static size_t openssl_fact(const struct tls *t, enum tls_fact fact, char *room)
{
    const SSL *ssl = openssl_of((struct tls *)(uintptr_t)t)->ssl;
    const X509 *cert = SSL_get0_peer_certificate(ssl);
    struct span text = {0};
    size_t len = 0;

    if (cert && SSL_get_verify_result(ssl) != X509_V_OK)
        cert = NULL;
    switch (fact) {
    case TLS_FACT_VERSION:
        text = span_of(SSL_get_version(ssl));
        break;
    case TLS_FACT_CIPHER:
        text = span_of(SSL_get_cipher_name(ssl));
        break;
    case TLS_FACT_SNI:
        text = span_of(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));
        break;
    case TLS_FACT_CERT_SUBJECT:
        len = cert ? subject_print(cert, room) : 0;
        break;
    case TLS_FACT_CERT_SHA256:
        len = cert ? fingerprint_print(cert, room) : 0;
        break;
    case TLS_FACT_CERT_VERIFIED:
        text = cert ? SPAN("yes") : SPAN("no");
        break;
    }
    ERR_clear_error();
    if (text.len > 0 && text.len <= TLS_FACT_MAX) {
        memcpy(room, text.ptr, text.len);
        len = text.len;
    }
    return len;
}

static size_t openssl_why(const struct tls *t, char *room)
{
    const struct openssl_tls *o = openssl_of((struct tls *)(uintptr_t)t);
    const char *reason = o->error ? ERR_reason_error_string(o->error) : NULL;
    long verified = SSL_get_verify_result(o->ssl);
    bool ours = !reason || ERR_GET_REASON(o->error) == SSL_R_CERTIFICATE_VERIFY_FAILED;

    if (ours && verified != X509_V_OK)
        reason = X509_verify_cert_error_string(verified);
    struct span text = span_of(reason ? reason : "the peer went away");
    memcpy(room, text.ptr, text.len);
    return text.len;
}

static struct tls_session *openssl_session_take(struct tls *t)
{
    SSL_SESSION *session = SSL_get1_session(openssl_of(t)->ssl);

    if (session && !SSL_SESSION_is_resumable(session)) {
        SSL_SESSION_free(session);
        session = NULL;
    }
    return (struct tls_session *)(void *)session;
}

static void openssl_session_free(struct tls_session *session)
{
    SSL_SESSION_free((SSL_SESSION *)(void *)session);
}

static void openssl_entropy(uint8_t *out, size_t len)
{
    if (RAND_bytes(out, (int)len) != 1)
        abort();
}

static const struct tls_layer openssl = {
    .name = "OpenSSL",
    .entropy = openssl_entropy,
    .context_new = openssl_context_new,
    .client_new = openssl_client_new,
    .context_free = openssl_context_free,
    .worker_new = worker_new,
    .worker_free = worker_free,
    .accept = openssl_accept,
    .connect = openssl_connect,
    .close = openssl_close,
    .receive = openssl_receive,
    .send = openssl_send,
    .finish = openssl_finish,
    .alpn = openssl_agreed,
    .fact = openssl_fact,
    .why = openssl_why,
    .session_take = openssl_session_take,
    .session_free = openssl_session_free,
};

const struct tls_layer *const tls_layer_built = &openssl;
