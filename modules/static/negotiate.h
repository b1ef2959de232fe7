/* What a request asks of a file: conditions, ranges, codings (RFC 9110, 12-14). Pure. */
#ifndef HEADGATE_STATIC_NEGOTIATE_H
#define HEADGATE_STATIC_NEGOTIATE_H

#include "gate/module.h"

enum coding { CODING_BR, CODING_GZIP, CODING_ZSTD, CODING_COUNT };

/* Bits of enum coding that Accept-Encoding allows (RFC 9110, 12.5.3). */
unsigned codings_accepted(const struct fields *fields);

struct validator {
    struct span etag;
    int64_t modified_s;
};

/* 0: go on.  304 or 412 (RFC 9110, 13.2.2). */
int conditions_check(const struct fields *fields, enum method method, const struct validator *v);

enum range_outcome { RANGE_NONE, RANGE_ONE, RANGE_UNSATISFIABLE };

/* One range of bytes; several, or other units, are answered with the whole
 * (RFC 9110, 14.2 allows it). */
enum range_outcome range_find(const struct fields *fields, const struct validator *v, uint64_t size,
                              uint64_t *offset, uint64_t *len);

/* By the name's last extension; `more` is the configuration's "EXT TYPE" lines. */
struct span type_of(struct span name, const struct lines *more);

#endif
