/* Names of origins, followed by main; see names.h. */
#include "gate/names.h"

#include "base/fail.h"
#include "base/log.h"
#include "gate/name.h"

struct names {
    struct gate *gate;
    struct resolver *resolver;
    struct ttl_bounds bounds;
    struct link_node list; /* struct name */
    bool untold;           /* workers could not be told */
};

static struct name *name_of(struct link_node *n)
{
    return container_of(n, struct name, node);
}

/* --- which
 * ---------------------------------------------------------------------------------------- */

static bool is_of(const struct name *n, const struct upstream_conf *u, const struct server_entry *e)
{
    return n->lookup.services == e->services && n->lookup.family == u->family &&
           span_equal(span_of(n->host), e->host);
}

static struct name *name_find(struct names *names, const struct upstream_conf *u,
                              const struct server_entry *e)
{
    for (struct link_node *n = names->list.next; n != &names->list; n = n->next)
        if (is_of(name_of(n), u, e))
            return name_of(n);
    return NULL;
}

static int name_add(struct names *names, const struct upstream_conf *u,
                    const struct server_entry *e, uint64_t now)
{
    struct name *n = mem_zalloc(sizeof *n);

    if (!n)
        return FAIL_MEMORY;
    memcpy(n->host, e->host.ptr, e->host.len); /* value_host() has seen its length */
    n->lookup.name = n->host;
    n->lookup.services = e->services;
    n->lookup.family = (uint8_t)u->family;
    n->due = now;
    list_append(&names->list, &n->node);
    return 0;
}

/* The first slot of each server that is a name: call(data, u, e). */
static bool names_each(const struct config *config,
                       bool (*call)(void *data, const struct upstream_conf *u,
                                    const struct server_entry *e),
                       void *data)
{
    for (unsigned i = 0; i < config->upstream_count; i++) {
        const struct upstream_conf *u = &config->upstreams[i];
        for (unsigned j = 0; j < u->server_count; j += u->servers[j].named ? SLOTS_PER_NAME : 1)
            if (u->servers[j].named && !call(data, u, &u->servers[j]))
                return false;
    }
    return true;
}

struct expecting {
    struct names *names;
    uint64_t now;
};

static bool expect(void *data, const struct upstream_conf *u, const struct server_entry *e)
{
    struct expecting *x = data;
    struct name *n = name_find(x->names, u, e);

    if (n)
        n->gone = false;
    return n || name_add(x->names, u, e, x->now) == 0;
}

static bool take_settings(struct names *n, const struct config *config)
{
    const struct server_conf *s = &config->server;
    struct resolver_options options = {s->resolver, s->resolver_timeout};

    n->bounds = (struct ttl_bounds){s->resolver_ttl_min, s->resolver_ttl_max};
    return n->resolver->set(n->resolver, &options);
}

static void ask_due(struct names *names, uint64_t now)
{
    for (struct link_node *i = names->list.next; i != &names->list; i = i->next) {
        struct name *n = name_of(i);
        if (n->asked || n->gone || n->due > now)
            continue;
        n->asked = true;
        names->resolver->ask(names->resolver, &n->lookup);
    }
}

int names_expect(struct names *n, const struct config *config, uint64_t now)
{
    struct expecting x = {n, now};

    if (!take_settings(n, config) || !names_each(config, expect, &x))
        return FAIL_MEMORY;
    ask_due(n, now);
    return 0;
}

static void name_free(struct name *n)
{
    list_remove(&n->node);
    mem_free(n);
}

static bool want(void *data, const struct upstream_conf *u, const struct server_entry *e)
{
    struct name *n = name_find(data, u, e);

    if (n)
        n->gone = false;
    return true;
}

void names_keep(struct names *names)
{
    struct link_node *next;

    for (struct link_node *n = names->list.next; n != &names->list; n = n->next)
        name_of(n)->gone = true;
    names_each(names->gate->config, want, names);
    for (struct link_node *n = names->list.next; n != &names->list; n = next) {
        next = n->next;
        if (name_of(n)->gone && !name_of(n)->asked)
            name_free(name_of(n));
    }
    if (!take_settings(names, names->gate->config))
        log_say(LOG_ERROR, "no memory to change the resolver");
}

/* --- where
 * ---------------------------------------------------------------------------------------- */

static void say_placed(const struct upstream_conf *u, const struct server_entry *slots,
                       unsigned left_out)
{
    char text[512];
    size_t used = 0;

    for (unsigned i = 0; i < SLOTS_PER_NAME; i++) {
        if (server_tenure(slots[i].state) == 0 || sizeof text - used < ADDRESS_TEXT_MAX + 2)
            continue;
        memcpy(text + used, ", ", 2);
        used += 2;
        used += address_print(&slots[i].state->at, text + used);
    }
    if (used == 0)
        log_say(LOG_WARNING, "upstream %.*s: server %.*s has no address now", SPAN_ARG(u->name),
                SPAN_ARG(slots->text));
    else
        log_say(LOG_NOTICE, "upstream %.*s: server %.*s is now %.*s", SPAN_ARG(u->name),
                SPAN_ARG(slots->text), (int)used - 2, text + 2);
    if (left_out > 0)
        log_say(LOG_WARNING, "upstream %.*s: server %.*s has %u addresses more than are used (%d)",
                SPAN_ARG(u->name), SPAN_ARG(slots->text), left_out, SLOTS_PER_NAME);
}

struct placing {
    struct names *names;
    bool all; /* not only what has moved */
    bool news;
};

static bool place(void *data, const struct upstream_conf *u, const struct server_entry *e)
{
    struct placing *p = data;
    const struct name *n = name_find(p->names, u, e);
    unsigned left_out;

    if (!n || !n->heard || !(p->all || n->moved) || !name_place(n, e, &left_out))
        return true;
    p->news = true;
    say_placed(u, e, left_out);
    return true;
}

void names_place(struct names *n, struct config *config)
{
    struct placing p = {.names = n, .all = true};

    names_each(config, place, &p);
    n->untold = n->untold || p.news;
}

/* --- when
 * ----------------------------------------------------------------------------------------- */

uint64_t names_due(const struct names *names)
{
    uint64_t due = TIME_NEVER;

    for (struct link_node *i = names ? names->list.next : NULL; names && i != &names->list;
         i = i->next) {
        const struct name *n = name_of(i);
        if (!n->asked && !n->gone && n->due < due)
            due = n->due;
    }
    return due;
}

/* Once, until it goes well again; `known`: there were addresses before. */
static void say_failure(const struct name *n, bool known)
{
    const char *why = n->lookup.why ? n->lookup.why : fail_text(n->lookup.fail);
    bool some = n->lookup.fail == 0; /* of the addresses, say one family's */

    if (n->failures == 1)
        log_say(LOG_WARNING, "name %s cannot be resolved%s: %s; %s", n->host,
                some ? " in full" : "", why,
                known  ? "the last answer stays in use"
                : some ? "what came is used"
                       : "nothing is known of it yet");
}

static void take(struct names *names, struct lookup *l, uint64_t now)
{
    struct name *n = container_of(l, struct name, lookup);
    unsigned failures = n->failures;
    bool known = n->count > 0;

    n->asked = false;
    if (n->gone) {
        name_free(n);
        return;
    }
    name_heard(n, names->bounds, now);
    if (n->failures > 0)
        say_failure(n, known);
    else if (failures > 0)
        log_say(LOG_NOTICE, "name %s is resolved again", n->host);
}

bool names_hear(struct names *names, uint64_t now)
{
    bool all = true;
    struct lookup *l;

    while ((l = names->resolver->take(names->resolver)))
        take(names, l, now);
    for (struct link_node *n = names->list.next; n != &names->list; n = n->next)
        all = all && (name_of(n)->heard || name_of(n)->gone);
    return all;
}

void names_look(struct names *names, uint64_t now)
{
    struct placing p = {.names = names};

    if (!names || gate_busy(names->gate))
        return;
    names_hear(names, now);
    names_each(names->gate->config, place, &p);
    for (struct link_node *n = names->list.next; n != &names->list; n = n->next)
        name_of(n)->moved = false;
    if (p.news || names->untold)
        names->untold = gate_placed(names->gate) < 0;
    ask_due(names, now);
}

/* --- coming and going
 * ------------------------------------------------------------------------------ */

struct names *names_new(struct gate *gate, struct resolver *resolver)
{
    struct names *n = resolver ? mem_zalloc(sizeof *n) : NULL;

    if (!n) {
        if (resolver)
            resolver->free(resolver);
        return NULL;
    }
    n->gate = gate;
    n->resolver = resolver;
    list_init(&n->list);
    return n;
}

void names_free(struct names *names)
{
    struct link_node *next;

    if (!names)
        return;
    bool all = names->resolver->free(names->resolver);
    for (struct link_node *n = names->list.next; n != &names->list; n = next) {
        next = n->next;
        if (all || !name_of(n)->asked)
            name_free(name_of(n));
    }
    mem_free(names);
}
