/* Looks a request up in the compiled routes.
 *
 * The walk goes down the trie depth first: the literal segment, then {name},
 * then `*`.  Segments are compared from the left, so the ends of patterns are
 * met in the order of their rank, and the first one that has an entry whose
 * conditions hold is the answer; a failed condition only makes the walk go on.
 */
#include "gate/route_table.h"

struct walk {
    const struct router *router;
    const struct route_query *query;
    const char *end; /* of the path */
    bool short_path; /* of fewer than 8 bytes */
    uint32_t method_bit;
    uint32_t quick_bit; /* the same, where it is all that is to be known of the method; else 0 */
    uint32_t *others;   /* not NULL: finds nothing, collects the methods that would do */
    unsigned captures;
    struct span capture[ROUTE_CAPTURES_MAX];
};

/* Other names than METHOD_LIST's share a bit and are compared as text. */
static bool method_fits(const struct walk *w, const struct route_entry *e)
{
    if (!(e->method_bits & w->method_bit))
        return false;
    return w->query->method != METHOD_OTHER || e->method_bits == UINT32_MAX ||
           route_lists_method(e->route, w->query->method_name);
}

static __attribute__((noinline)) const struct route_entry *pick_slowly(const struct walk *w,
                                                                       struct route_list list)
{
    const struct route_entry *e = w->router->entries + list.first;

    for (const struct route_entry *end = e + list.count; e < end; e++) {
        if (!w->others && !method_fits(w, e))
            continue;
        if (!(e->listener_bits >> w->query->listener & 1))
            continue;
        if (e->conditional && !conditions_hold(&e->route->match, w->query))
            continue;
        if (!w->others)
            return e;
        *w->others |= e->method_bits;
    }
    return NULL;
}

/* The list is not empty; usually its first entry is the answer. */
static inline const struct route_entry *pick(const struct walk *w, struct route_list list)
{
    const struct route_entry *e = w->router->entries + list.first;

    if ((e->method_bits & w->quick_bit) && (e->listener_bits >> w->query->listener & 1) &&
        !e->conditional)
        return e;
    return pick_slowly(w, list);
}

struct segment {
    const char *ptr;
    size_t len;
    uint64_t word;
    const char *next; /* where the segment after it begins; NULL: it was the last */
};

/* Marks the bytes that are slashes (Mycroft's test for a zero byte); the
 * first mark is always right. */
static inline uint64_t slashes(uint64_t word)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t x = word ^ (ones * '/');

    return (x - ones) & ~x & (ones * 0x80);
}

/* The word at `at`, like route_word(): near the end of a path it is the end of its last 8
 * bytes. */
static inline uint64_t word_at(const struct walk *w, const char *at)
{
    size_t left = (size_t)(w->end - at);

    if (left >= 8)
        return route_word(at, 8);
    if (left == 0 || w->short_path)
        return route_word(at, left);
    return route_word(w->end - 8, 8) >> (64 - 8 * left);
}

static inline struct segment segment_at(const struct walk *w, const char *at)
{
    size_t left = (size_t)(w->end - at);
    uint64_t first = word_at(w, at), slash = slashes(first);

    if (slash) {
        size_t len = (size_t)__builtin_ctzll(slash) / 8;
        return (struct segment){at, len, first & (((slash & -slash) >> 7) - 1), at + len + 1};
    }
    for (size_t len = 8; len < left; len += 8) {
        slash = slashes(word_at(w, at + len));
        if (slash) {
            len += (size_t)__builtin_ctzll(slash) / 8;
            return (struct segment){at, len, first, at + len + 1};
        }
    }
    return (struct segment){at, left, first, NULL};
}

static inline bool same_middle(const char *a, const char *b, size_t len)
{
    return len <= 16 || memcmp(a + 8, b + 8, len - 16) == 0;
}

static inline uint32_t child_find(const struct walk *w, const struct route_node *n,
                                  const struct segment *s)
{
    const struct route_child *children = w->router->children + n->child;
    uint64_t tail = route_tail(s->ptr, s->len);
    const struct route_child *c = children;

    if (n->child_mask == 0)
        return c->word == s->word && c->tail == tail && c->len == s->len &&
                       same_middle(c->ptr, s->ptr, s->len)
                   ? c->node
                   : 0;
    for (uint32_t at = route_hash(s->word, tail, s->ptr, s->len);; at++) {
        c = &children[at & n->child_mask];
        if (c->node == 0)
            return 0;
        if (c->word == s->word && c->tail == tail && c->len == s->len &&
            same_middle(c->ptr, s->ptr, s->len))
            return c->node;
    }
}

/* What a `*` answers; {name*} captures the rest. */
static const struct route_entry *pick_prefix(struct walk *w, const struct route_node *n,
                                             const char *at)
{
    const struct route_entry *e = pick(w, n->prefix);

    if (e && e->names > w->captures)
        w->capture[w->captures++] =
            at ? (struct span){at, (size_t)(w->end - at)} : (struct span){w->end, 0};
    return e;
}

/* `at` is where a segment begins, or NULL behind the last one.  Calls itself
 * only where there is something to come back to, at most ROUTE_SEGMENTS_MAX
 * deep; then what was captured meanwhile is forgotten. */
static const struct route_entry *walk_from(struct walk *w, uint32_t node, const char *at)
{
    const struct route_entry *e;

    for (;;) {
        const struct route_node *n = &w->router->nodes[node];
        unsigned captures = w->captures;
        uint32_t literal = 0, named = 0;
        struct segment s;

        if (!at) {
            if (n->exact.count && (e = pick(w, n->exact)))
                return e;
        } else if (n->has_children || n->named) {
            s = segment_at(w, at);
            literal = n->has_children ? child_find(w, n, &s) : 0;
            named = s.len > 0 ? n->named : 0;
        }
        if (literal) {
            if (!named && !n->prefix.count) {
                node = literal;
                at = s.next;
                continue;
            }
            if ((e = walk_from(w, literal, s.next)))
                return e;
            w->captures = captures;
        }
        if (named) {
            w->capture[w->captures++] = (struct span){s.ptr, s.len};
            if (!n->prefix.count) {
                node = named;
                at = s.next;
                continue;
            }
            if ((e = walk_from(w, named, s.next)))
                return e;
            w->captures = captures;
        }
        return n->prefix.count ? pick_prefix(w, n, at) : NULL;
    }
}

static uint32_t host_find(const struct router *r, struct span name)
{
    uint64_t word = route_word(name.ptr, name.len), tail = route_tail(name.ptr, name.len);
    uint64_t middle = route_middle(name.ptr, name.len);
    uint32_t at = route_hash(word, tail, name.ptr, name.len);

    for (;; at++) {
        const struct route_host *h = &r->hosts[at & r->host_mask];
        if (h->root == 0)
            return 0;
        if (h->word == word && h->tail == tail && h->middle == middle && h->len == name.len &&
            (name.len <= 24 || memcmp(h->ptr + 16, name.ptr + 16, name.len - 24) == 0))
            return h->root;
    }
}

static const struct route_entry *walk_root(struct walk *w, uint32_t root, const char *path)
{
    w->captures = 0;
    return walk_from(w, root, path);
}

/* The exact host, then wildcards from the longest, then any. */
static const struct route_entry *walk_hosts(struct walk *w)
{
    const struct router *r = w->router;
    struct span host = w->query->host, rest;
    const char *path = w->query->path.ptr + 1; /* behind the first slash */
    const struct route_entry *e;
    uint32_t root;

    if (w->query->path.len == 0)
        return NULL;
    if (r->has_hosts && host.len) {
        if ((root = host_find(r, host)) && host.ptr[0] != '.' && (e = walk_root(w, root, path)))
            return e;
        for (size_t dot = r->wildcard_max ? span_find(host, '.') : host.len; dot < host.len;
             dot += 1 + span_find(span_after(rest, 1), '.')) {
            rest = span_after(host, dot);
            if (dot == 0 || rest.len < r->wildcard_min || rest.len > r->wildcard_max)
                continue;
            if ((root = host_find(r, rest)) && (e = walk_root(w, root, path)))
                return e;
        }
    }
    return r->any ? walk_root(w, r->any, path) : NULL;
}

void router_find(const struct router *router, const struct route_query *q,
                 struct route_match *match)
{
    struct walk w;
    const struct route_entry *e;

    w.router = router;
    w.query = q;
    w.end = q->path.ptr + q->path.len;
    w.short_path = q->path.len < 8;
    w.method_bit = 1u << q->method;
    w.quick_bit = q->method == METHOD_OTHER ? 0 : w.method_bit;
    w.others = NULL;
    e = walk_hosts(&w);
    match->methods_other = 0;
    match->captures = 0;
    match->route = e ? e->route : NULL;
    if (!e) {
        w.others = &match->methods_other;
        w.quick_bit = 0;
        walk_hosts(&w);
        return;
    }
    match->captures = e->names;
    for (unsigned i = 0; i < e->names; i++)
        match->capture[i] = (struct route_capture){e->name[i], w.capture[i]};
}
