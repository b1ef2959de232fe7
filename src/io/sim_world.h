/* The inside of the simulator, for its own files only.
 *
 *   sim.c       time, events, which engine turns next, what must be true
 *   sim_op.c    operations: when they can complete, and as what
 *   sim_net.c   connections, and the scripts at their far ends
 *   sim_disk.c  files, names, work
 *
 * The simulator's own memory is not from base/mem.h: a test that lets the
 * n-th allocation fail means the program's.
 */
#ifndef HEADGATE_IO_SIM_WORLD_H
#define HEADGATE_IO_SIM_WORLD_H

#include "io/backend.h"
#include "io/sim.h"

enum { SIM_BUFS_KEPT = 32, SIM_PIPED_MIN = 4096 };

/* An operation in flight.  What the user must leave alone meanwhile is
 * remembered, and compared when it completes. */
struct sim_flight {
    struct link_node node;  /* of sim->flights, or of the engine's ready list */
    struct link_node queue; /* of a listener's accepts */
    struct sim_io *io;
    struct io_op *op;
    struct owner *owner;
    struct sim_end *end;
    uint64_t number;
    uint64_t bytes_hash; /* of what is being sent */
    uint8_t kind;
    enum { SIM_PARKED, SIM_COMING, SIM_READY } state;
    int fate; /* of a connect: 0 or enum fail */
    bool decided;
};

struct sim_waiting { /* an owner found in the queue after a turn */
    struct owner *owner;
    uint32_t turn, runs;
    unsigned turns;
};

struct sim_io {
    struct io io;
    struct sim *sim;
    struct sim_io *next;
    unsigned index;
    struct link_node ready;
    uint64_t not_before; /* its thread has no CPU until then */
    bool (*turn)(void *data);
    void *data;
    bool driven, over;
    struct sim_waiting *waiting;
    size_t waiting_count, waiting_room;
};

struct sim_event {
    uint64_t at, order;
    void (*run)(struct sim *sim, void *data, uint64_t value);
    void *data;
    uint64_t value;
};

enum sim_end_kind { SIM_LISTENER, SIM_STREAM, SIM_FILE };

/* A descriptor, or the far end of one. */
struct sim_end {
    struct sim_end *next_all;
    enum sim_end_kind kind;
    int fd; /* -1: a script's, or closed, or not yet accepted */
    struct sim_io *io;
    struct io_sock *sock;
    bool closed;

    /* a stream: bytes on their way to us are [from, to), those up to `here` have arrived */
    struct sim_end *other;
    struct sim_peer *peer; /* its script; NULL: the program's */
    char *in;
    size_t from, here, to, room;
    uint64_t taken;   /* bytes that were read */
    uint64_t arrived; /* bytes that ever came here, read or not */
    uint64_t sent;    /* bytes of ours */
    uint64_t acked;   /* of ours that the other end's system has, as we have heard */
    uint64_t last_at; /* when the last of them arrives */
    uint32_t window;
    bool fin, reset, shut, lost; /* lost: bytes were thrown away with an RST */
    struct sim_flight *recv, *send;
    struct address address, peer_address;
    struct sim_end *next_waiting;

    /* a listener; copies of one share the queue of the first, which outlives it */
    struct io_listen spec;
    struct sim_end *first, *next_copy;
    unsigned copies; /* of the first: open ones, itself included */
    struct sim_end *waiting, **waiting_end;
    unsigned waiting_count;
    struct link_node accepts;

    /* a file */
    struct sim_file *file;
};

struct sim_script; /* what a peer still has to do */

struct sim_speaker { /* a peer, and what only we need to know of it */
    struct sim_peer peer;
    struct sim_speaker *next;
    struct sim_script *script, **script_end;
    bool speaking; /* an event will go on with it */
    bool reading;
    uint32_t read_most;
    uint64_t read_every;
    unsigned tries; /* of connecting */
};

struct sim_buf { /* a lent receive buffer */
    struct buf buf;
    struct sim *sim;
    char bytes[];
};

struct sim_pipe { /* bytes that are in a pipe */
    struct buf buf;
    struct sim *sim;
    uint32_t len, left;
    char bytes[];
};

struct sim {
    struct sim_options options;
    struct random random;
    uint64_t now, wall, hash, orders, flights_begun, latency_ns;
    struct sim_event *events;
    size_t event_count, event_room;
    struct sim_io *ios;
    unsigned io_count;
    struct link_node flights;
    struct sim_end *ends;
    struct sim_end **descriptors; /* by number; never used twice */
    int descriptor_count, descriptor_room;
    unsigned descriptors_open;
    struct sim_speaker *speakers;
    struct sim_origin *origins;
    const struct sim_codec *codec;
    struct sim_file *files;
    struct sim_name *names;
    struct sim_buf *kept[SIM_BUFS_KEPT]; /* given back, poisoned, not to be written */
    unsigned kept_at;
    uint64_t bufs_out;
    int64_t memory; /* mem_live() at the beginning */
    bool driving;
    uint64_t busy_turns; /* since time last moved */
    void (*check)(void *data);
    void *check_data;
};

static inline struct sim_io *sim_io_of(struct io *io)
{
    return container_of(io, struct sim_io, io);
}

static inline bool sim_chance(struct sim *sim, unsigned fault, uint64_t in)
{
    return (sim->options.faults & fault) && random_below(&sim->random, in) == 0;
}

void *sim_alloc(size_t size); /* zeroed; never NULL */

/* sim.c */
void sim_at(struct sim *sim, uint64_t at, void (*run)(struct sim *, void *, uint64_t), void *data,
            uint64_t value);
int sim_descriptor_new(struct sim *sim, struct sim_end *end); /* FAIL_DESCRIPTORS */
void sim_descriptor_free(struct sim *sim, struct sim_end *end);
struct sim_end *sim_end_new(struct sim *sim, enum sim_end_kind kind);
bool sim_is_descriptor(int fd);                      /* of this world? */
struct sim_end *sim_end_of(struct sim *sim, int fd); /* asserts that it is open */

/* sim_op.c */
void sim_op_start(struct io *io, struct io_op *op);
void sim_op_cancel(struct io *io, struct io_op *op);
void sim_flight_come(struct sim_flight *f, uint64_t delay_ns); /* it can complete now */
void sim_ready_complete(struct sim_io *io);
uint64_t sim_hash(uint64_t hash, const void *bytes, size_t len);
void sim_bufs_free(struct sim *sim);
struct sim_flight *sim_flight_new(struct sim_io *io, struct io_op *op, struct sim_end *end);

/* sim_net.c */
void sim_poke(struct sim_end *end); /* what can complete now? */
void sim_dial(struct sim *sim, struct sim_flight *f);
void sim_transmit(struct sim *sim, struct sim_end *from, const char *bytes, size_t len);
size_t sim_window_free(const struct sim_end *from);
void sim_consume(struct sim *sim, struct sim_end *end, size_t len);
void sim_fin(struct sim *sim, struct sim_end *from);
void sim_rst(struct sim *sim, struct sim_end *from);
void sim_stream_close(struct sim *sim, struct sim_end *end, bool reset);
int sim_listen(void *world, const struct io_listen *spec, int *fd);
int sim_listen_copy(void *world, int fd, int *copy);
void sim_listener_close(struct sim *sim, struct sim_end *end);
void sim_speakers_free(struct sim *sim);

/* sim_disk.c */
void sim_file_run(struct sim_io *io, struct sim_flight *f); /* completes it */
void sim_file_start(struct io *io, struct io_file *f);
void sim_work_start(struct io *io, struct io_work *w);
void sim_resolve_start(struct io *io, struct io_resolve *r);
size_t sim_file_bytes(struct sim *sim, int fd, uint64_t offset, uint32_t len, const char **bytes);
void sim_disk_free(struct sim *sim);

#endif
