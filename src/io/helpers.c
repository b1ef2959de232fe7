/* Helper threads; see helpers.h.
 *
 * Operations wait in one queue under a lock, and finished ones in another
 * until the engine's thread takes all of them at once: a single message is
 * under way however many results there are.
 */
#include "io/helpers.h"

#include "base/mem.h"
#include "io/posix.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>

enum { THREADS_DEFAULT = 2 };

enum { HELPER_WAITING, HELPER_RUNNING, HELPER_DONE }; /* io_op.state, under the lock */

struct io_helpers {
    struct io *io;
    struct io_message news; /* says that `done` is not empty */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct link_node queue; /* to run */
    struct link_node done;
    uint32_t queued;
    uint32_t idle; /* threads that wait for the queue */
    bool news_posted;
    bool stop;
    uint32_t threads, threads_max;
    pthread_t thread[];
};

static void news_arrived(struct io_message *m, struct io *io)
{
    struct io_helpers *h = container_of(m, struct io_helpers, news);
    struct link_node done, *node;

    list_init(&done);
    pthread_mutex_lock(&h->lock);
    list_splice(&done, &h->done);
    h->news_posted = false;
    pthread_mutex_unlock(&h->lock);
    while ((node = list_pop(&done))) {
        struct io_op *op = container_of(node, struct io_op, node);
        io_complete(io, op, op->fail, op->count);
    }
}

/* With the lock held.  The message may arrive before this returns; what it
 * does then waits for the lock. */
static void helper_done(struct io_helpers *h, struct io_op *op)
{
    op->state = HELPER_DONE;
    list_append(&h->done, &op->node);
    if (h->news_posted)
        return;
    h->news_posted = true;
    io_post(h->io, &h->news);
}

static void helper_run(struct io_op *op)
{
    struct io_work *work = container_of(op, struct io_work, op);

    switch (op->kind) {
    case IO_FILE:
        posix_file(container_of(op, struct io_file, op));
        break;
    case IO_RESOLVE:
        posix_resolve(container_of(work, struct io_resolve, work));
        break;
    default:
        assert(op->kind == IO_WORK);
        work->run(work);
        break;
    }
}

static void *helper_main(void *arg)
{
    struct io_helpers *h = arg;

    pthread_mutex_lock(&h->lock);
    while (!h->stop) {
        struct link_node *node = list_pop(&h->queue);
        if (!node) {
            h->idle++;
            pthread_cond_wait(&h->changed, &h->lock);
            h->idle--;
            continue;
        }
        struct io_op *op = container_of(node, struct io_op, node);
        h->queued--;
        op->state = HELPER_RUNNING;
        pthread_mutex_unlock(&h->lock);
        helper_run(op);
        pthread_mutex_lock(&h->lock);
        helper_done(h, op);
    }
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

/* With every signal blocked: they are for the main thread. */
static bool thread_start(struct io_helpers *h)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool ok = pthread_create(&h->thread[h->threads], NULL, helper_main, h) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (ok)
        h->threads++;
    return ok;
}

struct io_helpers *helpers_new(struct io *io, uint32_t threads_max)
{
    if (threads_max == 0)
        threads_max = THREADS_DEFAULT;
    struct io_helpers *h = mem_zalloc(sizeof *h + threads_max * sizeof h->thread[0]);
    if (!h)
        return NULL;
    h->io = io;
    h->threads_max = threads_max;
    h->news.arrive = news_arrived;
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->changed, NULL);
    list_init(&h->queue);
    list_init(&h->done);
    return h;
}

void helpers_free(struct io_helpers *h)
{
    if (!h)
        return;
    pthread_mutex_lock(&h->lock);
    assert(list_empty(&h->queue) && list_empty(&h->done));
    h->stop = true;
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
    for (uint32_t i = 0; i < h->threads; i++)
        pthread_join(h->thread[i], NULL);
    pthread_cond_destroy(&h->changed);
    pthread_mutex_destroy(&h->lock);
    mem_free(h);
}

void helpers_start(struct io_helpers *h, struct io_op *op)
{
    pthread_mutex_lock(&h->lock);
    if (h->queued >= h->idle && h->threads < h->threads_max && !thread_start(h) &&
        h->threads == 0) {
        op->fail = FAIL_MEMORY;
        helper_done(h, op);
    } else {
        op->state = HELPER_WAITING;
        list_append(&h->queue, &op->node);
        h->queued++;
        pthread_cond_signal(&h->changed);
    }
    pthread_mutex_unlock(&h->lock);
}

void helpers_cancel(struct io_helpers *h, struct io_op *op)
{
    pthread_mutex_lock(&h->lock);
    if (op->state == HELPER_WAITING) {
        list_remove(&op->node);
        h->queued--;
        op->fail = FAIL_CANCELLED;
        helper_done(h, op);
    }
    pthread_mutex_unlock(&h->lock);
}
