/* Operations of the simulator: when they can complete, and as what.
 *
 * An operation is parked until the world allows it to complete, then coming
 * (some time later), then ready: the next turn of its engine completes it,
 * with what is true at that moment.
 */
#include "io/sim_world.h"

#include <assert.h>
#include <stdlib.h>

enum { SLICE_MAX = 64 * 1024, POISON = 0xdb };

/* --- flights -------------------------------------------------------------------- */

uint64_t sim_hash(uint64_t hash, const void *bytes, size_t len)
{
    const unsigned char *at = bytes;
    uint64_t word;

    for (; len >= sizeof word; at += sizeof word, len -= sizeof word) {
        memcpy(&word, at, sizeof word);
        hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 32;
    }
    for (; len > 0; at++, len--)
        hash = (hash ^ *at) * UINT64_C(0x100000001b3);
    return hash;
}

static uint64_t hash_sent(const struct io_op *op)
{
    uint64_t hash = op->send.vec_count;

    for (unsigned i = 0; i < op->send.vec_count; i++)
        hash = sim_hash(hash ^ op->send.vec[i].len, op->send.vec[i].base, op->send.vec[i].len);
    return hash;
}

struct sim_flight *sim_flight_new(struct sim_io *io, struct io_op *op, struct sim_end *end)
{
    struct sim_flight *f = sim_alloc(sizeof *f);

    *f = (struct sim_flight){.io = io,
                             .op = op,
                             .owner = op->owner,
                             .end = end,
                             .kind = op->kind,
                             .number = io->sim->flights_begun++,
                             .state = SIM_PARKED};
    if (op->kind == IO_SEND)
        f->bytes_hash = hash_sent(op);
    op->node.next = &f->node;
    list_append(&io->sim->flights, &f->node);
    return f;
}

/* The operation must still be there, and untouched. */
static void flight_check(const struct sim_flight *f)
{
    assert(f->op->node.next == &f->node && f->op->kind == f->kind && f->op->owner == f->owner &&
           !f->op->done && "an operation in flight was overwritten");
    assert(f->kind != IO_SEND || f->bytes_hash == hash_sent(f->op));
}

static struct sim_flight *flight_of(struct io_op *op)
{
    return container_of(op->node.next, struct sim_flight, node);
}

static const char *const kind_names[] = {
    [IO_ACCEPT] = "accept",
    [IO_CONNECT] = "connect",
    [IO_RECV] = "recv",
    [IO_SEND] = "send",
    [IO_SEND_FILE] = "send file",
    [IO_POLL] = "poll",
    [IO_SEND_PIPED] = "send pipe",
    [IO_FILE] = "file",
    [IO_WORK] = "work",
    [IO_RESOLVE] = "resolve",
};

static void flight_end(struct sim_flight *f, int fail, uint32_t count)
{
    struct sim *sim = f->io->sim;
    struct sim_end *end = f->end;

    if (end && end->recv == f)
        end->recv = NULL;
    if (end && end->send == f)
        end->send = NULL;
    list_remove(&f->queue);
    list_remove(&f->node);
    f->op->node = (struct link_node){0};
    sim_note(sim, sim->now);
    sim_note(sim, (uint64_t)f->io->index << 40 | (uint64_t)f->kind << 32 | (uint32_t)fail);
    sim_note(sim, count);
    sim_say_trace(sim, "w%u %s %d: %s, %u", f->io->index, kind_names[f->kind],
                  f->op->sock ? f->op->sock->fd : -1, fail ? fail_text(fail) : "ok", count);
}

static void flight_complete(struct sim_flight *f, int fail, uint32_t count)
{
    flight_end(f, fail, count);
    io_complete(&f->io->io, f->op, fail, count);
    free(f);
}

static void flight_ready(struct sim *sim, void *data, uint64_t number)
{
    struct sim_flight *f = data;
    struct link_node *ready = &f->io->ready, *at = ready;

    (void)number;
    assert(f->state == SIM_COMING);
    f->state = SIM_READY;
    list_remove(&f->node);
    if (sim_chance(sim, SIM_RACES, 2))
        for (uint64_t n = random_below(&sim->random, 4); n > 0 && at->prev != ready; n--)
            at = at->prev;
    list_append(at, &f->node);
}

void sim_flight_come(struct sim_flight *f, uint64_t delay_ns)
{
    struct sim *sim = f->io->sim;

    if (f->state != SIM_PARKED)
        return;
    f->state = SIM_COMING;
    delay_ns += random_below(&sim->random, 3000);
    if (sim_chance(sim, SIM_STALLS, 64))
        delay_ns += random_below(&sim->random, 20 * NS_PER_MS);
    sim_at(sim, sim->now + delay_ns, flight_ready, f, f->number);
}

static void flight_park(struct sim_flight *f)
{
    f->state = SIM_PARKED;
    list_remove(&f->node);
    list_append(&f->io->sim->flights, &f->node);
}

/* A cancel and a success are both possible: which is faster? */
static bool cancel_wins(struct sim_flight *f)
{
    struct sim *sim = f->io->sim;

    return f->op->cancelled &&
           (!(sim->options.faults & SIM_RACES) || random_below(&sim->random, 2));
}

/* --- lent buffers ------------------------------------------------------------------ */

static void kept_free(struct sim_buf *own)
{
    for (uint32_t i = 0; own && i < own->buf.size; i++)
        assert((unsigned char)own->bytes[i] == POISON && "written after it was given back");
    free(own);
}

/* Nobody may look at it any more: the bytes are spoilt, and kept for a while
 * to see that nobody writes.  Under AddressSanitizer freeing says more. */
static void buf_given_back(struct buf *b)
{
    struct sim_buf *own = container_of(b, struct sim_buf, buf);
    struct sim *sim = own->sim;

    sim->bufs_out--;
    memset(own->bytes, POISON, b->size);
#ifdef __SANITIZE_ADDRESS__
    free(own);
#else
    kept_free(sim->kept[sim->kept_at]);
    sim->kept[sim->kept_at] = own;
    sim->kept_at = (sim->kept_at + 1) % SIM_BUFS_KEPT;
#endif
}

void sim_bufs_free(struct sim *sim)
{
    for (unsigned i = 0; i < SIM_BUFS_KEPT; i++)
        kept_free(sim->kept[i]);
}

static struct slice slice_of(struct sim *sim, const char *bytes, uint32_t len)
{
    struct sim_buf *own = sim_alloc(sizeof *own + len);

    own->sim = sim;
    own->buf = (struct buf){
        .release = buf_given_back, .pool = sim, .base = own->bytes, .size = len, .refs = 1};
    memcpy(own->bytes, bytes, len);
    sim->bufs_out++;
    return (struct slice){&own->buf, own->bytes, len};
}

/* --- pipes ---------------------------------------------------------------------------- */

static void pipe_given_back(struct buf *b)
{
    struct sim_pipe *pipe = container_of(b, struct sim_pipe, buf);

    pipe->sim->bufs_out--;
    free(pipe);
}

static struct slice pipe_of(struct sim *sim, const char *bytes, uint32_t len)
{
    struct sim_pipe *pipe = sim_alloc(sizeof *pipe + len);

    pipe->sim = sim;
    pipe->buf = (struct buf){.release = pipe_given_back, .pool = sim, .refs = 1};
    pipe->left = pipe->len = len;
    memcpy(pipe->bytes, bytes, len);
    sim->bufs_out++;
    return (struct slice){.buf = &pipe->buf, .len = len};
}

static void send_piped_complete(struct sim_flight *f, uint32_t n)
{
    struct sim_pipe *pipe = container_of(f->op->pipe.buf, struct sim_pipe, buf);

    assert(f->op->pipe.len <= pipe->left);
    sim_transmit(f->io->sim, f->end, pipe->bytes + (pipe->len - pipe->left), n);
    pipe->left -= n;
    flight_complete(f, 0, n);
}

/* --- completing ---------------------------------------------------------------------- */

static uint32_t some(struct sim *sim, size_t most)
{
    if (most > 1 && sim_chance(sim, SIM_SHORT, 3)) {
        size_t n = random_below(&sim->random, 2) ? most : most < 16 ? most : 16;
        return (uint32_t)(1 + random_below(&sim->random, n));
    }
    return (uint32_t)most;
}

static void recv_complete(struct sim_flight *f)
{
    struct sim_end *end = f->end;
    struct sim *sim = f->io->sim;
    size_t most = end->here - end->from, room = f->op->room;

    if (most == 0 || cancel_wins(f)) {
        if (f->op->cancelled)
            flight_complete(f, FAIL_CANCELLED, 0);
        else if (end->fin) /* which RST behind it does not undo */
            flight_complete(f, FAIL_CLOSED, 0);
        else if (end->reset)
            flight_complete(f, FAIL_RESET, 0);
        else
            flight_park(f);
        return;
    }
    if (random_below(&sim->random, 4) == 0) /* one slice may be larger than the room */
        room = SLICE_MAX;
    if (most > room)
        most = room;
    if (most > SLICE_MAX)
        most = SLICE_MAX;
    uint32_t n = some(sim, most ? most : 1);
    bool piped = f->op->piped && n <= f->op->room && random_below(&sim->random, 4) > 0;
    struct slice s = (piped ? pipe_of : slice_of)(sim, end->in + end->from, n);
    sim_consume(sim, end, n);
    flight_end(f, 0, n);
    io_complete_slice(&f->io->io, f->op, s);
    free(f);
}

static void send_vec_complete(struct sim_flight *f, size_t room)
{
    struct sim *sim = f->io->sim;
    const struct io_vec *vec = f->op->send.vec;
    size_t total = 0;
    uint32_t n, left;

    for (unsigned i = 0; i < f->op->send.vec_count; i++)
        total += vec[i].len;
    assert(total > 0);
    left = n = some(sim, total < room ? total : room);
    for (unsigned i = 0; left > 0; i++) {
        uint32_t part = vec[i].len < left ? (uint32_t)vec[i].len : left;
        sim_transmit(sim, f->end, vec[i].base, part);
        left -= part;
    }
    flight_complete(f, 0, n);
}

static void send_file_complete(struct sim_flight *f, size_t room)
{
    struct sim *sim = f->io->sim;
    const char *bytes;
    size_t most = sim_file_bytes(sim, f->op->file.fd, f->op->file.offset, f->op->file.len, &bytes);

    if (most == 0) {
        flight_complete(f, FAIL_IO, 0);
        return;
    }
    uint32_t n = some(sim, most < room ? most : room);
    sim_transmit(sim, f->end, bytes, n);
    flight_complete(f, 0, n);
}

static void send_complete(struct sim_flight *f)
{
    size_t room = sim_window_free(f->end);

    if (f->end->reset)
        flight_complete(f, f->op->cancelled ? FAIL_CANCELLED : FAIL_RESET, 0);
    else if (f->op->cancelled && (room == 0 || cancel_wins(f)))
        flight_complete(f, FAIL_CANCELLED, 0);
    else if (room == 0)
        flight_park(f);
    else if (f->kind == IO_SEND)
        send_vec_complete(f, room);
    else if (f->kind == IO_SEND_PIPED)
        send_piped_complete(f, some(f->io->sim, f->op->pipe.len < room ? f->op->pipe.len : room));
    else
        send_file_complete(f, room);
}

static void accept_complete(struct sim_flight *f)
{
    struct io_accept *a = container_of(f->op, struct io_accept, op);
    struct sim_end *listener = f->end->first, *end = listener->waiting;

    if (f->op->cancelled && (!end || cancel_wins(f))) {
        flight_complete(f, FAIL_CANCELLED, 0);
        sim_poke(listener); /* another one's turn */
        return;
    }
    if (!end) {
        flight_park(f);
        return;
    }
    if (sim_descriptor_new(f->io->sim, end) < 0) {
        flight_complete(f, FAIL_DESCRIPTORS, 0);
        return;
    }
    if (!(listener->waiting = end->next_waiting))
        listener->waiting_end = &listener->waiting;
    listener->waiting_count--;
    a->fd = end->fd;
    a->peer = end->peer_address;
    flight_complete(f, 0, 0);
}

static void connect_complete(struct sim_flight *f)
{
    struct sim *sim = f->io->sim;
    struct sim_end *end = f->end;
    int fail = f->fate;

    if (!f->decided || (f->op->cancelled && cancel_wins(f)))
        fail = FAIL_CANCELLED;
    if (fail) {
        sim_stream_close(sim, end, true);
    } else {
        f->op->sock->fd = end->fd;
        end->io = f->io;
        end->sock = f->op->sock;
    }
    flight_complete(f, fail, 0);
}

static void ready_complete(struct sim_flight *f)
{
    flight_check(f);
    switch (f->kind) {
    case IO_ACCEPT:
        accept_complete(f);
        break;
    case IO_CONNECT:
        connect_complete(f);
        break;
    case IO_RECV:
        recv_complete(f);
        break;
    case IO_SEND:
    case IO_SEND_FILE:
    case IO_SEND_PIPED:
        send_complete(f);
        break;
    case IO_POLL:
        flight_complete(f, f->op->cancelled ? FAIL_CANCELLED : 0, 0);
        break;
    default:
        if (f->op->cancelled && cancel_wins(f)) {
            flight_complete(f, FAIL_CANCELLED, 0);
            break;
        }
        sim_file_run(f->io, f);
        flight_complete(f, f->fate, f->op->count);
        break;
    }
}

void sim_ready_complete(struct sim_io *io)
{
    struct link_node round, *node;

    list_init(&round);
    list_splice(&round, &io->ready);
    while (!list_empty(&round)) {
        node = round.next;
        ready_complete(container_of(node, struct sim_flight, node));
        assert(round.next != node);
    }
}

/* --- starting and cancelling --------------------------------------------------------------- */

void sim_op_start(struct io *io, struct io_op *op)
{
    struct sim_io *own = sim_io_of(io);
    struct sim_flight *f;

    if (op->kind == IO_CONNECT) {
        sim_dial(own->sim, sim_flight_new(own, op, NULL));
        return;
    }
    if (op->kind == IO_POLL) {
        (void)sim_flight_new(own, op, NULL);
        return;
    }
    struct sim_end *end = sim_end_of(own->sim, op->sock->fd);
    assert(end->sock == op->sock && end->io == own);
    f = sim_flight_new(own, op, end);
    if (op->kind == IO_ACCEPT)
        list_append(&end->accepts, &f->queue);
    else if (op->kind == IO_RECV)
        end->recv = f;
    else
        end->send = f;
    assert(op->kind == IO_ACCEPT || op->kind == IO_RECV || !end->shut);
    sim_poke(end);
}

void sim_op_cancel(struct io *io, struct io_op *op)
{
    struct sim_flight *f = flight_of(op);

    assert(f->io == sim_io_of(io) && f->op == op);
    sim_say_trace(f->io->sim, "w%u cancels %s %d", f->io->index, kind_names[f->kind],
                  op->sock ? op->sock->fd : -1);
    sim_flight_come(f, 0);
}
