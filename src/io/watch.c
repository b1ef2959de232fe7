/* Watching files; see watch.h.
 *
 * The operation has an owner inside it that nobody else sees: its step looks
 * at the file when the timer says so, and completes the operation when what
 * it finds is new.  So it works wherever files can be looked at, and keeps
 * the four promises because timers and file operations do.
 */
#include "io/watch.h"

#include "io/backend.h"

static void watch_end(struct io *io, struct io_watch *w, int fail)
{
    io_timer_clear(io, &w->timer);
    owner_retire(&w->looker);
    io_complete(io, &w->op, fail, 0);
}

/* No memory, or a disk that fails, says nothing of the file. */
static bool look_failed(int fail)
{
    return fail == FAIL_MEMORY || fail == FAIL_DESCRIPTORS || fail == FAIL_IO ||
           fail == FAIL_CANCELLED;
}

static bool same(const struct io_stat *a, const struct io_stat *b)
{
    return a->inode == b->inode && a->device == b->device && a->size == b->size &&
           a->mtime_ns == b->mtime_ns;
}

/* True when there is news, which is then in w->stat. */
static bool watch_found(struct io_watch *w)
{
    struct io_stat now = {0};

    if (look_failed(w->look.op.fail))
        return false;
    if (w->look.op.fail == 0)
        now = w->look.stat;
    if (same(&now, &w->stat))
        return false;
    w->stat = now;
    return true;
}

static void watch_look(struct io *io, struct io_watch *w)
{
    w->look.call = IO_FILE_LOOK;
    w->look.dir = w->dir;
    w->look.path = w->path;
    io_file(io, &w->look);
}

static void watch_step(struct owner *owner)
{
    struct io_watch *w = container_of(owner, struct io_watch, looker);
    struct io *io = container_of(owner->queue, struct io, owners);

    if (io_busy(&w->look.op)) {
        if (w->op.cancelled)
            io_cancel(io, &w->look.op);
    } else if (io_take(&w->look.op) && watch_found(w)) {
        watch_end(io, w, 0);
    } else if (w->op.cancelled) {
        watch_end(io, w, FAIL_CANCELLED);
    } else if (io_timer_take(&w->timer)) {
        watch_look(io, w);
    } else {
        io_timer_set(io, &w->timer, io_now(io) + w->every_ns);
    }
}

void watch_start(struct io *io, struct io_watch *w)
{
    owner_init(&w->looker, &io->owners, watch_step);
    w->look = (struct io_file){.op.owner = &w->looker};
    w->timer = (struct io_timer){.owner = &w->looker, .at = TIME_NEVER};
    owner_wake(&w->looker);
}

void watch_cancel(struct io_watch *w)
{
    owner_wake(&w->looker);
}
