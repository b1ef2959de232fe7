/* Content on its way in one direction, never more than its limit.
 *
 * The only thing that travels both ways between a connection and a module,
 * or a module and an origin.  Whoever fills it is its producer, whoever
 * empties it its consumer; backpressure is "the flow is full", everywhere.
 *
 * A flow is a short ring of slices.  Large pieces are moved by reference,
 * small ones are copied together, so that a sender of single bytes cannot pin
 * a buffer with each of them.
 */
#ifndef HEADGATE_BASE_FLOW_H
#define HEADGATE_BASE_FLOW_H

#include "base/buf.h"
#include "base/owner.h"

enum {
    FLOW_SLICES = 32,     /* a power of two */
    FLOW_COPY_MAX = 2048, /* shorter pieces are copied */
};

/* What a flow holds beyond its limit and its ring, while there is plenty of memory. It
 * is copied together: a megabyte of small pieces costs no more than a megabyte. */
struct flow_depth {
    uint32_t more;            /* bytes, part of the limit */
    uint32_t last_len;        /* bytes in the last buffer; the others are full */
    struct buf *first, *last; /* behind the ring, which is full then; NULL: nothing */
};

struct flow {
    struct buf_pool *pool;  /* where copies go */
    struct owner *producer; /* woken when there is room again after it was short; or NULL */
    struct owner *consumer; /* woken when something was added, or it ended; or NULL */
    uint64_t total;         /* bytes that ever went in */
    uint32_t bytes, limit;
    uint8_t first, count;     /* of slices */
    bool starved;             /* the producer found no room */
    bool ended;               /* the producer has finished; nothing more will come */
    int8_t fail;              /* why it ended before its time: enum fail, or 0 */
    uint32_t tail_room;       /* free bytes behind the last slice, if that buffer is our own copy */
    struct flow_depth *depth; /* NULL: none */
    struct slice slices[FLOW_SLICES];
};

void flow_init(struct flow *f, struct buf_pool *pool, uint32_t limit);

/* From now on it holds so many bytes more, while there is plenty of memory.  The depth is
 * the caller's, and stays until the flow is cleared. */
void flow_deepen(struct flow *f, struct flow_depth *depth, uint32_t more);
void flow_clear(struct flow *f); /* gives back all it holds; keeps ended and fail */

static inline bool flow_empty(const struct flow *f)
{
    return f->bytes == 0;
}

/* True once all that will ever come has been taken. */
static inline bool flow_done(const struct flow *f)
{
    return f->ended && f->bytes == 0;
}

/* How many bytes may be added now.  A producer that finds less than it wants
 * is remembered, and woken when half of the limit is free again. */
uint32_t flow_room(struct flow *f);

/* How many bytes may ever have been sent to it beyond those it took at first: for
 * producers who have to be told. */
uint64_t flow_allows(const struct flow *f);

/* Copies as much as fits; returns how many bytes that was.  Less than
 * flow_room() only when there is no memory. */
uint32_t flow_write(struct flow *f, struct span s);

/* Whether there is a place for a slice that cannot be copied. */
static inline bool flow_has_slot(const struct flow *f)
{
    return f->count < FLOW_SLICES;
}

/* Takes over the slice's reference.  Needs room for one slice, not for all its
 * bytes: a producer checks flow_room() first and gives no more than that,
 * unless it already owns the bytes.  False (and the reference stays the
 * caller's) only when there is no memory to copy a short one. */
MUST_USE bool flow_give(struct flow *f, struct slice s);

/* The first piece, without taking it; {NULL, 0} when empty. */
struct span flow_peek(const struct flow *f);
void flow_take(struct flow *f, uint32_t n); /* drops the first n bytes */

/* Takes up to max bytes of the first piece, with a reference to its buffer. */
struct slice flow_pop(struct flow *f, uint32_t max);

void flow_end(struct flow *f); /* idempotent */
void flow_break(struct flow *f,
                int fail); /* ends it before its time; what is inside stays readable */

/* Moves what fits; the rest waits where it is.  When the source is done, ends
 * the destination (with its failure, if it had one).  True once that happened. */
bool flow_move(struct flow *to, struct flow *from);

void flow_check(const struct flow *f); /* asserts that it is sound */

#endif
