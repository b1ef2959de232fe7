/* TLS to origins: who we believe, who we are; see tls_openssl.h. */
#include "net/tls_openssl.h"

#include "base/mem.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

static bool authorities_set(SSL_CTX *ctx, const struct tls_client_settings *s,
                            struct openssl_say *say)
{
    unsigned n = 0;
    X509 *cert;

    if (s->ca.path.len == 0)
        return SSL_CTX_set_default_verify_paths(ctx) == 1;
    BIO *bio = BIO_new_mem_buf(s->ca.content.ptr, (int)s->ca.content.len);
    while (bio && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
        n += X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), cert) == 1;
        X509_free(cert);
    }
    BIO_free(bio);
    ERR_clear_error();
    if (n == 0)
        openssl_remark(say, TLS_ABOUT_CLIENT_CA, false, "%.*s: there is no certificate in it",
                       SPAN_ARG(s->ca.path));
    return n > 0;
}

static void own_set(SSL_CTX *ctx, const struct tls_client_settings *s, struct openssl_say *say)
{
    struct tls_file certificate = s->certificate, key = s->key;
    const struct tls_files certificates = {&certificate, 1}, keys = {&key, key.path.len > 0};
    struct openssl_pair pair = {0};

    if (certificate.path.len == 0)
        return;
    openssl_pairs_load(&pair, &certificates, &keys, s->now, say);
    if (pair.key &&
        (SSL_CTX_use_certificate(ctx, pair.leaf) != 1 ||
         SSL_CTX_use_PrivateKey(ctx, pair.key) != 1 || SSL_CTX_set1_chain(ctx, pair.chain) != 1))
        openssl_remark(say, TLS_ABOUT_CERTIFICATE, false, "%.*s: %s", SPAN_ARG(certificate.path),
                       openssl_reason());
    openssl_pair_free(&pair);
}

static void alpn_set(SSL_CTX *ctx, const struct tls_client_settings *s)
{
    unsigned char wire[256];
    unsigned len = 0;

    for (unsigned i = 0; i < s->alpn_count; i++) {
        struct span name = s->alpn[i];
        if (name.len > 255 || len + 1 + name.len > sizeof wire)
            break;
        wire[len++] = (unsigned char)name.len;
        memcpy(wire + len, name.ptr, name.len);
        len += (unsigned)name.len;
    }
    if (len > 0)
        SSL_CTX_set_alpn_protos(ctx, wire, len);
}

/* By which rules a session was begun. */
static bool binding_make(struct openssl_context *c, const struct tls_client_settings *s)
{
    const struct span parts[] = {s->name, s->ca.content, s->certificate.content};
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    uint8_t verify = s->verify;
    bool fine = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) && EVP_DigestUpdate(md, &verify, 1);

    for (unsigned i = 0; fine && i < COUNT_OF(parts); i++) {
        uint64_t len = parts[i].len;
        fine = EVP_DigestUpdate(md, &len, sizeof len) &&
               EVP_DigestUpdate(md, parts[i].len ? parts[i].ptr : "", parts[i].len);
    }
    fine = fine && EVP_DigestFinal_ex(md, c->base.binding, NULL);
    EVP_MD_CTX_free(md);
    return fine;
}

int openssl_client_new(struct tls_context **out, const struct tls_client_settings *s)
{
    struct openssl_context *c = mem_zalloc(sizeof *c);
    struct openssl_say say = {.say = s->say, .data = s->say_data};
    SSL_CTX *ctx = c ? SSL_CTX_new(TLS_client_method()) : NULL;

    if (!ctx) {
        mem_free(c);
        return FAIL_MEMORY;
    }
    atomic_store_explicit(&c->base.refs, 1, memory_order_relaxed);
    c->base.layer = tls_layer_built;
    c->parts[c->part_count++] = ctx;
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_set_verify(ctx, s->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    bool fine = binding_make(c, s) && (!s->verify || authorities_set(ctx, s, &say));
    own_set(ctx, s, &say);
    alpn_set(ctx, s);
    c->base.section = arena_copy(&c->arena, s->section);
    if (fine && !say.failed && c->base.section.ptr) {
        *out = &c->base;
        return 0;
    }
    openssl_context_free(&c->base);
    return say.failed ? FAIL_BAD : FAIL_MEMORY;
}
