/* UTF-8: what text of others is, or is not. */
#ifndef HEADGATE_BASE_UTF8_H
#define HEADGATE_BASE_UTF8_H

#include "base/span.h"

/* The length of the sequence at the start of s, which is not empty; 0: it is none (RFC 3629, 4). */
size_t utf8_length(struct span s);

#endif
