/* What a compiled router is made of; between route.c, which builds it, and
 * route_match.c, which looks things up.
 *
 * Each host has a trie of path segments.  Tries share one array of nodes and
 * one of entries, so that a lookup follows indices through a few lines of
 * memory.  A pattern ends either at a node (exact) or in a `*` below it
 * (prefix), and what can end at one place is a list of entries, those with
 * more conditions first.
 */
#ifndef HEADGATE_GATE_ROUTE_TABLE_H
#define HEADGATE_GATE_ROUTE_TABLE_H

#include "gate/route.h"

#include <endian.h>

enum { ROUTE_SEGMENTS_MAX = 128 };

/* One host and path of a route, and its conditions in the form that is
 * quickest to refuse with. */
struct route_entry {
    const struct route_conf *route;
    uint64_t listener_bits;
    uint32_t method_bits; /* bit i: enum method i; all ones: any method at all */
    uint16_t rank;        /* how many conditions it has */
    uint8_t names;        /* captures, in the order of the pattern */
    bool conditional;     /* there are conditions in `match` of the route */
    const struct span *name;
};

struct route_list {
    uint32_t first, count;
};

/* What is literal below a node: a segment, and those behind it as long as there is nothing
 * else to decide.  A table of them is searched from the first segment's hash on; node 0 marks
 * a free place (roots are nobody's child). */
struct route_child {
    uint64_t word;   /* its first bytes, see route_word() */
    uint64_t mask;   /* where those are in a word */
    const char *ptr; /* all, with the slashes between */
    uint32_t len;
    uint32_t node;
};

struct route_node {
    uint32_t child;      /* the first of its places in children */
    uint32_t child_mask; /* how many places, less one; a power of two less one */
    uint32_t named;      /* the node below a {name}; 0: none */
    bool has_children;
    struct route_list exact, prefix;
};

/* A name as it is compared: most are nothing but these words. */
struct host_key {
    uint64_t word, middle, tail; /* see route_middle() */
    const char *ptr;
    size_t len;
};

/* ".example.com" for "*.example.com". */
struct route_host {
    struct host_key key;
    uint32_t root; /* 0: a free place */
};

struct router {
    struct route_node *nodes; /* 0 is not used */
    struct route_child *children;
    struct route_entry *entries;
    struct route_host *hosts;
    uint32_t host_mask;                       /* 0: there is one at most */
    uint32_t any;                             /* the root of routes without a host; 0: none */
    uint64_t exact_lengths, wildcard_lengths; /* of names there are, see route_host_length() */
};

static inline uint64_t route_load(const char *p)
{
    uint64_t all;

    memcpy(&all, p, 8);
    return le64toh(all);
}

/* Up to 8 bytes as a number: padded with zeros, so that equal words of equal
 * length are equal bytes.  Reads nothing beyond them. */
static inline uint64_t route_word(const char *p, size_t len)
{
    if (len >= 8)
        return route_load(p);
    if (len >= 4) {
        uint32_t low, high;
        memcpy(&low, p, 4);
        memcpy(&high, p + len - 4, 4);
        return le32toh(low) | (uint64_t)le32toh(high) << (8 * (len - 4));
    }
    if (len == 0)
        return 0;
    return (uint64_t)(uint8_t)p[0] | (uint64_t)(uint8_t)p[len / 2] << (8 * (len / 2)) |
           (uint64_t)(uint8_t)p[len - 1] << (8 * (len - 1));
}

/* The last 8 bytes of more than 8: with the first word and the length they
 * are all of up to 16 bytes. */
static inline uint64_t route_tail(const char *p, size_t len)
{
    return len > 8 ? route_load(p + len - 8) : 0;
}

/* The 8 bytes behind the first 8, of more than 16: with both words they are all of up
 * to 24 bytes. */
static inline uint64_t route_middle(const char *p, size_t len)
{
    return len > 16 ? route_load(p + 8) : 0;
}

/* Names often differ in the last byte of a word, which a product alone would leave at the top. */
static inline uint64_t route_mix(uint64_t h)
{
    return (h ^ h >> 32) * UINT64_C(0x9e3779b97f4a7c15);
}

static inline uint64_t route_mix_two(uint64_t a, uint64_t b)
{
    return route_mix(a * UINT64_C(0xc2b2ae3d27d4eb4f) ^ b * UINT64_C(0x165667b19e3779f9));
}

static inline uint32_t route_hash(uint64_t word, uint64_t tail, const char *p, size_t len)
{
    uint64_t h = route_mix_two(word, tail);

    for (size_t at = 8; at + 8 < len; at += 8)
        h = route_mix_two(h, route_load(p + at));
    return (uint32_t)(h >> 32);
}

static inline uint32_t route_hash_span(struct span s)
{
    return route_hash(route_word(s.ptr, s.len), route_tail(s.ptr, s.len), s.ptr, s.len);
}

static inline struct host_key route_host_key(struct span s)
{
    return (struct host_key){
        .word = route_word(s.ptr, s.len),
        .middle = route_middle(s.ptr, s.len),
        .tail = route_tail(s.ptr, s.len),
        .ptr = s.ptr,
        .len = s.len,
    };
}

static inline uint32_t route_host_hash(const struct host_key *k)
{
    uint64_t h = route_mix_two(k->word, k->tail) ^ k->middle * UINT64_C(0x27d4eb2f165667c5);

    for (size_t at = 16; at + 8 < k->len; at += 8)
        h = route_mix_two(h, route_load(k->ptr + at));
    return (uint32_t)(route_mix(h) >> 32);
}

/* A bit for each length; long ones share the last. */
static inline uint64_t route_host_length(size_t len)
{
    return UINT64_C(1) << (len < 63 ? len : 63);
}

/* Conditions as a language: does it hold, and what do two say about each other? */
bool conditions_hold(const struct conditions *c, const struct route_query *q);
bool conditions_exclude(const struct conditions *a, const struct conditions *b);
/* True when every request for which b holds also fulfils a. */
bool conditions_follow(const struct conditions *a, const struct conditions *b);

static inline bool route_lists_method(const struct route_conf *route, struct span name)
{
    for (unsigned i = 0; i < route->methods.count; i++)
        if (span_equal(route->methods.list[i], name))
            return true;
    return false;
}

#endif
