/* Finding the server: its name's addresses, the one that answers, and a
 * document from it.
 *
 * Both are done as the load itself is, by a crew, of one connection.
 */
#include "server.h"

#include "base/mem.h"
#include "bench/crew.h"

#include <stdarg.h>
#include <stdio.h>

void server_say(char why[SERVER_WHY_MAX], const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(why, SERVER_WHY_MAX, format, args);
    va_end(args);
}

/* --- a crew of one ---------------------------------------------------------------- */

struct fetch {
    struct work work;
    const struct server *server;
    const char *path; /* NULL: only connects */
    char *text;
    size_t len, max;
    bool asked, overflow;
    int status;
};

static struct fetch *fetch_of(const struct work *w)
{
    return container_of(w, struct fetch, work);
}

static bool fetch_next(struct work *w, struct ticket *t)
{
    struct fetch *f = fetch_of(w);

    if (f->asked || !f->path)
        return false;
    f->asked = true;
    *t = (struct ticket){0};
    return true;
}

static size_t fetch_request(const struct fetch *f, char *out, size_t size)
{
    int n = snprintf(out, size, "GET %s HTTP/1.1\r\nHost: %.*s\r\nConnection: close\r\n\r\n",
                     f->path, SPAN_ARG(f->server->url.authority));
    return n > 0 ? (size_t)n : 0;
}

static size_t fetch_write(struct work *w, uint64_t number, char *out)
{
    (void)number;
    return fetch_request(fetch_of(w), out, w->request_max);
}

static bool fetch_good(struct work *w, int status)
{
    fetch_of(w)->status = status;
    return status == 200;
}

static void fetch_content(struct work *w, struct span piece)
{
    struct fetch *f = fetch_of(w);

    if (piece.len > f->max - f->len) {
        f->overflow = true;
        piece.len = f->max - f->len;
    }
    memcpy(f->text + f->len, piece.ptr, piece.len);
    f->len += piece.len;
}

static bool fetch_exhausted(const struct work *w)
{
    return fetch_of(w)->asked;
}

/* Only to connect: pump() is called once the client has tried to. */
static uint64_t connect_pump(struct work *w, struct crew *crew)
{
    (void)crew;
    fetch_of(w)->asked = true;
    return 0;
}

static void fetch_init(struct fetch *f, const struct server *server)
{
    *f = (struct fetch){
        .work = {.next = fetch_next,
                 .write = fetch_write,
                 .good = fetch_good,
                 .content = fetch_content,
                 .exhausted = fetch_exhausted,
                 .method = METHOD_GET},
        .server = server,
    };
}

/* What went wrong, as one word; NULL when nothing did. */
static const char *fetch_run(struct fetch *f, struct crew *crew)
{
    crew->plan = (struct crew_plan){
        .backend = f->server->backend,
        .to = f->server->to,
        .connections = 1,
        .depth = 1,
        .connect_tries = 1,
        .timeout_ns = f->server->timeout_ns,
    };
    crew->work = &f->work;
    if (f->path)
        f->work.request_max = fetch_request(f, NULL, 0) + 1;
    else
        f->work = (struct work){.next = fetch_next,
                                .pump = connect_pump,
                                .exhausted = fetch_exhausted,
                                .request_max = 1};
    crew_run(crew);
    if (crew->fail < 0)
        return crew->why;
    for (int i = 0; i < TROUBLE_COUNT; i++)
        if (crew->tally.trouble[i] > 0 && i != TROUBLE_UNSENT)
            return trouble_meaning((enum trouble)i);
    return NULL;
}

/* --- finding ---------------------------------------------------------------------- */

struct lookup {
    struct owner owner;
    struct io_resolve resolve;
    bool done;
};

static void looked_up(struct owner *owner)
{
    struct lookup *l = container_of(owner, struct lookup, owner);

    if (io_take(&l->resolve.work.op))
        l->done = true;
}

/* The addresses of the URL's host stay in l->resolve. */
static int look_up(struct lookup *l, const struct server *server, char *why)
{
    struct io_options options = {.sockets_max = 16};
    const char *reason;
    struct io *io;
    int err = io_open(&io, server->backend, &options, &reason);

    if (err < 0) {
        server_say(why, "engine %s: %s", io_backend_name(server->backend), reason);
        return err;
    }
    *l = (struct lookup){.resolve = {.host = server->url.host, .port = server->url.port}};
    owner_init(&l->owner, &io->owners, looked_up);
    l->resolve.work.op.owner = &l->owner;
    io_resolve(io, &l->resolve);
    while (!l->done)
        (void)io_turn(io, NS_PER_S);
    owner_retire(&l->owner);
    io_free(io);
    if (l->resolve.count > 0)
        return 0;
    err = l->resolve.work.op.fail < 0 ? l->resolve.work.op.fail : FAIL_NOT_FOUND;
    server_say(why, "%s: %s", server->url.host, fail_text(err));
    return err;
}

static int try_each(struct server *server, const struct lookup *l, char *why)
{
    struct crew *crew = mem_alloc(sizeof *crew);
    char text[ADDRESS_TEXT_MAX];
    struct fetch fetch;
    const char *problem = "out of memory";

    for (unsigned i = 0; crew && i < l->resolve.count; i++) {
        memset(crew, 0, sizeof *crew);
        server->to = l->resolve.found[i];
        fetch_init(&fetch, server);
        problem = fetch_run(&fetch, crew);
        if (!problem)
            break;
        server_say(why, "%.*s: %s", (int)address_print(&server->to, text), text, problem);
    }
    if (!crew)
        server_say(why, "%s", problem);
    mem_free(crew);
    return problem ? FAIL_UNREACHABLE : 0;
}

int server_find(struct server *server, char why[SERVER_WHY_MAX])
{
    struct lookup lookup;
    int err;

    if ((err = look_up(&lookup, server, why)) < 0)
        return err;
    return try_each(server, &lookup, why);
}

int server_get(const struct server *server, const char *path, char *text, size_t max, size_t *len,
               char why[SERVER_WHY_MAX])
{
    struct crew *crew = mem_zalloc(sizeof *crew);
    struct fetch fetch;
    const char *problem;
    int err = 0;

    if (!crew) {
        server_say(why, "out of memory");
        return FAIL_MEMORY;
    }
    fetch_init(&fetch, server);
    fetch.path = path;
    fetch.text = text;
    fetch.max = max;
    problem = fetch_run(&fetch, crew);
    if (fetch.status != 0 && fetch.status != 200) {
        server_say(why, "%s: status %d", path, fetch.status);
        err = FAIL_BAD;
    } else if (problem || fetch.overflow) {
        server_say(why, "%s: %s", path, problem ? problem : "the answer is too long");
        err = FAIL_IO;
    }
    *len = fetch.len;
    mem_free(crew);
    return err;
}
