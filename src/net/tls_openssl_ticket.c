/* Tickets without state, and OCSP responses; see tls_openssl.h.
 *
 * Without files, ticket keys are derived from a secret of the process and the
 * time: all workers have the same ones without sharing anything that changes,
 * a reload keeps them, and a period's key stops issuing when the period ends
 * and decrypting one period later.  What they are derived from names the
 * section and its client_ca, so no other section can read its tickets.
 */
#include "net/tls_openssl.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/ocsp.h>
#include <openssl/rand.h>

#include <time.h>

enum {
    TICKET_NAME = 16,
    TICKET_MAC = 32,
    TICKET_AGE_MAX = 604800, /* seconds: RFC 8446, 4.6.1 */
};

/* --- tickets --------------------------------------------------------------------------- */

static bool key_derive(const struct openssl_context *c, uint64_t period,
                       uint8_t key[TLS_TICKET_KEY])
{
    uint8_t text[TLS_BINDING + 9], block[32];
    unsigned len = 0;

    memcpy(text, c->base.binding, TLS_BINDING);
    for (unsigned i = 0; i < 8; i++)
        text[TLS_BINDING + i] = (uint8_t)(period >> (8 * i));
    for (unsigned i = 0, at = 0; at < TLS_TICKET_KEY; i++) {
        unsigned part = i == 0 ? TICKET_NAME : sizeof block;
        text[TLS_BINDING + 8] = (uint8_t)i;
        if (!HMAC(EVP_sha256(), c->secret, TLS_SECRET, text, sizeof text, block, &len))
            return false;
        memcpy(key + at, block, part);
        at += part;
    }
    OPENSSL_cleanse(block, sizeof block);
    return true;
}

/* The key of a period, which is derived once on each worker.  No period is 0. */
static bool key_of(const struct openssl_context *c, struct tls_worker *w, uint64_t period,
                   uint8_t key[TLS_TICKET_KEY])
{
    struct openssl_ticket_key *kept = w->ticket_keys;

    for (unsigned i = 0; i < TICKET_KEYS_KEPT; i++) {
        if (kept[i].period != period || memcmp(kept[i].binding, c->base.binding, TLS_BINDING) != 0)
            continue;
        memcpy(key, kept[i].key, TLS_TICKET_KEY);
        return true;
    }
    if (!key_derive(c, period, key))
        return false;
    kept += w->ticket_keys_next++ % TICKET_KEYS_KEPT;
    kept->period = period;
    memcpy(kept->binding, c->base.binding, TLS_BINDING);
    memcpy(kept->key, key, TLS_TICKET_KEY);
    return true;
}

/* The n-th key, newest first; false when there are no more. */
static bool key_at(const struct openssl_context *c, struct tls_worker *w, unsigned n,
                   uint8_t key[TLS_TICKET_KEY])
{
    uint64_t period = w->io->wall_ns / c->ticket_rotation_ns;

    if (c->ticket_key_count > 0) {
        if (n < c->ticket_key_count)
            memcpy(key, c->ticket_keys + (size_t)n * TLS_TICKET_KEY, TLS_TICKET_KEY);
        return n < c->ticket_key_count;
    }
    return n < 2 && period > n && key_of(c, w, period - n, key);
}

static bool key_use(const struct openssl_context *c, uint8_t key[TLS_TICKET_KEY], unsigned char *iv,
                    EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int encrypt)
{
    static char digest[] = "SHA256";
    uint8_t *mac_key = key + TICKET_NAME;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, mac_key, TICKET_MAC),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end()};

    return EVP_MAC_CTX_set_params(mac, params) &&
           EVP_CipherInit_ex(cipher, c->ticket_cipher, NULL, mac_key + TICKET_MAC, iv, encrypt);
}

/* 1: here it is; 2: and have a new one issued; 0: a full handshake; -1: failed. */
static int ticket_key(SSL *ssl, unsigned char name[TICKET_NAME], unsigned char *iv,
                      EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int encrypt)
{
    struct openssl_tls *o = SSL_get_app_data(ssl);
    struct openssl_context *c = o->base.context ? openssl_context_of(o->base.context) : NULL;
    uint8_t key[TLS_TICKET_KEY];
    int result = 0;

    for (unsigned n = 0; c && result == 0 && key_at(c, o->worker, n, key); n++) {
        if (encrypt) {
            memcpy(name, key, TICKET_NAME);
            if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(c->ticket_cipher)) != 1)
                result = -1;
        } else if (memcmp(name, key, TICKET_NAME) != 0) {
            continue;
        }
        if (result == 0)
            result = !key_use(c, key, iv, cipher, mac, encrypt) ? -1 : n > 0 ? 2 : 1;
    }
    OPENSSL_cleanse(key, sizeof key);
    return result;
}

/* OpenSSL would take the age from the context that the connection began with. */
static int ticket_issue(SSL *ssl, void *data)
{
    struct openssl_tls *o = SSL_get_app_data(ssl);
    uint64_t seconds = openssl_context_of(o->base.context)->ticket_rotation_ns / 1000000000 * 2;

    (void)data;
    return (int)SSL_SESSION_set_timeout(SSL_get_session(ssl),
                                        (long)(seconds < 1                ? 1
                                               : seconds > TICKET_AGE_MAX ? TICKET_AGE_MAX
                                                                          : seconds));
}

/* A session of 1.3 is renewed each time it is resumed: it must not outlive the certificate by
 * which its client is known, which nobody looks at again. */
static bool is_outlived(const struct openssl_tls *o, const SSL_SESSION *session)
{
    X509 *cert = session ? SSL_SESSION_get0_peer((SSL_SESSION *)(uintptr_t)session) : NULL;
    time_t now = (time_t)(o->worker->io->wall_ns / 1000000000);

    return cert && X509_cmp_time(X509_get0_notAfter(cert), &now) < 0;
}

static SSL_TICKET_RETURN ticket_taken(SSL *ssl, SSL_SESSION *session, const unsigned char *name,
                                      size_t name_len, SSL_TICKET_STATUS status, void *data)
{
    (void)name;
    (void)name_len;
    (void)data;
    if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW)
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    if (is_outlived(SSL_get_app_data(ssl), session))
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

/* Also where the section has no tickets: what is called is the first section's of the listener,
 * whichever is chosen then. */
void openssl_tickets_init(struct openssl_context *c, SSL_CTX *ctx)
{
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, ticket_key);
    SSL_CTX_set_session_ticket_cb(ctx, ticket_issue, ticket_taken, NULL);
    SSL_CTX_set_num_tickets(ctx, c->tickets);
    if (!c->tickets)
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
}

bool openssl_ticket_keys_load(struct openssl_context *c, const struct tls_settings *s,
                              struct openssl_say *say)
{
    const struct tls_files *files = &s->ticket_keys;

    c->ticket_rotation_ns = s->ticket_rotation_ns ? s->ticket_rotation_ns : 1;
    /* A handshake may end when the configuration that began it is gone. */
    if (!(c->secret = OPENSSL_memdup(s->secret, TLS_SECRET)) ||
        !(c->ticket_cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL)))
        return false;
    if (files->count == 0)
        return true;
    uint8_t *keys = OPENSSL_malloc((size_t)files->count * TLS_TICKET_KEY);
    if (!keys)
        return false;
    c->ticket_keys = keys;
    c->ticket_key_count = files->count;
    for (unsigned i = 0; i < files->count; i++)
        if (files->list[i].content.len == TLS_TICKET_KEY)
            memcpy(keys + (size_t)i * TLS_TICKET_KEY, files->list[i].content.ptr, TLS_TICKET_KEY);
        else
            openssl_remark(say, TLS_ABOUT_TICKET_KEYS, false, "%.*s: %zu bytes; a key has %d",
                           SPAN_ARG(files->list[i].path), files->list[i].content.len,
                           TLS_TICKET_KEY);
    return true;
}

/* --- staples --------------------------------------------------------------------------------- */

static int64_t time_of(const ASN1_GENERALIZEDTIME *t)
{
    struct tm tm;

    return t && ASN1_TIME_to_tm(t, &tm) ? (int64_t)timegm(&tm) : INT64_MAX;
}

/* Is the answer about this certificate?  Its id has the issuer's hashes, too. */
static bool single_about(OCSP_SINGLERESP *single, const struct openssl_pair *p)
{
    const OCSP_CERTID *id = OCSP_SINGLERESP_get0_id(single);
    ASN1_OBJECT *digest = NULL;
    ASN1_INTEGER *serial = NULL;

    OCSP_id_get0_info(NULL, &digest, NULL, &serial, (OCSP_CERTID *)(uintptr_t)id);
    if (!serial || ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(p->leaf)) != 0)
        return false;
    if (sk_X509_num(p->chain) == 0)
        return true;
    OCSP_CERTID *own =
        OCSP_cert_to_id(EVP_get_digestbyobj(digest), p->leaf, sk_X509_value(p->chain, 0));
    bool same = own && OCSP_id_cmp(own, id) == 0;
    OCSP_CERTID_free(own);
    return same;
}

static OCSP_SINGLERESP *single_find(OCSP_BASICRESP *basic, const struct openssl_pair *p)
{
    for (int i = 0; p->leaf && i < OCSP_resp_count(basic); i++)
        if (single_about(OCSP_resp_get0(basic, i), p))
            return OCSP_resp_get0(basic, i);
    return NULL;
}

static void staple_load(struct openssl_context *c, const struct tls_file *f,
                        const struct openssl_pair *pairs, unsigned count, int64_t now,
                        struct openssl_say *say)
{
    const unsigned char *at = (const unsigned char *)f->content.ptr;
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &at, (long)f->content.len);
    OCSP_BASICRESP *basic = response ? OCSP_response_get1_basic(response) : NULL;
    unsigned found = 0;

    for (unsigned i = 0; basic && i < count && c->staple_count < STAPLES_MAX; i++) {
        OCSP_SINGLERESP *single = single_find(basic, &pairs[i]);
        ASN1_GENERALIZEDTIME *next = NULL;
        if (!single)
            continue;
        found++;
        OCSP_single_get0_status(single, NULL, NULL, NULL, &next);
        struct openssl_staple staple = {pairs[i].leaf, arena_copy(&c->arena, f->content),
                                        time_of(next)};
        if (staple.der.ptr)
            c->staples[c->staple_count++] = staple;
        if (staple.until <= now)
            openssl_remark(say, TLS_ABOUT_OCSP, true, "%.*s: it has expired and is not sent",
                           SPAN_ARG(f->path));
    }
    if (!basic)
        openssl_remark(say, TLS_ABOUT_OCSP, false, "%.*s: no OCSP response in DER",
                       SPAN_ARG(f->path));
    else if (found == 0)
        openssl_remark(say, TLS_ABOUT_OCSP, false, "%.*s: about none of the certificates",
                       SPAN_ARG(f->path));
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(response);
    ERR_clear_error();
}

void openssl_staples_load(struct openssl_context *c, const struct tls_settings *s,
                          const struct openssl_pair *pairs, struct openssl_say *say)
{
    for (unsigned i = 0; i < s->ocsp.count; i++)
        staple_load(c, &s->ocsp.list[i], pairs, s->certificates.count, s->now, say);
}

static int staple_give(SSL *ssl, void *data)
{
    struct openssl_tls *o = SSL_get_app_data(ssl);
    const struct openssl_context *c = openssl_context_of(o->base.context);
    int64_t now = (int64_t)(o->worker->io->wall_ns / 1000000000);

    (void)data;
    for (unsigned i = 0; i < c->staple_count; i++) {
        const struct openssl_staple *s = &c->staples[i];
        if (s->leaf != SSL_get_certificate(ssl) || s->until <= now)
            continue;
        void *copy = OPENSSL_memdup(s->der.ptr, s->der.len);
        if (!copy)
            break;
        SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)s->der.len);
        return SSL_TLSEXT_ERR_OK;
    }
    return SSL_TLSEXT_ERR_NOACK;
}

void openssl_staples_init(SSL_CTX *ctx)
{
    SSL_CTX_set_tlsext_status_cb(ctx, staple_give);
}
