/* Request methods (RFC 9110, 9). */
#ifndef HEADGATE_HTTP_METHOD_H
#define HEADGATE_HTTP_METHOD_H

#include "base/span.h"

/* name, safe, idempotent (RFC 9110, 9.2) */
#define METHOD_LIST(ROW)                                                                          \
    ROW(GET, 1, 1)                                                                                \
    ROW(HEAD, 1, 1)                                                                               \
    ROW(POST, 0, 0)                                                                               \
    ROW(PUT, 0, 1)                                                                                \
    ROW(DELETE, 0, 1)                                                                             \
    ROW(CONNECT, 0, 0)                                                                            \
    ROW(OPTIONS, 1, 1)                                                                            \
    ROW(TRACE, 1, 1)                                                                              \
    ROW(PATCH, 0, 0)

#define METHOD_ENUM(name, safe, idempotent) METHOD_##name,
enum method { METHOD_OTHER, METHOD_LIST(METHOD_ENUM) METHOD_COUNT };
#undef METHOD_ENUM

/* Case-sensitive; METHOD_OTHER for a token it does not know. */
enum method method_find(struct span name);
struct span method_name(enum method m); /* empty for METHOD_OTHER */
bool method_safe(enum method m);
bool method_idempotent(enum method m);

#endif
