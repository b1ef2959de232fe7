/* The hierarchical timer wheel.
 *
 * A wheel is an array of lists, one for each millisecond to come: setting a
 * timer appends it to the list of its deadline, clearing takes it out, and
 * time passing means walking to the next list.  All of that is O(1) however
 * many timers there are, which a heap or a tree cannot offer.  One wheel for
 * all of time would be long, so there are four of 256 slots, like the hands
 * of a clock: the first has a slot per millisecond, the second one per 256 ms,
 * and so on up to 49 days.  A timer goes to the finest wheel that reaches its
 * deadline.  When a coarse slot comes round its timers are dealt out again to
 * finer ones (each timer at most three times in its life).
 *
 * Most timers guard something that goes well and are moved on before they are
 * due, again and again.  So moving one later only stores the new deadline.  It
 * stays in its old slot, and when that comes round the timer is put where it
 * belongs by then: one store per request, one move per timeout.
 *
 * A bit per slot says whether it may be in use, so that finding the next
 * thing to do looks at a few words and sleeping for an hour skips over it.
 */
#include "io/wheel.h"

#include "base/mem.h"

enum { LEVELS = 4, SLOT_BITS = 8, SLOTS = 1 << SLOT_BITS, WORDS = SLOTS / 64 };

static const uint64_t REACH = (UINT64_C(1) << (LEVELS * SLOT_BITS)) - 1; /* ticks */

/* Time is counted in ticks of 1 ms. */
struct io_wheel {
    uint64_t tick; /* the last one dealt with */
    uint64_t next; /* the first one that may have anything to do; UINT64_MAX if none */
    uint32_t count;
    struct link_node due; /* set to a time that was past already */
    uint64_t used[LEVELS][WORDS];
    struct link_node slots[LEVELS][SLOTS];
};

/* Rounded up, so that no timer fires early. */
static uint64_t tick_of(uint64_t ns)
{
    return ns / NS_PER_MS + (ns % NS_PER_MS != 0);
}

struct io_wheel *wheel_new(uint64_t now_ns)
{
    struct io_wheel *w = mem_zalloc(sizeof *w);

    if (!w)
        return NULL;
    w->tick = now_ns / NS_PER_MS;
    w->next = UINT64_MAX;
    list_init(&w->due);
    for (int level = 0; level < LEVELS; level++)
        for (int i = 0; i < SLOTS; i++)
            list_init(&w->slots[level][i]);
    return w;
}

void wheel_free(struct io_wheel *w)
{
    mem_free(w);
}

static int level_for(uint64_t ticks_ahead)
{
    int level = 0;

    while (level < LEVELS - 1 && ticks_ahead >> (SLOT_BITS * (level + 1)))
        level++;
    return level;
}

static void wheel_insert(struct io_wheel *w, struct io_timer *t)
{
    uint64_t tick = tick_of(t->at);

    if (tick <= w->tick) {
        t->wheel_at = 0; /* any other deadline will be noticed from here */
        list_append(&w->due, &t->node);
        return;
    }
    /* What is beyond the last wheel waits at its far end. */
    if (tick - w->tick > REACH)
        tick = w->tick + REACH;
    int level = level_for(tick - w->tick);
    int shift = SLOT_BITS * level;
    unsigned slot = (unsigned)(tick >> shift) % SLOTS;
    w->used[level][slot / 64] |= UINT64_C(1) << slot % 64;
    list_append(&w->slots[level][slot], &t->node);
    t->wheel_at = tick * NS_PER_MS;
    uint64_t reached = tick >> shift << shift;
    if (reached < w->next)
        w->next = reached;
}

void wheel_set(struct io_wheel *w, struct io_timer *t, uint64_t at_ns)
{
    t->at = at_ns;
    if (!link_linked(&t->node)) {
        t->wheel_at = 0;
        if (at_ns == TIME_NEVER)
            return;
        w->count++;
    } else {
        /* Later, or in the same millisecond: it is noticed in time where it is. */
        if (at_ns >= t->wheel_at || t->wheel_at - at_ns < NS_PER_MS)
            return;
        list_remove(&t->node);
    }
    wheel_insert(w, t);
}

void wheel_clear(struct io_wheel *w, struct io_timer *t)
{
    t->at = TIME_NEVER;
    t->wheel_at = 0;
    if (!link_linked(&t->node))
        return;
    list_remove(&t->node);
    w->count--;
}

static void wheel_fire(struct io_wheel *w, struct io_timer *t)
{
    w->count--;
    t->at = TIME_NEVER;
    t->wheel_at = IO_TIMER_FIRED;
    owner_wake(t->owner);
}

/* Fires what is due in a list, and finds new places for the rest. */
static uint32_t wheel_settle(struct io_wheel *w, struct link_node *slot)
{
    struct link_node list, *node;
    uint32_t fired = 0;

    list_init(&list);
    list_splice(&list, slot);
    while ((node = list_pop(&list))) {
        struct io_timer *t = container_of(node, struct io_timer, node);
        if (t->at == TIME_NEVER) {
            w->count--;
        } else if (tick_of(t->at) <= w->tick) {
            wheel_fire(w, t);
            fired++;
        } else {
            wheel_insert(w, t);
        }
    }
    return fired;
}

/* How far ahead of `from`, going round, the next used slot of a level is: 1 to
 * 256, or 0 if there is none.  Forgets bits of slots that were emptied. */
static unsigned slots_ahead(struct io_wheel *w, int level, unsigned from)
{
    for (unsigned ahead = 1; ahead <= SLOTS;) {
        unsigned slot = (from + ahead) % SLOTS;
        uint64_t *word = &w->used[level][slot / 64];
        uint64_t bits = *word >> slot % 64;
        if (!bits) {
            ahead += 64 - slot % 64;
            continue;
        }
        ahead += (unsigned)__builtin_ctzll(bits);
        slot = (from + ahead) % SLOTS;
        if (ahead > SLOTS)
            break;
        if (!list_empty(&w->slots[level][slot]))
            return ahead;
        *word &= ~(UINT64_C(1) << slot % 64);
    }
    return 0;
}

static uint64_t find_next(struct io_wheel *w)
{
    uint64_t next = UINT64_MAX;

    for (int level = 0; level < LEVELS; level++) {
        int shift = SLOT_BITS * level;
        uint64_t at = w->tick >> shift;
        unsigned ahead = slots_ahead(w, level, (unsigned)at % SLOTS);
        if (ahead && (at + ahead) << shift < next)
            next = (at + ahead) << shift;
    }
    return next;
}

uint64_t wheel_next(const struct io_wheel *w)
{
    if (w->count == 0)
        return TIME_NEVER;
    if (!list_empty(&w->due))
        return 0;
    return w->next == UINT64_MAX ? TIME_NEVER : w->next * NS_PER_MS;
}

uint32_t wheel_advance(struct io_wheel *w, uint64_t now_ns)
{
    uint64_t now = now_ns / NS_PER_MS;
    uint32_t fired = wheel_settle(w, &w->due);

    while (w->next <= now) {
        w->tick = w->next;
        for (int level = LEVELS - 1; level >= 0; level--) {
            int shift = SLOT_BITS * level;
            if (w->tick == w->tick >> shift << shift)
                fired += wheel_settle(w, &w->slots[level][(w->tick >> shift) % SLOTS]);
        }
        w->next = find_next(w);
    }
    if (now > w->tick)
        w->tick = now;
    return fired;
}
