/* Time, events, whose turn it is, and what must be true; see sim.h.
 *
 * Time stands still while anybody has something to do, but for the moment a
 * turn takes; then it jumps to the next event or timer.
 */
#include "io/sim_world.h"

#include "base/mem.h"
#include "io/wheel.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>

enum {
    TURNS_MAX = 200000,         /* without time moving by a millisecond: it would go on forever */
    WAIT_TURNS_MAX = 2,         /* how long a woken owner may wait */
    DESCRIPTOR_FIRST = 1000000, /* unlike any that the process has */
};

void *sim_alloc(size_t size)
{
    void *p = calloc(1, size ? size : 1);

    assert(p);
    return p;
}

/* --- the record ------------------------------------------------------------------ */

void sim_note(struct sim *sim, uint64_t value)
{
    sim->hash = (sim->hash ^ value) * UINT64_C(0x100000001b3);
    sim->hash ^= sim->hash >> 32;
}

void sim_say_trace(struct sim *sim, const char *format, ...)
{
    va_list args;

    if (!sim->options.trace)
        return;
    fprintf(sim->options.trace, "# %12.6f ", (double)sim->now / 1e9);
    va_start(args, format);
    vfprintf(sim->options.trace, format, args);
    va_end(args);
    fputc('\n', sim->options.trace);
    fflush(sim->options.trace);
}

uint64_t sim_seed(const struct sim *sim)
{
    return sim->options.seed;
}

uint64_t sim_now(const struct sim *sim)
{
    return sim->now;
}

uint64_t sim_random(struct sim *sim, uint64_t below)
{
    return random_below(&sim->random, below);
}

/* --- events: a heap, the earliest first, those of one moment in order --------------- */

static bool earlier(const struct sim_event *a, const struct sim_event *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

void sim_at(struct sim *sim, uint64_t at, void (*run)(struct sim *, void *, uint64_t), void *data,
            uint64_t value)
{
    size_t i = sim->event_count++;

    if (sim->event_count > sim->event_room) {
        sim->event_room = sim->event_room ? sim->event_room * 2 : 64;
        sim->events = realloc(sim->events, sim->event_room * sizeof *sim->events);
        assert(sim->events);
    }
    struct sim_event e = {at > sim->now ? at : sim->now, sim->orders++, run, data, value};
    for (; i > 0 && earlier(&e, &sim->events[(i - 1) / 2]); i = (i - 1) / 2)
        sim->events[i] = sim->events[(i - 1) / 2];
    sim->events[i] = e;
}

static struct sim_event event_pop(struct sim *sim)
{
    struct sim_event first = sim->events[0], last = sim->events[--sim->event_count];
    size_t i = 0, child;

    while ((child = i * 2 + 1) < sim->event_count) {
        if (child + 1 < sim->event_count && earlier(&sim->events[child + 1], &sim->events[child]))
            child++;
        if (!earlier(&sim->events[child], &last))
            break;
        sim->events[i] = sim->events[child];
        i = child;
    }
    sim->events[i] = last;
    return first;
}

static void time_pass(struct sim *sim, uint64_t to)
{
    if (to <= sim->now)
        return;
    if (to / NS_PER_MS > sim->now / NS_PER_MS)
        sim->busy_turns = 0;
    sim->wall += to - sim->now;
    sim->now = to;
}

static void event_run(struct sim *sim)
{
    struct sim_event e = event_pop(sim);

    time_pass(sim, e.at);
    e.run(sim, e.data, e.value);
}

struct later {
    void (*call)(void *data);
    void *data;
};

static void later_run(struct sim *sim, void *data, uint64_t value)
{
    struct later l = *(struct later *)data;

    (void)sim;
    (void)value;
    free(data);
    l.call(l.data);
}

void sim_after(struct sim *sim, uint64_t ns, void (*call)(void *data), void *data)
{
    struct later *l = sim_alloc(sizeof *l);

    *l = (struct later){call, data};
    sim_at(sim, sim->now + ns, later_run, l, 0);
}

/* --- descriptors -------------------------------------------------------------------- */

struct sim_end *sim_end_new(struct sim *sim, enum sim_end_kind kind)
{
    struct sim_end *end = sim_alloc(sizeof *end);

    end->kind = kind;
    end->fd = -1;
    end->waiting_end = &end->waiting;
    list_init(&end->accepts);
    end->next_all = sim->ends;
    sim->ends = end;
    return end;
}

int sim_descriptor_new(struct sim *sim, struct sim_end *end)
{
    if (sim->options.descriptors_max && sim->descriptors_open >= sim->options.descriptors_max)
        return FAIL_DESCRIPTORS;
    if (sim->descriptor_count == sim->descriptor_room) {
        sim->descriptor_room = sim->descriptor_room ? sim->descriptor_room * 2 : 64;
        sim->descriptors =
            realloc(sim->descriptors, (size_t)sim->descriptor_room * sizeof(struct sim_end *));
        assert(sim->descriptors);
    }
    end->fd = DESCRIPTOR_FIRST + sim->descriptor_count;
    sim->descriptors[sim->descriptor_count++] = end;
    sim->descriptors_open++;
    return 0;
}

void sim_descriptor_free(struct sim *sim, struct sim_end *end)
{
    assert(sim_end_of(sim, end->fd) == end);
    sim->descriptors[end->fd - DESCRIPTOR_FIRST] = NULL;
    sim->descriptors_open--;
    end->fd = -1;
}

struct sim_end *sim_end_of(struct sim *sim, int fd)
{
    int i = fd - DESCRIPTOR_FIRST;

    assert(i >= 0 && i < sim->descriptor_count && sim->descriptors[i] && "not an open descriptor");
    return sim->descriptors[i];
}

bool sim_is_descriptor(int fd)
{
    return fd >= DESCRIPTOR_FIRST;
}

void sim_descriptors(struct sim *sim, unsigned max)
{
    sim->options.descriptors_max = max;
}

unsigned sim_descriptors_used(const struct sim *sim)
{
    return sim->descriptors_open;
}

/* --- engines -------------------------------------------------------------------------- */

static bool sim_usable(const char **why)
{
    *why = "only in tests";
    return false;
}

static void sim_entropy(struct io *io, void *out, size_t len)
{
    struct sim *sim = sim_io_of(io)->sim;

    for (unsigned char *at = out; len > 0; len--)
        *at++ = (unsigned char)random_next(&sim->random);
}

static int sim_open(struct io **io, const struct io_options *options, const char **why)
{
    struct sim *sim = options->world;
    struct sim_io *own = sim_alloc(sizeof *own);
    int err;

    assert(sim);
    own->sim = sim;
    own->index = sim->io_count;
    own->io.backend = &io_sim_backend; /* io_init() asks it for entropy */
    own->io.now_ns = sim->now;
    own->io.wall_ns = sim->wall;
    list_init(&own->ready);
    if ((err = io_init(&own->io, &io_sim_backend, options)) < 0) {
        *why = "out of memory";
        free(own);
        return err;
    }
    if (!(options->disable & IO_NO_SPLICE))
        own->io.piped_min = SIM_PIPED_MIN;
    own->next = sim->ios;
    sim->ios = own;
    sim->io_count++;
    *io = &own->io;
    return 0;
}

static void sim_io_free(struct io *io)
{
    struct sim_io *own = sim_io_of(io), **at = &own->sim->ios;

    assert(list_empty(&own->ready) && list_empty(&io->owners.now) &&
           list_empty(&io->owners.later) && list_empty(&io->senders) && !atomic_load(&io->mailbox));
    while (*at != own)
        at = &(*at)->next;
    *at = own->next;
    io_deinit(io);
    free(own->waiting);
    free(own);
}

static bool queue_holds(const struct io *io)
{
    return !list_empty(&io->owners.now) || !list_empty(&io->owners.later) ||
           !list_empty(&io->senders) || atomic_load(&io->mailbox);
}

/* When this engine has something to do. */
static uint64_t io_due(const struct sim_io *own)
{
    uint64_t at;

    if (!list_empty(&own->ready) || queue_holds(&own->io))
        at = own->sim->now;
    else
        at = wheel_next(own->io.wheel);
    return at > own->not_before ? at : own->not_before;
}

/* Outside of sim_run(), a turn waits as any backend's does: time passes
 * until something is ready for this engine. */
static void wait_alone(struct sim_io *own, uint64_t wait_ns)
{
    struct sim *sim = own->sim;
    uint64_t until = wait_ns < TIME_NEVER - sim->now ? sim->now + wait_ns : TIME_NEVER;

    while (list_empty(&own->ready) && sim->event_count && sim->events[0].at <= until &&
           !atomic_load(&own->io.mailbox))
        event_run(sim);
    if (list_empty(&own->ready) && until != TIME_NEVER)
        time_pass(sim, until);
}

static bool sim_wait(struct io *io, uint64_t wait_ns)
{
    struct sim_io *own = sim_io_of(io);
    struct sim *sim = own->sim;

    if (!sim->driving)
        wait_alone(own, wait_ns);
    io->now_ns = sim->now;
    io->wall_ns = sim->wall;
    sim_ready_complete(own);
    return sim->driving || sim->event_count > 0;
}

static void sim_wake(struct io *io)
{
    (void)io; /* whoever decides whose turn it is looks at the mailbox */
}

/* --- between turns ------------------------------------------------------------------------ */

static void waiting_note(struct sim_io *own, struct sim_waiting *now, size_t *count,
                         const struct link_node *list)
{
    for (const struct link_node *n = list->next; n != list; n = n->next) {
        struct owner *o = container_of(n, struct owner, queued);
        struct sim_waiting w = {o, o->turn, o->runs, 1};
        for (size_t i = 0; i < own->waiting_count; i++) {
            const struct sim_waiting *before = &own->waiting[i];
            if (before->owner == o && before->turn == o->turn && before->runs == o->runs)
                w.turns = before->turns + 1;
        }
        assert(w.turns <= WAIT_TURNS_MAX && "a woken owner waits more than two turns");
        now[(*count)++] = w;
    }
}

static size_t list_length(const struct link_node *list)
{
    size_t n = 0;

    for (const struct link_node *at = list->next; at != list; at = at->next)
        n++;
    return n;
}

/* No wake is lost, and none waits for more than two turns. */
static void owners_check(struct sim_io *own)
{
    struct owner_queue *q = &own->io.owners;
    size_t n = list_length(&q->now) + list_length(&q->later), count = 0;
    struct sim_waiting *now;

    if (n == 0) {
        own->waiting_count = 0;
        return;
    }
    now = sim_alloc(n * sizeof *now);
    waiting_note(own, now, &count, &q->now);
    waiting_note(own, now, &count, &q->later);
    free(own->waiting);
    own->waiting = now;
    own->waiting_count = count;
}

void sim_drive(struct sim *sim, struct io *io, bool (*turn)(void *data), void *data)
{
    struct sim_io *own = sim_io_of(io);

    assert(own->sim == sim);
    own->turn = turn;
    own->data = data;
    own->driven = true;
}

void sim_watch(struct sim *sim, void (*check)(void *data), void *data)
{
    sim->check = check;
    sim->check_data = data;
}

static void turn_run(struct sim *sim, struct sim_io *own)
{
    uint64_t cost = 500 + random_below(&sim->random, 20000);

    assert(++sim->busy_turns < TURNS_MAX && "turns go on and on while no time passes");
    if (own->turn)
        own->over = !own->turn(own->data);
    else
        (void)io_turn(&own->io, TIME_NEVER);
    time_pass(sim, sim->now + cost);
    own->not_before = sim->now;
    if (sim_chance(sim, SIM_STALLS, 24))
        own->not_before += random_below(&sim->random, 5 * NS_PER_MS);
    owners_check(own);
    if (sim->check)
        sim->check(sim->check_data);
}

/* The engine to turn next: any of those that are due first. */
static struct sim_io *io_next(struct sim *sim, uint64_t *at)
{
    struct sim_io *chosen = NULL;
    uint64_t n = 0;

    *at = TIME_NEVER;
    for (struct sim_io *own = sim->ios; own; own = own->next) {
        uint64_t due = own->driven && !own->over ? io_due(own) : TIME_NEVER;
        if (due < sim->now)
            due = sim->now;
        if (due == TIME_NEVER || due > *at)
            continue;
        if (due < *at)
            n = 0;
        *at = due;
        if (random_below(&sim->random, ++n) == 0)
            chosen = own;
    }
    return chosen;
}

bool sim_run(struct sim *sim, bool (*done)(void *data), void *data, uint64_t most_ns)
{
    uint64_t until = sim->now + most_ns, at;

    sim->driving = true;
    while (!done || !done(data)) {
        struct sim_io *own = io_next(sim, &at);
        bool event = sim->event_count && sim->events[0].at <= at;
        if (event)
            at = sim->events[0].at;
        if (at > until) {
            if (at != TIME_NEVER || !done)
                time_pass(sim, until);
            sim->driving = false;
            return false;
        }
        if (event) {
            event_run(sim);
        } else {
            time_pass(sim, at);
            turn_run(sim, own);
        }
    }
    sim->driving = false;
    return true;
}

void sim_run_for(struct sim *sim, uint64_t ns)
{
    (void)sim_run(sim, NULL, NULL, ns);
}

/* --- beginning and end --------------------------------------------------------------------- */

struct sim *sim_new(const struct sim_options *options)
{
    struct sim *sim = sim_alloc(sizeof *sim);

    sim->options = *options;
    sim->random.state = options->seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    sim->hash = UINT64_C(0xcbf29ce484222325);
    sim->now = NS_PER_S + random_below(&sim->random, 1000 * NS_PER_S);
    sim->wall = UINT64_C(1790000000) * NS_PER_S + random_below(&sim->random, 1000 * NS_PER_S);
    sim->latency_ns = UINT64_C(1000) << random_below(&sim->random, 12);
    list_init(&sim->flights);
    sim->memory = mem_live();
    return sim;
}

static void ends_free(struct sim *sim)
{
    struct sim_end *next;

    for (struct sim_end *end = sim->ends; end; end = next) {
        next = end->next_all;
        free(end->in);
        free(end);
    }
}

uint64_t sim_end(struct sim *sim)
{
    uint64_t hash = sim->hash;

    assert(!sim->ios && "an engine was not freed");
    assert(list_empty(&sim->flights) && "an operation is still in flight");
    assert(sim->descriptors_open == 0 && "a descriptor was not closed");
    assert(sim->bufs_out == 0 && "a lent buffer was not given back");
    assert(sim->memory == mem_live() && "memory was lost");
    for (size_t i = 0; i < sim->event_count; i++)
        if (sim->events[i].run == later_run)
            free(sim->events[i].data);
    sim_bufs_free(sim);
    sim_speakers_free(sim);
    sim_disk_free(sim);
    ends_free(sim);
    free(sim->events);
    free(sim->descriptors);
    free(sim);
    return hash;
}

static void sim_adopt(struct io *io, struct io_sock *sock, int fd)
{
    struct sim_end *end = sim_end_of(sim_io_of(io)->sim, fd);

    assert(end->kind != SIM_FILE && !end->sock && "adopted twice");
    end->io = sim_io_of(io);
    end->sock = sock;
}

static void sim_shutdown(struct io *io, struct io_sock *sock)
{
    struct sim *sim = sim_io_of(io)->sim;

    sim_fin(sim, sim_end_of(sim, sock->fd));
}

static uint64_t sim_sock_taken(struct io *io, const struct io_sock *sock)
{
    const struct sim_end *end = sim_end_of(sim_io_of(io)->sim, sock->fd);

    return end->other ? end->other->taken : 0;
}

static void sim_sock_local(struct io *io, const struct io_sock *sock, struct address *a)
{
    *a = sim_end_of(sim_io_of(io)->sim, sock->fd)->address;
}

static bool sim_sock_unacked(struct io *io, const struct io_sock *sock, uint64_t *bytes)
{
    const struct sim_end *end = sim_end_of(sim_io_of(io)->sim, sock->fd);

    *bytes = end->sent - end->acked;
    return true;
}

static bool sim_sock_quiet(struct io *io, const struct io_sock *sock)
{
    const struct sim_end *end = sim_end_of(sim_io_of(io)->sim, sock->fd);

    return end->here == end->from && !end->fin && !end->reset;
}

static bool sim_sock_broken(struct io *io, const struct io_sock *sock)
{
    return sim_end_of(sim_io_of(io)->sim, sock->fd)->reset;
}

static void sim_sock_close(struct io *io, struct io_sock *sock, bool reset)
{
    struct sim *sim = sim_io_of(io)->sim;
    struct sim_end *end = sim_end_of(sim, sock->fd);

    assert(end->io == sim_io_of(io) && end->sock == sock && !end->recv && !end->send);
    sim_say_trace(sim, "w%u %s %d", end->io->index, reset ? "resets" : "closes", end->fd);
    if (end->kind == SIM_LISTENER)
        sim_listener_close(sim, end);
    else
        sim_stream_close(sim, end, reset);
}

static void sim_discard(struct io *io, int fd)
{
    struct sim *sim = sim_io_of(io)->sim;

    sim_stream_close(sim, sim_end_of(sim, fd), false);
}

static void sim_listen_close(void *world, int fd)
{
    sim_listener_close(world, sim_end_of(world, fd));
}

/* Its number may be another file's before the operation looks at it. */
static void assert_not_being_sent(const struct sim *sim, int fd)
{
    for (const struct link_node *n = sim->flights.next; n != &sim->flights; n = n->next) {
        const struct sim_flight *f = container_of(n, struct sim_flight, node);
        assert((f->kind != IO_SEND_FILE || f->op->file.fd != fd) &&
               "a file is closed under a send");
        (void)f;
    }
    (void)fd;
}

static void sim_file_close(struct io *io, int fd)
{
    struct sim *sim = sim_io_of(io)->sim;
    struct sim_end *end = sim_end_of(sim, fd);

    assert(end->kind == SIM_FILE && !end->closed);
    assert_not_being_sent(sim, fd);
    end->closed = true;
    sim_descriptor_free(sim, end);
}

const struct io_backend io_sim_backend = {
    .name = "sim",
    .simulated = true,
    .usable = sim_usable,
    .open = sim_open,
    .free = sim_io_free,
    .start = sim_op_start,
    .cancel = sim_op_cancel,
    .adopt = sim_adopt,
    .shutdown = sim_shutdown,
    .taken = sim_sock_taken,
    .local = sim_sock_local,
    .unacked = sim_sock_unacked,
    .quiet = sim_sock_quiet,
    .broken = sim_sock_broken,
    .close = sim_sock_close,
    .discard = sim_discard,
    .listen = sim_listen,
    .listen_close = sim_listen_close,
    .listen_copy = sim_listen_copy,
    .wait = sim_wait,
    .wake = sim_wake,
    .file = sim_file_start,
    .work = sim_work_start,
    .resolve = sim_resolve_start,
    .file_close = sim_file_close,
    .entropy = sim_entropy,
};
