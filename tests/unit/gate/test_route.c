/* Routes: the rules one by one, then random routes and requests against a
 * reference that follows the manual's sentence word by word. */
#include "gate/route.h"

#include "base/mem.h"
#include "base/random.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROUTES_MAX = 24, LIST_MAX = 4 };

/* A route as a test writes it: lists separated by blanks, conditions as in the file. */
struct route_text {
    const char *name, *hosts, *paths, *methods, *listeners, *match;
};

struct set {
    struct arena arena;
    struct config config;
    struct route_conf routes[ROUTES_MAX];
    struct listener_conf listeners[2];
    struct diagnostics d;
    struct router *router;
};

static struct spans words(struct arena *a, const char *text)
{
    struct spans s = {arena_alloc(a, 8 * sizeof *s.list), 0};

    for (struct span rest = span_of(text ? text : ""); rest.len > 0;) {
        struct span word = span_first(rest, span_find(rest, ' '));
        if (word.len)
            s.list[s.count++] = arena_copy(a, word);
        rest = span_after(rest, word.len < rest.len ? word.len + 1 : word.len);
    }
    return s;
}

/* NAME !NAME NAME=V NAME!=V NAME^=V; a leading `?` makes it a query parameter. */
static struct condition condition_of(struct span text)
{
    struct condition c = {.kind = CONDITION_PRESENT};
    size_t equals = span_find(text, '=');

    if (text.ptr[0] == '?') {
        c.in_query = true;
        text = span_after(text, 1);
        equals--;
    }
    if (text.ptr[0] == '!') {
        c.kind = CONDITION_ABSENT;
        c.name = span_after(text, 1);
    } else if (equals >= text.len) {
        c.name = text;
    } else {
        c.value = span_after(text, equals + 1);
        c.kind = text.ptr[equals - 1] == '!'   ? CONDITION_NOT_EQUAL
                 : text.ptr[equals - 1] == '^' ? CONDITION_PREFIX
                                               : CONDITION_EQUAL;
        c.name = span_first(text, c.kind == CONDITION_EQUAL ? equals : equals - 1);
    }
    c.id = c.in_query ? 0 : (uint16_t)field_find(c.name);
    return c;
}

static void set_add(struct set *s, const struct route_text *t)
{
    struct route_conf *r = &s->routes[s->config.route_count];
    struct spans match = words(&s->arena, t->match);

    *r = (struct route_conf){
        .name = span_of(t->name),
        .index = s->config.route_count++,
        .at = {"test.ini", s->config.route_count, 1},
        .listeners = words(&s->arena, t->listeners),
        .hosts = words(&s->arena, t->hosts),
        .paths = words(&s->arena, t->paths ? t->paths : "/*"),
        .methods = words(&s->arena, t->methods),
    };
    r->match.list = arena_alloc(&s->arena, 8 * sizeof *r->match.list);
    for (unsigned i = 0; i < match.count; i++)
        r->match.list[r->match.count++] = condition_of(match.list[i]);
    for (unsigned i = 0; i < r->listeners.count; i++)
        r->listener_bits |= UINT64_C(1) << (r->listeners.list[i].ptr[0] - '0');
    if (r->listeners.count == 0)
        r->listener_bits = UINT64_MAX;
}

static void set_compile(struct set *s)
{
    s->config.routes = s->routes;
    s->config.listeners = s->listeners;
    s->config.listener_count = 2;
    s->d = (struct diagnostics){.arena = &s->arena};
    s->router = router_new(&s->arena, &s->config, &s->d);
}

static struct set set_of(const struct route_text *t, size_t n)
{
    struct set s = {0};

    for (size_t i = 0; i < n; i++)
        set_add(&s, &t[i]);
    return s;
}

/* "GET host/path?query", and fields "x: v" */
struct ask {
    const char *method, *host, *path, *query;
    unsigned listener;
    const char *field, *value;
    bool u; /* there is a field "u" too */
};

static struct route_match ask(struct set *s, struct ask a)
{
    struct field list[2];
    struct request request = {.fields = {list, 0, 2, 0}};
    struct route_match m = {0};
    struct route_query q = {
        .listener = a.listener,
        .host = span_of(a.host ? a.host : ""),
        .path = span_of(a.path),
        .method_name = span_of(a.method ? a.method : "GET"),
        .request = &request,
        .query = span_of(a.query ? a.query : ""),
    };

    q.method = method_find(q.method_name);
    if (a.field)
        ck_assert_int_eq(fields_add(&request.fields, field_find(span_of(a.field)), span_of(a.field),
                                    span_of(a.value)),
                         0);
    if (a.u)
        ck_assert_int_eq(fields_add(&request.fields, FIELD_OTHER, SPAN("u"), SPAN("1")), 0);
    router_find(s->router, &q, &m);
    return m;
}

static void expect(struct set *s, struct ask a, const char *name)
{
    struct route_match m = ask(s, a);
    struct span got = m.route ? m.route->name : SPAN("none");

    ck_assert_msg(span_equal(got, span_of(name ? name : "none")), "%s%s went to %.*s",
                  a.host ? a.host : "", a.path, SPAN_ARG(got));
}

#define ROUTES(...)                                                                                \
    const struct route_text texts[] = {__VA_ARGS__};                                               \
    struct set s = set_of(texts, COUNT_OF(texts));                                                 \
    set_compile(&s);                                                                               \
    ck_assert_ptr_nonnull(s.router)
#define ASK(...)                                                                                   \
    (struct ask)                                                                                   \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

START_TEST(exact_host_beats_longest_wildcard_beats_any)
{
    ROUTES({.name = "any"}, {.name = "short", .hosts = "*.x"}, {.name = "long", .hosts = "*.b.x"},
           {.name = "exact", .hosts = "a.b.x"});

    ck_assert_uint_eq(s.d.errors, 0);
    expect(&s, ASK(.host = "a.b.x", .path = "/"), "exact");
    expect(&s, ASK(.host = "c.a.b.x", .path = "/"), "long");
    expect(&s, ASK(.host = "b.x", .path = "/"), "short"); /* *.b.x is not b.x */
    expect(&s, ASK(.host = "x", .path = "/"), "any");
    expect(&s, ASK(.path = "/"), "any");
    expect(&s, ASK(.host = ".x", .path = "/"), "any");
    expect(&s, ASK(.host = "ax", .path = "/"), "any");
    arena_free(&s.arena);
}
END_TEST

START_TEST(paths_match_as_the_manual_says)
{
    ROUTES({.name = "exact", .paths = "/hello"}, {.name = "prefix", .paths = "/api/*"},
           {.name = "orders", .paths = "/users/{id}/orders"},
           {.name = "files", .paths = "/files/{rest*}"}, {.name = "root", .paths = "/"});

    ck_assert_uint_eq(s.d.errors, 0);
    expect(&s, ASK(.path = "/hello"), "exact");
    expect(&s, ASK(.path = "/hello/"), NULL);
    expect(&s, ASK(.path = "/hell"), NULL);
    expect(&s, ASK(.path = "/hello1"), NULL);
    expect(&s, ASK(.path = "/api"), "prefix");
    expect(&s, ASK(.path = "/api/"), "prefix");
    expect(&s, ASK(.path = "/api/a/b"), "prefix");
    expect(&s, ASK(.path = "/apis"), NULL);
    expect(&s, ASK(.path = "/"), "root");
    expect(&s, ASK(.path = "/users/7/orders"), "orders");
    expect(&s, ASK(.path = "/users//orders"), NULL);
    expect(&s, ASK(.path = "/users/7/orders/"), NULL);
    expect(&s, ASK(.path = "/users/7/8/orders"), NULL);
    expect(&s, ASK(.path = "/files"), "files");
    expect(&s, ASK(.path = "/files/a/b"), "files");
    expect(&s, ASK(.path = "/filesystem-of-more-than-eight"), NULL);
    arena_free(&s.arena);
}
END_TEST

START_TEST(captures_have_the_names_of_the_route_that_won)
{
    ROUTES({.name = "get", .paths = "/u/{id}/{what}", .methods = "GET"},
           {.name = "post", .paths = "/u/{user}/{thing}", .methods = "POST"},
           {.name = "rest", .paths = "/f/{a}/{rest*}"});

    struct route_match m = ask(&s, ASK(.method = "POST", .path = "/u/seven/of-more-than-8"));
    ck_assert_uint_eq(m.captures, 2);
    ck_assert(span_equal(m.capture[0].name, SPAN("user")));
    ck_assert(span_equal(m.capture[0].value, SPAN("seven")));
    ck_assert(span_equal(m.capture[1].value, SPAN("of-more-than-8")));
    m = ask(&s, ASK(.path = "/f/x/y/z/"));
    ck_assert_uint_eq(m.captures, 2);
    ck_assert(span_equal(m.capture[1].name, SPAN("rest")));
    ck_assert(span_equal(m.capture[1].value, SPAN("y/z/")));
    m = ask(&s, ASK(.path = "/f/x"));
    ck_assert_uint_eq(m.captures, 2);
    ck_assert_uint_eq(m.capture[1].value.len, 0);
    arena_free(&s.arena);
}
END_TEST

START_TEST(a_literal_path_whose_condition_fails_gives_way)
{
    ROUTES({.name = "literal", .paths = "/a/b", .match = "x=1"},
           {.name = "named", .paths = "/a/{n}", .listeners = "1"},
           {.name = "deep", .paths = "/{n}/b"}, {.name = "all", .hosts = "h", .methods = "PUT"});

    expect(&s, ASK(.path = "/a/b", .field = "X", .value = "1"), "literal");
    expect(&s, ASK(.path = "/a/b", .listener = 1), "named");
    expect(&s, ASK(.path = "/a/b"), "deep");
    expect(&s, ASK(.host = "h", .path = "/a/b"), "deep");
    expect(&s, ASK(.method = "PUT", .host = "h", .path = "/a/b"), "all");
    struct route_match m = ask(&s, ASK(.path = "/a/b"));
    ck_assert_uint_eq(m.captures, 1); /* what /a/{n} captured is forgotten */
    ck_assert(span_equal(m.capture[0].value, SPAN("a")));
    arena_free(&s.arena);
}
END_TEST

START_TEST(more_conditions_win)
{
    ROUTES({.name = "plain"}, {.name = "one", .match = "x"}, {.name = "two", .match = "x ?q=a+b"},
           {.name = "get", .methods = "GET", .listeners = "0", .match = "x ?q=a+b"});

    ck_assert_uint_eq(s.d.errors, 0);
    expect(&s, ASK(.path = "/"), "plain");
    expect(&s, ASK(.path = "/", .field = "x", .value = ""), "one");
    arena_free(&s.arena);
}
END_TEST

START_TEST(query_values_are_compared_decoded)
{
    ROUTES({.name = "equal", .match = "?q=a/b"}, {.name = "prefix", .match = "?q^=a/bc ?q^=a"},
           {.name = "else", .match = "?q!=a/b", .paths = "/not"});

    expect(&s, ASK(.path = "/", .query = "q=a%2fb"), "equal");
    expect(&s, ASK(.path = "/", .query = "p=1&q=a/b"), "equal");
    expect(&s, ASK(.path = "/", .query = "q=a%2Fb%63d"), "prefix");
    expect(&s, ASK(.path = "/", .query = "q=a%2"), NULL);
    expect(&s, ASK(.path = "/not", .query = "q=a%2Fb"), "equal");
    expect(&s, ASK(.path = "/not"), "else");
    arena_free(&s.arena);
}
END_TEST

START_TEST(another_method_is_405_and_names_those_that_would_do)
{
    ROUTES({.name = "get", .paths = "/a", .methods = "GET"},
           {.name = "put", .paths = "/{n}", .methods = "PUT PURGE"},
           {.name = "far", .paths = "/a", .methods = "DELETE", .listeners = "1"});

    struct route_match m = ask(&s, ASK(.method = "POST", .path = "/a"));
    ck_assert_ptr_null(m.route);
    ck_assert_uint_eq(m.methods_other,
                      1u << METHOD_GET | 1u << METHOD_HEAD | 1u << METHOD_PUT | 1u << METHOD_OTHER);
    m = ask(&s, ASK(.method = "BREW", .path = "/b"));
    ck_assert_uint_eq(m.methods_other, 1u << METHOD_PUT | 1u << METHOD_OTHER);
    m = ask(&s, ASK(.method = "POST", .path = "/b/c"));
    ck_assert_uint_eq(m.methods_other, 0);
    expect(&s, ASK(.method = "PURGE", .path = "/a"), "put");
    expect(&s, ASK(.method = "HEAD", .path = "/a"), "get");

    struct route_methods all;
    router_methods(s.router, &(struct route_query){.path = SPAN("/a")}, &all);
    ck_assert_uint_eq(all.bits,
                      1u << METHOD_GET | 1u << METHOD_HEAD | 1u << METHOD_PUT | 1u << METHOD_OTHER);
    ck_assert_uint_eq(all.count, 1);
    ck_assert(span_equal(all.names[0], SPAN("PURGE")));
    arena_free(&s.arena);
}
END_TEST

START_TEST(escapes_of_a_route_are_brought_to_the_normal_form)
{
    ROUTES({.name = "tilde", .paths = "/%7euser"}, {.name = "star", .paths = "/%2a"},
           {.name = "slash", .paths = "/a%2fb"}, {.name = "utf8", .paths = "/caf\xc3\xa9"});

    expect(&s, ASK(.path = "/~user"), "tilde");
    expect(&s, ASK(.path = "/*"), "star");
    expect(&s, ASK(.path = "/%2A"), "star");
    expect(&s, ASK(.path = "/b"), NULL);
    expect(&s, ASK(.path = "/a%2Fb"), "slash");
    expect(&s, ASK(.path = "/caf%C3%A9"), "utf8");
    arena_free(&s.arena);
}
END_TEST

static unsigned errors_of(const struct route_text *t, size_t n)
{
    struct set s = set_of(t, n);

    set_compile(&s);
    unsigned errors = s.d.errors;
    arena_free(&s.arena);
    return errors;
}

START_TEST(equal_routes_are_an_error_unless_they_never_meet)
{
    static const struct {
        unsigned errors;
        struct route_text pair[2];
    } cases[] = {
        {1, {{.name = "a", .paths = "/x"}, {.name = "b", .paths = "/x"}}},
        {1, {{.name = "a", .paths = "/{n}"}, {.name = "b", .paths = "/{m}"}}},
        {1, {{.name = "a", .hosts = "h i"}, {.name = "b", .hosts = "i h"}}},
        {1, {{.name = "a", .methods = "GET"}, {.name = "b", .methods = "HEAD"}}},
        {1, {{.name = "a", .methods = "GET"}, {.name = "b", .match = "x=1"}}},
        {1, {{.name = "a", .methods = "PURGE"}, {.name = "b", .methods = "PURGE GET"}}},
        {1, {{.name = "a", .listeners = "0"}, {.name = "b", .listeners = "0 1"}}},
        {1, {{.name = "a", .match = "x=1"}, {.name = "b", .match = "y=2"}}},
        {1, {{.name = "a", .match = "x!=1"}, {.name = "b", .match = "x!=2"}}},
        {1, {{.name = "a", .match = "x^=1"}, {.name = "b", .match = "x^=12"}}},
        {1, {{.name = "a", .match = "x=1"}, {.name = "b", .match = "?x=2"}}},
        {0, {{.name = "a", .paths = "/x"}, {.name = "b", .paths = "/{n}"}}},
        {0, {{.name = "a", .methods = "GET"}, {.name = "b", .methods = "POST"}}},
        {0, {{.name = "a", .methods = "PURGE"}, {.name = "b", .methods = "BREW"}}},
        {0, {{.name = "a", .listeners = "0"}, {.name = "b", .listeners = "1"}}},
        {0, {{.name = "a", .match = "x=1"}, {.name = "b", .match = "X=2"}}},
        {0, {{.name = "a", .match = "x=1"}, {.name = "b", .match = "x!=1"}}},
        {0, {{.name = "a", .match = "x"}, {.name = "b", .match = "!x"}}},
        {0, {{.name = "a", .match = "x^=ab"}, {.name = "b", .match = "x=a"}}},
        {0, {{.name = "a", .match = "x^=ab"}, {.name = "b", .match = "x^=ac"}}},
        {0, {{.name = "a", .match = "x=1"}, {.name = "b"}}},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++)
        ck_assert_msg(errors_of(cases[i].pair, 2) == cases[i].errors, "case %zu", i);
}
END_TEST

START_TEST(paths_that_cannot_be_compiled_are_errors)
{
    static const struct route_text names = {.name = "a", .paths = "/{a}/{b}/{a}"};
    static const struct route_text many = {.name = "b",
                                           .paths = "/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i*}"};
    char deep[300] = "";

    for (size_t i = 0; i < 258; i++)
        deep[i] = "/x"[i & 1];
    ck_assert_uint_eq(errors_of(&names, 1), 1);
    ck_assert_uint_eq(errors_of(&many, 1), 1);
    ck_assert_uint_eq(errors_of(&(struct route_text){.name = "c", .paths = deep}, 1), 1);
    deep[256] = 0;
    ck_assert_uint_eq(errors_of(&(struct route_text){.name = "c", .paths = deep}, 1), 0);
}
END_TEST

START_TEST(shadowed_routes_are_warnings_that_name_the_other)
{
    ROUTES({.name = "first", .match = "x^=a x^=ab"}, {.name = "hidden", .match = "x=abc"},
           {.name = "odd", .paths = "/odd", .match = "x=1 x=2"},
           {.name = "half", .paths = "/* /half", .match = "x=abcd"},
           {.name = "narrow", .listeners = "0 1", .methods = "GET", .paths = "/n"},
           {.name = "wide", .methods = "GET", .paths = "/n"},
           {.name = "both", .listeners = "0 1", .match = "x=1 y", .paths = "/m"},
           {.name = "less", .match = "x=1 y=1", .paths = "/m"});

    ck_assert_uint_eq(s.d.errors, 0);
    ck_assert_uint_eq(s.d.warnings, 4);
    const char *expected[] = {"\"hidden\" never answers: all its requests go to route \"first\"",
                              "\"odd\" never answers: its conditions contradict",
                              "\"wide\" never answers: all its requests go to route \"narrow\"",
                              "\"less\" never answers: all its requests go to route \"both\""};
    unsigned at = 0;
    for (struct diagnostic *d = s.d.first; d; d = d->next, at++) {
        char text[256];
        snprintf(text, sizeof text, "%.*s", SPAN_ARG(d->text));
        ck_assert_msg(strstr(text, expected[at]), "%s", text);
    }
    arena_free(&s.arena);
}
END_TEST

START_TEST(no_memory_is_no_router_and_no_leak)
{
    const struct route_text texts[] = {{.name = "a", .hosts = "x *.x", .paths = "/a/{b}/c /d"},
                                       {.name = "b", .paths = "/a/b /c /d /e /f /g /{h*}"}};

    for (uint64_t n = 1;; n++) {
        struct set s = set_of(texts, 2);
        s.arena.end = s.arena.at; /* so that each block counts */
        mem_fail_at(n, 0);
        set_compile(&s);
        mem_fail_at(0, 0);
        bool done = s.router != NULL;
        arena_free(&s.arena);
        if (done) {
            ck_assert_uint_gt(n, 3);
            break;
        }
    }
}
END_TEST

/* --- the reference ---------------------------------------------------------- */

static const char *const host_words[] = {"a.x", "b.a.x", "*.x", "*.a.x", "*.b.a.x", "y"};
static const char *const hosts_asked[] = {"", "a.x", "b.a.x", "c.b.a.x", "q.x", "y", "z", "x"};
static const char *const path_words[] = {"a", "b", "{m}", "{n}", "*", "long-segment"};
static const char *const method_words[] = {"GET", "HEAD", "POST", "PURGE", "BREW"};
static const char *const methods_asked[] = {"GET", "HEAD", "POST", "PURGE", "BREW", "LOCK"};
static const char *const match_words[] = {"t=v",  "t=w", "t!=v", "t!=w", "t^=v", "t^=vw",
                                          "t^=w", "t",   "!t",   "t=vw", "u",    "!u"};
static const char *const values_asked[] = {NULL, "v", "w", "vw", "vwx", "vx", "wx", "z", ""};
static const char *const path_parts[] = {"a", "b", "c", "long-segment", ""};

/* 0: no match.  Else higher is better. */
static unsigned host_rank(const struct route_conf *r, const char *asked)
{
    struct span host = span_of(asked);
    unsigned best = r->hosts.count == 0;

    for (unsigned i = 0; i < r->hosts.count; i++) {
        struct span h = r->hosts.list[i];
        unsigned rank = 0;
        if (h.ptr[0] != '*')
            rank = span_equal(h, host) ? 1000 : 0;
        else if (host.len > h.len - 1 &&
                 span_equal(span_after(host, host.len - (h.len - 1)), span_after(h, 1)))
            rank = 1 + (unsigned)h.len;
        best = rank > best ? rank : best;
    }
    return best;
}

static struct span next_segment(struct span *rest)
{
    struct span s = span_first(*rest, span_find(*rest, '/'));

    *rest = s.len < rest->len ? span_after(*rest, s.len + 1) : (struct span){NULL, 0};
    return s;
}

/* Writes a digit per segment, '3' literal, '2' {name}, '1' *; false: no match. */
static bool path_rank_one(struct span pattern, struct span path, char out[16])
{
    size_t n = 0;

    pattern = span_after(pattern, 1);
    path = span_after(path, 1);
    for (;;) {
        struct span want = next_segment(&pattern);
        if (span_equal(want, SPAN("*"))) {
            out[n++] = '1';
            break;
        }
        if (!path.ptr)
            return false;
        struct span have = next_segment(&path);
        bool named = want.len && want.ptr[0] == '{';
        if (named ? have.len == 0 : !span_equal(want, have))
            return false;
        out[n++] = named ? '2' : '3';
        if (!pattern.ptr) {
            if (path.ptr)
                return false;
            out[n++] = '3'; /* ending here is as literal as can be */
            break;
        }
    }
    out[n] = 0;
    return true;
}

static bool path_rank(const struct route_conf *r, struct span path, char best[16])
{
    bool found = false;

    for (unsigned i = 0; i < r->paths.count; i++) {
        char rank[16];
        if (path_rank_one(r->paths.list[i], path, rank) && (!found || strcmp(rank, best) > 0)) {
            strcpy(best, rank);
            found = true;
        }
    }
    return found;
}

static bool method_holds(const struct route_conf *r, const char *method)
{
    for (unsigned i = 0; i < r->methods.count; i++)
        if (span_equal(r->methods.list[i], span_of(method)) ||
            (span_equal(r->methods.list[i], SPAN("GET")) && strcmp(method, "HEAD") == 0))
            return true;
    return r->methods.count == 0;
}

static bool match_holds(const struct route_conf *r, const char *value, bool u)
{
    for (unsigned i = 0; i < r->match.count; i++) {
        const struct condition *c = &r->match.list[i];
        const char *v = c->name.ptr[0] == 't' ? value : u ? "1" : NULL;
        struct span have = span_of(v ? v : "");
        if (c->kind == CONDITION_PRESENT && !v)
            return false;
        if (c->kind == CONDITION_ABSENT && v)
            return false;
        if (c->kind == CONDITION_EQUAL && (!v || !span_equal(have, c->value)))
            return false;
        if (c->kind == CONDITION_NOT_EQUAL && v && span_equal(have, c->value))
            return false;
        if (c->kind == CONDITION_PREFIX && (!v || !span_starts(have, c->value)))
            return false;
    }
    return true;
}

static unsigned conditions_of(const struct route_conf *r)
{
    return r->match.count + (r->methods.count > 0) + (r->listeners.count > 0);
}

static const char *path_of(struct random *random, char out[64])
{
    size_t n = 1 + random_below(random, 4), len = 0;

    for (size_t i = 0; i < n; i++) {
        const char *part = path_parts[random_below(random, i + 1 == n ? 5 : 4)];
        len += (size_t)snprintf(out + len, 64 - len, "/%s", part);
    }
    return out;
}

/* Each kind of condition is independent of the others, so two routes clash
 * when there is a value of each kind that suits both. */
static bool reference_clash(const struct route_conf *a, const struct route_conf *b,
                            struct random random)
{
    bool host = false, path = false, method = false, value = false;

    if (conditions_of(a) != conditions_of(b) || !(a->listener_bits & b->listener_bits & 3))
        return false;
    for (size_t i = 0; i < COUNT_OF(hosts_asked); i++)
        host |= host_rank(a, hosts_asked[i]) &&
                host_rank(a, hosts_asked[i]) == host_rank(b, hosts_asked[i]);
    for (size_t i = 0; i < COUNT_OF(methods_asked); i++)
        method |= method_holds(a, methods_asked[i]) && method_holds(b, methods_asked[i]);
    for (size_t i = 0; i < COUNT_OF(values_asked) * 2; i++)
        value |= match_holds(a, values_asked[i / 2], i & 1) &&
                 match_holds(b, values_asked[i / 2], i & 1);
    for (size_t i = 0; i < 2000 && !path; i++) {
        char text[64], left[16], right[16];
        struct span p = span_of(path_of(&random, text));
        path = path_rank(a, p, left) && path_rank(b, p, right) && strcmp(left, right) == 0;
    }
    return host && path && method && value;
}

static const struct route_conf *reference_find(const struct set *s, struct ask a, bool any_method,
                                               uint32_t *methods)
{
    const struct route_conf *best = NULL;

    for (unsigned i = 0; i < s->config.route_count; i++) {
        const struct route_conf *r = &s->routes[i];
        char mine[16], other[16];
        if (!host_rank(r, a.host) || !path_rank(r, span_of(a.path), mine) ||
            !match_holds(r, a.value, a.u) || !(r->listener_bits >> a.listener & 1))
            continue;
        for (unsigned m = 0; any_method && m < r->methods.count; m++)
            *methods |= 1u << method_find(r->methods.list[m]) |
                        (span_equal(r->methods.list[m], SPAN("GET")) ? 1u << METHOD_HEAD : 0);
        if (!method_holds(r, a.method))
            continue;
        if (best) {
            unsigned x = host_rank(r, a.host), y = host_rank(best, a.host);
            path_rank(best, span_of(a.path), other);
            int order = x != y ? (x > y ? 1 : -1) : strcmp(mine, other);
            if (order == 0)
                order = conditions_of(r) > conditions_of(best) ? 1 : -1;
            if (order < 0)
                continue;
        }
        best = r;
    }
    return best;
}

static void random_list(struct random *random, char *out, const char *const *list, size_t n,
                        unsigned none_in)
{
    unsigned count = 1 + (unsigned)random_below(random, 2);

    out[0] = 0;
    if (random_below(random, none_in) != 0)
        return;
    for (unsigned i = 0; i < count; i++) {
        strcat(out, list[random_below(random, n)]);
        strcat(out, " ");
    }
}

static void random_path(struct random *random, char *out)
{
    size_t n = 1 + random_below(random, 3);

    for (size_t i = 0; i < n; i++) {
        const char *word = path_words[random_below(random, COUNT_OF(path_words))];
        strcat(out, "/");
        if (word[0] == '*')
            n = i + 1;
        strcat(out, word[0] == '{' ? (const char *[]){"{m}", "{n}", "{o}"}[i] : word);
    }
    if (random_below(random, 8) == 0 && out[strlen(out) - 1] != '*')
        strcat(out, "/");
    strcat(out, " ");
}

static void random_route(struct set *s, struct random *random)
{
    char hosts[64], paths[128] = "", methods[64], match[64], listeners[16];
    static const char *const listener_words[] = {"0", "1"};
    struct route_text t = {.name = "r",
                           .hosts = hosts,
                           .paths = paths,
                           .methods = methods,
                           .listeners = listeners,
                           .match = match};

    random_list(random, hosts, host_words, COUNT_OF(host_words), 2);
    random_list(random, methods, method_words, COUNT_OF(method_words), 2);
    random_list(random, match, match_words, COUNT_OF(match_words), 3);
    random_list(random, listeners, listener_words, 2, 4);
    random_path(random, paths);
    if (random_below(random, 3) == 0)
        random_path(random, paths);
    set_add(s, &t);
}

/* A random set without clashes: whatever clashes is checked to be reported,
 * and left out. */
static void random_set(struct set *s, struct random *random)
{
    unsigned wanted = 1 + (unsigned)random_below(random, ROUTES_MAX - 1);

    for (unsigned tries = 0; tries < wanted; tries++) {
        bool clash = false;
        random_route(s, random);
        for (unsigned i = 0; i + 1 < s->config.route_count; i++)
            clash |= reference_clash(&s->routes[i], &s->routes[s->config.route_count - 1], *random);
        set_compile(s);
        ck_assert_ptr_nonnull(s->router);
        ck_assert_msg((s->d.errors > 0) == clash, "%u errors, but a clash is %d: %.*s", s->d.errors,
                      clash, s->d.first ? (int)s->d.first->text.len : 0,
                      s->d.first ? s->d.first->text.ptr : "");
        if (clash)
            s->config.route_count--;
    }
    set_compile(s);
    ck_assert_uint_eq(s->d.errors, 0);
}

static void random_ask(struct set *s, struct random *random)
{
    char text[64];
    uint32_t methods = 0;
    struct ask a = {
        .method = methods_asked[random_below(random, COUNT_OF(methods_asked))],
        .host = hosts_asked[random_below(random, COUNT_OF(hosts_asked))],
        .path = path_of(random, text),
        .listener = (unsigned)random_below(random, 2),
        .value = values_asked[random_below(random, COUNT_OF(values_asked))],
    };
    a.field = a.value ? "T" : NULL;
    a.u = random_below(random, 2);
    const struct route_conf *expected = reference_find(s, a, false, NULL);
    struct route_match m = ask(s, a);

    ck_assert_ptr_eq(m.route, expected);
    if (!expected)
        reference_find(s, a, true, &methods);
    ck_assert_uint_eq(m.methods_other, methods);
}

START_TEST(random_routes_and_requests_agree_with_the_reference)
{
    unsigned found = 0;

    for (uint64_t seed = 1; seed <= 400; seed++) {
        struct random random = {seed};
        struct set s = {0};
        random_set(&s, &random);
        for (unsigned i = 0; i < 500; i++)
            random_ask(&s, &random);
        found += s.config.route_count;
        arena_free(&s.arena);
    }
    ck_assert_uint_gt(found, 2000);
}
END_TEST

/* Segments and hosts that are told apart by one letter, at any place, or by where they end. */
static void letters(char *out, size_t len)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (char)('a' + i % 26);
}

static void letter_exchange(struct random *random, char *text)
{
    size_t at = random_below(random, strlen(text));

    if (text[at] != '/')
        text[at] = 'x';
}

static char *similar_path(struct random *random, char *out)
{
    size_t n = 1 + random_below(random, 4), len = 0;

    for (size_t i = 0; i < n; i++) {
        size_t more = 1 + random_below(random, random_below(random, 2) ? 10 : 40);
        out[len++] = '/';
        letters(out + len, more);
        len += more;
    }
    if (random_below(random, 4) == 0)
        out[len++] = '/';
    out[len] = 0;
    return out;
}

static const struct route_conf *literal_find(const struct set *s, const char *host,
                                             const char *path)
{
    for (unsigned i = 0; i < s->config.route_count; i++)
        if (span_equal(s->routes[i].hosts.list[0], span_of(host)) &&
            span_equal(s->routes[i].paths.list[0], span_of(path)))
            return &s->routes[i];
    return NULL;
}

static unsigned literals_check(struct random random, unsigned hosts)
{
    char path[ROUTES_MAX][200], host[ROUTES_MAX][50] = {0}, other[200];
    size_t host_len = 1 + random_below(&random, 40);
    struct set s = {0};
    unsigned found = 0;

    for (unsigned i = 0; i < ROUTES_MAX; i++) {
        letters(host[i], host_len);
        for (unsigned n = i % hosts; n > 0; n--) /* others, or the same again */
            letter_exchange(&random, host[i]);
        similar_path(&random, path[i]);
        if (i % 2) {
            strcpy(path[i], path[i - 1]);
            letter_exchange(&random, path[i]);
        }
        if (!literal_find(&s, host[i], path[i]))
            set_add(&s, &(struct route_text){.name = "r", .hosts = host[i], .paths = path[i]});
    }
    set_compile(&s);
    ck_assert_uint_eq(s.d.errors, 0);
    for (unsigned i = 0; i < 300; i++) {
        const char *h = host[random_below(&random, ROUTES_MAX)];
        strcpy(other, path[random_below(&random, ROUTES_MAX)]);
        if (random_below(&random, 4) == 0)
            letter_exchange(&random, other);
        struct route_match m = ask(&s, (struct ask){.host = h, .path = other, .method = "GET"});
        ck_assert_ptr_eq(m.route, literal_find(&s, h, other));
        found += m.route != NULL;
    }
    arena_free(&s.arena);
    return found;
}

START_TEST(literals_and_hosts_of_any_length_are_told_apart)
{
    unsigned found = 0;

    for (unsigned seed = 1; seed <= 400; seed++)
        found += literals_check((struct random){seed}, 1 + seed % 4);
    ck_assert_uint_gt(found, 400 * 300 / 16);
}
END_TEST

Suite *route_suite(void)
{
    Suite *suite = suite_create("route");
    TCase *t = tcase_create("route");

    tcase_set_timeout(t, 60);
    tcase_add_test(t, exact_host_beats_longest_wildcard_beats_any);
    tcase_add_test(t, paths_match_as_the_manual_says);
    tcase_add_test(t, captures_have_the_names_of_the_route_that_won);
    tcase_add_test(t, a_literal_path_whose_condition_fails_gives_way);
    tcase_add_test(t, more_conditions_win);
    tcase_add_test(t, query_values_are_compared_decoded);
    tcase_add_test(t, another_method_is_405_and_names_those_that_would_do);
    tcase_add_test(t, escapes_of_a_route_are_brought_to_the_normal_form);
    tcase_add_test(t, equal_routes_are_an_error_unless_they_never_meet);
    tcase_add_test(t, paths_that_cannot_be_compiled_are_errors);
    tcase_add_test(t, shadowed_routes_are_warnings_that_name_the_other);
    tcase_add_test(t, no_memory_is_no_router_and_no_leak);
    tcase_add_test(t, literals_and_hosts_of_any_length_are_told_apart);
    tcase_add_test(t, random_routes_and_requests_agree_with_the_reference);
    suite_add_tcase(suite, t);
    return suite;
}
