/* Many users of the io_uring backend doing whatever comes to mind, with few
 * buffers: whatever they do, each hears its own bytes in order.
 */
#include "tests/unit/io/uring_user.h"

#include <errno.h>
#include <sys/socket.h>

enum { USERS = 60, ACTIONS = 15000 };

struct chaos {
    struct random random;
    struct user *user[USERS];
    unsigned next[USERS]; /* the next byte the peer will write */
    unsigned reopened;
};

static unsigned draw(struct chaos *c, unsigned below)
{
    return (unsigned)random_below(&c->random, below);
}

/* The n-th byte of a stream is n modulo 251. */
static void check_slice(const struct user *u, const struct slice *s)
{
    bool same = true;

    for (uint32_t i = 0; i < s->len; i++)
        same &= (unsigned char)s->ptr[i] == (u->received + i) % 251;
    ck_assert(same);
}

static void chaos_step(struct owner *owner)
{
    struct user *u = container_of(owner, struct user, owner);

    if (!io_take(&u->recv))
        return;
    if (u->recv.fail) {
        ck_assert(u->recv.fail == FAIL_CANCELLED || u->recv.fail == FAIL_CLOSED);
        u->fail = u->recv.fail;
        return;
    }
    check_slice(u, &u->recv.slice);
    u->received += u->recv.slice.len;
    if (u->claims && !u->kept)
        u->kept = buf_ref(u->recv.slice.buf);
    if (u->eager)
        io_recv(io, &u->recv, &u->sock, u->room);
}

static void chaos_open(struct chaos *c, unsigned i)
{
    c->user[i] = draw(c, 2) ? user_pair(0) : user_tcp();
    c->user[i]->owner.step = chaos_step;
    c->user[i]->eager = draw(c, 2);
    c->user[i]->claims = draw(c, 4) == 0;
    c->next[i] = 0;
}

static void chaos_write(struct chaos *c, unsigned i)
{
    static unsigned char bytes[100000];
    unsigned len = draw(c, 3) ? draw(c, 300) + 1 : draw(c, sizeof bytes) + 1;

    if (c->user[i]->peer < 0)
        return;
    for (unsigned n = 0; n < len; n++)
        bytes[n] = (unsigned char)((c->next[i] + n) % 251);
    ssize_t n = send(c->user[i]->peer, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    c->next[i] += n > 0 ? (unsigned)n : 0;
}

static void chaos_ask(struct chaos *c, struct user *u)
{
    static const uint32_t rooms[] = {1, 1000, IO_ROOM_SMALL, 50000, IO_ROOM_BULK, 1 << 20};

    u->room = rooms[draw(c, 6)];
    if (!io_busy(&u->recv) && u->fail != FAIL_CLOSED)
        ask(u);
}

static void chaos_act(struct chaos *c)
{
    unsigned i = draw(c, USERS);
    struct user *u = c->user[i];

    switch (draw(c, 24)) {
    case 0:
        io_cancel(io, &u->recv);
        break;
    case 1:
        if (io_busy(&u->recv))
            break;
        user_free(u, draw(c, 2));
        chaos_open(c, i);
        c->reopened++;
        break;
    case 2:
        if (u->peer >= 0 && draw(c, 3) == 0)
            shutdown(u->peer, SHUT_WR);
        break;
    case 3:
    case 4:
        if (u->kept)
            buf_unref(u->kept);
        u->kept = NULL;
        break;
    case 5:
    case 6:
    case 7:
    case 8:
    case 9:
    case 10:
        io_turn(io, draw(c, 2) ? 0 : 100 * NS_PER_US);
        break;
    case 11:
    case 12:
    case 13:
    case 14:
    case 15:
    case 16:
        chaos_ask(c, u);
        break;
    default:
        chaos_write(c, i);
    }
}

/* What was written is heard to the end once nobody holds anything. */
static void chaos_end(struct chaos *c)
{
    for (unsigned i = 0; i < USERS; i++) {
        struct user *u = c->user[i];
        if (u->kept)
            buf_unref(u->kept);
        u->kept = NULL;
        u->claims = false;
        u->eager = true;
        shutdown(u->peer, SHUT_WR);
        if (!io_busy(&u->recv) && u->fail != FAIL_CLOSED)
            ask(u);
    }
    for (unsigned i = 0; i < USERS; i++) {
        struct user *u = c->user[i];
        UNTIL(u->fail == FAIL_CLOSED || !io_busy(&u->recv));
        while (u->fail != FAIL_CLOSED) { /* an earlier cancellation was heard */
            if (!io_busy(&u->recv))
                ask(u);
            UNTIL(u->fail == FAIL_CLOSED || !io_busy(&u->recv));
        }
        ck_assert_uint_eq(u->received, c->next[i]);
        user_free(u, false);
    }
}

static void chaos(unsigned disable, uint64_t memory, bool total, uint64_t seed)
{
    static struct chaos c;

    open_with((struct io_options){.disable = disable, .buffer_memory = memory});
    engine()->features.receive_total &= total;
    c = (struct chaos){.random.state = seed};
    for (unsigned i = 0; i < USERS; i++)
        chaos_open(&c, i);
    for (unsigned n = 0; n < ACTIONS; n++)
        chaos_act(&c);
    ck_assert_uint_gt(c.reopened, ACTIONS / 100);
    chaos_end(&c);
    turns(3);
    ck_assert_uint_eq(engine()->small.out + engine()->bulk.out + io->bufs.out, 0);
    ck_assert_uint_eq(engine()->outstanding, 1); /* the wake-up */
    shut();
}

START_TEST(whatever_users_do_each_hears_its_own_bytes_in_order)
{
    static const unsigned disables[] = {0, IO_NO_MULTISHOT_RECEIVE, IO_NO_PROVIDED_BUFFERS,
                                        IO_NO_BULK_BUFFERS, IO_NO_POLL_FIRST};
    static const uint64_t memories[] = {0, 16 << 20, 2 << 20};
    unsigned n = (unsigned)_i;

    chaos(disables[n % 5], memories[n / 5], n % 2, n + 1);
}
END_TEST

Suite *uring_chaos_suite(void)
{
    const char *why = "";
    Suite *suite = suite_create("uring_chaos");
    TCase *tc = tcase_create("uring_chaos");

    tcase_set_timeout(tc, 120);
    suite_add_tcase(suite, tc);
    if (!io_backend_usable(&io_uring_backend, &why))
        return suite;
    tcase_add_loop_test(tc, whatever_users_do_each_hears_its_own_bytes_in_order, 0, 15);
    return suite;
}
