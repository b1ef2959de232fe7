/* Active checks of health; see check.h.
 *
 * Until the first check nothing is known, and the server is used; the first
 * decides alone.  From then on it takes `fall` failures in a row to take a
 * server out and `rise` successes in a row to bring it back.  What we lack
 * ourselves (memory, descriptors) says nothing of the server.
 */
#include "gate/check.h"

#include "base/hash.h"
#include "gate/gate.h"
#include "gate/health.h"
#include "gate/inner.h"
#include "gate/pool.h"
#include "gate/queue.h"

#include <stdio.h>

#define LOAD(n)         atomic_load_explicit(&(n), memory_order_relaxed)
#define STORE(n, value) atomic_store_explicit(&(n), (value), memory_order_relaxed)

enum { JITTER = 5 }; /* the interval is up to a fifth longer or shorter, and right on average */

struct checker {
    struct owner owner;
    struct io_timer timer; /* the next check */
    struct worker *worker;
    struct generation *generation;
    const struct upstream_conf *upstream;
    const struct server_entry *entry;
    struct inner *inner; /* the check under way; NULL: none */
    uint32_t tenure;     /* of the slot, when it was asked */
    uint64_t against;    /* results in a row that speak against the state */
    enum cause cause;    /* of the last that failed; CAUSE_NONE: that status was not expected */
    int status;
    bool due;
    bool working;
};

struct checkers {
    unsigned count;
    struct checker list[];
};

/* --- what is learned ----------------------------------------------------------------------- */

/* " (ADDRESS)" behind a name that may have several. */
struct place {
    char text[ADDRESS_TEXT_MAX + 4];
};

static struct place place_of(const struct checker *c)
{
    const struct upstream_conf *u = c->upstream;
    const struct pool_view *view = c->generation->pools[u->index];
    struct place p = {""};
    char at[ADDRESS_TEXT_MAX];

    if (!c->entry->named)
        return p;
    size_t len = address_print(&view->servers[c->entry - u->servers]->at, at);
    snprintf(p.text, sizeof p.text, " (%.*s)", (int)len, at);
    return p;
}

static void say_down(const struct checker *c)
{
    const struct upstream_conf *u = c->upstream;
    struct place at = place_of(c);

    if (c->cause)
        log_say(LOG_WARNING, "upstream %.*s: server %.*s%s is down: %.*s", SPAN_ARG(u->name),
                SPAN_ARG(c->entry->text), at.text, SPAN_ARG(cause_row(c->cause)->name));
    else
        log_say(LOG_WARNING, "upstream %.*s: server %.*s%s is down: status %d, expected %.*s",
                SPAN_ARG(u->name), SPAN_ARG(c->entry->text), at.text, c->status,
                SPAN_ARG(u->check.expect));
}

static void server_goes_down(struct checker *c)
{
    c->against = 0;
    STORE(c->entry->state->check, CHECK_DOWN);
    say_down(c);
}

/* It begins anew: slowly, with no failures, and those who wait for a place may try it. */
static void server_comes_back(struct checker *c)
{
    struct server_state *s = c->entry->state;

    c->against = 0;
    health_forgive(c->upstream->state, s);
    STORE(s->back_at, io_now(c->worker->io));
    STORE(s->check, CHECK_UP);
    struct place at = place_of(c);
    log_say(LOG_NOTICE, "upstream %.*s: server %.*s%s is up again", SPAN_ARG(c->upstream->name),
            SPAN_ARG(c->entry->text), at.text);
    queue_call(c->upstream->state);
}

static void checker_judge(struct checker *c, bool good)
{
    const struct check_conf *conf = &c->upstream->check;
    struct server_state *s = c->entry->state;

    switch (LOAD(s->check)) {
    case CHECK_UP:
        c->against = good ? 0 : c->against + 1;
        if (c->against >= conf->fall)
            server_goes_down(c);
        break;
    case CHECK_DOWN:
        c->against = good ? c->against + 1 : 0;
        if (c->against >= conf->rise)
            server_comes_back(c);
        break;
    default:
        if (good)
            STORE(s->check, CHECK_UP);
        else
            server_goes_down(c);
    }
}

static bool is_expected(const struct check_conf *conf, int status)
{
    for (unsigned i = 0; i < conf->expected.count; i++)
        if (status >= (int)conf->expected.list[i].from && status <= (int)conf->expected.list[i].to)
            return true;
    return false;
}

/* A check is over.  The settings of now decide what it means. */
static void checker_heard(struct checker *c)
{
    enum cause cause = c->inner->cause;
    int status = c->inner->status;
    bool good = !cause &&
                (c->upstream->check.kind == CHECK_TCP || is_expected(&c->upstream->check, status));

    inner_end(c->inner);
    c->inner = NULL;
    if (cause == CAUSE_out_of_memory || cause == CAUSE_upstream_no_descriptors ||
        cause == CAUSE_upstream_unresolved || c->tenure != server_tenure(c->entry->state))
        return;
    if (!good) {
        worker_counted(&c->worker->stats.checks_failed);
        c->cause = cause;
        c->status = status;
        server_failure_set(c->entry->state,
                           (struct server_failure){.wall_ms = io_wall(c->worker->io) / NS_PER_MS,
                                                   .cause = cause,
                                                   .status = status});
    }
    checker_judge(c, good);
}

/* --- asking --------------------------------------------------------------------------------- */

static struct field field_of(enum field_id id, struct span value)
{
    return (struct field){.name = field_name(id), .value = value, .id = (uint16_t)id};
}

static bool request_make(const struct checker *c, struct inner *in)
{
    const struct check_conf *conf = &c->upstream->check;
    struct field host = field_of(FIELD_HOST, conf->host.len > 0 ? conf->host : c->entry->authority);
    struct field agent = field_of(FIELD_USER_AGENT, SPAN("headgate-check"));

    if (conf->host.len > 0 && /* what tls_name = ${host} is */
        !host_parse(conf->host, in->x->host_scratch, &in->x->host, &(struct span){0}))
        in->x->host = (struct span){0};
    if (!method_safe(
            method_find(conf->method))) /* RFC 9110, 8.6: such a one says that it has none */
        in->x->request.framing = FRAMING_LENGTH;
    return inner_ask(in, conf->method, conf->target) && inner_field(in, &host) &&
           inner_field(in, &agent);
}

static void checker_ask(struct checker *c)
{
    enum { FIELDS = 2 };
    const struct check_conf *conf = &c->upstream->check;
    const struct upstream_conf *u = c->upstream;
    unsigned i = (unsigned)(c->entry - u->servers);
    /* Of the address that this worker has for it: main may have placed another one just now. */
    uint32_t tenure = c->generation->pools[u->index]->servers[i]->tenure;

    if (tenure != c->tenure) /* it is another server */
        c->against = 0;
    c->tenure = tenure;
    struct inner *in = tenure ? inner_new(c->worker, c->generation, c->upstream, FIELDS) : NULL;
    if (!in)
        return;
    in->told = &c->owner;
    in->leg.bare = conf->kind == CHECK_TCP;
    if (!in->leg.bare && !request_make(c, in)) {
        inner_end(in);
        return;
    }
    worker_counted(&c->worker->stats.checks);
    c->inner = in;
    inner_send_to(in, i, conf->port, conf->timeout);
}

static void checker_wait(struct checker *c, uint64_t ns)
{
    struct io *io = c->worker->io;

    io_timer_set(io, &c->timer, io_now(io) + ns);
}

static void checker_step(struct owner *owner)
{
    struct checker *c = container_of(owner, struct checker, owner);
    uint64_t interval = c->upstream->check.interval, part = interval / JITTER;

    c->due = io_timer_take(&c->timer) || c->due;
    if (c->inner && c->inner->over)
        checker_heard(c);
    if (!c->due || c->inner)
        return;
    c->due = false;
    checker_wait(c, interval - part + random_below(&c->worker->io->random, 2 * part + 1));
    checker_ask(c);
}

/* --- coming and going ----------------------------------------------------------------------- */

static bool is_ours(const struct worker *w, const struct upstream_conf *u, unsigned i)
{
    const struct server_entry *e = &u->servers[i];

    for (unsigned j = 0; j < i; j++) /* written twice, it is one server */
        if (u->servers[j].state == e->state)
            return false;
    return !e->down && (hash_text(u->name) ^ e->hash) % w->gate->worker_count == w->index;
}

static unsigned checkers_fill(struct worker *w, struct generation *g, struct checker *list)
{
    unsigned count = 0;

    for (unsigned i = 0; i < g->config->upstream_count; i++) {
        const struct upstream_conf *u = &g->config->upstreams[i];
        for (unsigned j = 0; u->check.kind && j < u->server_count; j++) {
            if (!is_ours(w, u, j))
                continue;
            if (list)
                list[count] = (struct checker){
                    .worker = w, .generation = g, .upstream = u, .entry = &u->servers[j]};
            count++;
        }
    }
    return count;
}

int checks_make(struct worker *w, struct generation *g)
{
    unsigned count = checkers_fill(w, g, NULL);

    g->checkers = mem_zalloc(sizeof *g->checkers + count * sizeof(struct checker));
    if (!g->checkers)
        return FAIL_MEMORY;
    g->checkers->count = checkers_fill(w, g, g->checkers->list);
    return 0;
}

void checks_free(struct generation *g)
{
    checks_end(g);
    mem_free(g->checkers);
    g->checkers = NULL;
}

static void checker_begin(struct checker *c)
{
    owner_init(&c->owner, &c->worker->io->owners, checker_step);
    c->timer = (struct io_timer){.owner = &c->owner, .at = TIME_NEVER};
    c->working = true;
}

static void checker_end(struct checker *c)
{
    if (!c->working)
        return;
    c->working = false;
    if (c->inner)
        inner_end(c->inner);
    c->inner = NULL;
    io_timer_clear(c->worker->io, &c->timer);
    owner_retire(&c->owner);
}

/* Not all at once: the first checks are spread over a tenth of the interval. */
static void checker_start(struct checker *c)
{
    checker_wait(c, random_below(&c->worker->io->random, c->upstream->check.interval / 10 + 1));
}

void checks_begin(struct generation *g)
{
    for (unsigned i = 0; i < g->checkers->count; i++) {
        checker_begin(&g->checkers->list[i]);
        checker_start(&g->checkers->list[i]);
    }
}

void checks_end(struct generation *g)
{
    for (unsigned i = 0; g->checkers && i < g->checkers->count; i++)
        checker_end(&g->checkers->list[i]);
}

static bool same_check(const struct check_conf *a, const struct check_conf *b)
{
    if (a->words.count != b->words.count)
        return false;
    for (unsigned i = 0; i < a->words.count; i++)
        if (!span_equal(a->words.list[i], b->words.list[i]))
            return false;
    return true;
}

/* The same check of the same server goes on, with the one that is under way. */
static void checker_take_over(struct checker *c, struct checker *from)
{
    c->against = from->against;
    c->tenure = from->tenure;
    c->due = io_timer_take(&from->timer) || from->due;
    c->inner = from->inner;
    from->inner = NULL;
    if (c->inner)
        c->inner->told = &c->owner;
    if (!c->due)
        io_timer_set(c->worker->io, &c->timer, from->timer.at);
    owner_wake(&c->owner);
}

static struct checker *checker_of(struct checkers *all, const struct server_state *s)
{
    for (unsigned i = 0; i < all->count; i++)
        if (all->list[i].entry->state == s)
            return &all->list[i];
    return NULL;
}

void checks_succeed(struct generation *old, struct generation *g)
{
    for (unsigned i = 0; i < g->checkers->count; i++) {
        struct checker *c = &g->checkers->list[i],
                       *from = checker_of(old->checkers, c->entry->state);
        checker_begin(c);
        if (from && from->working && same_check(&from->upstream->check, &c->upstream->check))
            checker_take_over(c, from);
        else
            checker_start(c);
    }
    for (unsigned i = 0; i < old->checkers->count; i++) /* of those nobody asks any more */
        if (!checker_of(g->checkers, old->checkers->list[i].entry->state))
            STORE(old->checkers->list[i].entry->state->check, CHECK_UNKNOWN);
    checks_end(old);
}
