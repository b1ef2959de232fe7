/* One thread of the load: an engine, its connections, and the work they do. */
#include "crew.h"

#include "base/mem.h"

#include <time.h>

enum { TURN_WAIT_MS = 50 }; /* how soon a crew notices that the user has had enough */

uint64_t bench_clock(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

bool crew_take(struct crew *crew, struct ticket *t)
{
    if (crew->stopping || !crew->work->next(crew->work, t))
        return false;
    crew->taken++;
    crew->held++;
    return true;
}

static enum trouble trouble_of_status(int status)
{
    switch (status / 100) {
    case 2:
        return TROUBLE_STATUS_2XX;
    case 3:
        return TROUBLE_STATUS_3XX;
    case 4:
        return TROUBLE_STATUS_4XX;
    default:
        return TROUBLE_STATUS_5XX;
    }
}

void crew_answered(struct crew *crew, const struct ticket *t, int status)
{
    struct tally *tally = &crew->tally;
    uint64_t now = io_now(crew->io);

    histogram_add(&tally->latency, now > t->start_ns ? now - t->start_ns : 0);
    if (status >= 100 && status < 600)
        tally->status[status / 100]++;
    if (crew->work->good(crew->work, status))
        tally->good++;
    else
        tally->trouble[trouble_of_status(status)]++;
    crew->end_ns = now;
    io_count(&crew->done, 1);
}

void crew_trouble(struct crew *crew, enum trouble kind, uint64_t count)
{
    crew->tally.trouble[kind] += count;
    crew->end_ns = io_now(crew->io);
}

/* --- a run ----------------------------------------------------------------------- */

static bool clients_open(struct crew *crew)
{
    unsigned count = crew->plan.connections;

    crew->clients = mem_zalloc(count * sizeof *crew->clients);
    if (!crew->clients)
        return false;
    for (unsigned i = 0; i < count; i++)
        if (!client_init(&crew->clients[i], crew))
            return false;
    for (unsigned i = 0; i < count; i++)
        client_wake(&crew->clients[i]);
    return true;
}

static void clients_free(struct crew *crew)
{
    for (unsigned i = 0; crew->clients && i < crew->plan.connections; i++)
        client_free(&crew->clients[i]);
    mem_free(crew->clients);
}

static void clients_wake(struct crew *crew)
{
    for (unsigned i = 0; i < crew->plan.connections; i++)
        client_wake(&crew->clients[i]);
}

static bool clients_at_rest(const struct crew *crew)
{
    for (unsigned i = 0; i < crew->plan.connections; i++)
        if (!client_at_rest(&crew->clients[i]))
            return false;
    return true;
}

static bool crew_finished(const struct crew *crew)
{
    if (crew->given_up == crew->plan.connections)
        return true;
    return crew->held == 0 && crew->work->exhausted(crew->work);
}

static void crew_turn(struct crew *crew)
{
    uint64_t wait = TURN_WAIT_MS * NS_PER_MS;

    if (crew->work->pump && crew->connected_once) {
        uint64_t due = crew->work->pump(crew->work, crew);
        wait = due < wait ? due : wait;
    }
    (void)io_turn(crew->io, wait);
    if (!crew->connected_once && crew->connecting == 0)
        crew->connected_once = true;
}

static void crew_work(struct crew *crew)
{
    crew->begin_ns = crew->end_ns = bench_clock();
    while (!crew_finished(crew))
        crew_turn(crew);
    crew->stopping = true;
    clients_wake(crew);
    while (!clients_at_rest(crew))
        (void)io_turn(crew->io, TURN_WAIT_MS * NS_PER_MS);
}

void crew_run(struct crew *crew)
{
    struct io_options options = {.sockets_max = crew->plan.connections + 16};

    list_init(&crew->idle);
    crew->fail = io_open(&crew->io, crew->plan.backend, &options, &crew->why);
    if (crew->fail == 0) {
        if (clients_open(crew)) {
            crew_work(crew);
        } else {
            crew->fail = FAIL_MEMORY;
            crew->why = "out of memory";
        }
        crew->tally.bytes_in =
            atomic_load_explicit(&crew->io->stats.bytes_in, memory_order_relaxed);
        crew->tally.bytes_out =
            atomic_load_explicit(&crew->io->stats.bytes_out, memory_order_relaxed);
        clients_free(crew);
        io_free(crew->io);
        crew->io = NULL;
    }
    atomic_store(&crew->over, true);
}

static void *crew_main(void *data)
{
    crew_run(data);
    return NULL;
}

bool crew_start(struct crew *crew)
{
    return pthread_create(&crew->thread, NULL, crew_main, crew) == 0;
}

void crew_join(struct crew *crew)
{
    (void)pthread_join(crew->thread, NULL);
}
