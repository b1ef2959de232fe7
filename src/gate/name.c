/* One name that is followed; see name.h. */
#include "gate/name.h"

#include "base/clock.h"
#include "base/fail.h"
#include "base/hash.h"

#define AGAIN_NS     NS_PER_S        /* after a failure, doubled with each */
#define AGAIN_MAX_NS (30 * NS_PER_S) /* and after an answer that there is nothing */

/* --- what is known -----------------------------------------------------------------------------
 */

/* What could not be asked for may still be there. */
static void add_known(struct lookup *l, const struct name *n)
{
    for (unsigned i = 0; i < n->count; i++)
        lookup_add(l, &n->found[i]);
}

static void know(struct name *n, const struct lookup *l)
{
    n->count = l->count;
    n->left_out = l->left_out;
    memcpy(n->found, l->found, l->count * sizeof *n->found);
    n->moved = true;
}

static uint64_t again(unsigned failures)
{
    uint64_t wait = AGAIN_NS;

    for (unsigned i = 1; i < failures && wait < AGAIN_MAX_NS; i++)
        wait *= 2;
    return wait < AGAIN_MAX_NS ? wait : AGAIN_MAX_NS;
}

static uint64_t between(struct ttl_bounds bounds, uint32_t ttl)
{
    uint64_t ns = (uint64_t)ttl * NS_PER_S;

    if (ns > bounds.max_ns)
        ns = bounds.max_ns;
    return ns < bounds.min_ns ? bounds.min_ns : ns;
}

void name_heard(struct name *n, struct ttl_bounds bounds, uint64_t now)
{
    struct lookup *l = &n->lookup;
    bool nothing = l->fail == FAIL_NOT_FOUND, sure = (l->fail == 0 && !l->partial) || nothing;

    n->heard = true;
    n->failures = sure ? 0 : n->failures + 1;
    if (l->fail == 0 && l->partial)
        add_known(l, n);
    if (l->fail == 0 || nothing)
        know(n, l);
    uint64_t wait = between(bounds, l->ttl);
    if (nothing && wait > AGAIN_MAX_NS && bounds.min_ns <= AGAIN_MAX_NS)
        wait = AGAIN_MAX_NS;
    if (!sure)
        wait = again(n->failures);
    n->due = sure && !nothing && l->ttl == LOOKUP_TTL_NONE ? TIME_NEVER : now + wait;
}

/* --- slots
 * ---------------------------------------------------------------------------------------- */

static struct address address_in(const struct name *n, unsigned i, const struct server_entry *e)
{
    struct address at = n->found[i].at;

    if (!n->lookup.services)
        at.port = e->port;
    return at;
}

/* Where in what is known a slot's address stands; -1: nowhere. */
static int index_of(const struct name *n, const struct server_entry *e)
{
    if (server_tenure(e->state) == 0)
        return -1;
    for (unsigned i = 0; i < n->count; i++) {
        struct address at = address_in(n, i, e);
        if (address_equal(&at, &e->state->at))
            return (int)i;
    }
    return -1;
}

/* Priorities that go before this one, among all that are known. */
static uint8_t better_than(const struct name *n, uint16_t priority)
{
    unsigned better = 0;

    for (unsigned i = 0; i < n->count; i++) {
        unsigned same = 0;
        while (n->found[same].priority != n->found[i].priority)
            same++;
        better += same == i && n->found[i].priority < priority;
    }
    return (uint8_t)better;
}

/* A service's weight is a share of its server's; those of a later priority serve when
 * no other may. */
static bool rank(const struct name *n, unsigned i, struct server_state *s)
{
    const struct found *f = &n->found[i];

    if (!n->lookup.services)
        return server_rank(s, 1, 0);
    return server_rank(s, f->weight ? f->weight : 1, better_than(n, f->priority));
}

static const struct server_entry *free_slot(const struct server_entry *slots)
{
    for (unsigned i = 0; i < SLOTS_PER_NAME; i++)
        if (server_tenure(slots[i].state) == 0)
            return &slots[i];
    return NULL;
}

/* Who has it makes room for one of a priority before his: the last of them. */
static const struct server_entry *slot_behind(const struct name *n, uint16_t priority,
                                              const struct server_entry *slots)
{
    const struct server_entry *last = NULL;

    for (unsigned k = 0; k < SLOTS_PER_NAME; k++) {
        int i = index_of(n, &slots[k]);
        if (i >= 0 && n->found[i].priority > priority) {
            priority = n->found[i].priority;
            last = &slots[k];
        }
    }
    return last;
}

static const struct server_entry *slot_for(const struct name *n, unsigned i,
                                           const struct server_entry *slots)
{
    const struct server_entry *e = free_slot(slots);

    return e || !n->lookup.services ? e : slot_behind(n, n->found[i].priority, slots);
}

static void fill(const struct name *n, unsigned i, const struct server_entry *e)
{
    struct address at = address_in(n, i, e);
    char text[ADDRESS_TEXT_MAX];

    server_place(e->state, &at, hash_text((struct span){text, address_print(&at, text)}));
    rank(n, i, e->state);
}

bool name_place(const struct name *n, const struct server_entry *slots, unsigned *left_out)
{
    bool held[LOOKUP_MAX] = {0}, news = false;
    unsigned used = 0;

    for (unsigned k = 0; k < SLOTS_PER_NAME; k++) {
        int i = index_of(n, &slots[k]);
        if (i >= 0 && !held[i]) {
            held[i] = true;
            news = rank(n, (unsigned)i, slots[k].state) || news;
        } else if (server_tenure(slots[k].state) != 0) {
            server_vacate(slots[k].state);
            news = true;
        }
    }
    for (unsigned i = 0; i < n->count; i++) {
        const struct server_entry *e = held[i] ? NULL : slot_for(n, i, slots);
        if (e)
            fill(n, i, e);
        news = news || e;
    }
    for (unsigned k = 0; k < SLOTS_PER_NAME; k++)
        used += server_tenure(slots[k].state) != 0;
    *left_out = n->count - used + n->left_out;
    return news;
}
