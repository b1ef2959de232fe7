/* What "auto" comes to on this machine, and what all of a configuration may
 * come to need there. */
#include "gate/config.h"
#include "gate/exchange.h"
#include "gate/module.h"
#include "io/descriptor.h"

enum { DESCRIPTOR_RESERVE = 512 };

static uint64_t most(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* For what is no connection: logs, reload, files.  Small limits, as in tests,
 * leave one, too. */
static uint64_t descriptor_reserve(void)
{
    uint64_t limit = descriptor_limit();

    return limit > 2 * DESCRIPTOR_RESERVE ? DESCRIPTOR_RESERVE : limit / 2;
}

unsigned config_descriptors_spare(void)
{
    return (unsigned)descriptor_reserve() / 2;
}

uint64_t config_connections_max(const struct config *config)
{
    if (config->server.max_connections != VALUE_AUTO)
        return config->server.max_connections;
    return (descriptor_limit() - descriptor_reserve()) / (config->upstream_count ? 2 : 1);
}

unsigned config_workers(const struct config *config)
{
    return config->server.workers == VALUE_AUTO ? machine_cpus() : (unsigned)config->server.workers;
}

uint64_t config_buffer_memory(const struct config *config)
{
    return config->server.buffer_memory == VALUE_AUTO ? machine_memory() / 4
                                                      : config->server.buffer_memory;
}

/* --- the worst case ------------------------------------------------------------------- */

/* A connection with a head as long as may be, and the exchange it is for. */
static uint64_t connection_bytes(const struct config *config)
{
    uint64_t head = 0, response = 0;

    for (unsigned i = 0; i < config->listener_count; i++) {
        const struct h1_limits *limits = &config->listeners[i].limits;
        head = most(head, limits->head_max + limits->fields_max * sizeof(struct field));
    }
    for (unsigned i = 0; i < config->upstream_count; i++) {
        const struct upstream_conf *u = &config->upstreams[i];
        uint64_t kept = u->retry_buffer == VALUE_OFF ? 0 : u->retry_buffer;
        response = most(response, u->max_response_header + kept);
    }
    return head + response + sizeof(struct exchange);
}

/* What modules keep: users that were counted, files. */
static uint64_t modules_bytes(const struct config *config)
{
    uint64_t bytes = 0;

    for (unsigned i = 0; i < config->module_count; i++) {
        const struct module_slot *slot = &config->modules[i];
        if (slot->module->memory_max)
            bytes += slot->module->memory_max(slot->conf, config_workers(config));
    }
    return bytes;
}

uint64_t config_worst_case_bytes(const struct config *config)
{
    return config_connections_max(config) * connection_bytes(config) +
           config_buffer_memory(config) + modules_bytes(config) + config->arena.used;
}
