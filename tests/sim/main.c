/* Plays stories: `sim [--seed N] [--seeds N] [--story NAME] [--trace] [--list]
 * [--patience SECONDS]`.
 *
 * The seeds, from 1 or N on, are shared out among the stories; --seed alone
 * plays that one.  Each story runs in a process
 * of its own and says in shared memory how far it is, so that an assertion
 * that fails costs one story, and its seed is known.  Every 16th seed is
 * played twice and must end with the same hash.  Output is TAP, and a
 * progress bar on a terminal.
 */
#include "config.h"
#include "tests/sim/gateway.h"
#include "tests/sim/promises.h"
#include "tests/sim/story.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SEEDS = 2000, TWICE_EVERY = 16, STORIES_MAX = 128, PATIENCE_S = 60 };

static const struct story *const tables[] = {
    causes_stories, checks_stories,    ends_stories, relay_stories, serve_stories,  forward_stories,
    gate_stories,   io_stories,        mrc_stories,  names_stories, passes_stories, static_stories,
    steer_stories,  upstream_stories,
#ifdef HAVE_HTTP2
    h2_stories,     h2_origin_stories,
#endif
    NULL,
};

struct progress { /* shared with the child */
    uint64_t seed, played;
    bool causes[CAUSE_COUNT]; /* of all children */
};

struct run {
    const struct story *stories[STORIES_MAX];
    size_t count;
    uint64_t seed; /* the first; 0: 1 */
    uint64_t seeds;
    uint64_t patience_s;
    const char *only;
    bool one; /* that seed alone */
    bool trace, terminal;
    struct progress *progress;
};

/* --- playing ---------------------------------------------------------------------------- */

static uint64_t play(const struct run *run, const struct story *story, uint64_t seed)
{
    struct telling t = {.seed = seed, .trace = run->trace ? stdout : NULL};

    run->progress->seed = seed;
    return story->tell(&t);
}

static uint64_t share_of(const struct run *run, const struct story *story)
{
    uint64_t all = 0, weight = story->weight ? story->weight : 1;

    if (run->one)
        return 1;
    for (size_t i = 0; i < run->count; i++)
        all += run->stories[i]->weight ? run->stories[i]->weight : 1;
    uint64_t n = run->seeds * weight / all;
    return n ? n : 1;
}

static void play_all(const struct run *run, const struct story *story)
{
    uint64_t first = run->seed ? run->seed : 1, n = share_of(run, story);

    for (uint64_t seed = first; seed < first + n; seed++) {
        uint64_t hash = play(run, story, seed);
        if (seed % TWICE_EVERY == 0 || run->one)
            EXPECT(hash == play(run, story, seed), "another hash the second time");
        if (run->trace)
            printf("# hash %016llx\n", (unsigned long long)hash);
        run->progress->played++;
    }
}

static uint64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void bar(const struct run *run, const struct story *story, uint64_t n)
{
    enum { WIDTH = 30 };
    uint64_t done = run->progress->played;
    int filled = (int)(done * WIDTH / n);

    if (!run->terminal)
        return;
    fprintf(stderr, "\r%-36.36s [%.*s%*s] %llu/%llu", story->name, filled,
            "##############################", WIDTH - filled, "", (unsigned long long)done,
            (unsigned long long)n);
}

/* Waits, but not forever: no progress for a minute is a failure too. */
static int story_wait(const struct run *run, const struct story *story, pid_t child)
{
    uint64_t n = share_of(run, story), last = 0, since = now_ms();
    int status = 0;

    while (waitpid(child, &status, WNOHANG) == 0) {
        uint64_t at = run->progress->played;
        if (at != last)
            since = now_ms();
        last = at;
        if (now_ms() - since > run->patience_s * 1000) {
            kill(child, SIGABRT);
            waitpid(child, &status, 0);
            printf("# no progress for %llu seconds\n", (unsigned long long)run->patience_s);
            break;
        }
        bar(run, story, n);
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
    if (run->terminal)
        fprintf(stderr, "\r\033[K");
    return status;
}

static bool story_run(const struct run *run, const struct story *story, size_t number)
{
    uint64_t began = now_ms();
    pid_t child;
    int status;

    run->progress->seed = run->progress->played = 0;
    fflush(NULL);
    if ((child = fork()) == 0) {
        play_all(run, story);
        fflush(NULL);
        _exit(0);
    }
    if (child < 0) {
        printf("not ok %zu - %s # cannot fork\n", number, story->name);
        return false;
    }
    status = story_wait(run, story, child);
    bool ok = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    printf("%s %zu - %s: %s (%llu seeds, %.1f s)\n", ok ? "ok" : "not ok", number, story->name,
           story->promise, (unsigned long long)run->progress->played,
           (double)(now_ms() - began) / 1000);
    if (!ok)
        printf("# replay: sim --story %s --seed %llu --trace\n", story->name,
               (unsigned long long)run->progress->seed);
    fflush(stdout);
    return ok;
}

/* These worlds have no such thing. */
static bool never_met(enum cause c)
{
    if (c == CAUSE_misdirected || c == CAUSE_forbidden) /* no certificates of clients, no links */
        return true;
#ifdef HAVE_HTTP2
    return false;
#else
    return c == CAUSE_upgrade_not_allowed || c == CAUSE_upstream_h2_error ||
           c == CAUSE_upstream_unprocessed || span_starts(cause_row(c)->name, SPAN("h2_"));
#endif
}

/* No row of the list of failures that no story meets. */
static bool causes_met(const struct run *run)
{
    bool all = true;

    for (int c = CAUSE_NONE + 1; c < CAUSE_COUNT; c++) {
        if (run->progress->causes[c] || never_met((enum cause)c))
            continue;
        printf("# no story meets %.*s\n", SPAN_ARG(cause_row((enum cause)c)->name));
        all = false;
    }
    printf("%s %zu - every cause of failure is met in some story\n", all ? "ok" : "not ok",
           run->count + 1);
    return all;
}

/* --- the command line ----------------------------------------------------------------------- */

static _Noreturn void usage(void)
{
    fprintf(stderr, "usage: sim [--seed N] [--seeds N] [--story NAME] [--trace] [--list]\n"
                    "           [--patience SECONDS]\n");
    exit(2);
}

static uint64_t number(const char *text)
{
    uint64_t n;

    if (!text || !span_number(span_of(text), &n) || n == 0)
        usage();
    return n;
}

static bool read_arguments(struct run *run, char **at)
{
    bool list = false, many = false;

    for (; *at; at++) {
        if (strcmp(*at, "--seed") == 0) {
            run->seed = number(*++at);
        } else if (strcmp(*at, "--seeds") == 0) {
            run->seeds = number(*++at);
            many = true;
        } else if (strcmp(*at, "--patience") == 0) {
            run->patience_s = number(*++at);
        } else if (strcmp(*at, "--story") == 0 && at[1]) {
            run->only = *++at;
        } else if (strcmp(*at, "--trace") == 0) {
            run->trace = true;
        } else if (strcmp(*at, "--list") == 0) {
            list = true;
        } else {
            usage();
        }
    }
    run->one = run->seed && !many;
    return list;
}

static void choose(struct run *run)
{
    for (size_t i = 0; tables[i]; i++)
        for (const struct story *s = tables[i]; s->name; s++)
            if ((!run->only || strcmp(run->only, s->name) == 0) && run->count < STORIES_MAX)
                run->stories[run->count++] = s;
}

int main(int argc, char **argv)
{
    struct run run = {.seeds = SEEDS, .patience_s = PATIENCE_S, .terminal = isatty(2)};
    const char *seeds = getenv("HG_SIM_SEEDS");
    int failed = 0;

    (void)argc;
    if (seeds && seeds[0])
        run.seeds = number(seeds);
    bool list = read_arguments(&run, argv + 1);
    choose(&run);
    if (list)
        for (size_t i = 0; i < run.count; i++)
            printf("%-28s %s\n", run.stories[i]->name, run.stories[i]->promise);
    if (list)
        return 0;
    run.progress =
        mmap(NULL, sizeof *run.progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (run.count == 0 || run.progress == MAP_FAILED)
        usage();
    story_causes = run.progress->causes;
    gateway_ended = promises_kept;
    bool whole = !run.only && !run.one && run.seeds >= SEEDS;
    printf("1..%zu\n", run.count + whole);
    for (size_t i = 0; i < run.count; i++)
        failed += !story_run(&run, run.stories[i], i + 1);
    failed += whole && !causes_met(&run);
    return failed ? 1 : 0;
}
