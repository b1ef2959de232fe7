/* A run: crews on their threads, the progress bar, and what came of it all. */
#include "run.h"

#include "base/mem.h"
#include "bench/progress.h"

#include <stdio.h>
#include <time.h>

enum { LOOK_MS = 20, CONNECT_TRIES = 10 };

static struct crew *crews_new(const struct run *run)
{
    struct crew *crews = mem_zalloc(run->crews * sizeof *crews);
    const struct options *o = run->options;

    for (unsigned i = 0; crews && i < run->crews; i++) {
        crews[i].work = run->works[i];
        crews[i].plan = (struct crew_plan){
            .backend = run->server->backend,
            .to = run->server->to,
            .connections =
                (unsigned)(o->connections / run->crews + (i < o->connections % run->crews)),
            .depth = (unsigned)o->pipeline,
            .connect_tries = CONNECT_TRIES,
            .timeout_ns = o->timeout_ns,
        };
    }
    return crews;
}

static bool all_over(const struct crew *crews, unsigned count, uint64_t *done)
{
    bool over = true;

    *done = 0;
    for (unsigned i = 0; i < count; i++) {
        *done += atomic_load_explicit(&crews[i].done, memory_order_relaxed);
        over &= atomic_load(&crews[i].over);
    }
    return over;
}

static void watch(const struct run *run, const struct crew *crews)
{
    const struct timespec pause = {.tv_nsec = LOOK_MS * 1000000L};
    struct progress bar;
    uint64_t done;

    progress_begin(&bar, run->planned, run->options->duration_ns, run->options->quiet,
                   bench_clock());
    while (!all_over(crews, run->crews, &done)) {
        progress_show(&bar, done, bench_clock());
        (void)nanosleep(&pause, NULL);
    }
    progress_end(&bar, done, bench_clock());
}

static int outcome_of(const struct run *run, const struct crew *crews, struct outcome *outcome,
                      char *why)
{
    uint64_t begin = UINT64_MAX, end = 0, taken = 0;

    for (unsigned i = 0; i < run->crews; i++) {
        if (crews[i].fail < 0) {
            server_say(why, "engine %s: %s", io_backend_name(run->server->backend), crews[i].why);
            return crews[i].fail;
        }
        tally_merge(&outcome->tally, &crews[i].tally);
        begin = crews[i].begin_ns < begin ? crews[i].begin_ns : begin;
        end = crews[i].end_ns > end ? crews[i].end_ns : end;
        taken += crews[i].taken;
    }
    outcome->planned = run->planned ? run->planned : taken;
    outcome->elapsed_ns = end > begin ? end - begin : 1;
    outcome->interrupted = atomic_load(run->stop);
    if (!outcome->interrupted)
        outcome->tally.trouble[TROUBLE_UNSENT] += outcome->planned - taken;
    return 0;
}

int run_all(const struct run *run, struct outcome *outcome, char why[SERVER_WHY_MAX])
{
    struct crew *crews = crews_new(run);
    unsigned started = 0;
    int err;

    *outcome = (struct outcome){0};
    if (!crews) {
        server_say(why, "out of memory");
        return FAIL_MEMORY;
    }
    while (started < run->crews && crew_start(&crews[started]))
        started++;
    if (started < run->crews) {
        server_say(why, "only %u of %u threads could be started", started, run->crews);
        for (unsigned i = started; i < run->crews; i++)
            atomic_store(&crews[i].over, true);
    }
    watch(run, crews);
    for (unsigned i = 0; i < started; i++)
        crew_join(&crews[i]);
    err = started < run->crews ? FAIL_FULL : outcome_of(run, crews, outcome, why);
    mem_free(crews);
    return err;
}
