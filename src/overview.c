/* How upstream groups and their servers are; see overview.h. */
#include "overview.h"

#include "answer.h"
#include "base/clock.h"

static uint64_t load64(const _Atomic uint64_t *n)
{
    return atomic_load_explicit(n, memory_order_relaxed);
}

static uint32_t load32(const _Atomic uint32_t *n)
{
    return atomic_load_explicit(n, memory_order_relaxed);
}

/* --- a server --------------------------------------------------------------------------------- */

/* What it is before all else: an order by hand outweighs what was found out. */
static const char *state_of(const struct server_entry *e)
{
    if (e->down || server_steer(e->state) == STEER_DOWN)
        return "down";
    if (server_steer(e->state) == STEER_DRAIN)
        return "draining";
    if (server_tenure(e->state) == 0)
        return "unresolved";
    if (!check_allows(e->state))
        return "checked down";
    if (load64(&e->state->ejected_until) > 0)
        return "ejected";
    return "up";
}

static void put_count(const struct overview *o, const _Atomic uint32_t *n)
{
    if (o->seen)
        fprintf(o->out, "%u", load32(n));
    else
        fputs(o->json ? "null" : "-", o->out);
}

static void put_failure_row(const struct overview *o, struct server_failure f)
{
    if (f.wall_ms == 0) {
        fputs("\t-\t", o->out);
        return;
    }
    if (f.cause)
        fprintf(o->out, "\t%.*s\t", SPAN_ARG(cause_row(f.cause)->name));
    else
        fprintf(o->out, "\tstatus %d\t", f.status);
    put_time(o->out, f.wall_ms);
}

/* As written, and the address where it is one of a name's. */
static struct span server_name(const struct server_entry *e, char *room, size_t size)
{
    char at[ADDRESS_TEXT_MAX];

    if (!e->named || server_tenure(e->state) == 0)
        return e->text;
    size_t n = address_print(&e->state->at, at);
    int len = snprintf(room, size, "%.*s (%.*s)", SPAN_ARG(e->text), (int)n, at);
    return len > 0 && (size_t)len < size ? (struct span){room, (size_t)len} : e->text;
}

static void put_row(const struct overview *o, const struct upstream_conf *u,
                    const struct server_entry *e)
{
    const struct server_state *s = e->state;
    char name[512];
    unsigned weight = server_weight(s, e->weight);
    uint64_t latency = server_latency(s, o->now_ns);

    put_cell(o->out, u->name);
    putc('\t', o->out);
    put_cell(o->out, server_name(e, name, sizeof name));
    fprintf(o->out, "\t%s%s\t%u", state_of(e), e->backup ? ", backup" : "", weight);
    if (weight != e->weight)
        fprintf(o->out, " (%u)", e->weight);
    putc('\t', o->out);
    put_count(o, &s->seen_legs);
    if (latency)
        fprintf(o->out, "\t%.1fms\t", (double)latency / (double)NS_PER_MS);
    else
        fputs("\t-\t", o->out);
    put_count(o, &s->seen_busy);
    putc('\t', o->out);
    put_count(o, &s->seen_idle);
    put_failure_row(o, server_failure_of(s));
    putc('\n', o->out);
}

static void put_failure_json(const struct overview *o, struct server_failure f)
{
    if (f.wall_ms == 0) {
        fputs("null", o->out);
        return;
    }
    fputs("{\"cause\":", o->out);
    if (f.cause)
        put_json(o->out, cause_row(f.cause)->name);
    else
        fputs("null", o->out);
    if (f.status)
        fprintf(o->out, ",\"status\":%d,\"at\":\"", f.status);
    else
        fputs(",\"status\":null,\"at\":\"", o->out);
    put_time(o->out, f.wall_ms);
    fputs("\"}", o->out);
}

static void put_limit(FILE *out, const char *name, uint64_t n)
{
    put_name(out, name);
    if (n == VALUE_OFF)
        fputs("null", out);
    else
        fprintf(out, "%llu", (unsigned long long)n);
}

static void put_address(const struct overview *o, const struct server_entry *e)
{
    char at[ADDRESS_TEXT_MAX];

    fputs(",\"address\":", o->out);
    if (server_tenure(e->state) == 0)
        fputs("null", o->out);
    else
        put_json(o->out, (struct span){at, address_print(&e->state->at, at)});
}

static void put_server_json(const struct overview *o, const struct server_entry *e)
{
    const struct server_state *s = e->state;
    uint64_t latency = server_latency(s, o->now_ns), until = load64(&s->ejected_until);

    fputs("{\"server\":", o->out);
    put_json(o->out, e->text);
    put_address(o, e);
    fprintf(o->out,
            ",\"state\":\"%s\",\"backup\":%s,\"weight\":%u,\"weight_configured\":%u,"
            "\"down_configured\":%s,",
            state_of(e), e->backup ? "true" : "false", server_weight(s, e->weight), e->weight,
            e->down ? "true" : "false");
    put_limit(o->out, "max_in_flight", e->max_in_flight);
    putc(',', o->out);
    put_limit(o->out, "max_connections", e->max_connections);
    fputs(",\"in_flight\":", o->out);
    put_count(o, &s->seen_legs);
    fputs(",\"connections_busy\":", o->out);
    put_count(o, &s->seen_busy);
    fputs(",\"connections_idle\":", o->out);
    put_count(o, &s->seen_idle);
    putc(',', o->out);
    put_limit(o->out, "latency_us", latency ? latency / NS_PER_US : VALUE_OFF);
    putc(',', o->out);
    uint64_t idle = load64(&s->idle_rule);
    put_limit(o->out, "ends_idle_after_ms", idle ? idle / NS_PER_MS : VALUE_OFF);
    putc(',', o->out);
    put_limit(o->out, "ejected_for_ms",
              until == 0          ? VALUE_OFF
              : until > o->now_ns ? (until - o->now_ns) / NS_PER_MS
                                  : 0);
    fputs(",\"last_failure\":", o->out);
    put_failure_json(o, server_failure_of(s));
    putc('}', o->out);
}

/* --- groups ------------------------------------------------------------------------------------
 */

/* A slot of which nothing is known is shown when the server has no other address, or while
 * something is under way to one that it had. */
static bool is_spare(const struct upstream_conf *u, unsigned i)
{
    bool first = true, has = false;

    for (unsigned j = 0; j < u->server_count; j++) {
        if (!span_equal(u->servers[j].text, u->servers[i].text))
            continue;
        first = first && j >= i;
        has = has || server_tenure(u->servers[j].state) != 0;
    }
    return server_tenure(u->servers[i].state) == 0 && (has || !first) &&
           load32(&u->servers[i].state->seen_legs) == 0;
}

/* A server that is written twice is one, and shown once. */
static bool is_shown(const struct upstream_conf *u, unsigned i, struct span only)
{
    unsigned j = 0;

    while (u->servers[j].state != u->servers[i].state)
        j++;
    return j == i && !is_spare(u, i) && (only.len == 0 || span_equal(u->servers[i].text, only));
}

static void put_group_rows(const struct overview *o, const struct upstream_conf *u,
                           struct span only)
{
    for (unsigned i = 0; i < u->server_count; i++)
        if (is_shown(u, i, only))
            put_row(o, u, &u->servers[i]);
}

static void put_group_json(const struct overview *o, const struct upstream_conf *u,
                           struct span only)
{
    bool first = true;

    fputs("{\"name\":", o->out);
    put_json(o->out, u->name);
    putc(',', o->out);
    put_limit(o->out, "max_in_flight", u->max_in_flight);
    putc(',', o->out);
    put_limit(o->out, "max_connections", u->max_connections);
    fprintf(o->out, ",\"waiting\":%u,\"servers\":[", load32(&u->state->waiting));
    for (unsigned i = 0; i < u->server_count; i++) {
        if (!is_shown(u, i, only))
            continue;
        fputs(first ? "" : ",", o->out);
        put_server_json(o, &u->servers[i]);
        first = false;
    }
    fputs("]}", o->out);
}

static bool is_asked(const struct upstream_conf *group, const struct upstream_conf *u)
{
    return !group || group == u;
}

void overview_put(const struct overview *o, const struct upstream_conf *group,
                  struct span server)
{
    const struct config *config = o->config;
    bool first = true;

    fputs(o->json
              ? "{\"upstreams\":["
              : "GROUP\tSERVER\tSTATE\tWEIGHT\tIN FLIGHT\tLATENCY\tBUSY\tIDLE\tLAST FAILURE\tAT\n",
          o->out);
    for (unsigned i = 0; i < config->upstream_count; i++) {
        const struct upstream_conf *u = &config->upstreams[i];
        if (!is_asked(group, u))
            continue;
        if (o->json)
            fputs(first ? "" : ",", o->out);
        (o->json ? put_group_json : put_group_rows)(o, u, server);
        first = false;
    }
    if (o->json)
        fputs("]}\n", o->out);
    for (unsigned i = 0; !o->json && i < config->upstream_count; i++) {
        const struct upstream_conf *u = &config->upstreams[i];
        uint32_t waiting = load32(&u->state->waiting);
        if (is_asked(group, u) && waiting > 0)
            fprintf(o->out, "%.*s: %u waiting for a place\n", SPAN_ARG(u->name), waiting);
    }
}
