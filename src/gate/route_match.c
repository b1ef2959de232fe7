/* Looks a request up in the compiled routes.
 *
 * The walk goes down the trie depth first: the literal segment, then {name},
 * then `*`.  Segments are compared from the left, so the ends of patterns are
 * met in the order of their rank, and the first one that has an entry whose
 * conditions hold is the answer; a failed condition only makes the walk go on.
 */
#include "gate/route_table.h"

/* Always part of the one function that a lookup is: what is known of the path stays in
 * registers, and most lookups end before anything else is called. */
#define PART static inline __attribute__((always_inline))

/* The path behind its first slash.  Places in it are counted from there, so that one behind
 * `len` is behind the last segment. */
struct track {
    const char *ptr; /* 8 bytes at least, the rest of them zero */
    uint32_t len;
    uint32_t last; /* where the last 8 bytes begin */
};

/* What an entry has to be, to be picked. */
struct walk {
    const struct router *router;
    const struct route_query *query;
    uint64_t listener_bit;
    uint32_t method_bit;
    uint32_t quick_bit; /* the same, where it is all that is to be known of the method; else 0 */
    struct route_methods *others; /* not NULL: finds nothing, collects the methods that would do */
};

/* Where the walk goes on when what it tried last had no answer. */
struct retreat {
    uint32_t node, at;
    uint8_t captures;
    uint8_t tried; /* enum tried */
};

enum tried { TRIED_NOTHING, TRIED_LITERAL, TRIED_NAMED };

/* Other names than METHOD_LIST's share a bit and are compared as text. */
static bool method_fits(const struct walk *w, const struct route_entry *e)
{
    if (!(e->method_bits & w->method_bit))
        return false;
    return w->query->method != METHOD_OTHER || e->method_bits == UINT32_MAX ||
           route_lists_method(e->route, w->query->method_name);
}

static void methods_name(struct route_methods *m, struct span name)
{
    for (unsigned i = 0; i < m->count; i++)
        if (span_equal(m->names[i], name))
            return;
    if (m->count < ROUTE_NAMES_MAX)
        m->names[m->count++] = name;
}

static void methods_add(struct route_methods *m, const struct route_entry *e)
{
    m->bits |= e->method_bits;
    if (e->method_bits == UINT32_MAX || !(e->method_bits & 1u << METHOD_OTHER))
        return;
    for (unsigned i = 0; i < e->route->methods.count; i++)
        if (method_find(e->route->methods.list[i]) == METHOD_OTHER)
            methods_name(m, e->route->methods.list[i]);
}

static __attribute__((noinline)) const struct route_entry *pick_slowly(const struct walk *w,
                                                                       struct route_list list)
{
    const struct route_entry *e = w->router->entries + list.first;

    for (const struct route_entry *end = e + list.count; e < end; e++) {
        if (!w->others && !method_fits(w, e))
            continue;
        if (!(e->listener_bits & w->listener_bit))
            continue;
        if (e->conditional && !conditions_hold(&e->route->match, w->query))
            continue;
        if (!w->others)
            return e;
        methods_add(w->others, e);
    }
    return NULL;
}

/* The list is not empty; usually its first entry is the answer. */
PART const struct route_entry *pick(const struct walk *w, struct route_list list)
{
    const struct route_entry *e = w->router->entries + list.first;

    if ((e->method_bits & w->quick_bit) && (e->listener_bits & w->listener_bit) && !e->conditional)
        return e;
    return pick_slowly(w, list);
}

/* Marks the bytes that are slashes (Mycroft's test for a zero byte); the
 * first mark is always right. */
PART uint64_t slashes(uint64_t word)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t x = word ^ (ones * '/');

    return (x - ones) & ~x & (ones * 0x80);
}

/* The 8 bytes at `at`; those beyond the path are zero. */
PART uint64_t word_at(struct track t, uint32_t at)
{
    uint32_t from = at < t.last ? at : t.last;

    return at < t.len ? route_load(t.ptr + from) >> 8 * (at - from) : 0;
}

/* How long the segment at `at` is, that is longer than `len`. */
static __attribute__((noinline)) uint32_t segment_rest(struct track t, uint32_t at, uint32_t len)
{
    for (uint32_t left = t.len - at; len < left; len += 8) {
        uint64_t slash = slashes(word_at(t, at + len));
        if (slash)
            return len + (uint32_t)__builtin_ctzll(slash) / 8;
    }
    return t.len - at;
}

/* The same, of one that is longer than 7. */
PART uint32_t segment_long(struct track t, uint32_t at)
{
    uint32_t left = t.len - at;

    if (left <= 8)
        return left;
    uint64_t slash = slashes(word_at(t, at + 8));
    return slash ? 8 + (uint32_t)__builtin_ctzll(slash) / 8 : segment_rest(t, at, 16);
}

PART uint32_t segment_len(struct track t, uint32_t at)
{
    uint64_t slash = slashes(word_at(t, at));

    return slash ? (uint32_t)__builtin_ctzll(slash) / 8 : segment_long(t, at);
}

/* Is that what is at `at`, where the first bytes are `word`, and does a segment end behind it? */
PART bool child_is(const struct route_child *c, struct track t, uint32_t at, uint64_t word)
{
    const char *text = t.ptr + at, *want = c->ptr;
    uint32_t len = c->len, end = at + len;

    if ((word ^ c->word) & c->mask)
        return false;
    if (end > t.len || (end < t.len && text[len] != '/'))
        return false;
    if (len <= 8)
        return true;
    for (uint32_t i = 8; i + 8 < len; i += 8)
        if (route_load(text + i) != route_load(want + i))
            return false;
    return route_load(text + len - 8) == route_load(want + len - 8);
}

/* A child that is the only one is compared where it would have to be: how long the segment
 * is need not be known. */
PART const struct route_child *child_find(const struct route_child *children, uint32_t mask,
                                          struct track t, uint32_t at)
{
    uint64_t word = word_at(t, at), first = word, tail = 0;

    if (mask == 0)
        return child_is(children, t, at, word) ? children : NULL;

    uint64_t slash = slashes(word);
    uint32_t len;
    if (slash) {
        len = (uint32_t)__builtin_ctzll(slash) / 8;
        first &= ((slash & -slash) >> 7) - 1;
    } else {
        len = segment_long(t, at);
        tail = route_tail(t.ptr + at, len);
    }
    for (uint32_t i = route_hash(first, tail, t.ptr + at, len);; i++) {
        const struct route_child *c = &children[i & mask];
        if (c->node == 0 || child_is(c, t, at, word))
            return c->node ? c : NULL;
    }
}

/* Depth first.  Where there is something to come back to it is remembered, and what was
 * captured since is forgotten then. */
PART const struct route_entry *walk_from(const struct walk *w, uint32_t node, struct track t,
                                         const char *path, struct route_capture *capture)
{
    const struct route_node *nodes = w->router->nodes, *n;
    const struct route_child *children = w->router->children, *c;
    const struct route_entry *e;
    struct retreat back[ROUTE_SEGMENTS_MAX + 1];
    unsigned at = 0, backs = 0, captures = 0, len;
    enum tried tried = TRIED_NOTHING;

    for (;;) {
        n = &nodes[node];
        if (at > t.len) {
            if (n->exact.count && (e = pick(w, n->exact)))
                return e;
        } else if (tried < TRIED_LITERAL && n->has_children &&
                   (c = child_find(children + n->child, n->child_mask, t, at))) {
            if (n->named || n->prefix.count)
                back[backs++] = (struct retreat){node, at, (uint8_t)captures, TRIED_LITERAL};
            node = c->node;
            at += c->len + 1;
            tried = TRIED_NOTHING;
            continue;
        } else if (tried < TRIED_NAMED && n->named && (len = segment_len(t, at)) > 0) {
            if (n->prefix.count)
                back[backs++] = (struct retreat){node, at, (uint8_t)captures, TRIED_NAMED};
            capture[captures++].value = (struct span){path + at, len};
            node = n->named;
            at += len + 1;
            tried = TRIED_NOTHING;
            continue;
        }
        if (n->prefix.count && (e = pick(w, n->prefix))) {
            len = at < t.len ? t.len - at : 0;
            if (e->names > captures) /* {name*} */
                capture[captures].value = (struct span){path + t.len - len, len};
            return e;
        }
        if (backs == 0)
            return NULL;
        backs--;
        node = back[backs].node;
        at = back[backs].at;
        captures = back[backs].captures;
        tried = back[backs].tried;
    }
}

/* --- hosts ------------------------------------------------------------------------ */

PART bool host_is(const struct route_host *h, const struct host_key *key)
{
    return h->key.word == key->word && h->key.tail == key->tail && h->key.middle == key->middle &&
           h->key.len == key->len &&
           (key->len <= 24 || memcmp(h->key.ptr + 16, key->ptr + 16, key->len - 24) == 0);
}

/* Most names are refused by how long they are, where there are few. */
PART uint32_t host_find(const struct router *r, struct span name, uint64_t lengths)
{
    if (!(lengths & route_host_length(name.len)))
        return 0;
    struct host_key key = route_host_key(name);
    if (r->host_mask == 0)
        return host_is(r->hosts, &key) ? r->hosts->root : 0;
    for (uint32_t i = route_host_hash(&key);; i++) {
        const struct route_host *h = &r->hosts[i & r->host_mask];
        if (h->root == 0 || host_is(h, &key))
            return h->root;
    }
}

/* The tries in the order in which they are asked: the exact host's, the wildcards' from the
 * longest, that of any host.  `next` is how far that is: 0 in the beginning. */
PART uint32_t root_next(const struct router *r, struct span host, size_t *next)
{
    uint32_t root;

    if (*next == 0) {
        *next = 1;
        if (host.len > 0 && host.ptr[0] != '.' && (root = host_find(r, host, r->exact_lengths)))
            return root;
    }
    while (*next < host.len && r->wildcard_lengths) {
        struct span rest = span_after(host, *next);
        *next += 1;
        if (rest.ptr[0] == '.' && (root = host_find(r, rest, r->wildcard_lengths)))
            return root;
    }
    if (*next == SIZE_MAX)
        return 0;
    *next = SIZE_MAX;
    return r->any;
}

PART const struct route_entry *walk_hosts(const struct walk *w, struct route_capture *capture)
{
    struct span path = w->query->path;
    struct track t = {path.ptr + 1, (uint32_t)path.len - 1, (uint32_t)path.len - 9};
    const struct route_entry *e;
    char padded[8];
    size_t next = 0;

    if (t.len < 8) {
        uint64_t word = htole64(route_word(t.ptr, t.len));
        memcpy(padded, &word, 8);
        t.ptr = padded;
        t.last = 0;
    }
    for (uint32_t root; (root = root_next(w->router, w->query->host, &next));)
        if ((e = walk_from(w, root, t, path.ptr + 1, capture)))
            return e;
    return NULL;
}

static __attribute__((noinline)) void walk_others(const struct router *router,
                                                  const struct route_query *q,
                                                  struct route_methods *methods,
                                                  struct route_capture *capture)
{
    const struct walk w = {
        .router = router,
        .query = q,
        .listener_bit = UINT64_C(1) << q->listener,
        .others = methods,
    };

    walk_hosts(&w, capture);
}

void router_methods(const struct router *router, const struct route_query *q,
                    struct route_methods *methods)
{
    struct route_capture capture[ROUTE_CAPTURES_MAX];

    *methods = (struct route_methods){0};
    if (q->path.len > 0)
        walk_others(router, q, methods, capture);
}

void router_find(const struct router *router, const struct route_query *q,
                 struct route_match *match)
{
    const struct walk w = {
        .router = router,
        .query = q,
        .listener_bit = UINT64_C(1) << q->listener,
        .method_bit = 1u << q->method,
        .quick_bit = q->method == METHOD_OTHER ? 0 : 1u << q->method,
    };
    const struct route_entry *e = NULL;

    match->route = NULL;
    match->methods_other = 0;
    match->captures = 0;
    if (q->path.len == 0)
        return;
    if (!(e = walk_hosts(&w, match->capture))) {
        struct route_methods methods = {0};
        walk_others(router, q, &methods, match->capture);
        match->methods_other = methods.bits;
        return;
    }
    match->route = e->route;
    match->captures = e->names;
    for (unsigned i = 0; i < e->names; i++)
        match->capture[i].name = e->name[i];
}
