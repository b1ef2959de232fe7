/* Contexts from [tls] sections and their files, when they are read and when
 * they have changed. */
#ifndef HEADGATE_GATE_TLS_BUILD_H
#define HEADGATE_GATE_TLS_BUILD_H

#include "gate/config.h"

struct tls_build {
    const struct source *source;
    const struct tls_layer *layer;
    const uint8_t *secret;
    tls_say_fn *say;
    void *say_data;
};

/* Reads the files of a section.  Keys are wiped from our memory afterwards. */
MUST_USE int tls_build(struct tls_context **out, const struct tls_conf *c,
                       const struct tls_build *build);

/* The same for an upstream whose servers are https. */
MUST_USE int tls_client_build(struct tls_context **out, const struct upstream_conf *u,
                              const struct tls_build *build);

/* The file that holds our key for its servers; empty: none. */
struct span tls_client_key(const struct upstream_conf *u);

/* All files of a section, in one order; certificates, then keys, come first. */
unsigned tls_conf_files(const struct tls_conf *c);
struct span tls_conf_file(const struct tls_conf *c, unsigned i);
enum tls_about tls_conf_file_about(const struct tls_conf *c, unsigned i);

/* Whether it holds a key: that of a certificate, or one of tickets. */
bool tls_conf_file_is_key(const struct tls_conf *c, unsigned i);

/* May others than its owner and our groups read it? */
bool tls_key_is_loose(const struct source_look *look, const struct source_identity *us);

/* The contexts of a listener's sections as they are now. */
MUST_USE int listener_set_new(const struct config *config, const struct listener_conf *c,
                              struct tls_set **out);

/* The name of the setting that a remark is about. */
const char *tls_about_key(enum tls_about about);

#endif
