/* The floor of forwarding: bytes from here to there and back, unread.
 *
 * Each client has a connection to the origin for as long as it stays.  What
 * was received is sent on by reference; what comes while a send is under way
 * leaves with the next one.
 */
#include "tests/bench/bare.h"

#include "base/mem.h"

#include <stdlib.h>

enum { PIECES_MAX = 8 };

/* One direction: what `from` received waits for `to`, or is being sent. */
struct half {
    struct io_sock *from, *to;
    struct io_op recv, send;
    struct slice pieces[PIECES_MAX]; /* each with its reference */
    struct io_vec vec[PIECES_MAX];
    unsigned count;
};

struct relay {
    struct owner owner;
    struct bare *bare;
    struct io_sock client, origin;
    struct io_op connect;
    struct half there, back;
    bool connected, over;
};

static void received(struct relay *r, struct half *h)
{
    if (h->recv.fail) {
        r->over = true;
        return;
    }
    buf_ref(h->recv.slice.buf);
    h->pieces[h->count++] = h->recv.slice;
}

static void sent(struct relay *r, struct half *h)
{
    uint32_t n = h->send.count;
    unsigned gone = 0;

    if (h->send.fail) {
        r->over = true;
        return;
    }
    while (gone < h->count && n >= h->pieces[gone].len) {
        n -= h->pieces[gone].len;
        buf_unref(h->pieces[gone++].buf);
    }
    h->count -= gone;
    memmove(h->pieces, h->pieces + gone, h->count * sizeof *h->pieces);
    if (n > 0) {
        h->pieces[0].ptr += n;
        h->pieces[0].len -= n;
    }
}

static void half_record(struct relay *r, struct half *h)
{
    if (io_take(&h->send))
        sent(r, h);
    if (io_take(&h->recv))
        received(r, h);
}

static void half_move(struct relay *r, struct half *h)
{
    struct io *io = r->bare->io;

    if (h->count > 0 && !io_busy(&h->send)) {
        for (unsigned i = 0; i < h->count; i++)
            h->vec[i] = (struct io_vec){(void *)(uintptr_t)h->pieces[i].ptr, h->pieces[i].len};
        io_send(io, &h->send, h->to, h->vec, h->count);
    }
    if (h->count < PIECES_MAX && !io_busy(&h->recv))
        io_recv(io, &h->recv, h->from, IO_ROOM_BULK);
}

static bool stop(struct io *io, struct io_op *op)
{
    if (io_busy(op))
        io_cancel(io, op);
    return !io_busy(op);
}

static void half_drop(struct half *h)
{
    while (h->count > 0)
        buf_unref(h->pieces[--h->count].buf);
}

static void relay_end(struct relay *r)
{
    struct io *io = r->bare->io;
    struct io_op *ops[] = {&r->connect, &r->there.recv, &r->there.send, &r->back.recv,
                           &r->back.send};
    bool idle = true;

    for (size_t i = 0; i < COUNT_OF(ops); i++)
        idle &= stop(io, ops[i]);
    if (!idle)
        return;
    half_drop(&r->there);
    half_drop(&r->back);
    io_close(io, &r->client);
    io_close(io, &r->origin);
    owner_retire(&r->owner);
    mem_free(r);
}

static void relay_step(struct owner *owner)
{
    struct relay *r = container_of(owner, struct relay, owner);

    if (io_take(&r->connect)) {
        r->connected = r->connect.fail == 0;
        r->over |= !r->connected;
    }
    half_record(r, &r->there);
    half_record(r, &r->back);
    if (r->over) {
        relay_end(r);
    } else if (r->connected) {
        half_move(r, &r->there);
        half_move(r, &r->back);
    }
}

static void half_init(struct relay *r, struct half *h, struct io_sock *from, struct io_sock *to)
{
    h->from = from;
    h->to = to;
    h->recv.owner = h->send.owner = &r->owner;
}

static void opened(struct bare *b, int fd)
{
    struct relay *r = mem_zalloc(sizeof *r);

    if (!r) {
        io_discard(b->io, fd);
        return;
    }
    owner_init(&r->owner, &b->io->owners, relay_step);
    r->bare = b;
    r->connect.owner = &r->owner;
    r->origin.fd = -1;
    half_init(r, &r->there, &r->client, &r->origin);
    half_init(r, &r->back, &r->origin, &r->client);
    io_adopt(b->io, &r->client, fd);
    io_connect(b->io, &r->connect, &r->origin, &b->origin);
}

static bool begin(struct bare *b)
{
    return b->origin.family != ADDRESS_NONE;
}

int main(int argc, char **argv)
{
    struct bare b = {.opened = opened,
                     .begin = begin,
                     .options = "e:",
                     .usage = "bare_relay [-e ENGINE] ADDRESS:PORT ORIGIN"};

    return bare_run(&b, argc, argv);
}
