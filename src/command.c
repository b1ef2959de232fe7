/* What can be ordered through the control socket; see command.h.
 *
 * What concerns workers is given as an order to all of them and answered when
 * they have carried it out, so that who has his answer can rely on it.  One
 * that does not answer, perhaps because it waits for a log that nobody reads,
 * is not waited for for ever.
 */
#include "command.h"

#include "answer.h"
#include "base/fail.h"
#include "base/log.h"
#include "base/mem.h"
#include "gate/health.h"
#include "gate/report.h"
#include "overview.h"

#include <stdarg.h>

#define PATIENCE_NS (5 * NS_PER_S)
enum { WEIGHT_MAX = 10000, NAMES_MAX = 256 };

struct verb {
    const char *name;
    /* Gives the workers their orders; its stage is COMMAND_SETTLING then, or
     * COMMAND_DONE when there is nothing to wait for, and COMMAND_NEW as
     * long as it cannot. */
    void (*begin)(struct command *c, uint64_t now_ns);
    /* Does what can be done by now, while its stage is COMMAND_GOING_ON. */
    void (*go_on)(struct command *c, uint64_t now_ns);
    /* Says the rest. */
    void (*finish)(struct command *c, uint64_t now_ns);
};

const char *command_outcome_word(enum command_outcome outcome)
{
    static const char *const words[] = {"ok", "refused", "usage"};

    return words[outcome];
}

/* --- how it ends -------------------------------------------------------------------------------
 */

static void done(struct command *c, enum command_outcome outcome)
{
    c->stage = COMMAND_DONE;
    c->outcome = outcome;
}

static PRINTF_LIKE(3, 4) void fail(struct command *c, enum command_outcome outcome,
                                   const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (c->json) {
        fputs("{\"error\":", c->out);
        put_json(c->out, span_of(text));
        fputs("}\n", c->out);
    } else {
        put_cell(c->out, span_of(text));
        putc('\n', c->out);
    }
    done(c, outcome);
}

static bool hold(struct command *c)
{
    if (c->means->hold())
        return true;
    fail(c, COMMAND_REFUSED, "headgate is ending");
    return false;
}

static void order(struct command *c, int (*give)(struct gate *gate))
{
    if (!hold(c))
        return;
    int err = give(c->means->gate);
    c->means->release();
    if (err < 0)
        fail(c, COMMAND_REFUSED, "the workers cannot be told: %s", fail_text(err));
    else
        c->stage = COMMAND_SETTLING;
}

/* --- upstream ----------------------------------------------------------------------------------
 */

static const struct upstream_conf *group_find(struct command *c)
{
    const struct config *config = c->means->gate->config;
    const struct upstream_conf *found = config_upstream(config, c->group);
    const char *names[NAMES_MAX], *near;
    struct arena arena = {0};
    unsigned n = 0;

    if (found)
        return found;
    for (; n < config->upstream_count && n < NAMES_MAX; n++)
        if (!(names[n] = arena_text(&arena, config->upstreams[n].name)))
            break;
    near = suggest(c->group, names, n);
    fail(c, COMMAND_REFUSED, "there is no [upstream %.*s]%s%s%s", SPAN_ARG(c->group),
         near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    arena_free(&arena);
    return NULL;
}

static const struct server_entry *server_find(struct command *c, const struct upstream_conf *u)
{
    const char *names[NAMES_MAX], *near;
    struct arena arena = {0};
    unsigned n = 0;

    for (unsigned i = 0; i < u->server_count; i++)
        if (span_equal(u->servers[i].text, c->server))
            return &u->servers[i];
    for (; n < u->server_count && n < NAMES_MAX; n++)
        if (!(names[n] = arena_text(&arena, u->servers[n].text)))
            break;
    near = suggest(c->server, names, n);
    fail(c, COMMAND_REFUSED, "[upstream %.*s] has no server %.*s%s%s%s", SPAN_ARG(u->name),
         SPAN_ARG(c->server), near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    arena_free(&arena);
    return NULL;
}

static const struct span weight = SPAN_INIT("weight=");

static bool is_action(struct span text)
{
    uint64_t n;

    return span_equal(text, SPAN("drain")) || span_equal(text, SPAN("down")) ||
           span_equal(text, SPAN("up")) ||
           (span_starts(text, weight) && span_number(span_after(text, weight.len), &n) &&
            n <= WEIGHT_MAX);
}

static void act(const struct command *c, const struct upstream_conf *u, struct server_state *s)
{
    uint64_t n;

    if (span_equal(c->action, SPAN("drain"))) {
        server_steer_set(s, STEER_DRAIN);
    } else if (span_equal(c->action, SPAN("down"))) {
        server_steer_set(s, STEER_DOWN);
    } else if (span_equal(c->action, SPAN("up"))) {
        server_steer_set(s, STEER_UP);
        health_forgive(u->state, s);
    } else if (span_number(span_after(c->action, weight.len), &n)) {
        server_weight_set(s, (unsigned)n);
    }
}

/* All slots of a name are one server. */
static void act_on_all(const struct command *c, const struct upstream_conf *u)
{
    for (unsigned i = 0; i < u->server_count; i++)
        if (span_equal(u->servers[i].text, c->server))
            act(c, u, u->servers[i].state);
    log_say(LOG_NOTICE, "upstream %.*s: server %.*s: %.*s, by hand of uid %u", SPAN_ARG(u->name),
            SPAN_ARG(c->server), SPAN_ARG(c->action), (unsigned)c->uid);
}

static void upstream_begin(struct command *c, uint64_t now_ns)
{
    (void)now_ns;
    if (c->group.len == 0) {
        order(c, gate_look);
        return;
    }
    const struct upstream_conf *u = group_find(c);
    if (!u)
        return;
    if (c->server.len == 0) {
        order(c, gate_look);
        return;
    }
    if (!server_find(c, u))
        return;
    act_on_all(c, u);
    order(c, gate_steer);
}

/* After an order the workers look once more, so that what is shown is what came of it. */
static void upstream_finish(struct command *c, uint64_t now_ns)
{
    struct gate *gate = c->means->gate;
    bool seen = !gate_busy(gate);
    struct overview o = {
        .out = c->out, .config = gate->config, .now_ns = now_ns, .json = c->json, .seen = seen};
    const struct upstream_conf *u = NULL;

    if (c->action.len > 0 && seen) {
        c->action.len = 0;
        order(c, gate_look);
        return;
    }
    if (c->group.len > 0 && !(u = group_find(c))) /* a reload may have come between */
        return;
    if (c->server.len > 0 && !server_find(c, u))
        return;
    overview_put(&o, u, c->server);
    done(c, COMMAND_OK);
}

/* --- stats ---------------------------------------------------------------------------------------
 */

struct stats {
    struct command *c;
    const char *part; /* the one that is being written; JSON */
};

static void put_counter(void *data, const char *part, struct span name, uint64_t n)
{
    struct stats *s = data;
    FILE *out = s->c->out;

    if (!s->c->json) {
        fprintf(out, "%s\t%.*s\t%llu\n", part, SPAN_ARG(name), (unsigned long long)n);
        return;
    }
    if (s->part != part) {
        fputs(s->part ? "}," : "{", out);
        put_name(out, part);
        putc('{', out);
    } else {
        putc(',', out);
    }
    s->part = part;
    put_json(out, name);
    fprintf(out, ":%llu", (unsigned long long)n);
}

static void stats_begin(struct command *c, uint64_t now_ns)
{
    struct stats s = {.c = c};

    (void)now_ns;
    if (!hold(c))
        return;
    if (!c->json)
        fputs("PART\tCOUNTER\tVALUE\n", c->out);
    report_read(c->means->gate, put_counter, &s);
    if (c->json)
        fputs(s.part ? "}}\n" : "{}\n", c->out);
    c->means->release();
    done(c, COMMAND_OK);
}

/* --- reload ------------------------------------------------------------------------------------
 */

struct command_reload {
    struct arena arena;
    struct diagnostics d;
    struct reload *reload; /* main's; NULL: it has not begun */
    unsigned messages;
};

static void put_message(void *data, struct span line)
{
    struct command *c = data;

    if (c->json) {
        fputs(c->reloaded->messages++ ? "," : "", c->out);
        put_json(c->out, line);
    } else {
        put_cell(c->out, line);
        putc('\n', c->out);
    }
}

static void reload_say(struct command *c, bool adopted)
{
    struct command_reload *r = c->reloaded;
    const struct config *config = c->means->gate->config;

    if (c->json)
        fprintf(c->out, "{\"reloaded\":%s,\"messages\":[", adopted ? "true" : "false");
    diagnostics_print(&r->d, put_message, c);
    if (c->json) {
        fprintf(c->out,
                "],\"generation\":%llu,\"needs_restart\":", (unsigned long long)config->generation);
        put_json(c->out, span_of(r->reload->later));
        fputs("}\n", c->out);
        return;
    }
    if (!adopted)
        fputs("the configuration was not reloaded; the old one stays in use\n", c->out);
    else
        fprintf(c->out, "reloaded %s: generation %llu\n", config->path,
                (unsigned long long)config->generation);
    if (adopted && r->reload->later[0])
        fprintf(c->out, "needs a restart to change: %s; the rest is in effect\n",
                r->reload->later);
}

static void reload_go_on(struct command *c, uint64_t now_ns)
{
    enum reload_state state = c->means->reload_step();

    if (state == RELOAD_WAITS) {
        c->give_up_ns = reload_due(c->reloaded->reload);
        return;
    }
    reload_say(c, state == RELOAD_DONE);
    c->stage = COMMAND_SETTLING; /* until it is in use everywhere */
    c->give_up_ns = now_ns + PATIENCE_NS;
    if (state != RELOAD_DONE)
        done(c, COMMAND_REFUSED);
}

static void reload_start(struct command *c, uint64_t now_ns)
{
    struct command_reload *r = c->reloaded;

    if (!r && !(r = c->reloaded = mem_zalloc(sizeof *r))) {
        fail(c, COMMAND_REFUSED, "out of memory");
        return;
    }
    r->d.arena = &r->arena;
    if (!(r->reload = c->means->reload_begin(&r->d)))
        return;
    log_say(LOG_INFO, "uid %u asks for a reload", (unsigned)c->uid);
    c->stage = COMMAND_GOING_ON;
    reload_go_on(c, now_ns);
}

static void reload_finish(struct command *c, uint64_t now_ns)
{
    (void)now_ns;
    if (gate_busy(c->means->gate) && !c->json)
        fputs("a worker does not answer yet: it is still on the old configuration\n", c->out);
    done(c, COMMAND_OK);
}

/* --- lines ---------------------------------------------------------------------------------------
 */

static const struct verb verbs[] = {
    {"upstream", upstream_begin, NULL, upstream_finish},
    {"stats", stats_begin, NULL, NULL},
    {"reload", reload_start, reload_go_on, reload_finish},
};

/* Takes the next word off the front. */
static struct span word(struct span *rest)
{
    struct span s = span_trim(*rest);
    size_t end = span_find(s, ' ');

    *rest = span_trim(span_after(s, end));
    return span_first(s, end);
}

/* GROUP [server] SERVER ACTION: what a server is called may have blanks in it. */
static void upstream_words(struct command *c, struct span rest)
{
    c->group = word(&rest);
    if (span_starts(rest, SPAN("server ")))
        word(&rest);
    size_t at = rest.len;
    while (at > 0 && rest.ptr[at - 1] != ' ')
        at--;
    c->action = span_after(rest, at);
    c->server = span_trim(span_first(rest, at));
    if (rest.len > 0 && c->server.len == 0)
        fail(c, COMMAND_USAGE, "behind GROUP stand SERVER and drain, down, up or weight=N");
    else if (rest.len > 0 && !is_action(c->action))
        fail(c, COMMAND_USAGE, "\"%.*s\" is none of drain, down, up and weight=N (0 to %d)",
             SPAN_ARG(c->action), WEIGHT_MAX);
}

void command_read(struct command *c)
{
    const char *names[COUNT_OF(verbs)];
    struct span rest = span_trim(c->line), name = word(&rest);

    if (name.len == 4 && span_equal(name, SPAN("json"))) {
        c->json = true;
        name = word(&rest);
    }
    for (size_t i = 0; i < COUNT_OF(verbs); i++) {
        names[i] = verbs[i].name;
        if (span_equal(name, span_of(names[i])))
            c->verb = &verbs[i];
    }
    if (!c->verb) {
        const char *near = suggest(name, names, COUNT_OF(names));
        fail(c, COMMAND_USAGE, "\"%.*s\" is none of upstream, stats and reload%s%s%s",
             SPAN_ARG(span_first(name, 64)), near ? "; did you mean \"" : "", near ? near : "",
             near ? "\"?" : "");
        return;
    }
    if (c->verb->begin == upstream_begin)
        upstream_words(c, rest);
    else if (rest.len > 0)
        fail(c, COMMAND_USAGE, "nothing stands behind %s", c->verb->name);
}

void command_step(struct command *c, uint64_t now_ns)
{
    bool busy = gate_busy(c->means->gate);

    if (!c->give_up_ns) {
        c->give_up_ns = now_ns + PATIENCE_NS;
        command_read(c);
    }
    if (c->stage == COMMAND_GOING_ON)
        c->verb->go_on(c, now_ns);
    else if (c->stage == COMMAND_NEW && !busy)
        c->verb->begin(c, now_ns);
    if (c->stage == COMMAND_NEW && now_ns >= c->give_up_ns)
        fail(c, COMMAND_REFUSED, busy ? "a worker does not answer; see the error log"
                                      : "another reload is under way");
    busy = gate_busy(c->means->gate);
    while (c->stage == COMMAND_SETTLING && (!busy || now_ns >= c->give_up_ns)) {
        c->verb->finish(c, now_ns);
        busy = gate_busy(c->means->gate);
    }
}

void command_end(struct command *c)
{
    if (c->out)
        fclose(c->out);
    c->out = NULL;
    if (c->reloaded)
        arena_free(&c->reloaded->arena);
    mem_free(c->reloaded);
    c->reloaded = NULL;
}
