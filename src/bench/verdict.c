/* Whether what /stats says is what was sent. */
#include "verdict.h"

#include "base/exact.h"
#include "base/number.h"
#include "bench/event.h"

#include <stdio.h>

bool stats_at_zero(const struct stats *s)
{
    return s->total == 0 && s->users == 0 && s->sum == 0 && !s->sum_overflow;
}

static void print_count(char out[VERDICT_TEXT_MAX], uint64_t n)
{
    (void)snprintf(out, VERDICT_TEXT_MAX, "%llu", (unsigned long long)n);
}

static void print_number(char out[VERDICT_TEXT_MAX], double value)
{
    out[number_print(value, out)] = '\0';
}

static double magnitude(double value)
{
    return value < 0 ? -value : value;
}

/* The distance to the next double away from zero. */
static double ulp(double value)
{
    double next = magnitude(value);
    uint64_t bits;

    memcpy(&bits, &next, sizeof bits);
    bits++;
    memcpy(&next, &bits, sizeof next);
    return next - magnitude(value);
}

static void check_total(struct verdict_check *c, const struct verdict *v, uint64_t events)
{
    uint64_t got = v->after.total - v->before.total;

    *c = (struct verdict_check){.name = "total", .ok = got == events};
    print_count(c->want, events);
    print_count(c->got, got);
    (void)snprintf(c->note, sizeof c->note, v->from_zero ? "from zero" : "by difference");
}

static void check_users(struct verdict_check *c, const struct verdict *v, uint64_t users)
{
    uint64_t got = v->after.users - v->before.users;
    bool estimated = v->after.users_estimated || v->before.users_estimated;

    *c = (struct verdict_check){.name = "users", .ok = got == users && !estimated};
    print_count(c->want, users);
    print_count(c->got, got);
    (void)snprintf(c->note, sizeof c->note, "%s%s", v->from_zero ? "from zero" : "by difference",
                   estimated ? "; the server only estimates" : "");
}

static void check_sum(struct verdict_check *c, const struct verdict *v, double want)
{
    double before = v->before.sum, after = v->after.sum, off = 0;
    struct exact error = {0};

    *c = (struct verdict_check){.name = "sum"};
    print_number(c->want, want);
    if (v->after.sum_overflow || v->before.sum_overflow) {
        (void)snprintf(c->got, sizeof c->got, "null");
        (void)snprintf(c->note, sizeof c->note, "the server's sum is beyond every double");
        return;
    }
    print_number(c->got, after - before);
    if (v->from_zero) {
        c->ok = after == want;
        (void)snprintf(c->note, sizeof c->note, "from zero: the correctly rounded sum");
        return;
    }
    exact_add(&error, after);
    exact_add(&error, -before);
    exact_add(&error, -want);
    double greater = magnitude(after) > magnitude(before) ? after : before;
    c->ok = exact_value(&error, &off) && magnitude(off) <= ulp(greater);
    (void)snprintf(c->note, sizeof c->note, "by difference: within 1 ulp (%.3g) of both readings",
                   ulp(greater));
}

static void check_avg(struct verdict_check *c, const struct verdict *v)
{
    double want = v->after.total ? v->after.sum / (double)v->after.total : 0;

    *c = (struct verdict_check){.name = "avg", .ok = v->after.avg == want};
    print_number(c->want, want);
    print_number(c->got, v->after.avg);
    (void)snprintf(c->note, sizeof c->note, "sum / totalRequests of /stats");
    if (v->after.sum_overflow)
        (void)snprintf(c->got, sizeof c->got, "null");
}

void verdict_reach(struct verdict *v, const struct stats *before, const struct stats *after,
                   uint64_t events, uint64_t users)
{
    *v = (struct verdict){.before = *before, .after = *after, .from_zero = stats_at_zero(before)};
    check_total(&v->checks[0], v, events);
    check_users(&v->checks[1], v, events_users(events, users));
    check_sum(&v->checks[2], v, events_sum(events));
    check_avg(&v->checks[3], v);
    v->ok = true;
    for (unsigned i = 0; i < VERDICT_CHECKS; i++)
        v->ok &= v->checks[i].ok;
}
