/* Certificates and the keys that fit them, from PEM; see tls_openssl.h. */
#include "net/tls_openssl.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <stdarg.h>
#include <stdio.h>

enum { KEYS_MAX = 2 * PARTS_MAX, EXPIRY_DAYS = 21, DAY = 24 * 60 * 60 };

void openssl_remark(struct openssl_say *say, enum tls_about about, bool warning, const char *format,
                    ...)
{
    char text[1024];
    va_list args;

    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t len = n > 0 && (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    say->failed = say->failed || !warning;
    say->say(say->data, about, warning, (struct span){text, len});
}

const char *openssl_reason(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());

    ERR_clear_error();
    return reason ? reason : "not well formed";
}

/* OpenSSL would ask the terminal. */
static int no_passphrase(char *room, int size, int writing, void *data)
{
    (void)room;
    (void)size;
    (void)writing;
    *(bool *)data = true;
    return -1;
}

static BIO *file_bio(const struct tls_file *f)
{
    return BIO_new_mem_buf(f->content.ptr, (int)f->content.len);
}

void openssl_pair_free(struct openssl_pair *pair)
{
    X509_free(pair->leaf);
    sk_X509_pop_free(pair->chain, X509_free);
    EVP_PKEY_free(pair->key);
    *pair = (struct openssl_pair){0};
}

/* --- certificates ---------------------------------------------------------------------- */

static bool chain_read(struct openssl_pair *p, struct openssl_say *say)
{
    BIO *bio = file_bio(p->file);
    X509 *cert;

    p->chain = sk_X509_new_null();
    while (bio && p->chain && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
        if (!p->leaf)
            p->leaf = cert;
        else if (!sk_X509_push(p->chain, cert))
            X509_free(cert);
    }
    bool ended = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    BIO_free(bio);
    if (p->leaf && ended) {
        ERR_clear_error();
        return true;
    }
    openssl_remark(say, TLS_ABOUT_CERTIFICATE, false, "%.*s: %s", SPAN_ARG(p->file->path),
                   ended ? "there is no certificate in it" : openssl_reason());
    ERR_clear_error();
    return false;
}

static const char *subject_of(const X509 *cert, char room[256])
{
    X509_NAME_oneline(X509_get_subject_name(cert), room, 256);
    return room;
}

/* Leaf first, then each with what it was issued by (RFC 8446, 4.4.2). */
static void chain_check(const struct openssl_pair *p, struct openssl_say *say)
{
    const X509 *below = p->leaf;
    char name[256], issuer[256];

    for (int i = 0; i < sk_X509_num(p->chain); i++) {
        X509 *above = sk_X509_value(p->chain, i);
        if (X509_check_issued(above, (X509 *)(uintptr_t)below) != X509_V_OK) {
            openssl_remark(say, TLS_ABOUT_CERTIFICATE, false,
                           "%.*s: wrong order: %s was not issued by %s, which follows it",
                           SPAN_ARG(p->file->path), subject_of(below, name),
                           subject_of(above, issuer));
            return;
        }
        below = above;
    }
}

static void expiry_check(const struct openssl_pair *p, const X509 *cert, int64_t now,
                         struct openssl_say *say)
{
    time_t at = (time_t)now, soon = (time_t)(now + EXPIRY_DAYS * DAY);
    const ASN1_TIME *until = X509_get0_notAfter(cert);
    char name[256];
    int days = 0, seconds = 0;
    ASN1_TIME *today = ASN1_TIME_set(NULL, at);

    if (today)
        ASN1_TIME_diff(&days, &seconds, today, until);
    ASN1_TIME_free(today);
    if (X509_cmp_time(until, &at) < 0)
        openssl_remark(say, TLS_ABOUT_CERTIFICATE, true, "%.*s: %s has expired, %d days ago",
                       SPAN_ARG(p->file->path), subject_of(cert, name), -days);
    else if (X509_cmp_time(until, &soon) < 0)
        openssl_remark(say, TLS_ABOUT_CERTIFICATE, true, "%.*s: %s expires in %d days",
                       SPAN_ARG(p->file->path), subject_of(cert, name), days);
    if (X509_cmp_time(X509_get0_notBefore(cert), &at) > 0)
        openssl_remark(say, TLS_ABOUT_CERTIFICATE, true, "%.*s: %s is not valid yet",
                       SPAN_ARG(p->file->path), subject_of(cert, name));
}

static void each_name(struct span text, void (*each)(void *data, struct span name), void *data)
{
    char name[256];

    if (text.len == 0 || text.len >= sizeof name || memchr(text.ptr, '\0', text.len))
        return;
    for (size_t i = 0; i < text.len; i++)
        name[i] = ascii_lower(text.ptr[i]);
    struct span s = {name, text.len};
    if (span_starts(s, SPAN("*.")))
        s = span_after(s, 1);
    each(data, s);
}

void openssl_names(const X509 *leaf, void (*each)(void *data, struct span name), void *data)
{
    GENERAL_NAMES *all = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);

    for (int i = 0; i < sk_GENERAL_NAME_num(all); i++) {
        const GENERAL_NAME *n = sk_GENERAL_NAME_value(all, i);
        if (n->type == GEN_DNS)
            each_name((struct span){(const char *)ASN1_STRING_get0_data(n->d.dNSName),
                                    (size_t)ASN1_STRING_length(n->d.dNSName)},
                      each, data);
    }
    GENERAL_NAMES_free(all);
}

/* --- keys ----------------------------------------------------------------------------------- */

struct key {
    EVP_PKEY *key;
    const struct tls_file *file;
    bool used;
};

static bool is_there(const struct tls_file *f)
{
    static const char mark[] = "PRIVATE KEY-----";

    return memmem(f->content.ptr, f->content.len, mark, sizeof mark - 1) != NULL;
}

static unsigned keys_read(struct key keys[KEYS_MAX], const struct tls_files *files,
                          enum tls_about about, struct openssl_say *say)
{
    unsigned n = 0;

    for (unsigned i = 0; i < files->count && n < KEYS_MAX; i++) {
        const struct tls_file *f = &files->list[i];
        bool encrypted = false;
        BIO *bio = file_bio(f);
        EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &encrypted) : NULL;
        BIO_free(bio);
        if (key)
            keys[n++] = (struct key){.key = key, .file = f};
        else
            openssl_remark(say, about, false, "%.*s: %s", SPAN_ARG(f->path),
                           encrypted     ? "the key has a passphrase; write it without"
                           : is_there(f) ? openssl_reason()
                                         : "there is no private key in it");
        ERR_clear_error();
    }
    return n;
}

/* A key that fits another certificate of the chain tells what is wrong. */
static bool fits_chain(const struct openssl_pair *p, EVP_PKEY *key)
{
    for (int i = 0; i < sk_X509_num(p->chain); i++)
        if (X509_check_private_key(sk_X509_value(p->chain, i), key) == 1)
            return true;
    return false;
}

static void key_find(struct openssl_pair *p, struct key *keys, unsigned count,
                     struct openssl_say *say)
{
    bool in_chain = false;

    for (unsigned i = 0; i < count && !p->key; i++) {
        if (X509_check_private_key(p->leaf, keys[i].key) == 1) {
            EVP_PKEY_up_ref(keys[i].key);
            p->key = keys[i].key;
            keys[i].used = true;
        } else if (fits_chain(p, keys[i].key)) {
            keys[i].used = in_chain = true;
        }
    }
    ERR_clear_error();
    if (!p->key)
        openssl_remark(say, TLS_ABOUT_CERTIFICATE, false, "%.*s: %s", SPAN_ARG(p->file->path),
                       in_chain ? "wrong order: the server's own certificate comes first"
                                : "no key fits it");
}

void openssl_pairs_load(struct openssl_pair *pairs, const struct tls_files *certificates,
                        const struct tls_files *files, int64_t now, struct openssl_say *say)
{
    bool apart = files->count > 0;
    struct key keys[KEYS_MAX];
    unsigned count = keys_read(keys, apart ? files : certificates,
                               apart ? TLS_ABOUT_KEY : TLS_ABOUT_CERTIFICATE, say);

    for (unsigned i = 0; i < certificates->count; i++) {
        pairs[i] = (struct openssl_pair){.file = &certificates->list[i]};
        if (!chain_read(&pairs[i], say))
            continue;
        key_find(&pairs[i], keys, count, say);
        if (pairs[i].key)
            chain_check(&pairs[i], say);
        expiry_check(&pairs[i], pairs[i].leaf, now, say);
        for (int n = 0; n < sk_X509_num(pairs[i].chain);
             n++) /* the chain is as good as its worst */
            expiry_check(&pairs[i], sk_X509_value(pairs[i].chain, n), now, say);
    }
    for (unsigned i = 0; i < count; i++) {
        if (!keys[i].used && apart)
            openssl_remark(say, TLS_ABOUT_KEY, false, "%.*s: no certificate fits it",
                           SPAN_ARG(keys[i].file->path));
        EVP_PKEY_free(keys[i].key);
    }
}
