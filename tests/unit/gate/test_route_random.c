/* Random routes and requests against a reference that follows the manual's sentence word by word.
 */
#include "tests/unit/gate/routes.h"

#include "base/random.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

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

Suite *route_random_suite(void)
{
    Suite *suite = suite_create("route_random");
    TCase *t = tcase_create("route_random");

    tcase_set_timeout(t, 60);
    tcase_add_test(t, literals_and_hosts_of_any_length_are_told_apart);
    tcase_add_test(t, random_routes_and_requests_agree_with_the_reference);
    suite_add_tcase(suite, t);
    return suite;
}
