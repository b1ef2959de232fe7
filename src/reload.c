/* Reading the configuration again; see reload.h. */
#include "reload.h"

#include "base/fail.h"
#include "error_log.h"
#include "gate/names.h"
#include "io/descriptor.h"
#include "monotonic.h"

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

static bool adopt(struct gate *gate, struct config *config, struct diagnostics *d,
                  char later[NEEDS_RESTART_TEXT])
{
    struct span names = config_needs_restart(gate->config, config, later);
    uint64_t most = gate->connections_max;

    later[names.len] = '\0';
    gate->connections_max = config_connections_max(config); /* before workers look at it again */
    bool adopted = config_keep_running(config, gate->config) == 0 &&
                   names_await(gate->names, config) == 0 && gate_adopt(gate, config, d) == 0;
    if (!adopted)
        gate->connections_max = most;
    names_keep(gate->names);
    return adopted;
}

bool reload(struct gate *gate, struct diagnostics *d, char later[NEEDS_RESTART_TEXT])
{
    struct config *config = config_reload(gate->config, &source_disk, d);
    bool adopted = false;

    later[0] = '\0';
    if (config && d->errors == 0 && config->server.tests_required)
        config_run_tests(config, d);
    if (config && d->errors == 0)
        adopted = adopt(gate, config, d, later);
    if (adopted)
        reloaded(config, later);
    error_log_diagnostics(d);
    if (adopted)
        return true;
    log_say(LOG_ERROR, "the configuration was not reloaded; the old one stays in use");
    config_free(config);
    return false;
}
