/* Reading the configuration again; see reload.h. */
#include "reload.h"

#include "base/fail.h"
#include "error_log.h"
#include "gate/names.h"
#include "io/descriptor.h"
#include "monotonic.h"
#include "rehearsal.h"

#define PATIENCE_NS (5 * NS_PER_S) /* with workers */

/* What is the process's, and changes without a restart. */
static void reloaded(const struct config *config, const char *later)
{
    const struct server_conf *server = &config->server;

    if (error_log_open(&server->error_log, server->log_level) < 0)
        log_say(LOG_ERROR, "error_log %.*s cannot be opened, the old one stays in use",
                SPAN_ARG(server->error_log.path));
    log_say(LOG_NOTICE, "reloaded %s: generation %llu", config->path,
            (unsigned long long)config->generation);
    if (later[0])
        log_say(LOG_WARNING, "needs a restart to change: %s; the rest is in effect", later);
}

int names_await(struct names *names, const struct config *config)
{
    uint64_t give_up = monotonic_ns() + config->server.resolver_timeout;
    int err = names_expect(names, config, monotonic_ns());

    while (err == 0 && !names_hear(names, monotonic_ns()) && monotonic_ns() < give_up)
        descriptor_pause(NS_PER_MS);
    return err;
}

/* --- a step at a time ------------------------------------------------------------------------ */

static enum reload_state refuse(struct reload *r)
{
    error_log_diagnostics(r->d);
    log_say(LOG_ERROR, "the configuration was not reloaded; the old one stays in use");
    config_free(r->config);
    r->config = NULL;
    names_keep(r->gate->names);
    return RELOAD_REFUSED;
}

void reload_begin(struct reload *r, struct gate *gate, struct diagnostics *d)
{
    *r = (struct reload){.gate = gate, .d = d};
    r->config = config_reload(gate->config, &source_disk, d);
    if (r->config && d->errors == 0 && r->config->server.tests_required)
        config_run_tests(r->config, d);
    if (!r->config || d->errors > 0 || names_expect(gate->names, r->config, monotonic_ns()) < 0) {
        config_free(r->config);
        r->config = NULL;
        return;
    }
    r->names_until = monotonic_ns() + r->config->server.resolver_timeout;
    r->give_up = r->names_until + PATIENCE_NS;
}

/* What could still fail is tried before anything changes. */
static bool prepare(struct reload *r)
{
    const struct config *before = r->gate->config;

    rehearse_reload(r->gate, r->config, r->d);
    if (r->d->errors > 0)
        return false;
    struct span names = config_needs_restart(before, r->config, r->later);
    r->later[names.len] = '\0';
    return config_keep_running(r->config, before) == 0;
}

static bool adopt(struct reload *r)
{
    struct gate *gate = r->gate;
    uint64_t most = gate->connections_max;

    if (!prepare(r))
        return false;
    gate->connections_max = config_connections_max(r->config); /* before workers look at it again */
    if (gate_adopt(gate, r->config, r->d) == 0)
        return true;
    gate->connections_max = most;
    return false;
}

enum reload_state reload_step(struct reload *r)
{
    uint64_t now = monotonic_ns();

    if (!r->config)
        return refuse(r);
    if (!names_hear(r->gate->names, now) && now < r->names_until)
        return RELOAD_WAITS;
    if (gate_busy(r->gate) && now < r->give_up)
        return RELOAD_WAITS;
    if (gate_busy(r->gate)) {
        diagnostics_say(r->d, SEVERITY_ERROR, (struct position){0},
                        "a worker does not answer, perhaps for a log that nobody reads");
        return refuse(r);
    }
    if (!adopt(r))
        return refuse(r);
    names_keep(r->gate->names);
    reloaded(r->config, r->later);
    error_log_diagnostics(r->d);
    return RELOAD_DONE;
}

uint64_t reload_due(const struct reload *r)
{
    return monotonic_ns() < r->names_until ? r->names_until : r->give_up;
}

void reload_drop(struct reload *r, const char *why)
{
    diagnostics_say(r->d, SEVERITY_ERROR, (struct position){0}, "%s", why);
    config_free(r->config);
    r->config = NULL;
    names_keep(r->gate->names);
}
