/* Certificates that change; see tls_watch.h.
 *
 * What a name leads to is compared: a link that is turned to another folder, as
 * renewals do, changes no directory that could be watched.  A certificate may
 * be there some seconds before its key: until they fit the old pair stays.
 */
#include "gate/tls_watch.h"

#include "gate/tls_build.h"

struct watched {
    struct tls_conf *conf;
    struct source_look *looks; /* at tls_conf_file() of the same index */
    unsigned count;
    uint64_t due;
    bool pending; /* something has changed and is not in use */
    bool said;
};

struct tls_watch {
    struct gate *gate;
    const struct source *source;
    struct arena arena;
    unsigned count;
    struct watched list[];
};

static void looks_take(const struct tls_watch *w, const struct tls_conf *c,
                       struct source_look *looks, unsigned count)
{
    struct arena names = {0};

    for (unsigned i = 0; i < count; i++) {
        char *name = arena_text(&names, tls_conf_file(c, i));
        if (!name || w->source->look(w->source->data, name, &looks[i]) < 0)
            looks[i] = (struct source_look){0};
    }
    arena_free(&names);
}

static bool looks_same(const struct source_look *a, const struct source_look *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->mtime_ns == b->mtime_ns;
}

struct tls_watch *tls_watch_new(struct gate *gate, const struct source *source)
{
    struct config *config = gate->config;
    struct tls_watch *w = mem_zalloc(sizeof *w + config->tls_count * sizeof *w->list);

    if (!w)
        return NULL;
    w->gate = gate;
    w->source = source;
    for (unsigned i = 0; i < config->tls_count; i++) {
        struct tls_conf *c = &config->tls[i];
        unsigned count = tls_conf_files(c);
        if (c->watch == VALUE_OFF || !c->looks)
            continue;
        struct watched *each = &w->list[w->count];
        if (!(each->looks = arena_alloc(&w->arena, count * sizeof *each->looks)))
            continue;
        /* As they were when they were read: what came since has changed. */
        memcpy(each->looks, c->looks, count * sizeof *each->looks);
        each->conf = c;
        each->count = count;
        w->count++;
    }
    if (w->count > 0)
        return w;
    tls_watch_free(w);
    return NULL;
}

void tls_watch_free(struct tls_watch *w)
{
    if (!w)
        return;
    arena_free(&w->arena);
    mem_free(w);
}

uint64_t tls_watch_due(const struct tls_watch *w)
{
    uint64_t due = TIME_NEVER;

    for (unsigned i = 0; w && i < w->count; i++)
        if (w->list[i].due < due)
            due = w->list[i].due;
    return due;
}

struct remarks {
    struct watched *each;
    bool said;
};

/* The first thing that is wrong, once: it may be about to be put right. */
static void remark(void *data, enum tls_about about, bool warning, struct span text)
{
    struct remarks *r = data;

    if (warning || r->said || r->each->said)
        return;
    r->said = true;
    log_say(LOG_WARNING, "tls %.*s: %s: %.*s; the old files stay in use until it fits",
            SPAN_ARG(r->each->conf->name), tls_about_key(about), SPAN_ARG(text));
}

/* The first key that others may read; `count` if there is none. */
static unsigned loose_key(const struct watched *each)
{
    const struct tls_conf *c = each->conf;

    for (unsigned i = 0; !c->loose_keys && i < each->count; i++)
        if (tls_conf_file_is_key(c, i) && tls_key_is_loose(&each->looks[i], &c->who))
            return i;
    return each->count;
}

static void look_at(struct tls_watch *w, struct watched *each)
{
    struct config *config = w->gate->config;
    struct remarks remarks = {.each = each};
    struct tls_build build = {.source = w->source,
                              .layer = config->tls_layer,
                              .secret = config->tls_secret,
                              .say = remark,
                              .say_data = &remarks};
    struct tls_context *context = NULL;
    int err = 0;

    unsigned loose = loose_key(each);
    if (loose < each->count) {
        remark(&remarks, tls_conf_file_about(each->conf, loose), false, SPAN("readable by others"));
        err = FAIL_ACCESS;
    }
    if (err == 0)
        err = tls_build(&context, each->conf, &build);
    if (err == 0)
        err = gate_tls_change(w->gate, each->conf, context);
    each->pending = err < 0;
    each->said = each->pending && (each->said || remarks.said);
    if (err < 0)
        return;
    log_say(LOG_NOTICE, "tls %.*s: its files have changed and are in use",
            SPAN_ARG(each->conf->name));
}

void tls_watch_look(struct tls_watch *w, uint64_t now_ns)
{
    for (unsigned i = 0; w && i < w->count; i++) {
        struct watched *each = &w->list[i];
        struct arena arena = {0};
        if (now_ns < each->due || gate_busy(w->gate))
            continue;
        each->due = now_ns + each->conf->watch;
        struct source_look *looks = arena_alloc(&arena, each->count * sizeof *looks);
        if (looks) {
            looks_take(w, each->conf, looks, each->count);
            for (unsigned f = 0; f < each->count; f++)
                each->pending = each->pending || !looks_same(&looks[f], &each->looks[f]);
            memcpy(each->looks, looks, each->count * sizeof *looks);
            if (each->pending)
                look_at(w, each);
        }
        arena_free(&arena);
    }
}
