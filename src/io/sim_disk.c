/* The simulator's disk, names and helper threads: what takes time, and is
 * done at the moment it completes. */
#include "io/sim_world.h"

#include <assert.h>
#include <stdlib.h>

struct sim_file {
    struct sim_file *next;
    char *path;
    bool directory;
    char *bytes;
    size_t len, room;
    int64_t changed_ns;
    uint64_t inode;
};

struct sim_name {
    struct sim_name *next;
    char *host;
    unsigned count;
    struct address found[IO_RESOLVE_MAX];
};

/* --- files by path -------------------------------------------------------------------- */

static char *text_copy(const char *text)
{
    size_t len = strlen(text) + 1;

    return memcpy(sim_alloc(len), text, len);
}

static struct sim_file *file_find(struct sim *sim, const char *path)
{
    for (struct sim_file *f = sim->files; f; f = f->next)
        if (f->path && strcmp(f->path, path) == 0)
            return f;
    return NULL;
}

static struct sim_file *file_new(struct sim *sim, const char *path)
{
    struct sim_file *f = sim_alloc(sizeof *f);

    f->path = text_copy(path);
    f->inode = sim->orders++;
    f->changed_ns = (int64_t)sim->wall;
    f->next = sim->files;
    sim->files = f;
    return f;
}

/* A directory is there when it was opened as one before, or a file is in it. */
static struct sim_file *directory_find(struct sim *sim, const char *path)
{
    size_t len = strlen(path);
    struct sim_file *f = file_find(sim, path);

    if (f)
        return f->directory ? f : NULL;
    for (f = sim->files; f; f = f->next)
        if (f->path && strncmp(f->path, path, len) == 0 && (f->path[len] == '/' || len == 0)) {
            f = file_new(sim, path);
            f->directory = true;
            return f;
        }
    return NULL;
}

static void file_write(struct sim *sim, struct sim_file *f, size_t at, const void *bytes,
                       size_t len)
{
    if (at + len > f->room) {
        f->room = (at + len) * 2;
        f->bytes = realloc(f->bytes, f->room);
        assert(f->bytes);
    }
    if (at > f->len)
        memset(f->bytes + f->len, 0, at - f->len);
    if (len)
        memcpy(f->bytes + at, bytes, len);
    if (at + len > f->len)
        f->len = at + len;
    f->changed_ns = (int64_t)sim->wall;
}

void sim_file_put(struct sim *sim, const char *path, struct span content)
{
    struct sim_file *f = file_find(sim, path);

    if (!f)
        f = file_new(sim, path);
    f->len = 0;
    file_write(sim, f, 0, content.ptr, content.len);
}

bool sim_file_get(struct sim *sim, const char *path, struct span *content)
{
    struct sim_file *f = file_find(sim, path);

    if (f)
        *content = (struct span){f->bytes, f->len};
    return f != NULL;
}

/* --- calls ---------------------------------------------------------------------------- */

static char *path_below(struct sim *sim, int dir, const char *path)
{
    if (dir < 0 || path[0] == '/')
        return text_copy(path);
    const char *above = sim_end_of(sim, dir)->file->path;
    if (strcmp(path, ".") == 0)
        return text_copy(above);
    size_t len = strlen(above);
    char *whole = sim_alloc(len + strlen(path) + 2);

    memcpy(whole, above, len);
    whole[len] = '/';
    strcpy(whole + len + 1, path);
    return whole;
}

static void file_stat(const struct sim_file *f, struct io_stat *stat)
{
    *stat = (struct io_stat){.size = f->len,
                             .inode = f->inode,
                             .device = 1,
                             .mtime_ns = f->changed_ns,
                             .mode = f->directory ? 040755 : 0100644,
                             .regular = !f->directory,
                             .directory = f->directory};
}

static int file_open(struct sim *sim, struct io_file *call)
{
    char *path = path_below(sim, call->dir, call->path);
    size_t len = strlen(path);
    struct sim_file *f;
    struct sim_end *end;
    int err;

    if (len > 1 && path[len - 1] == '/')
        path[len - 1] = '\0';
    f = call->flags & IO_OPEN_DIR ? NULL : file_find(sim, path);
    if (!f)
        f = directory_find(sim, path);
    if (!f && call->flags & IO_OPEN_WRITE)
        f = file_new(sim, path);
    free(path);
    if (!f)
        return FAIL_NOT_FOUND;
    end = sim_end_new(sim, SIM_FILE);
    end->file = f;
    if ((err = sim_descriptor_new(sim, end)) < 0) {
        end->closed = true;
        return err;
    }
    if (call->flags & IO_OPEN_WRITE)
        f->len = 0;
    call->fd = end->fd;
    file_stat(f, &call->stat);
    return 0;
}

static int file_look(struct sim *sim, struct io_file *call)
{
    char *path = path_below(sim, call->dir, call->path);
    const struct sim_file *f = file_find(sim, path);

    if (!f)
        f = directory_find(sim, path);
    free(path);
    if (!f)
        return FAIL_NOT_FOUND;
    file_stat(f, &call->stat);
    return 0;
}

static int file_rename(struct sim *sim, struct io_file *call)
{
    char *from = path_below(sim, call->dir, call->path);
    char *to = path_below(sim, call->dir, call->path_to);
    struct sim_file *f = file_find(sim, from), *old = file_find(sim, to);

    free(from);
    if (!f) {
        free(to);
        return FAIL_NOT_FOUND;
    }
    if (old && old != f) { /* whoever has it open keeps it */
        free(old->path);
        old->path = NULL;
    }
    free(f->path);
    f->path = to;
    return 0;
}

static struct sim_file *file_of(struct sim *sim, int fd)
{
    struct sim_end *end = sim_end_of(sim, fd);

    assert(end->kind == SIM_FILE);
    return end->file;
}

size_t sim_file_bytes(struct sim *sim, int fd, uint64_t offset, uint32_t len, const char **bytes)
{
    struct sim_file *f = file_of(sim, fd);

    if (offset >= f->len)
        return 0;
    *bytes = f->bytes + offset;
    return f->len - offset < len ? f->len - (size_t)offset : len;
}

static int file_call(struct sim *sim, struct io_file *call)
{
    const char *bytes = NULL;
    struct sim_file *f;

    if (sim_chance(sim, SIM_DISK, 20))
        return call->call == IO_FILE_WRITE ? FAIL_NO_SPACE : FAIL_IO;
    switch ((enum io_file_call)call->call) {
    case IO_FILE_OPEN:
        return file_open(sim, call);
    case IO_FILE_RENAME:
        return file_rename(sim, call);
    case IO_FILE_STAT:
        file_stat(file_of(sim, call->fd), &call->stat);
        return 0;
    case IO_FILE_LOOK:
        return file_look(sim, call);
    case IO_FILE_READ:
        call->op.count = (uint32_t)sim_file_bytes(sim, call->fd, call->offset, call->len, &bytes);
        if (call->op.count > 1 && sim_chance(sim, SIM_SHORT, 3))
            call->op.count = 1 + (uint32_t)random_below(&sim->random, call->op.count);
        if (call->op.count)
            memcpy(call->base, bytes, call->op.count);
        return 0;
    case IO_FILE_WRITE:
        if (!sim_is_descriptor(call->fd)) { /* of the process, not of this world: a log's */
            call->op.count = call->len;
            return 0;
        }
        f = file_of(sim, call->fd);
        file_write(sim, f, call->offset == IO_OFFSET_END ? f->len : (size_t)call->offset,
                   call->base, call->len);
        call->op.count = call->len;
        return 0;
    case IO_FILE_SYNC:
        (void)file_of(sim, call->fd);
        return 0;
    }
    return FAIL_UNSUPPORTED;
}

static int name_call(struct sim *sim, struct io_resolve *r)
{
    struct sim_name *n = sim->names;

    while (n && strcmp(n->host, r->host) != 0)
        n = n->next;
    for (unsigned i = 0; n && i < n->count; i++) {
        if (r->family != ADDRESS_NONE && r->family != n->found[i].family)
            continue;
        r->found[r->count] = n->found[i];
        r->found[r->count++].port = r->port;
    }
    return r->count ? 0 : FAIL_NOT_FOUND;
}

void sim_file_run(struct sim_io *io, struct sim_flight *f)
{
    struct io_work *work;

    switch (f->kind) {
    case IO_FILE:
        f->fate = file_call(io->sim, container_of(f->op, struct io_file, op));
        break;
    case IO_RESOLVE:
        f->fate = name_call(io->sim, container_of(f->op, struct io_resolve, work.op));
        break;
    case IO_WORK:
        work = container_of(f->op, struct io_work, op);
        work->run(work);
        break;
    default:
        assert(false);
    }
}

static uint64_t takes(struct sim *sim)
{
    return UINT64_C(1000) << random_below(&sim->random, sim->options.faults & SIM_STALLS ? 16 : 8);
}

static void start(struct io *io, struct io_op *op)
{
    struct sim_io *own = sim_io_of(io);

    sim_flight_come(sim_flight_new(own, op, NULL), takes(own->sim));
}

void sim_file_start(struct io *io, struct io_file *f)
{
    start(io, &f->op);
}

void sim_work_start(struct io *io, struct io_work *w)
{
    start(io, &w->op);
}

void sim_resolve_start(struct io *io, struct io_resolve *r)
{
    start(io, &r->work.op);
}

void sim_name(struct sim *sim, const char *host, const struct address *addresses, unsigned count)
{
    struct sim_name *n = sim_alloc(sizeof *n);

    assert(count <= IO_RESOLVE_MAX);
    n->host = text_copy(host);
    n->count = count;
    memcpy(n->found, addresses, count * sizeof *addresses);
    n->next = sim->names;
    sim->names = n;
}

void sim_disk_free(struct sim *sim)
{
    for (struct sim_file *f = sim->files, *next; f; f = next) {
        next = f->next;
        free(f->path);
        free(f->bytes);
        free(f);
    }
    for (struct sim_name *n = sim->names, *next; n; n = next) {
        next = n->next;
        free(n->host);
        free(n);
    }
}
