/* A world in one seed: time, a network, a disk and several engines in it.
 *
 * The backend "sim" is a backend like the others, but what it does is drawn
 * from a seed: how long things take, how bytes are cut into pieces, which
 * worker runs next, whether a cancel comes too late.  The same seed always
 * tells the same story.  The far ends, clients and origins, are scripts.
 *
 * A test makes a world, opens engines in it (io_options.world), hands them
 * over with sim_drive(), and runs the world until what it waits for has
 * happened.  sim_end() then asserts that nothing is left.  A broken promise, the engine's or its
 * user's, ends the process with an assertion.
 */
#ifndef HEADGATE_IO_SIM_H
#define HEADGATE_IO_SIM_H

#include "io/io.h"

#include <stdio.h>

struct sim;
struct sim_peer;

enum {                      /* what may go wrong, or merely differently */
       SIM_SHORT = 1 << 0,  /* bytes come and go in pieces of any size */
       SIM_RACES = 1 << 1,  /* cancels lose races, completions change places */
       SIM_STALLS = 1 << 2, /* workers and the network are late now and then */
       SIM_NARROW = 1 << 3, /* windows are small, so that sends find no room */
       SIM_DISK = 1 << 4,   /* file calls fail now and then */
       SIM_ALL = (1 << 5) - 1,
};

struct sim_options {
    uint64_t seed;
    unsigned faults;
    unsigned descriptors_max; /* 0: plenty */
    FILE *trace;              /* NULL: none */
};

struct sim *sim_new(const struct sim_options *options);

/* Asserts that no operation is in flight, every socket is closed, no buffer
 * is lent and all memory is back; frees the world and returns the hash of all
 * that happened.  Engines must have been freed. */
uint64_t sim_end(struct sim *sim);

uint64_t sim_seed(const struct sim *sim);
uint64_t sim_now(const struct sim *sim);
uint64_t sim_random(struct sim *sim, uint64_t below); /* for scripts: the world's own dice */
void sim_note(struct sim *sim, uint64_t value);       /* into the hash */
void sim_say_trace(struct sim *sim, const char *format, ...) PRINTF_LIKE(2, 3);

/* --- engines -------------------------------------------------------------- */

/* From now on sim_run() turns this engine.  turn() is what its thread would
 * do over and over, one io_turn(io, TIME_NEVER) in all; it returns false when
 * the thread would end.  NULL is io_turn() alone. */
void sim_drive(struct sim *sim, struct io *io, bool (*turn)(void *data), void *data);

/* Runs until done(data) is true (checked between any two turns), or nothing
 * can happen any more, or so much time has passed.  True in the first case. */
bool sim_run(struct sim *sim, bool (*done)(void *data), void *data, uint64_t most_ns);
void sim_run_for(struct sim *sim, uint64_t ns);

/* Called between any two turns: for assertions. */
void sim_watch(struct sim *sim, void (*check)(void *data), void *data);

/* Calls back after so much time, from between two turns. */
void sim_after(struct sim *sim, uint64_t ns, void (*call)(void *data), void *data);

/* --- the far ends ------------------------------------------------------------ */

/* What clients' bytes become on the network, and back: for stories over TLS.
 * say: malloc'd; `first` of the connection, `end`: they finish.  hear: how many
 * raw bytes at the front make something whole, and what. */
struct sim_codec {
    char *(*say)(struct span plain, bool first, bool end, size_t *len);
    size_t (*hear)(struct span raw, char *out, size_t *len);
};
/* For clients that connect from now on; NULL: none. */
void sim_codec(struct sim *sim, const struct sim_codec *codec);

/* One end of a connection, played by a script.  Freed with the world. */
struct sim_peer {
    struct sim *sim;
    struct sim_end *end;
    struct address from, to;
    /* Called when anything below changed; may be NULL. */
    void (*news)(struct sim_peer *peer);
    void *data;
    bool connected, refused;
    bool ended;                                /* the other end said FIN ... */
    bool reset;                                /* ... or RST */
    bool closed;                               /* by us: sim_reset() and sim_close() */
    uint64_t connected_at, ended_at, heard_at; /* heard_at: the last bytes */
    char *text;                                /* all that was heard */
    size_t len, room;
    const struct sim_codec *codec; /* NULL: none */
    char *raw;                     /* heard, and not yet whole */
    size_t raw_len;
    bool said; /* the beginning */
};

static inline struct span sim_heard(const struct sim_peer *peer)
{
    return (struct span){peer->text, peer->len};
}

/* How many bytes of what it said the program has taken. */
uint64_t sim_taken(const struct sim_peer *peer);

/* A client at `from` begins to connect to `to`.  What it is told to say waits until it is. */
struct sim_peer *sim_connect(struct sim *sim, const struct address *to, const struct address *from);

/* These are done in the order they were asked for, each when the one before
 * it is.  Bytes are copied.  With a gap, they leave in pieces of at most
 * `piece` bytes, `gap` apart. */
void sim_say(struct sim_peer *peer, struct span bytes);
void sim_say_slowly(struct sim_peer *peer, struct span bytes, size_t piece, uint64_t gap_ns);
void sim_pause(struct sim_peer *peer, uint64_t ns);
void sim_finish(struct sim_peer *peer);     /* FIN; still listens */
void sim_close(struct sim_peer *peer);      /* FIN; answers what comes with RST */
void sim_then_reset(struct sim_peer *peer); /* RST, when all before it was said */

void sim_reset(struct sim_peer *peer); /* at once, whatever is still to be said */

/* How many bytes it lets wait unread (the window), and how it reads: `most`
 * bytes every `every` ns; 0 bytes: not at all.  At first it reads at once. */
void sim_window(struct sim_peer *peer, uint32_t bytes);
void sim_read(struct sim_peer *peer, uint32_t most, uint64_t every_ns);

/* An address that answers.  accepted() gives each connection its script. */
enum sim_dialled { SIM_ACCEPT, SIM_REFUSE, SIM_SILENT, SIM_UNREACHABLE };
struct sim_origin {
    struct address at;
    enum sim_dialled dialled;
    uint64_t delay_ns; /* to the connection, besides the network's own */
    void (*accepted)(struct sim_origin *origin, struct sim_peer *peer);
    void *data;
    uint32_t connections; /* so far */
    struct sim_origin *next;
};
void sim_origin_add(struct sim *sim, struct sim_origin *origin); /* the caller keeps it */

/* What io_resolve() finds; names not told of are FAIL_NOT_FOUND. */
void sim_name(struct sim *sim, const char *host, const struct address *addresses, unsigned count);

/* --- the disk ------------------------------------------------------------------ */

void sim_file_put(struct sim *sim, const char *path, struct span content);
bool sim_file_get(struct sim *sim, const char *path, struct span *content);

/* --- descriptors ----------------------------------------------------------------- */

void sim_descriptors(struct sim *sim, unsigned max);
unsigned sim_descriptors_used(const struct sim *sim);

#endif
