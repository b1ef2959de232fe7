/* Traffic through a gateway to two origins, for the stories about that. */
#include "tests/sim/traffic.h"

#include <stdlib.h>

static const char config_text[] = "[listener web]\nlisten = 192.0.2.1:80\n"
                                  "[upstream two]\n"
                                  "server = 198.51.100.1:80\nserver = 198.51.100.2:80\n"
                                  "balance = %s\n"
                                  "[route all]\nhandler = forward\nupstream = two\n"
                                  "max_body = off\n%s"
                                  "[route small]\nhost = small\nhandler = forward\n"
                                  "upstream = two\nmax_body = 1k\n";

const char *const balances[BALANCES] = {"round_robin", "least_conn", "p2c", "random", "hash path"};

void traffic_begin(struct traffic *t, const struct telling *telling, unsigned faults)
{
    *t = (struct traffic){.sim = story_world(telling, faults), .at = story_address("192.0.2.1:80")};
    origins_open(&t->origins, t->sim);
    origins_add(&t->origins, "198.51.100.1:80");
    origins_add(&t->origins, "198.51.100.2:80");
    snprintf(t->config, sizeof t->config, config_text, balances[sim_random(t->sim, BALANCES)],
             gateway_buffers(t->sim));
    gateway_open(&t->gateway, t->sim, t->config, 1 + (unsigned)sim_random(t->sim, 2));
}

/* Nothing was sent twice that may not be, nothing more often than there are tries. */
uint64_t traffic_end(struct traffic *t)
{
    for (unsigned i = 0; i < t->ids; i++) {
        EXPECT(t->origins.heads[i] <= 2, "request %u came %u times", i, t->origins.heads[i]);
        EXPECT(!t->posts[i] || t->origins.heads[i] <= 1, "POST %u came twice", i);
    }
    arena_free(&t->arena);
    if (!gateway_done(&t->gateway))
        gateway_drain(&t->gateway);
    gateway_close(&t->gateway, 120 * NS_PER_S);
    origins_close(&t->origins);
    log_set((struct log_sink){0}, LOG_ERROR);
    return sim_end(t->sim);
}

bool traffic_over(void *data)
{
    struct traffic *t = data;

    for (unsigned i = 0; i < t->count; i++)
        if (!visitor_done(&t->clients[i]))
            return false;
    return true;
}

/* --- questions ---------------------------------------------------------------------------- */

struct span request_text(struct traffic *t, enum origin_what what, unsigned id, size_t answer_bytes,
                         size_t bytes, bool chunks)
{
    const char *method = t->posts[id] ? "POST" : "PUT", *name = origin_rows[what].name;
    char *content = arena_alloc(&t->arena, bytes + 1);
    struct span text;

    if (bytes == 0 && !chunks)
        return arena_print(&t->arena, "GET /%s/%u/%zu HTTP/1.1\r\nHost: a\r\n\r\n", name, id,
                           answer_bytes);
    pattern_fill(content, bytes, id);
    if (!chunks) {
        text = arena_print(&t->arena,
                           "%s /%s/%u/%zu HTTP/1.1\r\nHost: a\r\nX-Bytes: %zu\r\n"
                           "Content-Length: %zu\r\n\r\n",
                           method, name, id, answer_bytes, bytes, bytes);
        return arena_join(&t->arena, text, (struct span){content, bytes});
    }
    text = arena_print(&t->arena,
                       "%s /%s/%u/%zu HTTP/1.1\r\nHost: a\r\nX-Bytes: %zu\r\n"
                       "Transfer-Encoding: chunked\r\n\r\n",
                       method, name, id, answer_bytes, bytes);
    for (size_t from = 0, n; from < bytes; from += n) {
        n = 1 + (size_t)sim_random(t->sim, bytes - from);
        struct span head = arena_print(&t->arena, "%zx\r\n", n);
        text = arena_join(&t->arena, text, head);
        text = arena_join(&t->arena, text, (struct span){content + from, n});
        text = arena_join(&t->arena, text, SPAN("\r\n"));
    }
    return arena_join(&t->arena, text, SPAN("0\r\n\r\n"));
}

/* Answers of half the truth must not be whole ones. */
static bool cuts(enum origin_what what)
{
    return what == ORIGIN_reset_in_content || what == ORIGIN_close_in_content ||
           what == ORIGIN_close_in_chunk || what == ORIGIN_bad_chunk ||
           what == ORIGIN_bad_chunk_end || what == ORIGIN_stuck;
}

static size_t some_bytes(struct traffic *t)
{
    static const size_t orders[] = {1, 100, 3000, 60000};

    return (size_t)sim_random(t->sim, orders[sim_random(t->sim, COUNT_OF(orders))] + 1);
}

struct ask ask_origin(struct traffic *t, enum origin_what what)
{
    unsigned id = t->ids++;
    bool post = sim_random(t->sim, 3) == 0;
    bool put = !post && sim_random(t->sim, 3) == 0;
    size_t bytes = some_bytes(t), sends = post || put ? 1 + some_bytes(t) : 0;
    bool chunks = sends && sim_random(t->sim, 2);
    struct span text;

    if (what == ORIGIN_early_close) {
        post = true;
        sends += 5000;
    }
    if (what == ORIGIN_nothing)
        bytes = 0;
    t->posts[id] = post;
    text = request_text(t, what, id, bytes, sends, chunks);
    struct ask a = {.request = text.ptr,
                    .len = text.len,
                    .status = origin_rows[what].status,
                    .id = id,
                    .content_len = cuts(what) ? SIZE_MAX : bytes,
                    .may_cut = cuts(what) || what == ORIGIN_early_close,
                    .slow = sim_random(t->sim, 8) == 0};
    if (bytes == 0 && !cuts(what))
        a.content = SPAN("");
    if (a.status >= 400) {
        a.content = (struct span){0};
        a.content_len = 0;
    }
    if (what == ORIGIN_once_reset && post)
        a.status = 502;
    if (what == ORIGIN_once_reset && put && sends > 8000) /* more than is kept for another try */
        a.or_status = 502;
    if (what == ORIGIN_once_503 && post)
        a.status = 503;
    if (what == ORIGIN_once_503 && put && sends > 8000) /* as above */
        a.or_status = 503;
    if (what == ORIGIN_early_close)
        a.or_status = 502;
    if (a.status == 502 || cuts(what)) /* what comes may be lost with a reset */
        a.or_status = 502;
    if (a.status == 502 && what == ORIGIN_once_reset) {
        a.content = (struct span){0};
        a.content_len = 0;
    }
    return a;
}

enum origin_what calm_what(struct traffic *t)
{
    for (;;) {
        enum origin_what what = (enum origin_what)sim_random(t->sim, ORIGIN_COUNT);
        if (origin_rows[what].calm && !(t->hurried && what == ORIGIN_slow))
            return what;
    }
}

struct visitor *client_new(struct traffic *t)
{
    return &t->clients[t->count++];
}

void client_go(struct traffic *t, struct visitor *v)
{
    struct address from = story_address("203.0.113.9:5000");

    from.port = (uint16_t)(from.port + (v - t->clients));
    visitor_start(v, t->sim, &t->at, &from);
}

void client_forget(struct traffic *t)
{
    while (t->count > 0) {
        struct visitor *v = &t->clients[--t->count];
        v->peer->news = NULL;
        if (!v->peer->closed)
            sim_close(v->peer);
        *v = (struct visitor){0};
    }
}
