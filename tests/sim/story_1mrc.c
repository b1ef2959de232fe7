/* The One Million Request Challenge on many workers: what was answered before
 * somebody asked is in what he is told, whatever worker either of them met. */
#include "tests/sim/gateway.h"
#include "tests/sim/visitor.h"

#include "base/mem.h"

#include <stdlib.h>

enum { VISITORS_MAX = 6, USERS = 40 };

static const char config_text[] = "[listener web]\nlisten = 192.0.2.1:80\n"
                                  "[module 1mrc]\nenabled = yes\nreset = yes\n";

struct tally {
    uint64_t events, sum2, users; /* sum2: in halves; users: a bit each */
};

struct challenge {
    struct sim *sim;
    struct gateway gateway;
    struct arena arena;
    struct address at;
    struct visitor visitors[VISITORS_MAX];
    struct tally before[VISITORS_MAX]; /* answered, when this visitor asked for the stats */
    unsigned count;
    struct tally sent, answered;
    bool vague; /* a reset is under way: there is no lower bound */
};

static void tally_add(struct tally *t, uint64_t user, uint64_t half_units)
{
    t->events++;
    t->sum2 += half_units;
    t->users |= UINT64_C(1) << user;
}

/* --- events ----------------------------------------------------------------------------- */

static bool event_of(const struct ask *ask, uint64_t *user, uint64_t *sum2)
{
    *user = ask->id & 0xff; /* as ask_event() put them there */
    *sum2 = ask->id >> 8;
    return strncmp(ask->request, "POST /event", 11) == 0 && ask->status == 200;
}

static struct ask ask_event(struct challenge *c)
{
    static const char *const bodies[] = {
        "{\"userId\":\"u%u\",\"value\":%u.5}",
        "{ \"value\" : %2$u.5 , \"other\":[{}, null], \"userId\":\"u%1$u\" }",
        "{\"userId\":\"\\u0075%u\",\"value\":%u.5E+0}",
    };
    unsigned user = (unsigned)sim_random(c->sim, USERS),
             value = 1 + (unsigned)sim_random(c->sim, 999);
    char body[128];

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    int n = snprintf(body, sizeof body, bodies[sim_random(c->sim, COUNT_OF(bodies))], user, value);
#pragma GCC diagnostic pop
    struct span text = arena_print(
        &c->arena, "POST /event HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", n, body);
    return (struct ask){.request = text.ptr,
                        .len = text.len,
                        .status = 200,
                        .content = SPAN(""),
                        .id = (value * 2 + 1) << 8 | user};
}

static struct ask ask_bad(struct challenge *c)
{
    static const char *const bodies[] = {
        "{\"userId\":\"\",\"value\":1}",
        "{\"userId\":\"u\"}",
        "[]",
        "{\"userId\":\"u\",\"value\":\"1\"}",
        "{\"userId\":\"u\",\"value\":1}x",
        "{\"value\":1,\"value\":2}",
    };
    const char *body = bodies[sim_random(c->sim, COUNT_OF(bodies))];
    struct span text =
        arena_print(&c->arena, "POST /event HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n%s",
                    strlen(body), body);

    return (struct ask){.request = text.ptr, .len = text.len, .status = 400};
}

static struct ask ask_plain(const char *request)
{
    return (struct ask){.request = request, .status = 200};
}

#define ASK_STATS  ask_plain("GET /stats HTTP/1.1\r\nHost: a\r\n\r\n")
#define ASK_RESET  ask_plain("POST /reset HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
#define ASK_HEALTH ask_plain("GET /health HTTP/1.1\r\nHost: a\r\n\r\n")

/* --- judging ------------------------------------------------------------------------------ */

static bool is_stats(const struct ask *ask)
{
    return strncmp(ask->request, "GET /stats", 10) == 0;
}

static double number_after(const struct answer *a, const char *name)
{
    char text[512], *at;

    snprintf(text, sizeof text, "%.*s", (int)a->content.len, a->content.ptr);
    at = strstr(text, name);
    EXPECT(at, "%s in %s", name, text);
    return strtod(at + strlen(name), NULL);
}

static void sending(struct visitor *v, const struct ask *ask)
{
    struct challenge *c = v->data;
    uint64_t user, sum2;

    if (event_of(ask, &user, &sum2))
        tally_add(&c->sent, user, sum2);
    if (is_stats(ask))
        c->before[v - c->visitors] = c->answered;
}

static unsigned bits(uint64_t set)
{
    return (unsigned)__builtin_popcountll(set);
}

static void judge(struct challenge *c, const struct tally *least, const struct answer *a)
{
    double total = number_after(a, "\"totalRequests\":"),
           users = number_after(a, "\"uniqueUsers\":");
    double sum = number_after(a, "\"sum\":"), avg = number_after(a, "\"avg\":");
    const struct tally *most = &c->sent;

    EXPECT(total <= (double)most->events && users <= bits(most->users) &&
               sum * 2 <= (double)most->sum2,
           "%.17g events, %.17g users, sum %.17g: not more than were sent", total, users, sum);
    EXPECT(users <= total && (total == 0) == (users == 0), "no user without an event");
    EXPECT(avg == (total == 0 ? 0 : sum / total), "avg %.17g of %.17g / %.17g", avg, sum, total);
    if (c->vague)
        return;
    EXPECT(total >= (double)least->events && users >= bits(least->users) &&
               sum * 2 >= (double)least->sum2,
           "%.17g events, %.17g users, sum %.17g: not less than %llu, %u, %.17g", total, users, sum,
           (unsigned long long)least->events, bits(least->users), (double)least->sum2 / 2);
}

static void checked(struct visitor *v, const struct ask *ask, const struct answer *a)
{
    struct challenge *c = v->data;
    uint64_t user, sum2;

    if (a->status >= 500)
        return;
    if (event_of(ask, &user, &sum2))
        tally_add(&c->answered, user, sum2);
    if (is_stats(ask))
        judge(c, &c->before[v - c->visitors], a);
}

/* --- the challenge --------------------------------------------------------------------------- */

static void challenge_begin(struct challenge *c, const struct telling *t, unsigned faults)
{
    static const unsigned workers[] = {1, 2, 3, 7};

    *c = (struct challenge){.sim = story_world(t, faults), .at = story_address("192.0.2.1:80")};
    gateway_open(&c->gateway, c->sim, config_text, workers[sim_random(c->sim, COUNT_OF(workers))]);
}

static uint64_t challenge_end(struct challenge *c)
{
    arena_free(&c->arena);
    return gateway_end(&c->gateway);
}

static struct visitor *visitor_new(struct challenge *c)
{
    struct visitor *v = &c->visitors[c->count++];

    v->data = c;
    v->sending = sending;
    v->checked = checked;
    return v;
}

static void visitor_go(struct challenge *c, struct visitor *v)
{
    struct address from = story_address("203.0.113.5:6000");

    from.port = (uint16_t)(from.port + (v - c->visitors));
    visitor_start(v, c->sim, &c->at, &from);
}

static bool all_over(void *data)
{
    struct challenge *c = data;

    for (unsigned i = 0; i < c->count; i++)
        if (!visitor_done(&c->visitors[i]))
            return false;
    return true;
}

static void run(struct challenge *c)
{
    EXPECT(sim_run(c->sim, all_over, c, 3600 * NS_PER_S), "the answers come");
    for (unsigned i = 0; i < c->count; i++)
        if (!c->visitors[i].tolerant)
            visitor_expect_all(&c->visitors[i]);
}

/* When nothing is under way the count is exactly what was answered. */
static void expect_exact(struct challenge *c)
{
    struct visitor *v = visitor_new(c);

    for (unsigned i = 0; i < 3; i++)
        visitor_ask(v, ASK_STATS);
    c->sent = c->answered;
    visitor_go(c, v);
    run(c);
}

static void ask_many(struct challenge *c, struct visitor *v, unsigned n, bool resets)
{
    for (; n > 0; n--) {
        uint64_t dice = sim_random(c->sim, 12);
        if (dice < 8)
            visitor_ask(v, ask_event(c));
        else if (dice < 10)
            visitor_ask(v, ASK_STATS);
        else if (resets)
            visitor_ask(v, ASK_RESET);
        else
            visitor_ask(v, dice == 10 ? ASK_HEALTH : ask_bad(c));
    }
}

static uint64_t exact(const struct telling *t)
{
    struct challenge c;

    challenge_begin(&c, t, SIM_ALL & ~(unsigned)SIM_DISK);
    for (unsigned i = 0; i + 1 < VISITORS_MAX; i++) {
        struct visitor *v = visitor_new(&c);
        ask_many(&c, v, (unsigned)sim_random(c.sim, 30), false);
        visitor_go(&c, v);
    }
    run(&c);
    expect_exact(&c);
    return challenge_end(&c);
}

/* Many at once in one connection: all answered before the last, all counted. */
static uint64_t pipelined(const struct telling *t)
{
    struct challenge c;

    challenge_begin(&c, t, SIM_ALL & ~(unsigned)SIM_DISK);
    for (unsigned i = 0; i < 3; i++) {
        struct visitor *v = visitor_new(&c);
        v->pipelines = true;
        for (unsigned n = 1 + (unsigned)sim_random(c.sim, 150); n > 0; n--)
            visitor_ask(v, ask_event(&c));
        visitor_go(&c, v);
    }
    run(&c);
    expect_exact(&c);
    return challenge_end(&c);
}

/* Resets anywhere between: never more than was sent; and after one that met
 * silence, exactly what came behind it. */
static uint64_t resets(const struct telling *t)
{
    struct challenge c;
    struct visitor *v;

    challenge_begin(&c, t, SIM_ALL & ~(unsigned)SIM_DISK);
    c.vague = true;
    for (unsigned i = 0; i < 3; i++) {
        v = visitor_new(&c);
        ask_many(&c, v, (unsigned)sim_random(c.sim, 30), true);
        visitor_go(&c, v);
    }
    run(&c);
    v = visitor_new(&c);
    visitor_ask(v, ASK_RESET);
    visitor_go(&c, v);
    run(&c);
    c.vague = false;
    c.sent = c.answered = (struct tally){0};
    v = visitor_new(&c);
    ask_many(&c, v, 30, false);
    visitor_go(&c, v);
    run(&c);
    expect_exact(&c);
    return challenge_end(&c);
}

/* A reload in the middle, and clients that vanish: what was answered stays counted. */
static uint64_t reloads(const struct telling *t)
{
    struct challenge c;

    challenge_begin(&c, t, SIM_ALL & ~(unsigned)SIM_DISK);
    for (unsigned i = 0; i < 4; i++) {
        struct visitor *v = visitor_new(&c);
        ask_many(&c, v, 20, false);
        visitor_go(&c, v);
    }
    for (unsigned i = 0; i < 3; i++) {
        sim_run_for(c.sim, sim_random(c.sim, 20 * NS_PER_MS));
        gateway_reload(&c.gateway, config_text);
        gate_sweep(&c.gateway.gate);
    }
    run(&c);
    expect_exact(&c);
    return challenge_end(&c);
}

/* No memory for a while: events are refused or counted, and never half. */
static uint64_t no_memory(const struct telling *t)
{
    struct challenge c;

    challenge_begin(&c, t, SIM_ALL & ~(unsigned)SIM_DISK);
    for (unsigned i = 0; i < 4; i++) {
        struct visitor *v = visitor_new(&c);
        v->tolerant = true;
        ask_many(&c, v, 20, false);
        visitor_go(&c, v);
    }
    c.vague = true; /* users may be estimated, and answers lost */
    mem_fail_at(1 + sim_random(c.sim, 60), sim_random(c.sim, 8));
    sim_run_for(c.sim, sim_random(c.sim, 50 * NS_PER_MS));
    mem_fail_at(0, 0);
    run(&c);
    return challenge_end(&c);
}

const struct story mrc_stories[] = {
    {"1mrc.exact", "what was answered before /stats was sent is in it", exact, 4},
    {"1mrc.pipelined", "many at once are all counted", pipelined, 2},
    {"1mrc.resets", "a reset happens between two events", resets, 3},
    {"1mrc.reloads", "the count lives through reloads", reloads, 2},
    {"1mrc.no_memory", "without memory, too, nothing is counted that was not sent", no_memory, 2},
    {0},
};
