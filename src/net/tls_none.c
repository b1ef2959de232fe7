/* Configured without TLS: no layer; the configuration refuses what needs one. */
#include "net/tls.h"

const struct tls_layer *const tls_layer_built = NULL;
