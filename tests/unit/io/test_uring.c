/* How the io_uring backend receives: what comes before it is asked for, bulk,
 * and what the kernel still holds when its user is gone.  What all backends
 * promise is in tests/backends.
 */
#include "tests/unit/io/uring_user.h"

#include <errno.h>
#include <poll.h>

/* --- what comes before it is asked for ---------------------------------------- */

START_TEST(what_comes_early_is_kept_in_order)
{
    open_plain();
    struct user *u = user_pair(0);

    ask(u);
    say(u, "a");
    UNTIL(u->last == 'a');
    for (const char *c = "bcdef"; *c; c++) {
        say(u, (char[]){*c, '\0'});
        turns(2);
    }
    ck_assert_uint_eq(u->slices, 1);
    ck_assert_uint_ge(atomic_load(&io->stats.slices_unclaimed), 5);
    for (const char *c = "bcdef"; *c; c++) {
        ask(u);
        ck_assert(io_busy(&u->recv));
        uint64_t before = io->now_ns;
        io_turn(io, NS_PER_S);
        ck_assert_int_eq(u->last, *c);
        ck_assert_uint_lt(io->now_ns - before, NS_PER_S / 2); /* it did not sleep */
    }
    user_free(u, false);
    shut();
}
END_TEST

START_TEST(the_end_of_the_stream_comes_after_what_came_early)
{
    open_plain();
    struct user *u = user_pair(0);

    ask(u);
    say(u, "a");
    UNTIL(u->last == 'a');
    say(u, "b");
    turns(2);
    close(u->peer);
    u->peer = -1;
    turns(2);
    ask(u);
    UNTIL(u->last == 'b');
    for (int i = 0; i < 2; i++) { /* and again, to who asks again */
        u->fail = 0;
        ask(u);
        UNTIL(u->fail == FAIL_CLOSED);
    }
    user_free(u, false);
    shut();
}
END_TEST

static struct user *user_of_kind(int kind)
{
    return kind == 0 ? user_pair(0) : user_tcp();
}

/* The last bytes and the end in one wakeup; the end by RST for kind 2. */
static void say_and_end(struct user *u, int kind)
{
    struct linger none = {.l_onoff = 1};

    say(u, "bye");
    if (kind == 2)
        setsockopt(u->peer, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    close(u->peer);
    u->peer = -1;
}

/* Kernels forget it in this case or that, for sockets of this kind or that. */
START_TEST(the_end_is_heard_when_it_comes_with_the_last_bytes)
{
    int kind = _i % 3;
    bool armed = _i / 3 % 2, before = _i / 6 % 2;

    open_plain();
    if (_i / 12)
        engine()->features.hears_end = false; /* older kernels */
    struct user *u = user_of_kind(kind);
    if (before) {
        ask(u);
        say(u, "hello");
        UNTIL(u->received == 5);
    }
    if (armed) {
        ask(u);
        turns(2);
        if (!engine()->features.hears_end)
            ck_assert_int_eq(inlet(u)->mode, kind == 0 ? INLET_ONCE : INLET_MULTISHOT);
    }
    say_and_end(u, kind);
    if (!armed)
        ask(u);
    u->eager = true;
    UNTIL(u->fail);
    ck_assert_int_eq(u->fail, kind == 2 ? FAIL_RESET : FAIL_CLOSED);
    ck_assert_uint_eq(u->received, before ? 8 : 3);
    user_free(u, false);
    shut();
}
END_TEST

static void unclaimed_is_bounded(bool total)
{
    open_plain();
    if (!total)
        engine()->features.receive_total = false;
    else if (!engine()->features.receive_total) {
        shut();
        return; /* an older kernel */
    }
    struct user *u = user_tcp();
    ask(u);
    turns(1);
    size_t sent = fill(u, 2 * 1024 * 1024, NULL, 0);
    UNTIL(u->slices == 1);
    for (int i = 0; i < 20; i++) {
        sent += fill(u, 256 * 1024, NULL, sent);
        turns(1);
    }
    ck_assert_int_eq(inlet(u)->mode, INLET_OFF); /* nobody asked for more */
    if (total)
        ck_assert_uint_le(inlet(u)->unclaimed + u->received, u->room + IO_BUF_SIZE);
    u->eager = true;
    u->room = IO_ROOM_BULK;
    ask(u);
    UNTIL(u->received == sent);
    user_free(u, false);
    shut();
}

START_TEST(what_comes_early_is_bounded_by_room)
{
    unclaimed_is_bounded(true);
}
END_TEST

START_TEST(what_comes_early_is_bounded_by_cancelling_on_older_kernels)
{
    unclaimed_is_bounded(false);
}
END_TEST

START_TEST(a_cancelled_receive_loses_no_bytes)
{
    open_plain();
    struct user *u = user_pair(0);

    for (int i = 0; i < 3; i++) {
        u->fail = 0;
        ask(u);
        turns(i);
        io_cancel(io, &u->recv);
        ck_assert(io_busy(&u->recv));
        UNTIL(u->fail == FAIL_CANCELLED);
    }
    say(u, "x");
    ask(u);
    UNTIL(u->last == 'x');
    say(u, "y");
    turns(2);
    ask(u);
    io_cancel(io, &u->recv);
    UNTIL(!io_busy(&u->recv));
    ck_assert_int_eq(u->last, 'y'); /* was on its way */
    user_free(u, false);
    shut();
}
END_TEST

/* --- bulk --------------------------------------------------------------------- */

static void stream_with(unsigned disable, uint32_t room, bool total)
{
    open_with((struct io_options){.disable = disable});
    if (!total)
        engine()->features.receive_total = false;
    struct user *u = user_tcp();
    u->room = room;
    u->eager = true;
    ask(u);
    stream_bytes(u, 4 * 1024 * 1024 + 11);
    say(u, "!");
    UNTIL(u->last == '!');
    bool big = room >= 2 * IO_BUF_SIZE && !(disable & (IO_NO_PROVIDED_BUFFERS | IO_NO_BULK_BUFFERS));
    ck_assert_int_eq(u->biggest > IO_BUF_SIZE, big);
    user_free(u, false);
    turns(2);
    ck_assert_uint_eq(engine()->small.out + engine()->bulk.out, 0);
    shut();
}

static const unsigned disables[] = {
    0,
    IO_NO_MULTISHOT_RECEIVE,
    IO_NO_PROVIDED_BUFFERS,
    IO_NO_BULK_BUFFERS,
    IO_NO_POLL_FIRST,
    IO_NO_POLL_FIRST | IO_NO_MULTISHOT_RECEIVE,
};

START_TEST(every_byte_arrives_in_order_whatever_is_switched_off)
{
    stream_with(disables[_i], IO_ROOM_SMALL, true);
    stream_with(disables[_i], 40000, true);
    stream_with(disables[_i], IO_ROOM_BULK, true);
    stream_with(disables[_i], IO_ROOM_BULK, false);
    stream_with(disables[_i], 1, true);
}
END_TEST

START_TEST(small_messages_get_no_bulk_buffer_however_much_room_there_is)
{
    open_plain();
    struct user *u = user_pair(0);

    u->room = IO_ROOM_BULK;
    u->eager = true;
    ask(u);
    for (int i = 0; i < 10; i++) {
        size_t before = u->received;
        say(u, "small");
        UNTIL(u->received == before + 5);
    }
    ck_assert_int_eq(inlet(u)->mode, INLET_MULTISHOT);
    user_free(u, false);
    shut();
}
END_TEST

/* --- sockets whose user is gone -------------------------------------------------- */

START_TEST(closing_a_receiving_socket_sends_fin_at_once)
{
    char c;

    open_plain();
    struct user *u = user_tcp();
    ask(u);
    say(u, "a");
    UNTIL(u->last == 'a');
    ck_assert_int_eq(inlet(u)->mode, INLET_MULTISHOT);
    int peer = u->peer;
    u->peer = -1;
    user_free(u, false);
    turns(1);
    ck_assert_int_eq(recv(peer, &c, 1, MSG_DONTWAIT), 0);
    close(peer);
    shut();
}
END_TEST

START_TEST(resetting_a_receiving_socket_sends_rst_at_once)
{
    char c;

    open_plain();
    struct user *u = user_tcp();
    ask(u);
    say(u, "a");
    UNTIL(u->last == 'a');
    int peer = u->peer;
    u->peer = -1;
    user_free(u, true);
    turns(1);
    ck_assert_int_eq(recv(peer, &c, 1, MSG_DONTWAIT), -1);
    ck_assert_int_eq(errno, ECONNRESET);
    close(peer);
    shut();
}
END_TEST

START_TEST(a_descriptor_is_closed_once_and_its_number_not_reused_before)
{
    int after[20];

    open_plain();
    struct user *u = user_pair(0);
    ask(u);
    say(u, "a");
    UNTIL(u->last == 'a');
    user_free(u, false);
    for (int i = 0; i < 20; i++)
        after[i] = dup(STDERR_FILENO);
    turns(2);
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(close(after[i]), 0);
    shut();
}
END_TEST

START_TEST(what_comes_after_closing_is_dropped)
{
    open_plain();
    struct user *u = user_pair(0);

    ask(u);
    say(u, "a");
    UNTIL(u->last == 'a');
    say(u, "b");
    turns(2);
    say(u, "c");
    int peer = u->peer;
    u->peer = -1;
    user_free(u, false);
    (void)!send(peer, "d", 1, MSG_NOSIGNAL);
    turns(3);
    ck_assert_uint_eq(engine()->small.out, 0);
    ck_assert_uint_eq(engine()->outstanding, 1); /* the wake-up */
    close(peer);
    shut();
}
END_TEST

START_TEST(the_engine_can_go_while_the_kernel_holds_closed_sockets)
{
    open_plain();
    for (int i = 0; i < 20; i++) {
        struct user *u = user_pair(0);
        ask(u);
        say(u, "a");
        UNTIL(u->last == 'a');
        user_free(u, i % 2);
    }
    shut();
}
END_TEST

START_TEST(non_blocking_descriptors_wait_too)
{
    static char big[1 << 20];

    open_plain();
    struct user *u = user_pair(SOCK_NONBLOCK);
    struct io_vec vec[2] = {{big, sizeof big}, {big, sizeof big}};
    ask(u);
    turns(2);
    say(u, "a");
    UNTIL(u->last == 'a');
    size_t left = 2 * sizeof big;
    while (left > 0) {
        struct pollfd p = {.fd = u->peer, .events = POLLIN};
        ssize_t n;
        if (!io_busy(&u->send))
            io_send(io, &u->send, &u->sock, vec, 2);
        turns(1);
        while (left > 0 && poll(&p, 1, 0) == 1 && (n = read(u->peer, big, sizeof big)) > 0)
            left = (size_t)n < left ? left - (size_t)n : 0;
    }
    io_cancel(io, &u->send);
    UNTIL(!io_busy(&u->send));
    user_free(u, false);
    shut();
}
END_TEST

Suite *uring_suite(void)
{
    const char *why = "";
    Suite *suite = suite_create("uring");
    TCase *tc = tcase_create("uring");

    tcase_set_timeout(tc, 60);
    suite_add_tcase(suite, tc);
    if (!io_backend_usable(&io_uring_backend, &why))
        return suite; /* containers often forbid it */
    tcase_add_test(tc, what_comes_early_is_kept_in_order);
    tcase_add_test(tc, the_end_of_the_stream_comes_after_what_came_early);
    tcase_add_loop_test(tc, the_end_is_heard_when_it_comes_with_the_last_bytes, 0, 24);
    tcase_add_test(tc, what_comes_early_is_bounded_by_room);
    tcase_add_test(tc, what_comes_early_is_bounded_by_cancelling_on_older_kernels);
    tcase_add_test(tc, a_cancelled_receive_loses_no_bytes);
    tcase_add_loop_test(tc, every_byte_arrives_in_order_whatever_is_switched_off, 0,
                        (int)(sizeof disables / sizeof *disables));
    tcase_add_test(tc, small_messages_get_no_bulk_buffer_however_much_room_there_is);
    tcase_add_test(tc, closing_a_receiving_socket_sends_fin_at_once);
    tcase_add_test(tc, resetting_a_receiving_socket_sends_rst_at_once);
    tcase_add_test(tc, a_descriptor_is_closed_once_and_its_number_not_reused_before);
    tcase_add_test(tc, what_comes_after_closing_is_dropped);
    tcase_add_test(tc, the_engine_can_go_while_the_kernel_holds_closed_sockets);
    tcase_add_test(tc, non_blocking_descriptors_wait_too);
    return suite;
}
