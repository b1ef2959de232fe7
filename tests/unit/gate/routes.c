/* Routes as tests write them; see routes.h. */
#include "tests/unit/gate/routes.h"

#include <check.h>

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

void set_add(struct set *s, const struct route_text *t)
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

void set_compile(struct set *s)
{
    s->config.routes = s->routes;
    s->config.listeners = s->listeners;
    s->config.listener_count = 2;
    s->d = (struct diagnostics){.arena = &s->arena};
    s->router = router_new(&s->arena, &s->config, &s->d);
}

struct route_match ask(struct set *s, struct ask a)
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
