/* The One Million Request Challenge, as its client.
 *
 * A client has a range of the events; the crews of a client (its threads) take
 * blocks out of that until it is used up.  All clients name the same users, so
 * that the server has to recognise a user whoever brings it.
 */
#include "mrc.h"

#include "base/mem.h"
#include "bench/event.h"
#include "bench/report.h"
#include "bench/stats_json.h"
#include "bench/verdict.h"

#include <stdio.h>
#include <sys/random.h>

enum { BLOCK = 64, STATS_TEXT_MAX = 64 * 1024 };

/* What is left of a client's range. */
struct supply {
    _Atomic uint64_t next;
    uint64_t end;
};

struct mrc_work {
    struct work work;
    const struct event_form *form;
    struct supply *supply;
    const _Atomic bool *stop;
    uint64_t at, end; /* of the block in hand */
    bool exhausted;
};

struct mrc {
    const struct options *options;
    struct event_form form;
    struct supply *supplies;
    struct mrc_work *works;
    struct work **pointers;
    unsigned crews;
};

static struct mrc_work *mrc_of(const struct work *w)
{
    return container_of(w, struct mrc_work, work);
}

static bool block_take(struct mrc_work *m)
{
    if (m->exhausted || atomic_load_explicit(m->stop, memory_order_relaxed)) {
        m->exhausted = true;
        return false;
    }
    m->at = atomic_fetch_add_explicit(&m->supply->next, BLOCK, memory_order_relaxed);
    if (m->at >= m->supply->end) {
        m->at = m->end = 0;
        m->exhausted = true;
        return false;
    }
    m->end = m->supply->end - m->at < BLOCK ? m->supply->end : m->at + BLOCK;
    return true;
}

static bool mrc_next(struct work *w, struct ticket *t)
{
    struct mrc_work *m = mrc_of(w);

    if (m->at == m->end && !block_take(m))
        return false;
    *t = (struct ticket){.number = m->at++};
    return true;
}

static size_t mrc_write(struct work *w, uint64_t number, char *out)
{
    return event_write(mrc_of(w)->form, number, out);
}

static bool mrc_good(struct work *w, int status)
{
    (void)w;
    return status == 200;
}

static bool mrc_exhausted(const struct work *w)
{
    return mrc_of(w)->exhausted;
}

/* --- setting up ------------------------------------------------------------------ */

static void mrc_free(struct mrc *m)
{
    event_form_free(&m->form);
    mem_free(m->supplies);
    mem_free(m->works);
    mem_free(m->pointers);
}

static uint64_t share(uint64_t whole, uint64_t parts, uint64_t i)
{
    uint64_t rest = whole % parts;

    return whole / parts * i + (i < rest ? i : rest);
}

static bool mrc_init(struct mrc *m, const struct options *o, struct span prefix,
                     const _Atomic bool *stop)
{
    *m = (struct mrc){.options = o, .crews = (unsigned)(o->clients * o->threads)};
    m->supplies = mem_zalloc(o->clients * sizeof *m->supplies);
    m->works = mem_zalloc(m->crews * sizeof *m->works);
    m->pointers = mem_zalloc(m->crews * sizeof *m->pointers);
    if (!m->supplies || !m->works || !m->pointers ||
        !event_form_init(&m->form, &o->url, prefix, o->users)) {
        mrc_free(m);
        return false;
    }
    for (uint64_t i = 0; i < o->clients; i++) {
        atomic_init(&m->supplies[i].next, share(o->requests, o->clients, i));
        m->supplies[i].end = share(o->requests, o->clients, i + 1);
    }
    for (unsigned i = 0; i < m->crews; i++) {
        m->works[i] = (struct mrc_work){
            .work = {.next = mrc_next,
                     .write = mrc_write,
                     .good = mrc_good,
                     .exhausted = mrc_exhausted,
                     .method = METHOD_POST,
                     .request_max = m->form.request_max},
            .form = &m->form,
            .supply = &m->supplies[i % o->clients],
            .stop = stop,
        };
        m->pointers[i] = &m->works[i].work;
    }
    return true;
}

/* --- what the server says --------------------------------------------------------- */

static int read_stats(const struct server *server, const char *path, struct stats *stats,
                      char why[SERVER_WHY_MAX])
{
    char *text = mem_alloc(STATS_TEXT_MAX);
    const char *reason;
    size_t len;
    int err;

    if (!text) {
        server_say(why, "out of memory");
        return FAIL_MEMORY;
    }
    err = server_get(server, path, text, STATS_TEXT_MAX, &len, why);
    if (err == 0 && (err = stats_parse(stats, (struct span){text, len}, &reason)) < 0)
        server_say(why, "%s: %s", path, reason);
    mem_free(text);
    return err;
}

static int problem(const char *why)
{
    (void)fprintf(stderr, "headgate-bench: %s\n", why);
    return 1;
}

enum { FRESH_MAX = 32 };

/* A server that has counted before may know user_0 and the others. */
static struct span choose_prefix(const struct options *o, const struct stats *before,
                                 char fresh[FRESH_MAX])
{
    uint64_t random = 0;

    if (o->prefix.ptr)
        return o->prefix;
    if (!before || stats_at_zero(before))
        return SPAN("user_");
    (void)!getrandom(&random, sizeof random, 0);
    (void)snprintf(fresh, FRESH_MAX, "user_%016llx_", (unsigned long long)random);
    return span_of(fresh);
}

static int mrc_send(const struct options *o, const struct server *server, struct span prefix,
                    const _Atomic bool *stop, struct outcome *outcome)
{
    char why[SERVER_WHY_MAX];
    struct mrc mrc;
    int err;

    if (!mrc_init(&mrc, o, prefix, stop))
        return problem("out of memory");
    err = run_all(&(struct run){.options = o,
                                .server = server,
                                .stop = stop,
                                .works = mrc.pointers,
                                .crews = mrc.crews,
                                .planned = o->requests},
                  outcome, why);
    mrc_free(&mrc);
    return err < 0 ? problem(why) : 0;
}

int mrc_run(const struct options *o, struct server *server, const _Atomic bool *stop)
{
    char why[SERVER_WHY_MAX], fresh[FRESH_MAX];
    char *path = event_target(&o->url, "/stats");
    struct outcome *outcome = mem_zalloc(sizeof *outcome);
    struct stats before, after;
    struct verdict verdict;
    int code = 1;

    if (!path || !outcome) {
        problem("out of memory");
        goto out;
    }
    if (o->verify && read_stats(server, path, &before, why) < 0) {
        problem(why);
        goto out;
    }
    struct span prefix = choose_prefix(o, o->verify ? &before : NULL, fresh);
    if (mrc_send(o, server, prefix, stop, outcome) != 0)
        goto out;
    bool judged = o->verify && !outcome->interrupted;
    if (judged && read_stats(server, path, &after, why) < 0) {
        problem(why);
        judged = false;
        outcome->tally.trouble[TROUBLE_BAD_RESPONSE]++;
    }
    if (judged)
        verdict_reach(&verdict, &before, &after, o->requests, o->users);
    report_mrc(o, server, outcome, judged ? &verdict : NULL, prefix);
    code = tally_troubles(&outcome->tally) > 0 || outcome->interrupted || (judged && !verdict.ok);

out:
    mem_free(path);
    mem_free(outcome);
    return code;
}
