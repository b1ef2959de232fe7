/* How long an origin keeps an idle connection; see idle.h. */
#include "gate/idle.h"

#include "base/clock.h"
#include "http/field.h"

#define LEAST_NS   NS_PER_MS        /* sooner is no rule about idle connections */
#define BELIEVE_NS (600 * NS_PER_S) /* until it is tried whether it has more patience now */
#define MARGIN_NS  NS_PER_S

#define LOAD(n)         atomic_load_explicit(&(n), memory_order_relaxed)
#define STORE(n, value) atomic_store_explicit(&(n), (value), memory_order_relaxed)

static uint64_t difference(uint64_t a, uint64_t b)
{
    return a > b ? a - b : b - a;
}

static bool is_near(uint64_t a, uint64_t b)
{
    return difference(a, b) <= (a < b ? a : b) / 8 + 2 * NS_PER_MS;
}

/* What happens all at once comes after different times, or they began together. */
static bool is_rule(uint64_t apart, uint64_t a, uint64_t b)
{
    return is_near(a, b) && apart >= 5 * NS_PER_MS && apart / 4 >= difference(a, b);
}

/* Two workers may overwrite each other: one end less. */
void idle_ended(struct server_state *s, uint64_t now, uint64_t idle_ns)
{
    uint64_t before = LOAD(s->idle_ended), at = LOAD(s->idle_ended_at);

    if (idle_ns < LEAST_NS)
        return;
    STORE(s->idle_ended, idle_ns);
    STORE(s->idle_ended_at, now);
    if (before == 0 || now < at || !is_rule(now - at, before, idle_ns))
        return;
    STORE(s->idle_rule, idle_ns < before ? idle_ns : before);
    STORE(s->idle_rule_at, now);
}

uint64_t idle_undercut(uint64_t ns)
{
    return ns - (ns / 4 < MARGIN_NS ? ns / 4 : MARGIN_NS);
}

uint64_t idle_most(const struct server_state *s, uint64_t now)
{
    uint64_t rule = LOAD(s->idle_rule), at = LOAD(s->idle_rule_at);

    if (rule == 0)
        return UINT64_MAX;
    for (uint64_t old = now > at ? now - at : 0; old >= BELIEVE_NS; old -= BELIEVE_NS) {
        if (rule > UINT64_MAX / 2 || rule > BELIEVE_NS)
            return UINT64_MAX;
        rule *= 2;
    }
    return idle_undercut(rule);
}

uint64_t idle_said(struct span keep_alive)
{
    const struct span name = SPAN("timeout=");
    struct span item;
    uint64_t seconds;

    while (field_item(&keep_alive, &item)) {
        if (!span_equal_nocase(span_first(item, name.len), name))
            continue;
        if (!span_number(span_after(item, name.len), &seconds) || seconds > UINT32_MAX)
            return UINT64_MAX;
        return seconds * NS_PER_S;
    }
    return UINT64_MAX;
}
