/* The One Million Request Challenge: POST /event counts, GET /stats tells.
 *
 * This file is what the gateway sees: settings, routes, handlers, and the
 * states of process and workers.  event.h reads, count.h counts, state.h and
 * keeper.h bring the count over a restart.
 */
#include "gate/module.h"

#include "base/number.h"
#include "modules/1mrc/count.h"
#include "modules/1mrc/event.h"
#include "modules/1mrc/gather.h"
#include "modules/1mrc/keeper.h"
#include "modules/1mrc/state_file.h"

#include <stdio.h>

/* --- settings ------------------------------------------------------------------ */

struct mrc_conf {
    bool enabled, reset;
    struct spans listeners, hosts;
    struct span event_path, stats_path, health_path, reset_path;
    uint64_t users_max, user_id_max, event_max;
    struct span state_file;
    uint64_t state_interval;
};

static const struct setting mrc_settings[] = {
    {.name = "enabled",
     .type = SETTING_BOOL,
     .fallback = "no",
     .offset = SETTING_MEMBER(struct mrc_conf, enabled, bool),
     .help = "Whether the routes 1mrc.event, 1mrc.stats and 1mrc.health are there."},
    {.name = "listener",
     .type = SETTING_NAMES,
     .offset = SETTING_MEMBER(struct mrc_conf, listeners, struct spans),
     .help = "The listeners; all if absent."},
    {.name = "host",
     .type = SETTING_HOSTS,
     .offset = SETTING_MEMBER(struct mrc_conf, hosts, struct spans),
     .help = "The hosts; any if absent."},
    {.name = "event_path",
     .type = SETTING_PATH,
     .fallback = "/event",
     .offset = SETTING_MEMBER(struct mrc_conf, event_path, struct span),
     .help = "The path that takes events by POST."},
    {.name = "stats_path",
     .type = SETTING_PATH,
     .fallback = "/stats",
     .offset = SETTING_MEMBER(struct mrc_conf, stats_path, struct span),
     .help = "The path that tells the count."},
    {.name = "health_path",
     .type = SETTING_PATH,
     .fallback = "/health",
     .offset = SETTING_MEMBER(struct mrc_conf, health_path, struct span),
     .help = "The path that answers if anything does."},
    {.name = "reset_path",
     .type = SETTING_PATH,
     .fallback = "/reset",
     .offset = SETTING_MEMBER(struct mrc_conf, reset_path, struct span),
     .help = "The path that sets all to zero by POST."},
    {.name = "reset",
     .type = SETTING_BOOL,
     .fallback = "no",
     .offset = SETTING_MEMBER(struct mrc_conf, reset, bool),
     .help = "Whether there is a route 1mrc.reset."},
    {.name = "users_max",
     .type = SETTING_COUNT,
     .fallback = "1000000",
     .min = 1,
     .max = USERS_MOST,
     .offset = SETTING_MEMBER(struct mrc_conf, users_max, uint64_t),
     .help = "So many users are counted exactly; more are estimated."},
    {.name = "user_id_max",
     .type = SETTING_SIZE,
     .fallback = "256b",
     .min = 1,
     .max = 64 * 1024,
     .offset = SETTING_MEMBER(struct mrc_conf, user_id_max, uint64_t),
     .help = "A longer userId is refused with 400."},
    {.name = "event_max",
     .type = SETTING_SIZE,
     .fallback = "4k",
     .min = 32,
     .max = 1024 * 1024,
     .offset = SETTING_MEMBER(struct mrc_conf, event_max, uint64_t),
     .help = "Longer content is refused with 413."},
    {.name = "state_file",
     .type = SETTING_FILE,
     .offset = SETTING_MEMBER(struct mrc_conf, state_file, struct span),
     .help = "Where the count is kept over a restart."},
    {.name = "state_interval",
     .type = SETTING_DURATION,
     .fallback = "10s",
     .min = 100 * NS_PER_MS,
     .offset = SETTING_MEMBER(struct mrc_conf, state_interval, uint64_t),
     .help = "How often state_file is written; at exit it is too."},
    {0},
};

static void mrc_load(struct loading *l, void *conf)
{
    const struct mrc_conf *m = conf;
    const struct {
        const char *handler;
        struct span path, method;
        bool wanted;
    } routes[] = {
        {"1mrc.event", m->event_path, SPAN("POST"), true},
        {"1mrc.stats", m->stats_path, SPAN("GET"), true},
        {"1mrc.health", m->health_path, SPAN("GET"), true},
        {"1mrc.reset", m->reset_path, SPAN("POST"), m->reset},
    };

    for (size_t i = 0; m->enabled && i < COUNT_OF(routes); i++)
        if (routes[i].wanted)
            loading_route(l, &(struct default_route){.handler = routes[i].handler,
                                                     .path = routes[i].path,
                                                     .method = routes[i].method,
                                                     .listeners = m->listeners,
                                                     .hosts = m->hosts});
}

/* --- states ---------------------------------------------------------------------- */

struct process;

struct shard { /* of one worker */
    struct count count;
    struct worker *worker;
    struct process *process;
    struct keeper keeper; /* of worker 0 */
};

struct process {
    struct hash_key key; /* written before anybody serves */
    unsigned workers;
    struct shard **shards;
    _Atomic bool closing; /* engines are being closed: nothing is sent any more */

    struct span file; /* what the count begins with, if ptr */
    struct state restored;
    struct estimate estimate;
};

static void arrived(struct io_message *m, struct io *target)
{
    struct count_message *message = container_of(m, struct count_message, io);

    (void)target;
    count_arrive(message->to, message);
}

static void post(struct count *from, unsigned to, struct count_message *m)
{
    struct shard *shard = container_of(from, struct shard, count);

    if (atomic_load_explicit(&shard->process->closing, memory_order_relaxed))
        return;
    m->io.arrive = arrived;
    m->to = &shard->process->shards[to]->count;
    worker_post(shard->worker, to, &m->io);
}

enum { PATH_ROOM = 4096 };

/* NULL: it was read, or is not there, and *file is empty. */
static const char *state_open(const char *name, struct span *file, struct state *state,
                              struct estimate *estimate)
{
    int err = state_file_load(name, file);

    if (err == FAIL_NOT_FOUND)
        return NULL;
    return err ? fail_text(err) : state_read(*file, state, estimate);
}

/* In memory is nothing, or what `running` has: then the file may only be an earlier state of it. */
static void rehearse_reading(struct loading *l, const char *name, const struct process *running)
{
    struct process *p = mem_zalloc(sizeof *p);
    const char *why =
        p ? state_open(name, &p->file, &p->restored, &p->estimate) : fail_text(FAIL_MEMORY);

    if (why)
        loading_say(l, SEVERITY_ERROR, "state_file", "%s: %s; move it away to begin anew", name,
                    why);
    else if (running && p->file.ptr &&
             memcmp(&p->restored.key, &running->key, sizeof running->key) != 0)
        loading_say(l, SEVERITY_ERROR, "state_file",
                    "%s: holds another count; a restart goes on from it, or move it away", name);
    mem_free(p ? (void *)(uintptr_t)p->file.ptr : NULL);
    mem_free(p);
}

static void rehearse_saving(struct loading *l, const char *name)
{
    int err = state_file_may_save(name);

    if (err < 0)
        loading_say(l, SEVERITY_ERROR, "state_file", "%s: its folder: %s", name, fail_text(err));
}

static void mrc_rehearse(struct loading *l, const void *conf, bool serving)
{
    const struct mrc_conf *m = conf;
    char name[PATH_ROOM];

    if (!m->enabled || m->state_file.len == 0)
        return;
    snprintf(name, sizeof name, "%.*s", SPAN_ARG(m->state_file));
    if (serving)
        rehearse_saving(l, name);
    else
        rehearse_reading(l, name, NULL);
}

/* Worker 0 changes its path only when it adopts. */
static void mrc_rehearse_reload(struct loading *l, const void *conf, const void *process)
{
    const struct mrc_conf *m = conf;
    const struct process *p = process;
    const char *kept = p->shards[0]->keeper.path;
    char name[PATH_ROOM];

    if (!m->enabled || m->state_file.len == 0 || (kept && span_equal(m->state_file, span_of(kept))))
        return;
    snprintf(name, sizeof name, "%.*s", SPAN_ARG(m->state_file));
    rehearse_saving(l, name);
    rehearse_reading(l, name, p);
}

static int restore_file(struct process *p, struct span path)
{
    char name[PATH_ROOM];

    snprintf(name, sizeof name, "%.*s", SPAN_ARG(path));
    const char *why = state_open(name, &p->file, &p->restored, &p->estimate);
    if (why) {
        log_say(LOG_ERROR, "1mrc: state_file %s: %s; move it away to begin anew", name, why);
        return FAIL_BAD;
    }
    if (!p->file.ptr)
        return 0;
    p->key = p->restored.key;
    log_say(LOG_NOTICE, "1mrc: state_file %s: going on from %llu events", name,
            (unsigned long long)p->restored.total);
    return 0;
}

static int mrc_process_start(void *process, const void *conf, unsigned workers)
{
    const struct mrc_conf *m = conf;
    struct process *p = process;

    p->workers = workers;
    p->shards = mem_zalloc(workers * sizeof *p->shards);
    if (!p->shards)
        return FAIL_MEMORY;
    return m->enabled && m->state_file.len > 0 ? restore_file(p, m->state_file) : 0;
}

/* Each worker takes its own users, worker 0 the rest. */
static int restore(struct shard *shard)
{
    const struct state *s = &shard->process->restored;
    int err = 0;

    if (!shard->process->file.ptr)
        return 0;
    for (uint64_t i = 0; err == 0 && i < s->user_count; i++)
        err = count_restore_user(&shard->count, state_user(s, i));
    count_restore(&shard->count, &(struct count_result){.total = s->total,
                                                        .sum = s->sum,
                                                        .estimated = s->estimated,
                                                        .users_least = s->users_least,
                                                        .estimate = s->estimate});
    return err;
}

static void keep(struct shard *shard, const struct mrc_conf *m)
{
    if (m->enabled) /* or no more is counted, and what was is still written */
        keeper_set(&shard->keeper, m->state_file, m->state_interval);
}

/* As the user who will write it.  Better no start than one whose count is lost. */
static int keep_from_start(struct shard *shard, const struct mrc_conf *m)
{
    char name[PATH_ROOM];
    int err;

    snprintf(name, sizeof name, "%.*s", SPAN_ARG(m->state_file));
    if (m->enabled && m->state_file.len > 0 && (err = state_file_may_save(name)) < 0) {
        log_say(LOG_ERROR, "1mrc: state_file %s: its folder: %s", name, fail_text(err));
        return err;
    }
    keep(shard, m);
    return 0;
}

static int mrc_worker_start(struct worker *w, void *state, void *process, const void *conf)
{
    const struct mrc_conf *m = conf;
    struct shard *shard = state;
    struct process *p = process;
    int err;

    shard->worker = w;
    shard->process = p;
    p->shards[worker_index(w)] = shard;
    err = count_init(&shard->count, worker_index(w), p->workers, m->users_max, post);
    if (err < 0 || (err = restore(shard)) < 0)
        return err;
    if (worker_index(w) != 0)
        return 0;
    if (!p->file.ptr)
        io_entropy(worker_io(w), &p->key, sizeof p->key);
    keeper_start(&shard->keeper, worker_io(w), &shard->count, &p->key);
    return keep_from_start(shard, m);
}

/* Each worker has the users it owns, and those of others that it has seen. */
static uint64_t mrc_memory_max(const void *conf, unsigned workers)
{
    const struct mrc_conf *m = conf;
    uint64_t own = m->users_max / workers;

    return m->enabled ? workers * (users_bytes(own) + users_bytes(m->users_max - own)) : 0;
}

static void mrc_worker_adopt(struct worker *w, void *state, const void *conf)
{
    const struct mrc_conf *m = conf;
    struct shard *shard = state;

    if (shard->count.users_max != m->users_max)
        count_limit(&shard->count, m->users_max);
    if (worker_index(w) == 0)
        keep(shard, m);
}

static void mrc_worker_stop(struct worker *w, void *state)
{
    struct shard *shard = state;

    (void)w;
    if (!shard->process)
        return;
    atomic_store_explicit(&shard->process->closing, true, memory_order_relaxed);
    keeper_stop(&shard->keeper);
}

static int save_last(struct process *p, const char *path)
{
    struct count **counts = mem_zalloc(p->workers * sizeof(struct count *));
    struct users_share *shares = mem_zalloc(p->workers * sizeof *shares);
    struct estimate *estimate = mem_zalloc(sizeof *estimate);
    int err = counts && shares && estimate ? 0 : FAIL_MEMORY;

    for (unsigned i = 0; err == 0 && i < p->workers; i++)
        counts[i] = &p->shards[i]->count;
    if (err == 0) {
        struct count_result r;
        err = count_gather(counts, p->workers, &r, shares, estimate);
        struct state state = {
            .key = p->key,
            .total = r.total,
            .sum = r.sum,
            .estimated = r.estimated,
            .users_least = r.users_least,
            .shares = shares,
            .share_count = p->workers,
            .estimate = estimate,
        };
        if (err == 0)
            err = state_file_save(path, &state);
    }
    for (unsigned i = 0; shares && i < p->workers; i++)
        users_share_drop(&shares[i]);
    mem_free(estimate);
    mem_free(shares);
    mem_free(counts);
    return err;
}

static int mrc_process_stop(void *process, void *const *states, unsigned workers)
{
    struct process *p = process;
    bool all = p->shards != NULL;

    for (unsigned i = 0; i < workers; i++)
        all = all && p->shards[i];
    struct keeper *keeper = all ? &p->shards[0]->keeper : NULL;
    int err = keeper && keeper->path ? save_last(p, keeper->path) : 0;
    if (err < 0)
        log_say(LOG_ERROR, "1mrc: state_file %s cannot be written: %s", keeper->path,
                fail_text(err));
    if (keeper)
        mem_free(keeper->path);
    for (unsigned i = 0; i < workers; i++)
        if (states[i])
            count_free(&((struct shard *)states[i])->count);
    mem_free((void *)(uintptr_t)p->file.ptr);
    mem_free(p->shards);
    return err;
}

/* --- event ------------------------------------------------------------------------- */

/* No content: clients that leave it unread would lose the connection. */
static const struct prepared counted = {
    .status = 200,
    .lines = SPAN_INIT("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"),
};

static void event_answer(struct exchange *x)
{
    const struct mrc_conf *m = exchange_module_conf(x);
    struct shard *shard = exchange_worker_state(x);
    struct span content;
    struct event event;

    if (request_content_whole(x, m->event_max, &content) != WHOLE_READY)
        return;
    /* Decoding never makes an id longer; without escapes there is nothing to decode. */
    size_t id_max = m->user_id_max < content.len ? m->user_id_max : content.len;
    bool escapes = content.len > 0 && memchr(content.ptr, '\\', content.len);
    char *scratch = escapes ? arena_alloc(exchange_arena(x), id_max) : NULL;
    if (escapes && !scratch) {
        respond_failed(x, CAUSE_out_of_memory);
        return;
    }
    const char *why = event_read(content, scratch, id_max, &event);
    if (why) {
        respond_reason(x, CAUSE_bad_event, span_of(why));
        return;
    }
    struct user_hash user = user_hash(&shard->process->key, event.user);
    respond_prepared(x, &counted);
    count_event(&shard->count, user, event.value); /* before anything is sent */
}

static const struct handler event_handler = {
    .name = "1mrc.event",
    .summary = "count an event",
    .answer = event_answer,
};

/* --- stats and reset --------------------------------------------------------------- */

enum { STATS_MAX = 256 };

struct asking { /* of one exchange */
    struct count_ask ask;
    struct exchange *x;
    bool asked, answered;
    size_t len;
    char text[STATS_MAX];
};

static size_t put_text(char *to, const char *text)
{
    size_t n = strlen(text);
    memcpy(to, text, n);
    return n;
}

static size_t put_member(char *to, const char *key, double value, bool there)
{
    size_t n = put_text(to, key);
    return n + (there ? number_print(value, to + n) : put_text(to + n, "null"));
}

static size_t stats_print(char text[STATS_MAX], const struct count_result *r)
{
    size_t n = (size_t)snprintf(text, STATS_MAX, "{\"totalRequests\":%llu,\"uniqueUsers\":%llu",
                                (unsigned long long)r->total, (unsigned long long)r->users);

    if (r->estimated)
        n += put_text(text + n, ",\"uniqueUsersExact\":false");
    n += put_member(text + n, ",\"sum\":", r->value, r->sum_fits);
    double average = r->total ? r->value / (double)r->total : 0;
    n += put_member(text + n, ",\"avg\":", average, r->sum_fits);
    if (!r->sum_fits)
        n += put_text(text + n, ",\"sumOverflow\":true");
    text[n++] = '}';
    return n;
}

static void cut_answered(struct count_ask *ask, const struct count_result *r)
{
    struct asking *a = container_of(ask, struct asking, ask);

    a->answered = true;
    if (ask->want == COUNT_STATS)
        a->len = stats_print(a->text, r);
    exchange_wake(a->x);
}

/* Asks once; true when the answer is there. */
static bool cut_asked(struct exchange *x, enum count_want want)
{
    struct shard *shard = exchange_worker_state(x);
    struct asking *a = exchange_state(x);

    if (!a->asked) {
        a->asked = true;
        a->x = x;
        a->ask = (struct count_ask){.want = want, .ready = cut_answered};
        count_ask(&shard->count, &a->ask);
    }
    return a->answered && !response_started(x);
}

static void cut_ended(struct exchange *x)
{
    struct asking *a = exchange_state(x);

    if (a->asked && !a->answered)
        count_ask_cancel(&a->ask);
}

static void respond_json(struct exchange *x, struct span content)
{
    response_field(x, FIELD_CONTENT_TYPE, SPAN("application/json"));
    response_field(x, FIELD_CACHE_CONTROL, SPAN("no-store"));
    respond(x, 200, content);
}

static void stats_answer(struct exchange *x)
{
    const struct asking *a = exchange_state(x);

    if (cut_asked(x, COUNT_STATS))
        respond_json(x, (struct span){a->text, a->len});
}

static void reset_answer(struct exchange *x)
{
    if (cut_asked(x, COUNT_RESET))
        respond(x, 200, (struct span){0});
}

static void health_answer(struct exchange *x)
{
    respond_json(x, SPAN("{\"status\":\"ok\"}"));
}

static const struct handler stats_handler = {
    .name = "1mrc.stats",
    .summary = "tell the count",
    .state_size = sizeof(struct asking),
    .answer = stats_answer,
    .ended = cut_ended,
};

static const struct handler health_handler = {
    .name = "1mrc.health",
    .summary = "say that all is well",
    .answer = health_answer,
    .pure = true,
};

static const struct handler reset_handler = {
    .name = "1mrc.reset",
    .summary = "set the count to zero",
    .state_size = sizeof(struct asking),
    .answer = reset_answer,
    .ended = cut_ended,
};

const struct module mrc_module = {
    .name = "1mrc",
    .summary = "the One Million Request Challenge",
    .handlers = (const struct handler *const[]){&event_handler, &stats_handler, &health_handler,
                                                &reset_handler, NULL},
    .settings = mrc_settings,
    .conf_size = sizeof(struct mrc_conf),
    .load = mrc_load,
    .rehearse = mrc_rehearse,
    .rehearse_reload = mrc_rehearse_reload,
    .memory_max = mrc_memory_max,
    .process_size = sizeof(struct process),
    .worker_size = sizeof(struct shard),
    .process_start = mrc_process_start,
    .worker_start = mrc_worker_start,
    .worker_adopt = mrc_worker_adopt,
    .worker_stop = mrc_worker_stop,
    .process_stop = mrc_process_stop,
};
