/* Which server of a group gets a request; see balance.h. */
#include "gate/balance.h"

#include "base/hash.h"
#include "gate/health.h"
#include "gate/room.h"
#include "gate/sticky.h"
#include "gate/upstream.h"

#include <limits.h>

/* What one choice is made from. */
struct choice {
    const struct pool_view *view;
    const struct upstream_conf *conf;
    struct exchange *x;
    const struct tried *tried;
    uint64_t now;
    unsigned level; /* of those to choose from */
    bool last;      /* there is nobody else: those that are ejected, too */
    bool full;      /* somebody was passed over who is at his limit */
};

/* As configured, or as ordered since. */
static uint64_t weight_of(const struct choice *c, unsigned i)
{
    const struct server_entry *e = &c->conf->servers[i];

    return (uint64_t)server_weight(e->state, e->weight) * c->view->servers[i]->share;
}

/* Those of a lower level go before it: backups are behind all others, and each priority of a
 * service is behind the better ones. */
static unsigned level_of(const struct choice *c, unsigned i)
{
    return (c->conf->servers[i].backup ? UINT8_MAX + 1u : 0) + c->view->servers[i]->behind;
}

/* The next that there is; false: this one was the last. */
static bool next_level(struct choice *c)
{
    unsigned next = UINT_MAX;

    for (unsigned i = 0; i < c->view->reach; i++) {
        unsigned level = level_of(c, i);
        if (level > c->level && level < next)
            next = level;
    }
    c->level = next;
    return next != UINT_MAX;
}

static bool was_tried(const struct tried *t, unsigned i)
{
    for (unsigned k = 0; k < t->count && k < LEG_TRIED_MAX; k++)
        if (t->list[k] == i)
            return true;
    return false;
}

/* Whether or not it takes new work. */
static bool may_be_asked(struct choice *c, unsigned i)
{
    const struct server_entry *e = &c->conf->servers[i];

    if (c->view->servers[i]->tenure == 0) /* no address */
        return false;
    if (e->down || server_steer(e->state) == STEER_DOWN || level_of(c, i) != c->level ||
        was_tried(c->tried, i))
        return false;
    if (c->conf->ejects && !c->last && !health_allows(e->state, c->now))
        return false;
    if (c->conf->check.kind && !check_allows(e->state))
        return false;
    if (!c->conf->limited)
        return true;
    if (!is_full(&e->state->in_flight, &e->state->max_in_flight) &&
        (!c->conf->links_limited || room_is_there(c->view->servers[i], c->conf, e, c->x)))
        return true;
    c->full = true;
    return false;
}

static bool may_serve(struct choice *c, unsigned i)
{
    const struct server_entry *e = &c->conf->servers[i];

    return server_takes_new_work(e->state, e->weight) && may_be_asked(c, i);
}

/* Who has just come back begins with a sixteenth of its weight. */
static uint64_t weight(const struct choice *c, unsigned i)
{
    enum { WHOLE = 16 };
    const struct server_entry *e = &c->conf->servers[i];
    uint64_t one = weight_of(c, i), full = one * WHOLE, slow = c->conf->slow_start;

    if (slow == VALUE_OFF || (!c->conf->ejects && !c->conf->check.kind))
        return full;
    uint64_t since = health_back_for(e->state, c->now);
    if (since >= slow)
        return full;
    uint64_t part = (uint64_t)((unsigned __int128)full * since / slow);
    return part > one ? part : one;
}

static uint32_t in_flight(struct choice *c, unsigned i)
{
    return server_in_flight(c->conf->servers[i].state);
}

/* --- round_robin, least_conn ---------------------------------------------------------------- */

/* -1, 0, 1: has the first as much under way for its weight as the other?  a/b < c/d without
 * division. */
static int load_compare(struct choice *c, unsigned i, unsigned j)
{
    uint64_t a = in_flight(c, i) * weight(c, j), b = in_flight(c, j) * weight(c, i);

    return (a > b) - (a < b);
}

/* Smooth weighted round robin: everyone gains its weight, the richest serves
 * and pays the sum.  Over any stretch each has had its share, well mixed.
 * With like >= 0 only among those who have as much under way as that one. */
static int choose_round_robin(struct choice *c, int like)
{
    int best = -1;
    int64_t sum = 0;

    for (unsigned i = 0; i < c->view->reach; i++) {
        if (!may_serve(c, i))
            continue;
        if (like >= 0 && (int)i != like && load_compare(c, i, (unsigned)like) != 0)
            continue;
        struct pool_server *s = c->view->servers[i];
        int64_t gain = (int64_t)weight(c, i);
        s->current_weight += gain;
        sum += gain;
        if (best < 0 || s->current_weight > c->view->servers[best]->current_weight)
            best = (int)i;
    }
    if (best >= 0)
        c->view->servers[best]->current_weight -= sum;
    return best;
}

/* The fewest exchanges under way for its weight; those that are equal in turn, or else with
 * little to do the first would do all of it. */
static int choose_least(struct choice *c)
{
    int best = -1;

    for (unsigned i = 0; i < c->view->reach; i++) {
        if (!may_serve(c, i))
            continue;
        if (best < 0 || load_compare(c, i, (unsigned)best) < 0)
            best = (int)i;
    }
    int turn = best < 0 ? best : choose_round_robin(c, best);
    return turn < 0 ? best : turn; /* other workers may change who may serve meanwhile */
}

/* --- random, p2c ------------------------------------------------------------------------------ */

/* By weight, anyone but `except`. */
static int choose_random(struct choice *c, int except)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < c->view->reach; i++)
        if ((int)i != except && may_serve(c, i))
            sum += weight(c, i);
    if (sum == 0)
        return -1;
    uint64_t at = random_below(&exchange_io(c->x)->random, sum);
    int last = -1; /* other workers may change who may serve meanwhile */
    for (unsigned i = 0; i < c->view->reach; i++) {
        if ((int)i == except || !may_serve(c, i))
            continue;
        last = (int)i;
        if (at < weight(c, i))
            break;
        at -= weight(c, i);
    }
    return last;
}

/* Two are drawn by weight, and the second serves only if it is clearly better
 * off: small differences of latency are chance, and must not decide who gets
 * nearly all.  Of one that is not known yet the other's latency is assumed. */
static int choose_two(struct choice *c)
{
    int first = choose_random(c, -1), second = first < 0 ? -1 : choose_random(c, first);

    if (second < 0)
        return first;
    const struct server_state *a = c->conf->servers[first].state;
    const struct server_state *b = c->conf->servers[second].state;
    uint64_t la = server_latency(a, c->now) / 1024, lb = server_latency(b, c->now) / 1024;
    if (la == 0 || lb == 0)
        la = lb = 1;
    uint64_t cost_a = la * (server_in_flight(a) + 1), cost_b = lb * (server_in_flight(b) + 1);
    return cost_b + cost_b / 4 < cost_a ? second : first;
}

/* --- hash ---------------------------------------------------------------------------------------
 */

/* What the hash is of; empty: the request has none. */
static struct span hash_key(struct choice *c)
{
    struct exchange *x = c->x;
    const struct address *a = &x->client;

    switch (c->conf->hash_on) {
    case HASH_CLIENT_IP:
        if (a->family != ADDRESS_IPV4 && a->family != ADDRESS_IPV6)
            return (struct span){0};
        return (struct span){(const char *)a->ip, a->family == ADDRESS_IPV4 ? 4 : 16};
    case HASH_PATH:
        return x->path.normal;
    case HASH_HEADER:
        return request_header(x, c->conf->hash_name);
    default:
        return request_cookie(x, c->conf->hash_name);
    }
}

/* No more than 1.25 times its share of all that is under way, unless that is little. */
static bool is_overloaded(struct choice *c, unsigned i, uint64_t all, uint64_t weights)
{
    enum { FEW = 8 };
    uint64_t n = in_flight(c, i);

    return n >= FEW && n * 4 * weights >= 5 * (all + 1) * weight_of(c, i);
}

/* Rendezvous hashing: each server draws a number for the key, and the lowest
 * for its weight serves; when one goes only its own keys move, to all others.
 * With bounded load: whoever has too much already is passed over. */
static int choose_hash(struct choice *c)
{
    struct span key = hash_key(c);
    uint64_t all = 0, weights = 0, hash = hash_text(key), least[2] = {0, 0}, weights_of[2] = {0, 0};
    int best[2] = {-1, -1}; /* of all, and of those that are not overloaded */

    if (key.len == 0)
        return choose_random(c, -1);
    for (unsigned i = 0; i < c->view->reach; i++)
        if (may_serve(c, i)) {
            all += in_flight(c, i);
            weights += weight_of(c, i);
        }
    for (unsigned i = 0; i < c->view->reach; i++) {
        if (!may_serve(c, i))
            continue;
        uint64_t cost = hash_cost(hash, c->view->servers[i]->hash);
        uint64_t weight = weight_of(c, i);
        for (int k = 0; k < 2; k++) {
            if (k == 1 && is_overloaded(c, i, all, weights))
                continue;
            if (best[k] < 0 || cost * weights_of[k] < least[k] * weight) {
                best[k] = (int)i;
                least[k] = cost;
                weights_of[k] = weight;
            }
        }
    }
    return best[1] >= 0 ? best[1] : best[0];
}

/* --- choosing ------------------------------------------------------------------------------------
 */

/* The first that the request's cookies name and that may be asked, new work or not. */
static int choose_named(struct choice *c)
{
    const struct sticky_conf *sticky = c->conf->sticky;
    struct cookie_walk walk = {0};

    for (uint64_t n; (n = sticky_next(sticky, c->x, &walk)) > 0;)
        for (unsigned i = 0; i < c->view->reach; i++)
            if (c->view->servers[i]->stick == n && may_be_asked(c, i))
                return (int)i;
    return -1;
}

static int choose_any(struct choice *c)
{
    if (c->view->reach == 1)
        return (int)may_serve(c, 0) - 1;
    switch (c->conf->balance) {
    case BALANCE_ROUND_ROBIN:
        return choose_round_robin(c, -1);
    case BALANCE_LEAST_CONN:
        return choose_least(c);
    case BALANCE_RANDOM:
        return choose_random(c, -1);
    case BALANCE_HASH:
        return choose_hash(c);
    default:
        return choose_two(c);
    }
}

static int choose(struct choice *c)
{
    int i = c->conf->sticky ? choose_named(c) : -1;

    return i >= 0 ? i : choose_any(c);
}

int balance_choose(const struct pool_view *view, const struct upstream_conf *conf,
                   struct exchange *x, const struct tried *tried, bool *full)
{
    struct choice c = {
        .view = view, .conf = conf, .x = x, .tried = tried, .now = io_now(exchange_io(x))};
    int i = choose(&c);

    while (i < 0 && next_level(&c))
        i = choose(&c);
    *full = *full || c.full;
    return i;
}

int balance_last(const struct pool_view *view, const struct upstream_conf *conf, struct exchange *x,
                 const struct tried *tried)
{
    struct choice c = {.view = view,
                       .conf = conf,
                       .x = x,
                       .tried = tried,
                       .now = io_now(exchange_io(x)),
                       .last = true};

    return choose(&c);
}

bool balance_has_other(const struct pool_view *view, const struct upstream_conf *conf,
                       struct exchange *x, const struct tried *tried)
{
    struct choice c = {
        .view = view, .conf = conf, .x = x, .tried = tried, .now = io_now(exchange_io(x))};

    do
        for (unsigned i = 0; i < view->reach; i++)
            if (may_serve(&c, i))
                return true;
    while (next_level(&c));
    return false;
}
