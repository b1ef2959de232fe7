/* The timer asks for a cut, its answer goes to a helper thread, and when that
 * has written the file the users are given back. */
#include "modules/1mrc/keeper.h"

#include "modules/1mrc/state_file.h"

static void schedule(struct keeper *k)
{
    if (k->path)
        io_timer_set(k->io, &k->timer, io_now(k->io) + k->interval_ns);
    else
        io_timer_clear(k->io, &k->timer);
}

/* The answer to our question: records, the step decides. */
static void cut_answered(struct count_ask *ask, const struct count_result *r)
{
    struct keeper *k = container_of(ask, struct keeper, ask);

    k->answered = true;
    k->fail = r->fail;
    k->resets = k->count->resets;
    k->state = (struct state){
        .key = *k->key,
        .total = r->total,
        .sum = r->sum,
        .estimated = r->estimated,
        .users_least = r->users_least,
        .shares = r->shares,
        .share_count = k->count->workers,
    };
    if (r->estimated) {
        k->estimate = *r->estimate;
        k->state.estimate = &k->estimate;
    }
    owner_wake(&k->owner);
}

static void say_failed(struct keeper *k, const char *path, int fail)
{
    if (fail && !k->failing)
        log_say(LOG_ERROR, "1mrc: state_file %s cannot be written: %s; trying again", path,
                fail_text(fail));
    else if (!fail && k->failing)
        log_say(LOG_NOTICE, "1mrc: state_file %s is written again", path);
    k->failing = fail != 0;
}

/* On a helper thread. */
static void write_state(struct io_work *work)
{
    struct keeper *k = container_of(work, struct keeper, work);

    k->work_fail = state_file_save(k->work_path, &k->state);
}

static bool nothing_new(const struct keeper *k)
{
    return k->saved && k->saved_total == k->state.total && k->saved_resets == k->resets;
}

static void cut_done(struct keeper *k)
{
    k->asked = false;
    count_saved(k->count);
    schedule(k);
}

static void begin_write(struct keeper *k)
{
    if (!k->path || k->fail || nothing_new(k)) {
        if (k->path)
            say_failed(k, k->path, k->fail);
        cut_done(k);
        return;
    }
    k->work_path = k->path; /* a reload may name another meanwhile */
    k->work.op.owner = &k->owner;
    k->work.run = write_state;
    io_work(k->io, &k->work);
}

static void end_write(struct keeper *k)
{
    int fail = k->work.op.fail ? k->work.op.fail : k->work_fail;

    say_failed(k, k->work_path, fail);
    if (!fail) {
        k->saved = true;
        k->saved_total = k->state.total;
        k->saved_resets = k->resets;
    }
    if (k->work_path != k->path) {
        mem_free(k->work_path);
        k->saved = false;
    }
    k->work_path = NULL;
    cut_done(k);
}

static void keeper_step(struct owner *owner)
{
    struct keeper *k = container_of(owner, struct keeper, owner);

    if (io_timer_take(&k->timer) && k->path && !k->asked) {
        k->asked = true;
        k->ask = (struct count_ask){.want = COUNT_SAVE, .ready = cut_answered};
        count_ask(k->count, &k->ask);
    }
    if (k->answered) {
        k->answered = false;
        begin_write(k);
    }
    if (io_take(&k->work.op))
        end_write(k);
}

void keeper_start(struct keeper *k, struct io *io, struct count *count, const struct hash_key *key)
{
    *k = (struct keeper){.io = io, .count = count, .key = key};
    owner_init(&k->owner, &io->owners, keeper_step);
    k->timer.owner = &k->owner;
    k->timer.at = k->timer.wheel_at = TIME_NEVER;
}

void keeper_set(struct keeper *k, struct span path, uint64_t interval_ns)
{
    bool same = k->path && span_equal(path, span_of(k->path));

    k->interval_ns = interval_ns;
    if (!same) {
        if (k->path != k->work_path)
            mem_free(k->path);
        k->path = NULL;
        k->saved = false;
        if (path.len > 0 && (k->path = mem_alloc(path.len + 1))) {
            memcpy(k->path, path.ptr, path.len);
            k->path[path.len] = '\0';
        } else if (path.len > 0) {
            log_say(LOG_ERROR, "1mrc: no memory for the name of state_file");
        }
    }
    if (!k->asked)
        schedule(k);
}

void keeper_stop(struct keeper *k)
{
    if (!k->io)
        return;
    while (io_busy(&k->work.op))
        io_turn(k->io, 100 * NS_PER_MS);
    io_timer_clear(k->io, &k->timer);
    owner_retire(&k->owner);
    if (k->work_path != k->path)
        mem_free(k->work_path);
    k->work_path = NULL;
}
