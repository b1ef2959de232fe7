/* Compiles routes, once per generation, and says what is wrong with them.
 *
 * Every host and path of every route becomes a pattern.  Sorted by host and
 * then segment by segment, the patterns of one trie node are neighbours, so
 * the tries are built from ranges of the sorted list without looking anything
 * up.  Patterns that end at the same place compete for the same requests, and
 * only those: there clashes and shadowed routes show.
 */
#include "gate/route_table.h"

#include "base/mem.h"

#include <stdlib.h>

enum segment_kind { SEGMENT_END, SEGMENT_REST, SEGMENT_NAMED, SEGMENT_LITERAL };

struct segment {
    enum segment_kind kind;
    struct span text; /* of literals, in the normal form of requests; of captures, the name */
};

struct pattern {
    struct span host;         /* empty: any; ".x" for "*.x" */
    struct segment *segments; /* ends with SEGMENT_END or SEGMENT_REST */
    const struct route_conf *route;
    struct span *name;
    uint16_t rank;
    uint8_t names;
};

struct build {
    struct arena *arena;  /* of the generation */
    struct arena scratch; /* of the compilation */
    struct diagnostics *d;
    struct router *router;
    struct pattern *patterns;
    size_t count, room;
    uint32_t nodes, nodes_room, children, children_room, entries, hosts;
    uint32_t *live;                  /* patterns of each route that are not shadowed */
    uint32_t *shadowed_by, *clashed; /* index of another route, plus one */
    uint64_t listeners;              /* bits of those that exist */
    bool no_memory;
};

/* --- patterns --------------------------------------------------------------- */

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool unreserved(unsigned char c) /* RFC 3986, 2.3 */
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("-._~", c));
}

/* A literal segment as a request in normal form has it: unreserved characters
 * decoded, all else that needs it escaped in upper case.  `star` is what a
 * star is spelled like: both `*` and `%2A` are legal in a request. */
static struct span literal(struct build *b, struct span text, const char *star, bool *has_star)
{
    char *out = arena_alloc(b->arena, text.len * 3 + 1);
    size_t len = 0;

    if (!out)
        return (struct span){NULL, 0};
    while (text.len > 0) {
        unsigned char c = (unsigned char)text.ptr[0];
        bool escaped = c == '%' && text.len >= 3 && hex(text.ptr[1]) >= 0 && hex(text.ptr[2]) >= 0;
        if (escaped)
            c = (unsigned char)(hex(text.ptr[1]) << 4 | hex(text.ptr[2]));
        text = span_after(text, escaped ? 3 : 1);
        if (c == '*') {
            *has_star = true;
            memcpy(out + len, star, strlen(star));
            len += strlen(star);
        } else if ((escaped && !unreserved(c)) || c >= 0x80) {
            out[len++] = '%';
            out[len++] = "0123456789ABCDEF"[c >> 4];
            out[len++] = "0123456789ABCDEF"[c & 15];
        } else {
            out[len++] = (char)c;
        }
    }
    return (struct span){out, len};
}

/* {name} and {name*}. */
static bool is_capture(struct span text)
{
    return text.len > 2 && text.ptr[0] == '{' && text.ptr[text.len - 1] == '}';
}

static struct segment segment_of(struct build *b, struct span text, bool last, const char *star,
                                 bool *has_star)
{
    if (last && span_equal(text, SPAN("*")))
        return (struct segment){SEGMENT_REST, {NULL, 0}};
    if (is_capture(text)) {
        struct span name = {text.ptr + 1, text.len - 2};
        if (!last || name.ptr[name.len - 1] != '*')
            return (struct segment){SEGMENT_NAMED, name};
        name.len--;
        return (struct segment){SEGMENT_REST, name};
    }
    text = literal(b, text, star, has_star);
    if (!text.ptr)
        b->no_memory = true;
    return (struct segment){SEGMENT_LITERAL, text};
}

static size_t segments_in(struct span path)
{
    size_t n = 1;

    for (size_t i = 1; i < path.len; i++)
        n += path.ptr[i] == '/';
    return n;
}

static uint16_t rank_of(const struct route_conf *r)
{
    return (uint16_t)(r->match.count + (r->methods.count > 0) + (r->listeners.count > 0));
}

static bool refuse(struct build *b, const struct route_conf *r, struct span path, const char *why)
{
    b->live[r->index]++; /* wrong is all that is to be said about it */
    diagnostics_say(b->d, SEVERITY_ERROR, r->at, "route \"%.*s\": path %.*s %s", SPAN_ARG(r->name),
                    SPAN_ARG(path), why);
    return false;
}

/* Splits a path; false when it was refused, or memory is short. */
static bool pattern_fill(struct build *b, struct pattern *p, struct span path, const char *star,
                         bool *has_star)
{
    size_t max = segments_in(path), n = 0;
    struct span names[ROUTE_CAPTURES_MAX], rest;

    if (path.len == 0 || path.ptr[0] != '/')
        return refuse(b, p->route, path, "does not begin with a slash");
    if (max > ROUTE_SEGMENTS_MAX)
        return refuse(b, p->route, path, "has more than 128 segments");
    if (!(p->segments = arena_alloc(&b->scratch, (max + 1) * sizeof *p->segments)))
        return !(b->no_memory = true);
    rest = span_after(path, 1);
    for (bool last = false; !last;) {
        struct span text = span_first(rest, span_find(rest, '/'));
        last = text.len == rest.len;
        if (!last)
            rest = span_after(rest, text.len + 1);
        struct segment s = segment_of(b, text, last, star, has_star);
        p->segments[n++] = s;
        if (s.kind == SEGMENT_LITERAL || !s.text.len)
            continue;
        if (p->names == ROUTE_CAPTURES_MAX)
            return refuse(b, p->route, path, "has more than 8 names");
        for (unsigned i = 0; i < p->names; i++)
            if (span_equal(names[i], s.text))
                return refuse(b, p->route, path, "has a name twice");
        names[p->names++] = s.text;
    }
    if (p->segments[n - 1].kind != SEGMENT_REST)
        p->segments[n] = (struct segment){SEGMENT_END, {NULL, 0}};
    if (p->names && !(p->name = arena_alloc(b->arena, p->names * sizeof *names)))
        b->no_memory = true;
    else if (p->names)
        memcpy(p->name, names, p->names * sizeof *names);
    return !b->no_memory;
}

static struct span host_of(const struct route_conf *r, unsigned i)
{
    if (r->hosts.count == 0)
        return (struct span){NULL, 0};
    struct span host = r->hosts.list[i];
    return span_starts(host, SPAN("*.")) ? span_after(host, 1) : host;
}

static void pattern_add(struct build *b, const struct route_conf *r, struct span path,
                        const char *star, bool *has_star)
{
    unsigned hosts = r->hosts.count ? r->hosts.count : 1;
    struct pattern p = {.route = r, .rank = rank_of(r)};

    if (!pattern_fill(b, &p, path, star, has_star))
        return;
    for (unsigned i = 0; i < hosts; i++) {
        if (b->count == b->room) {
            size_t room = b->room ? b->room * 2 : 64;
            struct pattern *more = mem_resize(b->patterns, room * sizeof *more);
            if (!more) {
                b->no_memory = true;
                return;
            }
            b->patterns = more;
            b->room = room;
        }
        p.host = host_of(r, i);
        b->patterns[b->count++] = p;
    }
}

static void patterns_of(struct build *b, const struct route_conf *r)
{
    static const struct span everything = SPAN_INIT("/*");
    const struct span *list = r->paths.count ? r->paths.list : &everything;
    unsigned count = r->paths.count ? r->paths.count : 1;

    for (unsigned i = 0; i < count; i++) {
        bool has_star = false;
        pattern_add(b, r, list[i], "*", &has_star);
        if (has_star)
            pattern_add(b, r, list[i], "%2A", &has_star);
    }
}

static int compare_spans(struct span a, struct span b)
{
    if (a.len != b.len)
        return a.len < b.len ? -1 : 1;
    return a.len ? memcmp(a.ptr, b.ptr, a.len) : 0;
}

static int compare_segments(const struct segment *a, const struct segment *b)
{
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    return a->kind == SEGMENT_LITERAL ? compare_spans(a->text, b->text) : 0;
}

static int compare_places(const struct pattern *p, const struct pattern *q)
{
    int order = compare_spans(p->host, q->host);

    for (size_t i = 0; order == 0; i++) {
        order = compare_segments(&p->segments[i], &q->segments[i]);
        if (p->segments[i].kind <= SEGMENT_REST)
            break;
    }
    return order;
}

/* By place; at one place those with more conditions first, then as written. */
static int compare_patterns(const void *left, const void *right)
{
    const struct pattern *p = left, *q = right;
    int order = compare_places(p, q);

    if (order == 0 && p->rank != q->rank)
        order = p->rank > q->rank ? -1 : 1;
    if (order == 0 && p->route != q->route)
        order = p->route->index < q->route->index ? -1 : 1;
    return order;
}

/* A route that names a host or path twice is one pattern there. */
static void patterns_unique(struct build *b)
{
    size_t kept = 0;

    for (size_t i = 0; i < b->count; i++)
        if (kept == 0 || compare_patterns(&b->patterns[kept - 1], &b->patterns[i]) != 0)
            b->patterns[kept++] = b->patterns[i];
    b->count = kept;
}

/* --- those that end at one place --------------------------------------------- */

static uint32_t method_bits(const struct route_conf *r)
{
    uint32_t bits = 0;

    if (r->methods.count == 0)
        return UINT32_MAX;
    for (unsigned i = 0; i < r->methods.count; i++)
        bits |= 1u << method_find(r->methods.list[i]);
    if (bits & 1u << METHOD_GET)
        bits |= 1u << METHOD_HEAD;
    return bits;
}

static bool share_method(const struct route_entry *a, const struct route_entry *b)
{
    uint32_t both = a->method_bits & b->method_bits;

    if (both != 1u << METHOD_OTHER)
        return both != 0;
    for (unsigned i = 0; i < a->route->methods.count; i++)
        if (method_find(a->route->methods.list[i]) == METHOD_OTHER &&
            (b->method_bits == UINT32_MAX ||
             route_lists_method(b->route, a->route->methods.list[i])))
            return true;
    return a->method_bits == UINT32_MAX;
}

static bool covers_methods(const struct route_entry *a, const struct route_entry *b)
{
    if (a->method_bits == UINT32_MAX)
        return true;
    if (b->method_bits == UINT32_MAX || (b->method_bits & ~a->method_bits))
        return false;
    for (unsigned i = 0; i < b->route->methods.count; i++)
        if (method_find(b->route->methods.list[i]) == METHOD_OTHER &&
            !route_lists_method(a->route, b->route->methods.list[i]))
            return false;
    return true;
}

static bool contradictory(const struct route_entry *e)
{
    return conditions_exclude(&e->route->match, &e->route->match);
}

static bool can_meet(const struct route_entry *a, const struct route_entry *b)
{
    return !contradictory(a) && !contradictory(b) && (a->listener_bits & b->listener_bits) &&
           share_method(a, b) && !conditions_exclude(&a->route->match, &b->route->match);
}

/* Whatever b would answer, a answers. */
static bool covers(const struct route_entry *a, const struct route_entry *b)
{
    return !(b->listener_bits & ~a->listener_bits) && covers_methods(a, b) &&
           conditions_follow(&a->route->match, &b->route->match);
}

static void say_clash(struct build *b, const struct route_conf *first,
                      const struct route_conf *second)
{
    if (b->clashed[second->index] == first->index + 1)
        return; /* once for a pair, not for each host and path */
    b->clashed[second->index] = first->index + 1;
    diagnostics_say(b->d, SEVERITY_ERROR, second->at,
                    "routes \"%.*s\" and \"%.*s\" (%s:%u) claim the same requests: same host, same "
                    "path and as many conditions",
                    SPAN_ARG(second->name), SPAN_ARG(first->name),
                    first->at.file ? first->at.file : "built in", first->at.line);
}

/* Compares each entry with those before it, which are at least its rank. */
static void entries_check(struct build *b, struct route_list list)
{
    const struct route_entry *e = b->router->entries + list.first;

    for (uint32_t i = 0; i < list.count; i++) {
        const struct route_conf *r = e[i].route;
        bool shadowed = contradictory(&e[i]);
        for (uint32_t j = 0; j < i; j++) {
            if (e[j].rank == e[i].rank) {
                if (can_meet(&e[j], &e[i]))
                    say_clash(b, e[j].route, r);
            } else if (!shadowed && covers(&e[j], &e[i])) {
                shadowed = true;
                b->shadowed_by[r->index] = e[j].route->index + 1;
            }
        }
        b->live[r->index] += !shadowed;
    }
}

static void say_shadowed(struct build *b, const struct config *config, const struct route_conf *r)
{
    const struct route_conf *by;

    if (b->shadowed_by[r->index] == 0) {
        diagnostics_say(b->d, SEVERITY_WARNING, r->at,
                        "route \"%.*s\" never answers: its conditions contradict each other",
                        SPAN_ARG(r->name));
        return;
    }
    by = &config->routes[b->shadowed_by[r->index] - 1];
    diagnostics_say(b->d, SEVERITY_WARNING, r->at,
                    "route \"%.*s\" never answers: all its requests go to route \"%.*s\" (%s:%u)",
                    SPAN_ARG(r->name), SPAN_ARG(by->name), by->at.file ? by->at.file : "built in",
                    by->at.line);
}

/* --- tries ---------------------------------------------------------------- */

static struct route_list entries_build(struct build *b, const struct pattern *p, size_t n)
{
    struct route_list list = {b->entries, (uint32_t)n};

    for (size_t i = 0; i < n; i++)
        b->router->entries[b->entries++] = (struct route_entry){
            .route = p[i].route,
            .listener_bits = p[i].route->listener_bits & b->listeners,
            .method_bits = method_bits(p[i].route),
            .rank = p[i].rank,
            .conditional = p[i].route->match.count > 0,
            .names = p[i].names,
            .name = p[i].name,
        };
    entries_check(b, list);
    return list;
}

static bool more_nodes(struct build *b)
{
    if (b->nodes >= b->nodes_room) {
        uint32_t room = b->nodes_room ? b->nodes_room * 2 : 64;
        struct route_node *more = mem_resize(b->router->nodes, room * sizeof *more);
        if (!more)
            return !(b->no_memory = true);
        b->router->nodes = more;
        b->nodes_room = room;
    }
    return true;
}

static bool more_children(struct build *b, size_t n)
{
    while (b->children_room - b->children < n) {
        uint32_t room = b->children_room ? b->children_room * 2 : 64;
        struct route_child *more = mem_resize(b->router->children, room * sizeof *more);
        if (!more)
            return !(b->no_memory = true);
        memset(more + b->children_room, 0, (room - b->children_room) * sizeof *more);
        b->router->children = more;
        b->children_room = room;
    }
    return true;
}

/* How many of the first patterns have the same segment at this depth. */
static size_t run_length(const struct pattern *p, size_t n, size_t depth)
{
    size_t i = 1;

    while (i < n && compare_segments(&p[0].segments[depth], &p[i].segments[depth]) == 0)
        i++;
    return i;
}

/* Room for n literals: one alone needs no free place, and its hash none either. */
static uint32_t places_for(size_t n)
{
    uint32_t places = 1;

    while (n > 1 && places < n * 2)
        places *= 2;
    return places;
}

/* Segments of a pattern with the slashes between them. */
static struct span segments_join(struct build *b, const struct segment *first, size_t n)
{
    size_t len = n - 1;
    char *text, *at;

    if (n == 1)
        return first->text;
    for (size_t i = 0; i < n; i++)
        len += first[i].text.len;
    if (!(text = at = arena_alloc(b->arena, len))) {
        b->no_memory = true;
        return (struct span){0};
    }
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            *at++ = '/';
        if (first[i].text.len)
            memcpy(at, first[i].text.ptr, first[i].text.len);
        at += first[i].text.len;
    }
    return (struct span){text, len};
}

static void child_place(struct build *b, uint32_t first, uint32_t mask, struct span segment,
                        struct span text, uint32_t node)
{
    uint32_t at = mask ? route_hash_span(segment) : 0;

    while (b->router->children[first + (at & mask)].node)
        at++;
    b->router->children[first + (at & mask)] = (struct route_child){
        .word = route_word(text.ptr, text.len),
        .mask = text.len < 8 ? (UINT64_C(1) << 8 * text.len) - 1 : UINT64_MAX,
        .ptr = text.ptr,
        .len = (uint32_t)text.len,
        .node = node,
    };
}

/* How many segments, from this depth on, n patterns have in common that are literal and
 * where nothing branches off. */
static size_t chain_length(const struct pattern *p, size_t n, size_t depth)
{
    size_t length = 1;

    while (p->segments[depth + length].kind == SEGMENT_LITERAL &&
           run_length(p, n, depth + length) == n)
        length++;
    return length;
}

static uint32_t node_build(struct build *b, const struct pattern *p, size_t n, size_t depth);

static void literals_build(struct build *b, uint32_t node, const struct pattern *p, size_t n,
                           size_t depth)
{
    size_t different = 0;

    for (size_t i = 0; i < n; i += run_length(p + i, n - i, depth))
        different++;
    uint32_t places = places_for(different), first = b->children;
    if (!more_children(b, places))
        return;
    b->children += places;
    b->router->nodes[node].has_children = true;
    b->router->nodes[node].child = first;
    b->router->nodes[node].child_mask = places - 1;
    for (size_t i = 0, run; i < n && !b->no_memory; i += run) {
        run = run_length(p + i, n - i, depth);
        size_t chain = chain_length(p + i, run, depth);
        struct span text = segments_join(b, &p[i].segments[depth], chain);
        uint32_t below = node_build(b, p + i, run, depth + chain);
        if (!b->no_memory)
            child_place(b, first, places - 1, p[i].segments[depth].text, text, below);
    }
}

/* The node of n sorted patterns that are the same up to this depth. */
static uint32_t node_build(struct build *b, const struct pattern *p, size_t n, size_t depth)
{
    uint32_t node = b->nodes;
    size_t run;

    if (!more_nodes(b))
        return 0;
    b->nodes++;
    b->router->nodes[node] = (struct route_node){0};
    for (; n > 0 && !b->no_memory; p += run, n -= run) {
        run = run_length(p, n, depth);
        switch (p->segments[depth].kind) {
        case SEGMENT_END:
            b->router->nodes[node].exact = entries_build(b, p, run);
            break;
        case SEGMENT_REST:
            b->router->nodes[node].prefix = entries_build(b, p, run);
            break;
        case SEGMENT_NAMED: {
            uint32_t named = node_build(b, p, run, depth + 1);
            b->router->nodes[node].named = named;
            break;
        }
        case SEGMENT_LITERAL:
            run = n; /* literals come last */
            literals_build(b, node, p, n, depth);
            break;
        }
    }
    return node;
}

static void host_place(struct build *b, struct span name, uint32_t root)
{
    struct router *r = b->router;
    struct host_key key = route_host_key(name);
    uint32_t at = r->host_mask ? route_host_hash(&key) : 0;
    bool wildcard = name.ptr[0] == '.';

    while (r->hosts[at & r->host_mask].root)
        at++;
    r->hosts[at & r->host_mask] = (struct route_host){key, root};
    *(wildcard ? &r->wildcard_lengths : &r->exact_lengths) |= route_host_length(name.len);
}

static size_t host_run(const struct build *b, size_t first)
{
    size_t i = first + 1;

    while (i < b->count && span_equal(b->patterns[i].host, b->patterns[first].host))
        i++;
    return i - first;
}

static void tries_build(struct build *b)
{
    size_t hosts = 0;

    for (size_t i = 0; i < b->count; i += host_run(b, i))
        hosts += b->patterns[i].host.len > 0;
    uint32_t places = places_for(hosts);
    b->router->host_mask = places - 1;
    b->router->hosts = arena_zalloc(b->arena, places * sizeof *b->router->hosts);
    b->router->entries = arena_alloc(b->arena, b->count * sizeof *b->router->entries);
    if (!b->router->hosts || !b->router->entries) {
        b->no_memory = true;
        return;
    }
    for (size_t i = 0, run; i < b->count && !b->no_memory; i += run) {
        run = host_run(b, i);
        uint32_t root = node_build(b, b->patterns + i, run, 0);
        if (b->patterns[i].host.len)
            host_place(b, b->patterns[i].host, root);
        else
            b->router->any = root;
    }
}

/* While they grow, nodes and children are the allocator's; now they become
 * the generation's. */
static void tries_keep(struct build *b)
{
    struct route_node *nodes = b->router->nodes;
    struct route_child *children = b->router->children;

    b->router->nodes = arena_alloc(b->arena, b->nodes * sizeof *nodes);
    b->router->children = arena_alloc(b->arena, (b->children + 1) * sizeof *children);
    if (!b->router->nodes || !b->router->children)
        b->no_memory = true;
    if (b->router->nodes && nodes)
        memcpy(b->router->nodes, nodes, b->nodes * sizeof *nodes);
    if (b->router->children && children)
        memcpy(b->router->children, children, b->children * sizeof *children);
    mem_free(nodes);
    mem_free(children);
}

static bool build_begin(struct build *b, const struct config *config)
{
    size_t n = config->route_count + 1;

    b->router = arena_zalloc(b->arena, sizeof *b->router);
    b->live = arena_zalloc(&b->scratch, n * sizeof *b->live);
    b->shadowed_by = arena_zalloc(&b->scratch, n * sizeof *b->shadowed_by);
    b->clashed = arena_zalloc(&b->scratch, n * sizeof *b->clashed);
    b->listeners = config->listener_count >= LISTENERS_MAX
                       ? UINT64_MAX
                       : (UINT64_C(1) << config->listener_count) - 1;
    b->nodes = 1; /* 0 is nobody */
    b->no_memory = !b->router || !b->live || !b->shadowed_by || !b->clashed;
    return !b->no_memory;
}

struct router *router_new(struct arena *arena, const struct config *config, struct diagnostics *d)
{
    struct build b = {.arena = arena, .d = d};

    if (build_begin(&b, config)) {
        for (unsigned i = 0; i < config->route_count; i++)
            patterns_of(&b, &config->routes[i]);
        if (b.count)
            qsort(b.patterns, b.count, sizeof *b.patterns, compare_patterns);
        patterns_unique(&b);
        if (!b.no_memory)
            tries_build(&b);
        tries_keep(&b);
    }
    for (unsigned i = 0; i < config->route_count && !b.no_memory; i++)
        if (b.live[i] == 0)
            say_shadowed(&b, config, &config->routes[i]);
    mem_free(b.patterns);
    arena_free(&b.scratch);
    return b.no_memory ? NULL : b.router;
}
