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
    uint32_t method_bit;
    uint32_t *others; /* not NULL: finds nothing, collects the methods that would do */
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

static const struct route_entry *pick(const struct walk *w, struct route_list list)
{
    const struct route_entry *e = w->router->entries + list.first;

    for (const struct route_entry *end = e + list.count; e < end; e++) {
        if (!w->others && !method_fits(w, e))
            continue;
        if (!(e->listener_bits >> w->query->listener & 1))
            continue;
        if (e->route->match.count && !conditions_hold(&e->route->match, w->query))
            continue;
        if (!w->others)
            return e;
        *w->others |= e->method_bits;
    }
    return NULL;
}

struct segment {
    const char *ptr;
    size_t len;
    uint64_t word;
    const char *next; /* where the segment after it begins; NULL: it was the last */
};

/* Finds the slash eight bytes at a time (Mycroft's test for a zero byte). */
static inline struct segment segment_at(const char *at, const char *end)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    struct segment s = {at, 0, 0, NULL};

    for (;;) {
        size_t left = (size_t)(end - at) - s.len;
        uint64_t word = route_word(at + s.len, left);
        uint64_t x = word ^ (ones * '/');
        uint64_t slash = (x - ones) & ~x & (ones * 0x80);
        size_t n = slash ? (size_t)__builtin_ctzll(slash) / 8 : left < 8 ? left : 8;
        if (s.len == 0)
            s.word = n == 8 ? word : word & ~(UINT64_MAX << (8 * n));
        s.len += n;
        if (slash)
            s.next = at + s.len + 1;
        if (slash || left <= 8)
            return s;
    }
}

static inline uint32_t child_find(const struct walk *w, const struct route_node *n,
                                  const struct segment *s)
{
    const struct route_child *children = w->router->children + n->child;
    uint32_t at = n->child_mask ? route_hash(s->word, s->ptr, s->len) : 0;

    for (;; at++) {
        const struct route_child *c = &children[at & n->child_mask];
        if (c->node == 0)
            return 0;
        if (c->word == s->word && c->len == s->len &&
            (s->len <= 8 || memcmp(c->ptr + 8, s->ptr + 8, s->len - 8) == 0))
            return c->node;
        if (n->child_mask == 0)
            return 0;
    }
}

/* `at` is where a segment begins, or NULL behind the last one.  Calls itself
 * only where there is something to come back to, at most ROUTE_SEGMENTS_MAX deep. */
static const struct route_entry *walk_from(struct walk *w, uint32_t node, const char *at)
{
    const struct route_entry *e;

    for (;;) {
        const struct route_node *n = &w->router->nodes[node];
        uint32_t literal = 0;
        struct segment s = {0};

        if (at) {
            if (n->has_children || n->named)
                s = segment_at(at, w->end);
            if (n->has_children)
                literal = child_find(w, n, &s);
        } else if (n->exact.count && (e = pick(w, n->exact))) {
            return e;
        }
        if (literal && !n->named && !n->prefix.count) {
            node = literal;
            at = s.next;
            continue;
        }
        if (literal && (e = walk_from(w, literal, s.next)))
            return e;
        if (n->named && s.len > 0) {
            w->capture[w->captures++] = (struct span){s.ptr, s.len};
            if ((e = walk_from(w, n->named, s.next)))
                return e;
            w->captures--;
        }
        if (n->prefix.count && (e = pick(w, n->prefix))) {
            if (e->names > w->captures) /* {name*}: the rest */
                w->capture[w->captures++] =
                    at ? (struct span){at, (size_t)(w->end - at)} : (struct span){w->end, 0};
            return e;
        }
        return NULL;
    }
}

static uint32_t host_find(const struct router *r, struct span name)
{
    uint32_t at = route_hash(route_word(name.ptr, name.len), name.ptr, name.len);

    for (;; at++) {
        const struct route_host *h = &r->hosts[at & r->host_mask];
        if (h->root == 0 || span_equal(h->name, name))
            return h->root;
    }
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
        if ((root = host_find(r, host)) && host.ptr[0] != '.' && (e = walk_from(w, root, path)))
            return e;
        for (size_t dot = span_find(host, '.'); r->wildcard_max && dot < host.len;
             dot += 1 + span_find(span_after(rest, 1), '.')) {
            rest = span_after(host, dot);
            if (dot == 0 || rest.len < r->wildcard_min || rest.len > r->wildcard_max)
                continue;
            if ((root = host_find(r, rest)) && (e = walk_from(w, root, path)))
                return e;
        }
    }
    return r->any ? walk_from(w, r->any, path) : NULL;
}

void router_find(const struct router *router, const struct route_query *q,
                 struct route_match *match)
{
    struct walk w;
    const struct route_entry *e;

    w.router = router;
    w.query = q;
    w.end = q->path.ptr + q->path.len;
    w.method_bit = 1u << q->method;
    w.others = NULL;
    w.captures = 0;
    e = walk_hosts(&w);
    match->methods_other = 0;
    match->captures = 0;
    match->route = e ? e->route : NULL;
    if (!e) {
        w.others = &match->methods_other;
        walk_hosts(&w);
        return;
    }
    match->captures = e->names;
    for (unsigned i = 0; i < e->names; i++)
        match->capture[i] = (struct route_capture){e->name[i], w.capture[i]};
}
