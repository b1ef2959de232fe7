/* The floor of answering: the same bytes for each request, unread.
 *
 * What a request is, is learned from a connection's first bytes: up to the
 * empty line, and all that follow are taken to be as long.  So requests that
 * come together are counted by division, and answered by one send.
 */
#include "tests/bench/bare.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

enum { BLOCK_SIZE = 64 * 1024 };

struct loop {
    struct bare bare;
    unsigned body;
    bool once;   /* one answer per connection */
    char *block; /* answers, one behind the other */
    uint32_t answer, block_len;
};

struct visit {
    struct owner owner;
    struct loop *loop;
    struct io_sock sock;
    struct io_op recv, send;
    struct io_vec vec;
    uint32_t request; /* bytes of one; 0 until learned */
    uint32_t rest;    /* bytes of a request that is not whole yet */
    uint32_t at;      /* where in the block the next byte is */
    uint64_t owed;    /* bytes to send */
    bool over;
};

static uint32_t request_length(const struct slice *s)
{
    const char *end = memmem(s->ptr, s->len, "\r\n\r\n", 4);

    return end ? (uint32_t)(end + 4 - s->ptr) : s->len;
}

static void received(struct visit *v)
{
    if (v->recv.fail) {
        v->over = true;
        return;
    }
    if (v->request == 0)
        v->request = request_length(&v->recv.slice);
    v->rest += v->recv.slice.len;
    v->owed += (uint64_t)(v->rest / v->request) * v->loop->answer;
    v->rest %= v->request;
}

static void sent(struct visit *v)
{
    if (v->send.fail) {
        v->over = true;
        return;
    }
    v->owed -= v->send.count;
    v->at = (v->at + v->send.count) % v->loop->answer;
    if (v->loop->once && v->owed == 0)
        v->over = true;
}

static void send_owed(struct visit *v)
{
    uint32_t room = v->loop->block_len - v->at;

    v->vec.base = v->loop->block + v->at;
    v->vec.len = v->owed < room ? (size_t)v->owed : room;
    if (v->loop->once) /* the end follows, and may leave with it */
        io_send_more(v->loop->bare.io, &v->send, &v->sock, &v->vec, 1);
    else
        io_send(v->loop->bare.io, &v->send, &v->sock, &v->vec, 1);
}

static void visit_end(struct visit *v)
{
    struct io *io = v->loop->bare.io;

    if (io_busy(&v->recv))
        io_cancel(io, &v->recv);
    if (io_busy(&v->send))
        io_cancel(io, &v->send);
    if (io_busy(&v->recv) || io_busy(&v->send))
        return;
    io_close(io, &v->sock);
    owner_retire(&v->owner);
    mem_free(v);
}

static void visit_step(struct owner *owner)
{
    struct visit *v = container_of(owner, struct visit, owner);

    if (io_take(&v->send))
        sent(v);
    if (io_take(&v->recv))
        received(v);
    if (v->over) {
        visit_end(v);
        return;
    }
    if (v->owed > 0 && !io_busy(&v->send))
        send_owed(v);
    if (!io_busy(&v->recv))
        io_recv(v->loop->bare.io, &v->recv, &v->sock, IO_ROOM_SMALL);
}

static void opened(struct bare *b, int fd)
{
    struct visit *v = mem_zalloc(sizeof *v);

    if (!v) {
        io_discard(b->io, fd);
        return;
    }
    owner_init(&v->owner, &b->io->owners, visit_step);
    v->loop = container_of(b, struct loop, bare);
    v->recv.owner = v->send.owner = &v->owner;
    io_adopt(b->io, &v->sock, fd);
    owner_wake(&v->owner);
}

static void option(struct bare *b, int name, const char *value)
{
    struct loop *l = container_of(b, struct loop, bare);

    if (name == 'b')
        l->body = (unsigned)strtoul(value, NULL, 10);
    else
        l->once = true;
}

static bool begin(struct bare *b)
{
    struct loop *l = container_of(b, struct loop, bare);
    char head[128];
    int n = snprintf(head, sizeof head,
                     "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %u\r\n%s\r\n",
                     l->body, l->once ? "Connection: close\r\n" : "");

    l->answer = (uint32_t)n + l->body;
    l->block_len = l->answer < BLOCK_SIZE ? BLOCK_SIZE / l->answer * l->answer : l->answer;
    l->block = mem_alloc(l->block_len);
    if (!l->block)
        return false;
    for (uint32_t at = 0; at < l->block_len; at += l->answer) {
        memcpy(l->block + at, head, (size_t)n);
        for (uint32_t i = 0; i < l->body; i++)
            l->block[at + (uint32_t)n + i] = "Hello, World!"[i % 13];
    }
    return true;
}

int main(int argc, char **argv)
{
    struct loop l = {
        .bare = {.opened = opened,
                 .begin = begin,
                 .option = option,
                 .options = "e:b:c",
                 .usage = "bare_loop [-e ENGINE] [-b BODY_BYTES] [-c] ADDRESS:PORT\n"
                          "  -c  closes after each answer"},
        .body = 13,
    };

    return bare_run(&l.bare, argc, argv);
}
