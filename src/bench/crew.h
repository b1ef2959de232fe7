/* One thread of the load: an engine, its connections, and the work they do.
 *
 * Crews share nothing but the work's own supply and two flags, so that the
 * generator scales like the server it measures.
 */
#ifndef HEADGATE_BENCH_CREW_H
#define HEADGATE_BENCH_CREW_H

#include "bench/client.h"

#include <pthread.h>

/* What the connections of a crew are for.  Called on the crew's thread only. */
struct work {
    /* The next request; false when there is none now. */
    bool (*next)(struct work *w, struct ticket *t);
    /* Writes it; may be called again for the same number. */
    size_t (*write)(struct work *w, uint64_t number, char *out);
    /* Was it an answer as it should be? */
    bool (*good)(struct work *w, int status);
    /* Content of an answer, piece by piece; may be NULL. */
    void (*content)(struct work *w, struct span piece);
    /* Between turns: wakes idle clients when requests are due, and says how long
     * the crew may sleep.  NULL when nothing becomes due by itself. */
    uint64_t (*pump)(struct work *w, struct crew *crew);
    /* No more will come from next(). */
    bool (*exhausted)(const struct work *w);
    enum method method;
    size_t request_max;
};

struct crew_plan {
    const struct io_backend *backend;
    struct address to;
    unsigned connections, depth, connect_tries;
    uint64_t timeout_ns;
};

/* Heads of answers repeat but for the date: the last one parsed is kept, and
 * the same bytes again mean the same. */
enum { HEAD_KEPT_MAX = 512 };
struct head_kept {
    uint32_t len; /* 0: none */
    int status;
    enum framing framing;
    uint64_t content_length;
    bool keep_alive;
    char bytes[HEAD_KEPT_MAX];
};

struct crew {
    struct crew_plan plan;
    struct work *work;
    pthread_t thread;

    struct io *io;
    struct client *clients;
    struct link_node idle;
    unsigned connecting, given_up;
    bool connected_once; /* every client has connected or failed to */
    bool stopping;
    uint64_t taken, held; /* tickets; taken and not finished */
    struct head_kept head;

    struct tally tally;
    _Atomic uint64_t done; /* answers so far; for the progress bar */
    _Atomic bool over;
    uint64_t begin_ns, end_ns; /* of the first request, of the last answer */
    int fail;                  /* the engine could not be opened */
    const char *why;
};

/* Runs it to its end, here. */
void crew_run(struct crew *crew);

/* The same on a thread of its own. False when there is none to be had. */
MUST_USE bool crew_start(struct crew *crew);
void crew_join(struct crew *crew);

/* For clients. */
bool crew_take(struct crew *crew, struct ticket *t);
void crew_answered(struct crew *crew, const struct ticket *t, int status);
void crew_trouble(struct crew *crew, enum trouble kind, uint64_t count);
static inline void crew_dropped(struct crew *crew, uint64_t tickets)
{
    crew->held -= tickets;
}

/* Monotonic, as io_now(), but now and not when the turn began. */
uint64_t bench_clock(void);

#endif
