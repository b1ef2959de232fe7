/* What has been counted so far; see report.h.
 *
 * Every counter has one writer, its worker, and is read here as it is: sums
 * over workers are a moment's, not a cut through all of them.
 */
#include "gate/report.h"

#include "gate/gate.h"

#include <stddef.h>
#include <stdio.h>

struct counter {
    const char *name;
    size_t offset; /* in struct worker_stats, or in struct io_stats */
};

static const struct counter gate_counters[] = {
    {"connections", offsetof(struct worker_stats, connections)},
    {"open", offsetof(struct worker_stats, connections_open)},
    {"requests", offsetof(struct worker_stats, requests)},
    {"2xx", offsetof(struct worker_stats, responses[2])},
    {"3xx", offsetof(struct worker_stats, responses[3])},
    {"4xx", offsetof(struct worker_stats, responses[4])},
    {"5xx", offsetof(struct worker_stats, responses[5])},
    {"accept_paused", offsetof(struct worker_stats, accept_paused)},
    {"log_dropped", offsetof(struct worker_stats, log_dropped)},
    {"checks", offsetof(struct worker_stats, checks)},
    {"checks_failed", offsetof(struct worker_stats, checks_failed)},
    {"mirrored", offsetof(struct worker_stats, mirrored)},
    {"mirror_dropped", offsetof(struct worker_stats, mirror_dropped)},
    {"mirror_failed", offsetof(struct worker_stats, mirror_failed)},
};

static const struct counter engine_counters[] = {
    {"turns", offsetof(struct io_stats, turns)},
    {"completions", offsetof(struct io_stats, completions)},
    {"wakes", offsetof(struct io_stats, wakes)},
    {"deferred", offsetof(struct io_stats, deferred)},
    {"accepts", offsetof(struct io_stats, accepts)},
    {"receives", offsetof(struct io_stats, receives)},
    {"sends", offsetof(struct io_stats, sends)},
    {"send_files", offsetof(struct io_stats, send_files)},
    {"piped", offsetof(struct io_stats, piped)},
    {"pipes_empty", offsetof(struct io_stats, pipes_empty)},
    {"short_sends", offsetof(struct io_stats, short_sends)},
    {"connects", offsetof(struct io_stats, connects)},
    {"closes", offsetof(struct io_stats, closes)},
    {"errors", offsetof(struct io_stats, errors)},
    {"buffers_empty", offsetof(struct io_stats, buffers_empty)},
    {"ring_overflows", offsetof(struct io_stats, ring_overflows)},
    {"submissions", offsetof(struct io_stats, submissions)},
    {"sqes", offsetof(struct io_stats, sqes)},
    {"waits", offsetof(struct io_stats, waits)},
    {"armed_multishot", offsetof(struct io_stats, armed_multishot)},
    {"armed_once", offsetof(struct io_stats, armed_once)},
    {"armed_bulk", offsetof(struct io_stats, armed_bulk)},
    {"armed_poll", offsetof(struct io_stats, armed_poll)},
    {"slices_unclaimed", offsetof(struct io_stats, slices_unclaimed)},
    {"copied", offsetof(struct io_stats, copied)},
    {"buffers_out", offsetof(struct io_stats, buffers_out)},
};

/* Whose counters: some workers that stand in a row. */
struct report {
    const char *who;
    const struct worker *workers;
    unsigned count;
    bool asked;
};

static uint64_t counted(const void *stats, size_t offset)
{
    const _Atomic uint64_t *counter =
        (const _Atomic uint64_t *)(const void *)((const char *)stats + offset);

    return atomic_load_explicit(counter, memory_order_relaxed);
}

static uint64_t sum(const struct report *r, size_t offset, bool engine)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < r->count; i++) {
        const struct worker *w = &r->workers[i];
        n += counted(engine ? (const void *)&w->io->stats : &w->stats, offset);
    }
    return n;
}

static void say(const struct report *r, const char *text)
{
    if (r->asked)
        log_answer("%s:%s", r->who, text);
    else
        log_say(LOG_INFO, "%s:%s", r->who, text);
}

static void say_counters(const struct report *r, const struct counter *rows, size_t count,
                         bool engine)
{
    char text[2048];
    size_t used = 0;

    for (size_t i = 0; i < count && used < sizeof text; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, " %s=%llu", rows[i].name,
                                 (unsigned long long)sum(r, rows[i].offset, engine));
    say(r, text);
}

static void say_causes(const struct report *r)
{
    char text[128];

    for (unsigned c = 1; c < CAUSE_COUNT; c++) {
        uint64_t n = sum(r, offsetof(struct worker_stats, causes) + c * sizeof(uint64_t), false);
        if (n == 0)
            continue;
        snprintf(text, sizeof text, " %.*s=%llu", SPAN_ARG(cause_row((enum cause)c)->name),
                 (unsigned long long)n);
        say(r, text);
    }
}

static void report(const struct report *r)
{
    say_causes(r);
    say_counters(r, gate_counters, COUNT_OF(gate_counters), false);
    say_counters(r, engine_counters, COUNT_OF(engine_counters), true);
}

void report_worker(const struct worker *w)
{
    char who[32];

    snprintf(who, sizeof who, "worker %u", w->index);
    report(&(struct report){.who = who, .workers = w, .count = 1});
}

void report_gate(struct gate *gate)
{
    report(&(struct report){
        .who = "counted", .workers = gate->workers, .count = gate->worker_count, .asked = true});
}

void report_read(const struct gate *gate,
                 void (*counter)(void *data, const char *part, struct span name, uint64_t n),
                 void *data)
{
    const struct report r = {.workers = gate->workers, .count = gate->worker_count};

    for (unsigned c = 1; c < CAUSE_COUNT; c++) {
        uint64_t n = sum(&r, offsetof(struct worker_stats, causes) + c * sizeof(uint64_t), false);
        if (n > 0)
            counter(data, "causes", cause_row((enum cause)c)->name, n);
    }
    for (size_t i = 0; i < COUNT_OF(gate_counters); i++)
        counter(data, "gate", span_of(gate_counters[i].name),
                sum(&r, gate_counters[i].offset, false));
    for (size_t i = 0; i < COUNT_OF(engine_counters); i++)
        counter(data, "engine", span_of(engine_counters[i].name),
                sum(&r, engine_counters[i].offset, true));
}
