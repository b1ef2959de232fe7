/* Names in a world; see dns.h. */
#include "tests/sim/dns.h"

#include "base/fail.h"
#include "tests/sim/story.h"

static void answer_leaves(void *data)
{
    struct dns_answer_due *a = data;
    struct dns *dns = a->dns;
    struct lookup *l = a->lookup;

    a->lookup = NULL;
    if (dns->closed)
        return;
    const struct dns_name *n = dns_name(dns, l->name);
    l->fail = n->count || n->fail ? n->fail : FAIL_NOT_FOUND;
    l->why = NULL;
    l->ttl = n->ttl;
    l->partial = n->partial;
    l->count = l->left_out = 0;
    for (unsigned i = 0; i < n->count && l->fail == 0; i++)
        if (l->family == ADDRESS_NONE || l->family == n->found[i].at.family)
            lookup_add(l, &n->found[i]);
    list_append(&dns->answered, &l->node);
    dns->tell(dns->data);
}

static struct dns *of(struct resolver *r)
{
    return container_of(r, struct dns, base);
}

static bool dns_set(struct resolver *r, const struct resolver_options *options)
{
    (void)r;
    (void)options;
    return true;
}

static void dns_ask(struct resolver *r, struct lookup *l)
{
    struct dns *dns = of(r);
    struct dns_name *n = dns_name(dns, l->name);
    unsigned free = 0;

    while (dns->due[free].lookup)
        EXPECT(++free < COUNT_OF(dns->due), "few questions at once");
    n->asked++;
    dns->due[free] = (struct dns_answer_due){dns, l};
    sim_after(dns->sim, sim_random(dns->sim, n->delay_ns + 1), answer_leaves, &dns->due[free]);
}

static struct lookup *dns_take(struct resolver *r)
{
    struct link_node *n = list_pop(&of(r)->answered);

    return n ? container_of(n, struct lookup, node) : NULL;
}

static bool dns_free(struct resolver *r)
{
    of(r)->closed = true;
    return true;
}

void dns_open(struct dns *dns, struct sim *sim)
{
    *dns = (struct dns){.base = {dns_set, dns_ask, dns_take, dns_free}, .sim = sim};
    list_init(&dns->answered);
}

struct dns_name *dns_name(struct dns *dns, const char *name)
{
    for (unsigned i = 0; i < DNS_NAMES_MAX; i++) {
        struct dns_name *n = &dns->names[i];
        if (!n->name)
            n->name = name;
        if (strcmp(n->name, name) == 0)
            return n;
    }
    EXPECT(false, "few names");
    return NULL;
}

void dns_add(struct dns_name *n, const char *address)
{
    n->found[n->count++] = (struct found){.at = story_address(address)};
}
