/* The engine's own stories: a relay, whose every client and origin is up to
 * the seed. */
#include "tests/sim/relay.h"
#include "tests/sim/story.h"

#include "base/mem.h"

#include <stdlib.h>

enum { CLIENTS_MAX = 6, SAY_MAX = 60000, WORKERS_MAX = 3 };

struct tale {
    struct sim *sim;
    struct io *ios[WORKERS_MAX];
    struct relay relays[WORKERS_MAX];
    unsigned workers;
    struct sim_origin origin;
    struct sim_peer *clients[CLIENTS_MAX];
    struct sim_peer *origins[CLIENTS_MAX]; /* by the order they were connected */
    unsigned count;
    size_t say; /* bytes each way */
    bool rough; /* somebody resets, or stays silent */
};

/* What is said at this place, so that order shows and nothing must be kept. */
static char byte_at(size_t at, char who)
{
    return (char)(who + (char)(at * 131 + (at >> 8) * 7));
}

static void say_much(struct sim_peer *p, size_t n, char who)
{
    char *text = malloc(n ? n : 1);

    for (size_t i = 0; i < n; i++)
        text[i] = byte_at(i, who);
    sim_say(p, (struct span){text, n});
    free(text);
}

static void expect_said(const struct sim_peer *p, char who)
{
    struct span heard = sim_heard(p);

    for (size_t i = 0; i < heard.len; i++)
        EXPECT(heard.ptr[i] == byte_at(i, who), "byte %zu of %zu from %c", i, heard.len, who);
}

static void script(struct tale *t, struct sim_peer *p, char who)
{
    uint64_t dice = t->rough ? sim_random(t->sim, 12) : 99;

    if (sim_random(t->sim, 6) == 0 && t->say < 3000)
        sim_window(p, 1 + (uint32_t)sim_random(t->sim, 40));
    say_much(p, dice == 0 ? (size_t)sim_random(t->sim, t->say + 1) : t->say, who);
    if (dice == 0)
        sim_then_reset(p);
    else if (dice == 1)
        sim_close(p);
    else if (dice != 2) /* else: never an end */
        sim_finish(p);
    if (dice == 3)
        sim_read(p, 0, 0);
    if (dice == 4)
        sim_read(p, 1 + (uint32_t)sim_random(t->sim, 3000), 1 + sim_random(t->sim, NS_PER_MS));
}

static void origin_accepted(struct sim_origin *o, struct sim_peer *p)
{
    struct tale *t = o->data;

    if (o->connections <= CLIENTS_MAX)
        t->origins[o->connections - 1] = p;
    script(t, p, 'o');
}

static void leave(void *data)
{
    struct tale *t = data;

    for (unsigned i = 0; i < t->workers; i++)
        relay_leave(&t->relays[i]);
}

static bool all_gone(void *data)
{
    struct tale *t = data;

    for (unsigned i = 0; i < t->workers; i++)
        if (!relay_gone(&t->relays[i]))
            return false;
    return true;
}

static bool all_heard(void *data)
{
    struct tale *t = data;

    for (unsigned i = 0; i < t->count; i++)
        if (!t->clients[i]->ended && !t->clients[i]->reset && !t->clients[i]->refused &&
            !t->clients[i]->closed)
            return false;
    for (unsigned i = 0; i < t->count && !t->rough; i++)
        if (!t->origins[i] || !t->origins[i]->ended)
            return false;
    return true;
}

static struct tale tale_begin(const struct telling *telling, bool rough)
{
    struct tale t = {.sim = story_world(telling, SIM_ALL), .rough = rough};

    t.workers = 1 + (unsigned)sim_random(t.sim, WORKERS_MAX);
    t.count = 1 + (unsigned)sim_random(t.sim, CLIENTS_MAX);
    t.say = (size_t)sim_random(t.sim, sim_random(t.sim, 3) ? 300 : SAY_MAX);
    return t;
}

static void tale_open(struct tale *t)
{
    struct address at = story_address("192.0.2.1:7"), origin = story_address("198.51.100.1:7");
    const char *why;

    for (unsigned i = 0; i < t->workers; i++) {
        struct io_listen spec = {.at = at, .backlog = 100, .reuse_port = true};
        int fd,
            err = io_open(&t->ios[i], &io_sim_backend, &(struct io_options){.world = t->sim}, &why);
        EXPECT(err == 0, "%s", why);
        err = io_listen(&io_sim_backend, t->sim, &spec, &fd);
        EXPECT(err == 0, "listen");
        sim_drive(t->sim, t->ios[i], NULL, NULL);
        relay_start(&t->relays[i], t->ios[i], fd, &origin, 5 * NS_PER_S);
    }
    t->origin = (struct sim_origin){.at = origin, .accepted = origin_accepted, .data = t};
    if (t->rough && sim_random(t->sim, 6) == 0)
        t->origin.dialled = (enum sim_dialled)sim_random(t->sim, 4);
    if (sim_random(t->sim, 4) == 0)
        t->origin.delay_ns = sim_random(t->sim, 7 * NS_PER_S);
    sim_origin_add(t->sim, &t->origin);
    for (unsigned i = 0; i < t->count; i++) {
        struct address from = story_address("203.0.113.9:1000");
        from.port = (uint16_t)(from.port + i);
        t->clients[i] = sim_connect(t->sim, &at, &from);
        script(t, t->clients[i], 'c');
    }
}

static uint64_t tale_end(struct tale *t)
{
    sim_after(t->sim, 0, leave, t);
    EXPECT(sim_run(t->sim, all_gone, t, 60 * NS_PER_S), "the relay does not end");
    for (unsigned i = 0; i < t->workers; i++)
        io_free(t->ios[i]);
    for (unsigned i = 0; i < t->count; i++) {
        expect_said(t->clients[i], 'o');
        if (t->origins[i])
            expect_said(t->origins[i], 'c');
    }
    return sim_end(t->sim);
}

/* Nobody misbehaves: all bytes arrive, both ways, and then the end. */
static uint64_t calm(const struct telling *telling)
{
    struct tale t = tale_begin(telling, false);

    tale_open(&t);
    if (t.origin.delay_ns > 4 * NS_PER_S) /* the relay would give up */
        t.origin.delay_ns = 0;
    EXPECT(sim_run(t.sim, all_heard, &t, 3600 * NS_PER_S), "not all have heard the end");
    for (unsigned i = 0; i < t.count; i++) {
        EXPECT(t.clients[i]->len == t.say && t.clients[i]->ended && !t.clients[i]->reset,
               "client %u heard %zu of %zu", i, t.clients[i]->len, t.say);
        EXPECT(t.origins[i] && t.origins[i]->len == t.say && t.origins[i]->ended,
               "origin %u heard less than %zu", i, t.say);
    }
    return tale_end(&t);
}

/* Anybody may misbehave: nothing is left behind, and what was heard is right
 * as far as it goes. */
static uint64_t rough(const struct telling *telling)
{
    struct tale t = tale_begin(telling, true);

    tale_open(&t);
    if (sim_random(t.sim, 4) == 0)
        sim_descriptors(t.sim, t.workers + (unsigned)sim_random(t.sim, 6));
    if (sim_random(t.sim, 4) == 0)
        mem_fail_at(1 + sim_random(t.sim, 6), sim_random(t.sim, 3));
    (void)sim_run(t.sim, all_heard, &t, sim_random(t.sim, 20 * NS_PER_S));
    mem_fail_at(0, 0);
    return tale_end(&t);
}

const struct story relay_stories[] = {
    {"relay.calm", "all bytes arrive in order, both ways, and then the end", calm, 0},
    {"relay.rough", "whatever anybody does, nothing is left behind", rough, 0},
    {0},
};
