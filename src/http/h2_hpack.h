/* HPACK (RFC 7541): field sections to bytes and back.
 *
 * nghttp2's nghttp2_hd_* behind it, or nothing where headgate was built
 * without HTTP/2: then hpack_available() is false and nothing can be made.
 */
#ifndef HEADGATE_HTTP_H2_HPACK_H
#define HEADGATE_HTTP_H2_HPACK_H

#include "http/field.h"

bool hpack_available(void);

/* Both tables of one connection.  FAIL_MEMORY, FAIL_UNSUPPORTED. */
struct hpack {
    void *inflater, *deflater;
};
MUST_USE int hpack_init(struct hpack *h);
void hpack_free(struct hpack *h); /* a zeroed one is fine */

enum hpack_step {
    HPACK_FIELD, /* there is one, its spans valid until the next call */
    HPACK_MORE,  /* the bytes are used up */
    HPACK_END,   /* so they are, and this was the end of the section */
    HPACK_BAD,   /* COMPRESSION_ERROR, or no memory: the connection is of no more use */
};

/* One step through a field section that may come in pieces of any size; `last`:
 * no bytes of it come behind these.  Advances *in. */
enum hpack_step hpack_inflate(struct hpack *h, struct span *in, bool last, struct span *name,
                              struct span *value);

/* What the peer's decoder will hold (SETTINGS_HEADER_TABLE_SIZE). FAIL_MEMORY. */
MUST_USE int hpack_resize(struct hpack *h, uint32_t size);

/* Writes a section: `first`, whose names are in lower case already, and then `fields`, whose
 * names are written in lower case.  No more than bound bytes. 0: no memory. */
size_t hpack_bound(const struct fields *first, const struct fields *fields);
size_t hpack_deflate(struct hpack *h, char *at, size_t room, const struct fields *first,
                     const struct fields *fields);

#endif
