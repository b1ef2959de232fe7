/* Values with request variables in them: "https://${host}${uri}".
 *
 * Compiled when the configuration is read; what a variable stands for is
 * decided per exchange by whoever evaluates (gate/variable.h).
 */
#ifndef HEADGATE_CONF_TEMPLATE_H
#define HEADGATE_CONF_TEMPLATE_H

#include "base/arena.h"

#define VARIABLE_LIST(ROW)                                                                        \
    ROW(client_ip)                                                                                \
    ROW(client_port)                                                                              \
    ROW(request_id)                                                                               \
    ROW(method)                                                                                   \
    ROW(scheme)                                                                                   \
    ROW(host)                                                                                     \
    ROW(path)                                                                                     \
    ROW(query)                                                                                    \
    ROW(uri)                                                                                      \
    ROW(route)                                                                                    \
    ROW(listener)                                                                                 \
    ROW(upstream)                                                                                 \
    ROW(tls_version)                                                                              \
    ROW(tls_cipher)                                                                               \
    ROW(tls_sni)                                                                                  \
    ROW(client_cert_subject)                                                                      \
    ROW(client_cert_sha256)                                                                       \
    ROW(client_cert_verified)

#define VARIABLE_ENUM(name) VARIABLE_##name,
enum variable {
    VARIABLE_NONE,
    VARIABLE_LIST(VARIABLE_ENUM) VARIABLE_path_name, /* path.NAME */
    VARIABLE_query_name,
    VARIABLE_header_name,
    VARIABLE_cookie_name,
};
#undef VARIABLE_ENUM

struct template_part {
    enum variable variable;  /* NONE: literal text */
    struct span text;        /* the literal, or NAME of path.NAME and the like */
    struct span fallback;    /* after ":-"; empty when none */
};

struct template {
    struct span source;
    struct template_part *parts;
    unsigned count;
    bool constant; /* no variable in it: parts[0].text is all, or count is 0 */
};

/* FAIL_BAD with *why (static or in the arena) and *where, a byte offset. */
MUST_USE int template_parse(struct template **out, struct arena *arena, struct span text,
                            const char **why, size_t *where);

#endif
