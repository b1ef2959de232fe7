/* What a [tls] section says, as contexts of OpenSSL; see tls_openssl.h. */
#include "net/tls_openssl.h"

#include "base/mem.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <stdlib.h>

/* Mozilla's recommendation, without finite-field Diffie-Hellman: what has no
 * elliptic curves has no TLS 1.2 with AEAD either. */
#define CIPHERS                                                                                    \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"                                   \
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"                                   \
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define SUITES        "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define GROUPS        "X25519:prime256v1:secp384r1"
#define GROUPS_HYBRID "X25519MLKEM768:" GROUPS /* OpenSSL 3.5 has it */

/* --- parts -------------------------------------------------------------------------------- */

struct names {
    struct openssl_context *c;
    unsigned part, room;
    bool no_memory;
};

static void name_add(void *data, struct span name)
{
    struct names *n = data;
    struct tls_context *base = &n->c->base;

    if (base->name_count == n->room) {
        unsigned room = n->room ? 2 * n->room : 16;
        struct tls_name *more = arena_alloc(&n->c->arena, room * sizeof *more);
        if (!more) {
            n->no_memory = true;
            return;
        }
        if (base->name_count > 0)
            memcpy(more, base->names, base->name_count * sizeof *more);
        base->names = more;
        n->room = room;
    }
    struct tls_name added = {arena_copy(&n->c->arena, name), n->part};
    if (added.name.ptr)
        base->names[base->name_count++] = added;
    else
        n->no_memory = true;
}

/* Of equal names the one of the earlier part comes first, and the others go. */
static int compare_names(const void *a, const void *b)
{
    const struct tls_name *x = a, *y = b;
    size_t n = x->name.len < y->name.len ? x->name.len : y->name.len;
    int order = memcmp(x->name.ptr, y->name.ptr, n);

    if (order == 0)
        order = x->name.len < y->name.len ? -1 : x->name.len > y->name.len;
    if (order == 0)
        order = x->part < y->part ? -1 : x->part > y->part;
    return order;
}

static void names_sort(struct tls_context *c)
{
    unsigned kept = 0;

    if (c->name_count == 0)
        return;
    qsort(c->names, c->name_count, sizeof *c->names, compare_names);
    for (unsigned i = 0; i < c->name_count; i++)
        if (i == 0 || !span_equal(c->names[i].name, c->names[kept - 1].name))
            c->names[kept++] = c->names[i];
    c->name_count = kept;
}

struct cover {
    X509 *other;
    bool all;
};

static void name_covered(void *data, struct span name)
{
    struct cover *cover = data;
    char text[260] = "x";

    /* A wildcard is covered by what covers any name below it. */
    size_t at = name.ptr[0] == '.' ? 1 : 0;
    memcpy(text + at, name.ptr, name.len);
    if (X509_check_host(cover->other, text, at + name.len, 0, NULL) != 1)
        cover->all = false;
}

static bool same_names(X509 *a, X509 *b)
{
    struct cover ab = {b, true}, ba = {a, true};

    openssl_names(a, name_covered, &ab);
    openssl_names(b, name_covered, &ba);
    return ab.all && ba.all;
}

static bool key_types_differ(const X509 *a, const X509 *b)
{
    return EVP_PKEY_get_base_id(X509_get0_pubkey(a)) != EVP_PKEY_get_base_id(X509_get0_pubkey(b));
}

/* Certificates of the same names and different keys share a part. */
static int part_find(const struct openssl_pair *pairs, const unsigned *parts, unsigned i,
                     struct openssl_say *say)
{
    for (unsigned j = 0; j < i; j++) {
        if (!pairs[j].key || !same_names(pairs[j].leaf, pairs[i].leaf))
            continue;
        for (unsigned k = 0; k < i; k++)
            if (pairs[k].key && parts[k] == parts[j] &&
                !key_types_differ(pairs[k].leaf, pairs[i].leaf)) {
                openssl_remark(say, TLS_ABOUT_CERTIFICATE, false,
                               "%.*s: the same names and type of key as %.*s",
                               SPAN_ARG(pairs[i].file->path), SPAN_ARG(pairs[k].file->path));
                return 0;
            }
        return (int)parts[j];
    }
    return -1;
}

static bool pair_use(SSL_CTX *ctx, const struct openssl_pair *p, struct openssl_say *say)
{
    if (SSL_CTX_use_certificate(ctx, p->leaf) == 1 && SSL_CTX_use_PrivateKey(ctx, p->key) == 1 &&
        SSL_CTX_set1_chain(ctx, p->chain) == 1)
        return true;
    openssl_remark(say, TLS_ABOUT_CERTIFICATE, false, "%.*s: %s", SPAN_ARG(p->file->path),
                   openssl_reason());
    return false;
}

/* --- protocol ----------------------------------------------------------------------------------
 */

static void protocol_set(struct openssl_context *c, SSL_CTX *ctx, const struct tls_settings *s,
                         struct openssl_say *say)
{
    SSL_CTX_set_min_proto_version(ctx, s->modern ? TLS1_3_VERSION : TLS1_2_VERSION);
    SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION);
    /* Ours is the order, but who prefers ChaCha20 has no AES in hardware. */
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    if (SSL_CTX_set_cipher_list(ctx, s->ciphers.len ? s->ciphers.ptr : CIPHERS) != 1)
        openssl_remark(say, TLS_ABOUT_CIPHERS, false, "%.*s: OpenSSL knows none of them",
                       SPAN_ARG(s->ciphers));
    if (SSL_CTX_set_ciphersuites(ctx, s->suites.len ? s->suites.ptr : SUITES) != 1)
        openssl_remark(say, TLS_ABOUT_CIPHERS, false, "%.*s: not suites of TLS 1.3",
                       SPAN_ARG(s->suites));
    if (s->groups.len) {
        c->groups = s->groups;
        if (SSL_CTX_set1_groups_list(ctx, s->groups.ptr) != 1)
            openssl_remark(say, TLS_ABOUT_GROUPS, false, "%.*s: OpenSSL does not know all of them",
                           SPAN_ARG(s->groups));
    } else {
        c->groups =
            SSL_CTX_set1_groups_list(ctx, GROUPS_HYBRID) == 1 ? SPAN(GROUPS_HYBRID) : SPAN(GROUPS);
        if (SSL_CTX_set1_groups_list(ctx, c->groups.ptr) != 1)
            openssl_remark(say, TLS_ABOUT_GROUPS, false, "%s", openssl_reason());
    }
    ERR_clear_error();
}

/* --- clients' certificates
 * ------------------------------------------------------------------------ */

static unsigned authorities_read(X509_STORE *store, SSL_CTX *ctx, const struct tls_file *f)
{
    BIO *bio = BIO_new_mem_buf(f->content.ptr, (int)f->content.len);
    unsigned n = 0;
    X509 *cert;

    while (bio && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
        if (X509_STORE_add_cert(store, cert) == 1 && (!ctx || SSL_CTX_add_client_CA(ctx, cert)))
            n++;
        X509_free(cert);
    }
    BIO_free(bio);
    ERR_clear_error();
    return n;
}

static unsigned revocations_read(X509_STORE *store, const struct tls_file *f)
{
    BIO *bio = BIO_new_mem_buf(f->content.ptr, (int)f->content.len);
    unsigned n = 0;
    X509_CRL *crl;

    while (bio && (crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL))) {
        n += X509_STORE_add_crl(store, crl) == 1;
        X509_CRL_free(crl);
    }
    BIO_free(bio);
    ERR_clear_error();
    return n;
}

static void clients_set(SSL_CTX *ctx, const struct tls_settings *s, struct openssl_say *say)
{
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);

    if (s->client_ca.path.len == 0)
        return;
    if (authorities_read(store, ctx, &s->client_ca) == 0)
        openssl_remark(say, TLS_ABOUT_CLIENT_CA, false, "%.*s: there is no certificate in it",
                       SPAN_ARG(s->client_ca.path));
    X509_STORE_set_purpose(store, X509_PURPOSE_SSL_CLIENT);
    if (s->client_crl.path.len == 0)
        return;
    if (revocations_read(store, &s->client_crl) == 0)
        openssl_remark(say, TLS_ABOUT_CLIENT_CRL, false, "%.*s: there is no list in it",
                       SPAN_ARG(s->client_crl.path));
    X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
}

/* --- the whole
 * -------------------------------------------------------------------------------------- */

static SSL_CTX *part_new(struct openssl_context *c, const struct tls_settings *s,
                         struct openssl_say *say)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    if (!ctx)
        return NULL;
    c->parts[c->part_count++] = ctx;
    protocol_set(c, ctx, s, say);
    clients_set(ctx, s, say);
    openssl_tickets_init(c, ctx);
    openssl_staples_init(ctx);
    SSL_CTX_set_client_hello_cb(ctx, openssl_hello, NULL);
    SSL_CTX_set_alpn_select_cb(ctx, openssl_alpn, NULL);
    SSL_CTX_set_session_id_context(ctx, c->base.binding, sizeof c->base.binding);
    return ctx;
}

static bool parts_load(struct openssl_context *c, const struct tls_settings *s,
                       const struct openssl_pair *pairs, struct openssl_say *say)
{
    unsigned parts[PARTS_MAX] = {0};
    struct names names = {.c = c};

    for (unsigned i = 0; i < s->certificates.count; i++) {
        if (!pairs[i].key)
            continue;
        int part = part_find(pairs, parts, i, say);
        if (part < 0) {
            if (!part_new(c, s, say))
                return false;
            part = (int)c->part_count - 1;
        }
        parts[i] = names.part = (unsigned)part;
        pair_use(c->parts[part], &pairs[i], say);
        openssl_names(pairs[i].leaf, name_add, &names);
    }
    names_sort(&c->base);
    return !names.no_memory;
}

/* The names that were written, each with the part whose certificate covers it. */
static bool names_load(struct openssl_context *c, const struct tls_settings *s,
                       struct openssl_say *say)
{
    const struct tls_context certified = c->base;
    struct names names = {.c = c};

    if (s->name_count == 0)
        return true;
    c->base.names = NULL;
    c->base.name_count = 0;
    for (unsigned i = 0; i < s->name_count; i++) {
        struct span name = s->names[i];
        if (span_starts(name, SPAN("*.")))
            name = span_after(name, 1);
        const struct tls_name *found = NULL;
        for (unsigned j = 0; j < certified.name_count && !found; j++)
            if (span_equal(certified.names[j].name, name))
                found = &certified.names[j];
        if (!found)
            found = tls_context_name(&certified, name, false);
        names.part = found ? found->part : 0;
        if (!found)
            openssl_remark(say, TLS_ABOUT_NAMES, true, "no certificate is for %.*s",
                           SPAN_ARG(s->names[i]));
        name_add(&names, name);
    }
    names_sort(&c->base);
    return !names.no_memory;
}

static bool alpn_load(struct openssl_context *c, const struct tls_settings *s)
{
    size_t len = 0;

    for (unsigned i = 0; i < s->alpn_count; i++)
        len += 1 + s->alpn[i].len;
    char *at = arena_alloc(&c->arena, len + 1);
    if (!at)
        return false;
    c->alpn = (struct span){at, len};
    for (unsigned i = 0; i < s->alpn_count; i++) {
        c->speaks_h1 = c->speaks_h1 || span_equal(s->alpn[i], SPAN("http/1.1"));
        *at++ = (char)s->alpn[i].len;
        memcpy(at, s->alpn[i].ptr, s->alpn[i].len);
        at += s->alpn[i].len;
    }
    return true;
}

static bool binding_make(struct openssl_context *c, const struct tls_settings *s)
{
    const struct span parts[] = {s->section, s->client_ca.content, s->client_crl.content};
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool fine = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL);
    uint8_t verify = (uint8_t)s->verify;

    for (unsigned i = 0; fine && i < COUNT_OF(parts); i++) {
        uint64_t len = parts[i].len;
        fine = EVP_DigestUpdate(md, &len, sizeof len) &&
               EVP_DigestUpdate(md, parts[i].len ? parts[i].ptr : "", parts[i].len);
    }
    fine =
        fine && EVP_DigestUpdate(md, &verify, 1) && EVP_DigestFinal_ex(md, c->base.binding, NULL);
    EVP_MD_CTX_free(md);
    return fine;
}

static bool texts_keep(struct openssl_context *c, const struct tls_settings *s)
{
    c->base.section = arena_copy(&c->arena, s->section);
    c->base.hsts = arena_copy(&c->arena, s->hsts);
    if (c->groups.len > 0 && s->groups.len > 0) {
        const char *text = arena_text(&c->arena, c->groups);
        c->groups = (struct span){text, text ? c->groups.len : 0};
    }
    return c->base.section.ptr && c->base.hsts.ptr && c->groups.ptr;
}

int openssl_context_new(struct tls_context **out, const struct tls_settings *s)
{
    struct openssl_context *c = mem_zalloc(sizeof *c);
    struct openssl_say say = {.say = s->say, .data = s->say_data};
    struct openssl_pair pairs[PARTS_MAX] = {0};
    bool fine;

    if (!c)
        return FAIL_MEMORY;
    atomic_store_explicit(&c->base.refs, 1, memory_order_relaxed);
    c->base.layer = tls_layer_built;
    c->base.client_ca = s->client_ca.path.len > 0;
    c->verify = s->verify;
    c->modern = s->modern;
    c->tickets = s->tickets;
    if (s->certificates.count > PARTS_MAX) {
        openssl_remark(&say, TLS_ABOUT_CERTIFICATE, false, "more than %d", PARTS_MAX);
        openssl_context_free(&c->base);
        return FAIL_BAD;
    }
    openssl_pairs_load(pairs, &s->certificates, &s->keys, s->now, &say);
    fine = binding_make(c, s) && alpn_load(c, s) && openssl_ticket_keys_load(c, s, &say) &&
           parts_load(c, s, pairs, &say) && names_load(c, s, &say) && texts_keep(c, s);
    openssl_staples_load(c, s, pairs, &say);
    for (unsigned i = 0; i < s->certificates.count; i++)
        openssl_pair_free(&pairs[i]);
    if (fine && !say.failed && c->part_count > 0) {
        *out = &c->base;
        return 0;
    }
    openssl_context_free(&c->base);
    return say.failed ? FAIL_BAD : FAIL_MEMORY;
}

void openssl_context_free(struct tls_context *base)
{
    struct openssl_context *c = openssl_context_of(base);

    for (unsigned i = 0; i < c->part_count; i++)
        SSL_CTX_free(c->parts[i]);
    OPENSSL_clear_free((void *)(uintptr_t)c->ticket_keys,
                       (size_t)c->ticket_key_count * TLS_TICKET_KEY);
    OPENSSL_clear_free(c->secret, TLS_SECRET);
    EVP_CIPHER_free(c->ticket_cipher);
    arena_free(&c->arena);
    mem_free(c);
}
