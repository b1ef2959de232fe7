/* The gateway in a world; see gateway.h. */
#include "tests/sim/gateway.h"

#include "gate/names.h"

#include "modules/modules_table.h"
#include "tests/sim/toy.h"

static const struct module *const *modules = modules_table;

void gateway_modules(const struct module *const *others)
{
    modules = others ? others : modules_table;
}

/* --- the configuration, from memory ------------------------------------------------- */

struct text {
    const char *ini;
    bool tls;
};

/* Every listener speaks the toy. */
static struct span text_over_tls(struct arena *arena, const char *ini)
{
    static const char section[] = "\n[tls toy]\ncertificate = toy\n", line[] = "tls = toy\n";
    char *out = arena_alloc(arena, 4 * strlen(ini) + sizeof section);
    size_t len = 0;

    if (!out)
        return (struct span){0};
    while (*ini) {
        size_t n = strcspn(ini, "\n") + 1;
        bool listener = strncmp(ini, "[listener ", 10) == 0;
        memcpy(out + len, ini, n);
        len += n;
        ini += n;
        if (listener) {
            memcpy(out + len, line, sizeof line - 1);
            len += sizeof line - 1;
        }
    }
    memcpy(out + len, section, sizeof section - 1);
    return (struct span){out, len + sizeof section - 1};
}

static int text_read(void *data, struct arena *arena, const char *path, struct span *text)
{
    const struct text *t = data;

    if (t->tls && strcmp(path, "toy") == 0) { /* it will be wiped, as keys are */
        *text = arena_copy(arena, SPAN("toy"));
        return text->ptr ? 0 : FAIL_MEMORY;
    }
    if (strcmp(path, "sim.ini") != 0)
        return FAIL_NOT_FOUND;
    *text = t->tls ? text_over_tls(arena, t->ini) : span_of(t->ini);
    return 0;
}

static int text_glob(void *data, struct arena *arena, const char *pattern, struct spans *paths)
{
    (void)data;
    (void)arena;
    (void)pattern;
    *paths = (struct spans){0};
    return 0;
}

static const char *text_environment(void *data, const char *name)
{
    (void)data;
    (void)name;
    return NULL;
}

static void print_problem(void *data, struct span text)
{
    fprintf(data, "# %.*s\n", SPAN_ARG(text));
}

static struct config *config_of(const char *ini, bool tls, struct arena *arena)
{
    struct text text = {ini, tls};
    struct source source = {
        .read = text_read, .glob = text_glob, .environment = text_environment, .data = &text};
    struct diagnostics d = {.arena = arena};
    struct config *config = config_load_with("sim.ini", &source, modules, &toy_layer, &d);

    diagnostics_print(&d, print_problem, stderr);
    EXPECT(config && d.errors == 0, "a configuration without mistakes");
    return config;
}

/* --- the process ----------------------------------------------------------------------- */

static void log_quiet(void *data, enum log_level level, struct span line)
{
    struct gateway *g = data;

    sim_say_trace(g->sim, "%s: %.*s", log_level_name(level), SPAN_ARG(line));
}

static bool turn(void *data)
{
    return worker_turn(data);
}

/* --- names ------------------------------------------------------------------------------- */

static void look(void *data);

static void look_at(struct gateway *g, uint64_t when)
{
    uint64_t now = sim_now(g->sim);

    if (when >= g->look_at)
        return;
    g->look_at = when;
    sim_after(g->sim, when > now ? when - now : 0, look, g);
}

/* As main does between two signals.  One that another has overtaken does nothing. */
static void look(void *data)
{
    struct gateway *g = data;
    uint64_t now = sim_now(g->sim);

    if (!g->gate.names || now < g->look_at)
        return;
    g->look_at = TIME_NEVER;
    names_look(g->gate.names, now);
    look_at(g, gate_busy(&g->gate) ? now + NS_PER_MS : names_due(g->gate.names));
}

static void dns_told(void *data)
{
    struct gateway *g = data;

    look_at(g, sim_now(g->sim));
}

static bool names_heard(void *data)
{
    struct gateway *g = data;

    return names_hear(g->gate.names, sim_now(g->sim));
}

static void names_begin(struct gateway *g, struct dns *dns)
{
    struct config *config = g->gate.config;

    dns->data = g;
    dns->tell = dns_told;
    g->gate.names = names_new(&g->gate, &dns->base);
    EXPECT(g->gate.names && names_expect(g->gate.names, config, sim_now(g->sim)) == 0, "memory");
    g->look_at = 0; /* not now */
    sim_run(g->sim, names_heard, g, config->server.resolver_timeout);
    names_place(g->gate.names, config);
    g->look_at = TIME_NEVER;
    look_at(g, sim_now(g->sim));
}

void gateway_open(struct gateway *g, struct sim *sim, const char *text, unsigned workers)
{
    gateway_open_with(g, sim, text, workers, NULL);
}

void gateway_open_with(struct gateway *g, struct sim *sim, const char *text, unsigned workers,
                       struct dns *dns)
{
    struct arena arena = {0};
    struct gate_options options = {.backend = &io_sim_backend,
                                   .world = sim,
                                   .modules = modules,
                                   .workers = workers,
                                   .connections_max = 1000,
                                   .buffer_memory = 64 * 1024 * 1024,
                                   .descriptors_spare = 64};
    struct diagnostics d = {.arena = &arena};
    const char *why = "";
    int err;

    *g = (struct gateway){.sim = sim, .tls = sim_seed(sim) % 4 == 3};
    sim_codec(sim, g->tls ? &toy_codec : NULL);
    log_set((struct log_sink){log_quiet, g}, LOG_DEBUG);
    err = gate_open(&g->gate, config_of(text, g->tls, &arena), &options, &d);
    diagnostics_print(&d, print_problem, stderr);
    EXPECT(err == 0, "%s", fail_text(err));
    if (dns)
        names_begin(g, dns);
    for (unsigned i = 0; i < workers; i++) {
        err = worker_open(&g->gate.workers[i], &why);
        EXPECT(err == 0, "worker %u: %s", i, why);
    }
    for (unsigned i = 0; i < workers; i++)
        sim_drive(sim, g->gate.workers[i].io, turn, &g->gate.workers[i]);
    arena_free(&arena);
}

bool gateway_quiet(void *data)
{
    struct gateway *g = data;

    return !gate_busy(&g->gate);
}

const char *gateway_buffers(struct sim *sim)
{
    return sim_random(sim, 4) ? "" : "buffer_request = 256k\nbuffer_response = 100k\n";
}

void gateway_reload(struct gateway *g, const char *text)
{
    struct arena arena = {0};
    struct diagnostics d = {.arena = &arena};
    int err;

    EXPECT(sim_run(g->sim, gateway_quiet, g, 60 * NS_PER_S), "orders are carried out");
    struct config *config = config_of(text, g->tls, &arena);
    if (g->gate.names)
        EXPECT(names_expect(g->gate.names, config, sim_now(g->sim)) == 0, "memory");
    err = gate_adopt(&g->gate, config, &d);
    if (g->gate.names)
        names_keep(g->gate.names);
    diagnostics_print(&d, print_problem, stderr);
    EXPECT(err == 0, "%s", fail_text(err));
    arena_free(&arena);
}

void gateway_drain(struct gateway *g)
{
    gate_drain(&g->gate);
}

void gateway_stop(struct gateway *g)
{
    gate_stop(&g->gate);
}

bool gateway_done(void *data)
{
    struct gateway *g = data;

    for (unsigned i = 0; i < g->gate.worker_count; i++)
        if (!g->gate.workers[i].done)
            return false;
    return !gate_busy(&g->gate);
}

void (*gateway_ended)(const struct gate *gate);

static void causes_note(const struct gate *gate)
{
    for (unsigned i = 0; i < gate->worker_count; i++)
        for (int c = 0; c < CAUSE_COUNT; c++)
            if (gate->workers[i].stats.causes[c] > 0)
                story_causes[c] = true;
}

void gateway_close(struct gateway *g, uint64_t most_ns)
{
    bool done = sim_run(g->sim, gateway_done, g, most_ns);

    EXPECT(done, "the workers end");
    causes_note(&g->gate);
    if (gateway_ended)
        gateway_ended(&g->gate);
    for (unsigned i = 0; i < g->gate.worker_count; i++)
        worker_close(&g->gate.workers[i]);
    gate_close(&g->gate);
}

uint64_t gateway_end(struct gateway *g)
{
    struct sim *sim = g->sim;

    gateway_drain(g);
    gateway_close(g, 120 * NS_PER_S);
    log_set((struct log_sink){0}, LOG_ERROR);
    return sim_end(sim);
}
