/* Contexts and the choice among them; see tls.h. */
#include "net/tls.h"

#include "base/mem.h"

struct tls_context *tls_context_use(struct tls_context *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void tls_context_done(struct tls_context *c)
{
    if (c && atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1)
        c->layer->context_free(c);
}

int tls_set_new(struct tls_set **out, struct tls_context *const *list, unsigned count,
                bool refuse_unknown)
{
    struct tls_set *s = mem_zalloc(sizeof *s + count * sizeof *s->list);

    if (!s)
        return FAIL_MEMORY;
    atomic_store_explicit(&s->refs, 1, memory_order_relaxed);
    s->refuse_unknown = refuse_unknown;
    s->count = count;
    for (unsigned i = 0; i < count; i++) {
        s->list[i] = tls_context_use(list[i]);
        s->client_ca = s->client_ca || list[i]->client_ca;
    }
    *out = s;
    return 0;
}

struct tls_set *tls_set_use(struct tls_set *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void tls_set_done(struct tls_set *s)
{
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (unsigned i = 0; i < s->count; i++)
        tls_context_done(s->list[i]);
    mem_free(s);
}

static int compare(struct span a, struct span b)
{
    int order = memcmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);

    return order ? order : a.len < b.len ? -1 : a.len > b.len;
}

static const struct tls_name *name_find(const struct tls_context *c, struct span name)
{
    unsigned low = 0, high = c->name_count;

    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        int order = compare(name, c->names[middle].name);
        if (order == 0)
            return &c->names[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

/* What remains of a host from its first dot on, which a label stands before; empty: nothing. */
static struct span suffix_of(struct span host)
{
    size_t dot = span_find(host, '.');

    return dot > 0 ? span_after(host, dot) : (struct span){0};
}

const struct tls_name *tls_context_name(const struct tls_context *c, struct span host, bool exact)
{
    if (host.len == 0 || c->name_count == 0)
        return NULL;
    if (exact)
        return host.ptr[0] == '.' ? NULL : name_find(c, host);
    struct span suffix = suffix_of(host); /* one label (RFC 9525, 6.3) */
    return suffix.len > 0 ? name_find(c, suffix) : NULL;
}

static struct tls_context *set_find(const struct tls_set *s, struct span host, bool exact)
{
    for (unsigned i = 0; i < s->count; i++)
        if (tls_context_name(s->list[i], host, exact))
            return s->list[i];
    return NULL;
}

struct tls_context *tls_set_named(const struct tls_set *s, struct span host, enum tls_labels labels)
{
    struct tls_context *c = set_find(s, host, true);

    if (!c)
        c = set_find(s, host, false);
    while (!c && labels == TLS_ANY_LABELS && (host = suffix_of(host)).len > 0) {
        host = span_after(host, 1);
        c = set_find(s, host, false);
    }
    return c;
}

static struct tls_context *named_or_first(const struct tls_set *s, struct span host,
                                          enum tls_labels labels)
{
    struct tls_context *c = tls_set_named(s, host, labels);

    return c ? c : s->refuse_unknown && host.len > 0 ? NULL : s->list[0];
}

struct tls_context *tls_set_choose(const struct tls_set *s, struct span host)
{
    return named_or_first(s, host, TLS_ONE_LABEL);
}

struct tls_context *tls_set_owner(const struct tls_set *s, struct span host)
{
    return named_or_first(s, host, TLS_ANY_LABELS);
}

void tls_close(struct tls *t)
{
    if (!t)
        return;
    struct tls_context *context = t->context;
    struct tls_set *set = t->set;
    t->layer->close(t);
    tls_context_done(context);
    tls_set_done(set);
}
