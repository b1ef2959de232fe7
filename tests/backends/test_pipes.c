/* Bytes that pass from one socket to another by pipe, where the backend has that. */
#include "tests/backends/backends.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BYTES = 10 * 1024 * 1024, CHUNK = 100 * 1000 };

/* Whatever comes on one socket goes to another; or, if it drops, nowhere. */
struct relay {
    struct owner owner;
    struct io *io;
    struct io_sock from, to;
    struct io_op recv, send;
    struct slice slice; /* claimed; what is still to be sent */
    struct io_vec vec;
    uint64_t received, sent, by_pipe;
    uint32_t room;
    int end, send_fail;
    bool drops;
};

static void relay_send(struct relay *r)
{
    if (!r->slice.ptr) {
        io_send_piped(r->io, &r->send, &r->to, r->slice.buf, r->slice.len, false);
        return;
    }
    r->vec = (struct io_vec){(void *)(uintptr_t)r->slice.ptr, r->slice.len};
    io_send(r->io, &r->send, &r->to, &r->vec, 1);
}

static void relay_received(struct relay *r)
{
    if ((r->end = r->recv.fail))
        return;
    CHECK(r->recv.slice.ptr || r->recv.slice.len <= r->room);
    r->received += r->recv.slice.len;
    if (!r->recv.slice.ptr)
        r->by_pipe += r->recv.slice.len;
    if (r->drops)
        return;
    r->slice = r->recv.slice;
    buf_ref(r->slice.buf);
}

static void relay_sent(struct relay *r)
{
    uint32_t n = r->send.count;

    if ((r->send_fail = r->send.fail))
        return;
    CHECK(n > 0 && n <= r->slice.len);
    r->sent += n;
    r->slice.len -= n;
    if (r->slice.ptr)
        r->slice.ptr += n;
    if (r->slice.len > 0)
        return;
    buf_unref(r->slice.buf);
    r->slice.buf = NULL;
}

static void relay_step(struct owner *o)
{
    struct relay *r = container_of(o, struct relay, owner);

    if (io_take(&r->recv))
        relay_received(r);
    if (io_take(&r->send))
        relay_sent(r);
    if (r->slice.buf && !io_busy(&r->send) && !r->send_fail)
        relay_send(r);
    if (!r->slice.buf && !io_busy(&r->recv) && !r->end)
        io_recv_piped(r->io, &r->recv, &r->from, r->room);
}

static void relay_open(struct relay *r, struct io *io, uint32_t room, int *in, int *out)
{
    struct peer from, to;

    *r = (struct relay){.io = io, .room = room};
    *in = peer_pair(&from, io);
    *out = peer_pair(&to, io);
    r->from = from.sock; /* no operation has been started on them yet */
    r->to = to.sock;
    owner_retire(&from.owner);
    owner_retire(&to.owner);
    owner_init(&r->owner, &io->owners, relay_step);
    r->recv.owner = r->send.owner = &r->owner;
    owner_wake(&r->owner);
}

static void relay_close(struct relay *r)
{
    if (r->slice.buf)
        buf_unref(r->slice.buf);
    io_close(r->io, &r->from);
    io_close(r->io, &r->to);
    owner_retire(&r->owner);
}

/* --- the far ends, threads of their own ------------------------------------------------ */

static void *write_all(void *arg)
{
    static char chunk[CHUNK];
    int fd = *(int *)arg;

    for (size_t at = 0; at < BYTES;) {
        size_t n = BYTES - at < CHUNK ? BYTES - at : CHUNK;
        for (size_t i = 0; i < n; i++)
            chunk[i] = pattern(3, at + i);
        if (send(fd, chunk, n, MSG_NOSIGNAL) < 0)
            return NULL; /* what has come is counted at the other end */
        at += n;
    }
    shutdown(fd, SHUT_WR);
    return NULL;
}

static void *read_all(void *arg)
{
    static char chunk[CHUNK];
    int fd = *(int *)arg;

    for (size_t at = 0; at < BYTES;) {
        size_t n = plain_read(fd, chunk, BYTES - at < CHUNK ? BYTES - at : CHUNK);
        CHECK(n > 0);
        for (size_t i = 0; i < n; i++)
            CHECK_EQUAL(chunk[i], pattern(3, at + i));
        at += n;
    }
    return NULL;
}

/* --- tests -------------------------------------------------------------------------------- */

static void pass(struct io *io, uint32_t room, bool by_pipe)
{
    struct relay r;
    int in, out;
    pthread_t writer, reader;

    relay_open(&r, io, room, &in, &out);
    CHECK(pthread_create(&writer, NULL, write_all, &in) == 0);
    CHECK(pthread_create(&reader, NULL, read_all, &out) == 0);
    TURN_UNTIL(io, r.end && r.sent == BYTES);
    CHECK_EQUAL(r.end, FAIL_CLOSED);
    CHECK_EQUAL(r.received, BYTES);
    CHECK_EQUAL(r.by_pipe > 0, by_pipe);
    CHECK_EQUAL(io->stats.piped > 0, by_pipe);
    pthread_join(writer, NULL);
    pthread_join(reader, NULL);
    relay_close(&r);
    close(in);
    close(out);
}

static void ten_megabytes_pass_by_pipe_in_order(void)
{
    struct io *io = engine_open();

    pass(io, IO_PIPED_MAX, io->piped_min != UINT32_MAX);
    engine_close(io);
}

static void little_room_in_the_pipe_is_kept_to(void)
{
    struct io *io = engine_open();

    pass(io, IO_PIPED_MIN, io->piped_min != UINT32_MAX);
    engine_close(io);
}

static void without_pipes_it_passes_through_memory(void)
{
    const char *why;
    struct io *io;
    struct io_options options = {.sockets_max = 64, .disable = IO_NO_SPLICE};

    CHECK_EQUAL(io_open(&io, backend, &options, &why), 0);
    pass(io, IO_PIPED_MAX, false);
    engine_close(io);
    options = (struct io_options){.sockets_max = 64, .buffer_memory = 320 * 1024};
    CHECK_EQUAL(io_open(&io, backend, &options, &why), 0);
    pass(io, IO_PIPED_MAX, false); /* none that the memory would bear */
    engine_close(io);
}

static unsigned descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;

    CHECK(dir != NULL);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

static void what_is_dropped_spoils_no_pipe(void)
{
    unsigned before = descriptors();
    struct io *io = engine_open();
    pthread_t writer;
    struct relay r;
    int in, out;

    relay_open(&r, io, IO_PIPED_MAX, &in, &out);
    r.drops = true;
    CHECK(pthread_create(&writer, NULL, write_all, &in) == 0);
    TURN_UNTIL(io, r.end);
    CHECK_EQUAL(r.end, FAIL_CLOSED);
    CHECK_EQUAL(r.received, BYTES);
    pthread_join(writer, NULL);
    relay_close(&r);
    close(in);
    close(out);
    pass(io, IO_PIPED_MAX, io->piped_min != UINT32_MAX); /* in order, from the same pool */
    engine_close(io);
    CHECK_EQUAL(descriptors(), before);
}

/* Nobody reads at the far end, so that a send from a pipe waits: for nothing but room, though the
 * far end has said all that it has to say.  It is cancelled. */
static void a_send_from_a_pipe_waits_and_can_be_cancelled(void)
{
    struct io *io = engine_open();
    pthread_t writer;
    struct relay r;
    int in, out, small = 20000;
    unsigned turns = 0;

    if (io->piped_min == UINT32_MAX) {
        engine_close(io);
        skip("no pipes");
    }
    relay_open(&r, io, IO_PIPED_MAX, &in, &out);
    setsockopt(r.to.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    CHECK(pthread_create(&writer, NULL, write_all, &in) == 0);
    for (uint64_t sent = 1; r.sent != sent || !io_busy(&r.send) || r.slice.ptr;) {
        sent = r.sent;
        for (int i = 0; i < 5; i++)
            CHECK(io_turn(io, 20 * NS_PER_MS));
    }
    shutdown(out, SHUT_WR);
    for (uint64_t from = real_ns(); real_ns() - from < NS_PER_S / 2; turns++)
        CHECK(io_turn(io, 100 * NS_PER_MS));
    CHECK(turns < 150);
    io_cancel(io, &r.send);
    CHECK(io_busy(&r.send)); /* not from inside the call */
    TURN_UNTIL(io, !io_busy(&r.send) && r.send_fail);
    CHECK_EQUAL(r.send_fail, FAIL_CANCELLED);
    relay_close(&r);
    pthread_join(writer, NULL);
    close(in);
    close(out);
    engine_close(io);
}

const struct test pipe_tests[] = {
    {"ten_megabytes_pass_by_pipe_in_order", ten_megabytes_pass_by_pipe_in_order},
    {"little_room_in_the_pipe_is_kept_to", little_room_in_the_pipe_is_kept_to},
    {"without_pipes_it_passes_through_memory", without_pipes_it_passes_through_memory},
    {"what_is_dropped_spoils_no_pipe", what_is_dropped_spoils_no_pipe},
    {"a_send_from_a_pipe_waits_and_can_be_cancelled",
     a_send_from_a_pipe_waits_and_can_be_cancelled},
    {0},
};
