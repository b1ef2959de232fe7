/* The engine's operations by themselves, where no program shows them. */
#include "tests/sim/story.h"

/* --- watching a file ----------------------------------------------------------------- */

enum { CHANGES = 5 };

struct watcher {
    struct owner owner;
    struct sim *sim;
    struct io *io;
    struct io_watch watch;
    unsigned changes, seen; /* made; told of */
    bool cancelled, over;
};

static void watcher_change(void *data)
{
    struct watcher *w = data;
    char text[CHANGES + 1] = "abcde";

    sim_file_put(w->sim, "/pem", (struct span){text, ++w->changes});
}

static void watcher_cancel(void *data)
{
    struct watcher *w = data;

    w->cancelled = true;
    io_cancel(w->io, &w->watch.op);
}

/* Each change is seen, with what is there then. */
static void watcher_step(struct owner *owner)
{
    struct watcher *w = container_of(owner, struct watcher, owner);

    if (!io_take(&w->watch.op))
        return;
    if (w->watch.op.fail == 0) {
        w->seen++;
        EXPECT(w->seen == w->changes && w->watch.stat.size == w->changes, "%u seen of %u, size %u",
               w->seen, w->changes, (unsigned)w->watch.stat.size);
        if (w->changes < CHANGES)
            sim_after(w->sim, sim_random(w->sim, 30 * NS_PER_S), watcher_change, w);
        else
            sim_after(w->sim, sim_random(w->sim, 30 * NS_PER_S), watcher_cancel, w);
    }
    EXPECT(w->watch.op.fail == 0 || (w->watch.op.fail == FAIL_CANCELLED && w->cancelled),
           "ended by %d", w->watch.op.fail);
    w->over = w->watch.op.fail != 0;
    if (w->over)
        owner_retire(&w->owner);
    else
        io_watch(w->io, &w->watch);
}

static bool watcher_over(void *data)
{
    return ((struct watcher *)data)->over;
}

static uint64_t watch(const struct telling *telling)
{
    struct watcher w = {.sim = story_world(telling, SIM_ALL)};
    const char *why;

    EXPECT(io_open(&w.io, &io_sim_backend, &(struct io_options){.world = w.sim}, &why) == 0, "%s",
           why);
    owner_init(&w.owner, &w.io->owners, watcher_step);
    w.watch = (struct io_watch){
        .op.owner = &w.owner, .dir = -1, .path = "/pem", .every_ns = 10 * NS_PER_S};
    io_watch(w.io, &w.watch);
    sim_drive(w.sim, w.io, NULL, NULL);
    sim_after(w.sim, sim_random(w.sim, 30 * NS_PER_S), watcher_change, &w);
    EXPECT(sim_run(w.sim, watcher_over, &w, 3600 * NS_PER_S), "%u seen of %u", w.seen, w.changes);
    EXPECT(w.seen == CHANGES, "%u seen", w.seen);
    io_free(w.io);
    return sim_end(w.sim);
}

const struct story io_stories[] = {
    {"io.watch", "every change of a watched file is seen, and a cancelled watch ends", watch, 0},
    {0},
};
