/* What a backend implements, and what io.c gives to backends.
 *
 * Only files in src/io (and the simulator's stories) include this.
 */
#ifndef HEADGATE_IO_BACKEND_H
#define HEADGATE_IO_BACKEND_H

#include "io/io.h"

/* Read at a time when buffers are scarce (buf.h): so little that it is copied,
 * and the buffer comes back. */
enum { RECEIVE_SCARCE = 2048 };

struct io_backend {
    const char *name;
    bool simulated;

    bool (*usable)(const char **why);
    int (*open)(struct io **io, const struct io_options *options, const char **why);
    void (*free)(struct io *io);

    /* op->kind, sock and arguments are set; must not complete it inside.
     * io.c keeps sock->send; what receives is the backend's to remember, and
     * of IO_ACCEPT several may be in flight. */
    void (*start)(struct io *io, struct io_op *op);
    void (*cancel)(struct io *io, struct io_op *op);

    void (*adopt)(struct io *io, struct io_sock *sock, int fd);
    void (*shutdown)(struct io *io, struct io_sock *sock);
    void (*close)(struct io *io, struct io_sock *sock, bool reset);
    uint64_t (*taken)(struct io *io, const struct io_sock *sock);
    void (*local)(struct io *io, const struct io_sock *sock, struct address *a);
    bool (*unacked)(struct io *io, const struct io_sock *sock, uint64_t *bytes);
    bool (*quiet)(struct io *io, const struct io_sock *sock);
    bool (*broken)(struct io *io, const struct io_sock *sock);
    void (*discard)(struct io *io, int fd);

    int (*listen)(void *world, const struct io_listen *spec, int *fd);
    void (*listen_close)(void *world, int fd);

    /* Submits what was started, waits until something completed or it is
     * io->now_ns + wait_ns (0: does not sleep; TIME_NEVER: no limit), completes
     * what has (io_complete), and updates io->now_ns and io->wall_ns.  False
     * when nothing can happen any more. */
    bool (*wait)(struct io *io, uint64_t wait_ns);

    /* From any thread: ends the wait. */
    void (*wake)(struct io *io);

    /* NULL where helper threads do it (io/helpers.h), or the system's own call
     * for the last three.  Operations given to helper threads are cancelled
     * without the backend. */
    void (*file)(struct io *io, struct io_file *f);
    void (*work)(struct io *io, struct io_work *w);
    void (*resolve)(struct io *io, struct io_resolve *r);
    void (*file_close)(struct io *io, int fd);
    int (*listen_copy)(void *world, int fd, int *copy);
    void (*entropy)(struct io *io, void *out, size_t len);
};

/* Records the outcome, makes the operation idle, wakes the owner.  Counts
 * what the statistics say of operations and bytes. */
void io_complete(struct io *io, struct io_op *op, int fail, uint32_t count);

/* The same for a receive: lends the slice's buffer (one reference, which the
 * owner queue gives back after the owner's next step). */
void io_complete_slice(struct io *io, struct io_op *op, struct slice slice);

/* Set up and take down the common part.  Before io_init(), now_ns is set;
 * io_deinit() comes before anything that wake() needs is closed, because
 * helper threads may be calling it until they are joined. */
int io_init(struct io *io, const struct io_backend *backend, const struct io_options *options);
void io_deinit(struct io *io);

extern const struct io_backend io_uring_backend;
extern const struct io_backend io_epoll_backend;
extern const struct io_backend io_sim_backend;

#endif
