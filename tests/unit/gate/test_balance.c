/* Choosing servers: who gets how much, and who keeps what. */
#include "gate/balance.h"

#include "base/hash.h"
#include "gate/link.h"
#include "gate/sticky.h"
#include "gate/upstream.h"
#include "tests/unit/suites.h"

#include <stdio.h>

enum { SERVERS_MAX = 8, DRAWS = 20000 };

struct group {
    struct io io;
    struct worker worker;
    struct exchange x;
    struct upstream_conf conf;
    struct server_entry servers[SERVERS_MAX];
    struct server_state states[SERVERS_MAX];
    struct pool_server pooled[SERVERS_MAX];
    char texts[SERVERS_MAX][16];
    struct pool_view *view;
    unsigned got[SERVERS_MAX];
};

static struct group group;
static const struct tried none;

static struct group *group_make(enum balance balance, unsigned count, const unsigned *weights)
{
    static _Alignas(struct pool_view) char
        room[sizeof(struct pool_view) + SERVERS_MAX * sizeof(struct pool_server *)];
    struct group *g = &group;

    memset(g, 0, sizeof *g);
    g->io.random.state = 42;
    g->io.now_ns = 1000 * NS_PER_S;
    g->worker.io = &g->io;
    g->x.worker = &g->worker;
    g->view = (struct pool_view *)(void *)room;
    g->view->count = g->view->reach = count;
    g->conf = (struct upstream_conf){
        .servers = g->servers, .server_count = count, .balance = balance, .counted = true,
        .limited = true};
    for (unsigned i = 0; i < count; i++) {
        snprintf(g->texts[i], sizeof g->texts[i], "10.0.0.%u:80", i + 1);
        g->view->servers[i] = &g->pooled[i];
        g->servers[i] = (struct server_entry){.text = span_of(g->texts[i]),
                                              .weight = weights ? weights[i] : 1,
                                              .max_in_flight = VALUE_OFF,
                                              .state = &g->states[i]};
        g->pooled[i].tenure = g->pooled[i].share = 1;
        g->pooled[i].hash = hash_text(g->servers[i].text);
    }
    return g;
}

static int draw(struct group *g)
{
    bool full = false;
    int i = balance_choose(g->view, &g->conf, &g->x, &none, &full);

    ck_assert_int_ge(i, 0);
    g->got[i]++;
    return i;
}

/* Pearson's statistic against shares by weight. */
static double chi_square(const struct group *g, unsigned draws)
{
    double sum = 0, all = 0;

    for (unsigned i = 0; i < g->conf.server_count; i++)
        all += g->servers[i].weight;
    for (unsigned i = 0; i < g->conf.server_count; i++) {
        double want = draws * g->servers[i].weight / all, off = g->got[i] - want;
        sum += off * off / want;
    }
    return sum;
}

/* A client's address stands for the key. */
static void key_set(struct group *g, unsigned n)
{
    g->conf.hash_on = HASH_CLIENT_IP;
    g->x.client.family = ADDRESS_IPV4;
    memcpy(g->x.client.ip, &n, sizeof n);
}

static const unsigned uneven[] = {1, 2, 5, 12};

START_TEST(uneven_weights_are_kept_exactly_in_turn)
{
    static const enum balance balances[] = {BALANCE_ROUND_ROBIN, BALANCE_LEAST_CONN};
    struct group *g = group_make(balances[_i], 4, uneven); /* nothing is under way */
    unsigned longest = 0, run = 0;

    for (unsigned i = 0, last = 9; i < 20 * 50; i++) {
        unsigned now = (unsigned)draw(g);
        run = now == last ? run + 1 : 1;
        longest = run > longest ? run : longest;
        last = now;
    }
    for (unsigned i = 0; i < 4; i++)
        ck_assert_uint_eq(g->got[i], uneven[i] * 50);
    ck_assert_uint_le(longest, 3); /* well mixed */
}
END_TEST

/* 16.27 is what three degrees of freedom exceed once in a thousand; the draws are always the same.
 */
START_TEST(uneven_weights_are_kept_by_drawing)
{
    static const enum balance balances[] = {BALANCE_RANDOM, BALANCE_P2C};
    struct group *g = group_make(balances[_i], 4, uneven);

    for (unsigned i = 0; i < DRAWS; i++)
        draw(g);
    ck_assert_double_lt(chi_square(g, DRAWS), 16.27);
}
END_TEST

START_TEST(who_has_the_least_for_its_weight_serves)
{
    struct group *g = group_make(BALANCE_LEAST_CONN, 4, uneven);

    for (unsigned i = 0; i < 400; i++)
        g->states[draw(g)].in_flight++;
    for (unsigned i = 0; i < 4; i++)
        ck_assert_uint_eq(g->got[i], uneven[i] * 20);
    g->states[2].in_flight -= 2;
    ck_assert_int_eq(draw(g), 2);
}
END_TEST

START_TEST(uneven_weights_are_kept_by_hashing)
{
    struct group *g = group_make(BALANCE_HASH, 4, uneven);

    for (unsigned i = 0; i < DRAWS; i++) {
        key_set(g, i);
        draw(g);
    }
    ck_assert_double_lt(chi_square(g, DRAWS), 16.27);
}
END_TEST

START_TEST(a_key_stays_and_only_those_of_a_lost_server_move)
{
    struct group *g = group_make(BALANCE_HASH, 5, NULL);
    int before[1000];
    unsigned moved = 0, to[SERVERS_MAX] = {0};

    for (unsigned i = 0; i < 1000; i++) {
        key_set(g, i);
        before[i] = draw(g);
        ck_assert_int_eq(draw(g), before[i]);
    }
    g->servers[2].down = true;
    for (unsigned i = 0; i < 1000; i++) {
        key_set(g, i);
        int now = draw(g);
        ck_assert(before[i] == 2 || now == before[i]);
        moved += now != before[i];
        to[now] += now != before[i];
    }
    ck_assert_uint_gt(moved, 100);
    for (unsigned i = 0; i < 5; i++)
        ck_assert(i == 2 || to[i] > moved / 8);
}
END_TEST

START_TEST(a_hashed_server_with_too_much_is_passed_over)
{
    struct group *g = group_make(BALANCE_HASH, 4, NULL);

    key_set(g, 7);
    int home = draw(g);
    for (unsigned i = 0; i < 4; i++)
        g->states[i].in_flight = 100;
    ck_assert_int_eq(draw(g), home);
    g->states[home].in_flight = 140;
    int other = draw(g);
    ck_assert_int_ne(other, home);
    ck_assert_int_eq(draw(g), other);
    for (unsigned i = 0; i < 4; i++)
        g->states[i].in_flight = 0;
    g->states[home].in_flight = 7; /* few are never too many */
    ck_assert_int_eq(draw(g), home);
}
END_TEST

START_TEST(requests_without_the_key_are_spread)
{
    struct group *g = group_make(BALANCE_HASH, 4, NULL);

    g->x.client.family = ADDRESS_UNIX;
    for (unsigned i = 0; i < DRAWS; i++)
        draw(g);
    ck_assert_double_lt(chi_square(g, DRAWS), 16.27);
}
END_TEST

START_TEST(of_two_the_one_that_is_clearly_better_off_serves)
{
    struct group *g = group_make(BALANCE_P2C, 2, NULL);

    for (unsigned i = 0; i < 2; i++)
        server_answered(&g->states[i], g->io.now_ns, (10 + i) * NS_PER_MS);
    for (unsigned i = 0; i < 1000; i++)
        draw(g);
    ck_assert_uint_gt(g->got[1], 400); /* a tenth is chance */
    server_answered(&g->states[1], g->io.now_ns, 200 * NS_PER_MS);
    for (unsigned i = 0; i < 1000; i++)
        ck_assert_int_eq(draw(g), 0);
    g->states[0].in_flight = 9;
    ck_assert_int_eq(draw(g), 1);
}
END_TEST

START_TEST(who_was_slow_once_is_tried_again_later)
{
    struct group *g = group_make(BALANCE_P2C, 2, NULL);

    server_answered(&g->states[0], g->io.now_ns, 10 * NS_PER_MS);
    server_answered(&g->states[1], g->io.now_ns, 40 * NS_PER_MS);
    for (unsigned i = 0; i < 100; i++)
        ck_assert_int_eq(draw(g), 0);
    for (unsigned i = 0; i < 200; i++) {
        g->io.now_ns += 100 * NS_PER_MS;
        server_answered(&g->states[0], g->io.now_ns, 10 * NS_PER_MS);
    }
    for (unsigned i = 0; i < 1000; i++)
        draw(g);
    ck_assert_uint_gt(g->got[1], 400);
}
END_TEST

START_TEST(a_quick_refusal_does_not_attract)
{
    struct group *g = group_make(BALANCE_P2C, 2, NULL);

    server_answered(&g->states[0], g->io.now_ns, 10 * NS_PER_MS);
    server_answered(&g->states[1], g->io.now_ns, 10 * NS_PER_MS);
    server_failed(&g->states[1], g->io.now_ns);
    for (unsigned i = 0; i < 100; i++)
        ck_assert_int_eq(draw(g), 0);
}
END_TEST

START_TEST(backups_serve_only_when_nobody_else_may)
{
    struct group *g = group_make((enum balance)_i, 3, NULL);
    bool full = false;

    key_set(g, 1);
    g->servers[2].backup = true;
    for (unsigned i = 0; i < 100; i++)
        ck_assert_int_ne(draw(g), 2);
    g->servers[0].weight = 0;
    g->pooled[1].tenure = 0;
    ck_assert_int_eq(draw(g), 2);
    ck_assert_int_eq(balance_choose(g->view, &g->conf, &g->x, &(struct tried){1, {2}}, &full), -1);
    g->servers[2].down = true;
    ck_assert_int_eq(balance_choose(g->view, &g->conf, &g->x, &none, &full), -1);
    ck_assert(!full);
}
END_TEST

START_TEST(priorities_serve_one_after_the_other_and_backups_last)
{
    static const uint8_t behind[] = {2, 0, 0, 1};
    static const struct tried two = {2, {1, 2}};
    struct group *g = group_make((enum balance)_i, 5, NULL);
    bool full = false;

    key_set(g, 1);
    for (unsigned i = 0; i < COUNT_OF(behind); i++)
        g->pooled[i].behind = behind[i];
    g->servers[4].backup = true;
    for (unsigned i = 0; i < 100; i++)
        draw(g);
    ck_assert_uint_eq(g->got[1] + g->got[2], 100);
    ck_assert_int_eq(balance_choose(g->view, &g->conf, &g->x, &two, &full), 3);
    ck_assert(balance_has_other(g->view, &g->conf, &g->x, &two));
    g->servers[1].down = g->servers[2].down = true;
    for (unsigned i = 0; i < 20; i++)
        ck_assert_int_eq(draw(g), 3);
    g->servers[3].down = true;
    for (unsigned i = 0; i < 20; i++)
        ck_assert_int_eq(draw(g), 0);
    g->servers[0].down = true;
    ck_assert_int_eq(draw(g), 4);
    ck_assert(balance_has_other(g->view, &g->conf, &g->x, &none));
    g->servers[4].down = true;
    ck_assert_int_eq(balance_choose(g->view, &g->conf, &g->x, &none, &full), -1);
    ck_assert(!balance_has_other(g->view, &g->conf, &g->x, &none));
}
END_TEST

START_TEST(who_is_at_his_limit_is_passed_over)
{
    struct group *g = group_make((enum balance)_i, 3, NULL);
    bool full = false;

    key_set(g, 1);
    for (unsigned i = 0; i < 3; i++)
        g->states[i].max_in_flight = 2;
    g->states[0].in_flight = g->states[2].in_flight = 2;
    for (unsigned i = 0; i < 20; i++)
        ck_assert_int_eq(draw(g), 1);
    g->states[1].in_flight = 2;
    ck_assert_int_eq(balance_choose(g->view, &g->conf, &g->x, &none, &full), -1);
    ck_assert(full);
}
END_TEST

START_TEST(who_is_back_begins_with_little)
{
    static const enum balance balances[] = {BALANCE_RANDOM, BALANCE_ROUND_ROBIN};
    struct group *g = group_make(balances[_i], 2, NULL);

    g->conf.ejects = true;
    g->conf.slow_start = 10 * NS_PER_S;
    g->states[1].back_at = g->io.now_ns - 2500 * NS_PER_MS;
    for (unsigned i = 0; i < 1000; i++)
        draw(g);
    ck_assert(g->got[1] > 160 && g->got[1] < 240); /* a quarter against a whole */
    g->io.now_ns += 8 * NS_PER_S;
    g->got[1] = 0;
    for (unsigned i = 0; i < 1000; i++)
        draw(g);
    ck_assert(g->got[1] > 450 && g->got[1] < 550);
    g->states[1].back_at = g->io.now_ns;
    g->got[1] = 0;
    for (unsigned i = 0; i < 1000; i++)
        draw(g);
    ck_assert(g->got[1] > 30 && g->got[1] < 90);
}
END_TEST

START_TEST(what_is_ordered_by_hand_holds_at_once)
{
    struct group *g = group_make((enum balance)_i, 3, NULL);
    static const enum steer out[] = {STEER_DRAIN, STEER_DOWN};
    bool full = false;

    for (unsigned k = 0; k < COUNT_OF(out); k++) {
        server_steer_set(&g->states[0], out[k]);
        server_steer_set(&g->states[2], out[k]);
        for (unsigned i = 0; i < 50; i++) {
            key_set(g, i);
            ck_assert_int_eq(draw(g), 1);
        }
        server_steer_set(&g->states[1], out[k]);
        ck_assert_int_eq(balance_choose(g->view, &g->conf, &g->x, &none, &full), -1);
        ck_assert(!full);
        for (unsigned i = 0; i < 3; i++)
            server_steer_set(&g->states[i], STEER_UP);
    }
    server_weight_set(&g->states[1], 0); /* no new work */
    memset(g->got, 0, sizeof g->got);
    for (unsigned i = 0; i < 200; i++) {
        key_set(g, i);
        draw(g);
    }
    ck_assert(g->got[0] > 0 && g->got[1] == 0);
}
END_TEST

/* With the weights that are in effect, not those that are configured. */
START_TEST(a_weight_by_hand_is_kept_as_one_that_is_written)
{
    static const enum balance balances[] = {BALANCE_ROUND_ROBIN, BALANCE_RANDOM, BALANCE_P2C,
                                            BALANCE_HASH};
    struct group *g = group_make(balances[_i], 4, NULL);

    for (unsigned i = 0; i < 4; i++)
        server_weight_set(&g->states[i], uneven[i]);
    for (unsigned i = 0; i < DRAWS; i++) {
        key_set(g, i);
        draw(g);
    }
    for (unsigned i = 0; i < 4; i++)
        g->servers[i].weight = uneven[i]; /* what is compared with */
    ck_assert_double_lt(chi_square(g, DRAWS), 16.27);
    ck_assert_double_gt(g->got[3], DRAWS / 2.0);
}
END_TEST

START_TEST(up_gives_back_what_is_configured_and_a_weight_outlives_a_drain)
{
    struct server_state s = {0};

    ck_assert_uint_eq(server_weight(&s, 7), 7);
    server_weight_set(&s, 10000);
    server_steer_set(&s, STEER_DRAIN);
    ck_assert_uint_eq(server_weight(&s, 7), 10000);
    ck_assert_int_eq(server_steer(&s), STEER_DRAIN);
    server_weight_set(&s, 0);
    ck_assert_int_eq(server_steer(&s), STEER_DRAIN);
    ck_assert_uint_eq(server_weight(&s, 7), 0);
    server_steer_set(&s, STEER_UP);
    ck_assert_int_eq(server_steer(&s), STEER_UP);
    ck_assert_uint_eq(server_weight(&s, 7), 7);
}
END_TEST

START_TEST(a_failure_is_kept_whole)
{
    struct server_state s = {0};
    struct server_failure f = {1795910400123, (enum cause)(CAUSE_COUNT - 1), 0};

    ck_assert_uint_eq(server_failure_of(&s).wall_ms, 0);
    server_failure_set(&s, f);
    ck_assert_uint_eq(server_failure_of(&s).wall_ms, f.wall_ms);
    ck_assert_int_eq(server_failure_of(&s).cause, f.cause);
    ck_assert_int_eq(server_failure_of(&s).status, 0);
    server_failure_set(&s, (struct server_failure){f.wall_ms, CAUSE_NONE, 504});
    ck_assert_int_eq(server_failure_of(&s).cause, CAUSE_NONE);
    ck_assert_int_eq(server_failure_of(&s).status, 504);
}
END_TEST

/* --- sticky ------------------------------------------------------------------------------- */

static const struct sticky_conf sticky = {.cookie = SPAN_INIT("s")};

/* The request has these cookies; with %016llx for the number of the server. */
static void cookies_set(struct group *g, const char *format, unsigned server)
{
    static char text[200];
    static struct field field;

    snprintf(text, sizeof text, format, (unsigned long long)g->pooled[server].stick);
    field = (struct field){.id = FIELD_COOKIE, .name = SPAN("Cookie"), .value = span_of(text)};
    g->x.request.fields = (struct fields){.list = &field, .count = 1, .max = 1};
}

static struct group *sticky_make(enum balance balance)
{
    struct group *g = group_make(balance, 4, NULL);

    g->conf.sticky = &sticky;
    for (unsigned i = 0; i < 4; i++)
        g->pooled[i].stick = sticky_number(
            &(struct address){.family = ADDRESS_IPV4, .port = 80, .ip = {10, 0, 0, (uint8_t)i}});
    return g;
}

START_TEST(a_cookie_names_its_server_while_that_may_serve)
{
    struct group *g = sticky_make((enum balance)_i);
    bool full = false;

    for (unsigned i = 0; i < 200; i++) {
        key_set(g, i);
        cookies_set(g, i % 2 ? "s=%016llx" : "a=1; s=%016llx; s2=x", i % 4);
        ck_assert_int_eq(draw(g), (int)(i % 4));
    }
    cookies_set(g, "s=%016llx", 2);
    server_weight_set(&g->states[2], 0); /* no new work: who has begun there stays */
    ck_assert_int_eq(draw(g), 2);
    server_steer_set(&g->states[2], STEER_DRAIN);
    ck_assert_int_eq(draw(g), 2);
    ck_assert_int_ne(balance_choose(g->view, &g->conf, &g->x, &(struct tried){1, {2}}, &full),
                     2); /* was tried */
    server_steer_set(&g->states[2], STEER_DOWN);
    for (unsigned i = 0; i < 100; i++)
        ck_assert_int_ne(draw(g), 2);
    server_steer_set(&g->states[2], STEER_UP);
    g->states[2].max_in_flight = 3;
    g->states[2].in_flight = 3;
    ck_assert_int_ne(draw(g), 2);
    g->states[2].in_flight = 2;
    ck_assert_int_eq(draw(g), 2);
    g->conf.ejects = true;
    g->states[2].ejected_until = g->io.now_ns + 1;
    ck_assert_int_ne(draw(g), 2);
    g->states[2].ejected_until = 0;
    g->servers[2].down = true;
    ck_assert_int_ne(draw(g), 2);
}
END_TEST

START_TEST(a_backup_keeps_nobody_once_others_may_serve)
{
    struct group *g = sticky_make(BALANCE_RANDOM);

    g->servers[3].backup = true;
    cookies_set(g, "s=%016llx", 3);
    for (unsigned i = 0; i < 50; i++)
        ck_assert_int_ne(draw(g), 3);
    for (unsigned i = 0; i < 3; i++)
        server_steer_set(&g->states[i], STEER_DRAIN);
    ck_assert_int_eq(draw(g), 3);
    cookies_set(g, "s=%016llx", 1); /* drained, and still comes before a backup */
    ck_assert_int_eq(draw(g), 1);
}
END_TEST

START_TEST(a_cookie_is_read_exactly)
{
    static const char *const others[] = {
        "s=%llx0",   "s=0%016llx", "s=%016llX",     "s=\"%016llx\"",
        "S=%016llx", "s =%016llx", "xs=%016llx",    "s= %016llx",
        "s",         "s=",         "s=%016llx,s=1", "a=s=%016llx",
        ";;;",       "=%016llx",
    };
    struct group *g = sticky_make(BALANCE_ROUND_ROBIN);

    for (size_t k = 0; k < COUNT_OF(others); k++) {
        unsigned got[4] = {0};
        cookies_set(g, others[k], 2);
        for (unsigned i = 0; i < 8; i++)
            got[draw(g)]++;
        ck_assert_msg(got[2] == 2, "%s is taken for the cookie", others[k]);
    }
    cookies_set(g, "s=0000000000000000; s=1234567890abcdef; s=%016llx", 2);
    ck_assert_int_eq(draw(g), 2); /* those that name nobody are passed over */
    cookies_set(g, "  s=%016llx  ", 2);
    ck_assert_int_eq(draw(g), 2);
    g->conf.sticky = NULL;
    for (unsigned i = 0; i < 8; i++)
        draw(g);
    ck_assert(g->got[0] > 1);
}
END_TEST

START_TEST(a_connection_that_does_not_fit_is_no_room)
{
    struct group *g = group_make(BALANCE_ROUND_ROBIN, 2, NULL);
    static struct group_state of_all;
    struct link shared = {.server = &g->pooled[0], .protocol = &link_h2, .tenure = 1};

    memset(&of_all, 0, sizeof of_all);
    g->conf.state = &of_all;
    g->conf.links_limited = g->conf.either = true;
    for (unsigned i = 0; i < 2; i++) {
        list_init(&g->pooled[i].idle);
        list_init(&g->pooled[i].spare);
        atomic_store(&g->states[i].max_connections, 1);
    }
    atomic_store(&g->states[0].connections, 1);
    list_append(&g->pooled[0].spare, &shared.spare);
    draw(g);
    draw(g);
    ck_assert_uint_eq(g->got[0], 1); /* the one that is there serves */

    shared.tenure = 0; /* it leads where the server was before */
    draw(g);
    draw(g);
    ck_assert_uint_eq(g->got[0], 1);
}
END_TEST

Suite *balance_suite(void);

Suite *balance_suite(void)
{
    Suite *s = suite_create("balance");
    TCase *t = tcase_create("balance");

    tcase_add_loop_test(t, uneven_weights_are_kept_exactly_in_turn, 0, 2);
    tcase_add_loop_test(t, uneven_weights_are_kept_by_drawing, 0, 2);
    tcase_add_test(t, who_has_the_least_for_its_weight_serves);
    tcase_add_test(t, uneven_weights_are_kept_by_hashing);
    tcase_add_test(t, a_key_stays_and_only_those_of_a_lost_server_move);
    tcase_add_test(t, a_hashed_server_with_too_much_is_passed_over);
    tcase_add_test(t, requests_without_the_key_are_spread);
    tcase_add_test(t, of_two_the_one_that_is_clearly_better_off_serves);
    tcase_add_test(t, who_was_slow_once_is_tried_again_later);
    tcase_add_test(t, a_quick_refusal_does_not_attract);
    tcase_add_loop_test(t, backups_serve_only_when_nobody_else_may, 0, BALANCE_HASH + 1);
    tcase_add_loop_test(t, priorities_serve_one_after_the_other_and_backups_last, 0,
                        BALANCE_HASH + 1);
    tcase_add_loop_test(t, who_is_at_his_limit_is_passed_over, 0, BALANCE_HASH + 1);
    tcase_add_loop_test(t, who_is_back_begins_with_little, 0, 2);
    tcase_add_loop_test(t, what_is_ordered_by_hand_holds_at_once, 0, BALANCE_HASH + 1);
    tcase_add_loop_test(t, a_weight_by_hand_is_kept_as_one_that_is_written, 0, 4);
    tcase_add_test(t, up_gives_back_what_is_configured_and_a_weight_outlives_a_drain);
    tcase_add_test(t, a_failure_is_kept_whole);
    tcase_add_loop_test(t, a_cookie_names_its_server_while_that_may_serve, 0, BALANCE_HASH + 1);
    tcase_add_test(t, a_backup_keeps_nobody_once_others_may_serve);
    tcase_add_test(t, a_cookie_is_read_exactly);
    tcase_add_test(t, a_connection_that_does_not_fit_is_no_room);
    suite_add_tcase(s, t);
    return s;
}
