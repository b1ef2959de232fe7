/* What "auto" comes to on this machine, and what all of a configuration may
 * come to need there. */
#include "gate/config.h"
#include "gate/exchange.h"
#include "gate/module.h"
#include "http/h2_hpack.h"
#include "io/descriptor.h"
#include "io/io.h"

enum {
    DESCRIPTOR_RESERVE = 512,
    H2_TABLES = 16 * 1024, /* HPACK's, both ways, and what waits to be sent */
};

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

/* Pipes are a comfort: they may take a 32nd of the descriptors. */
unsigned config_pipes(const struct config *config)
{
    uint64_t most = descriptor_limit() / 32 / IO_PIPE_DESCRIPTORS / config_workers(config);

    return most < 1 ? 1 : most < IO_PIPES_MAX ? (unsigned)most : IO_PIPES_MAX;
}

uint64_t config_connections_max(const struct config *config)
{
    if (config->server.max_connections != VALUE_AUTO)
        return config->server.max_connections;
    uint64_t others = descriptor_reserve();
    if (config->upstream_count == 0)
        return descriptor_limit() - others;
    others += (uint64_t)config_pipes(config) * IO_PIPE_DESCRIPTORS * config_workers(config);
    return (descriptor_limit() - others) / 2;
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

/* What an exchange may keep of its origin's: the response's head, and content for another try. */
static uint64_t response_bytes(const struct config *config)
{
    uint64_t response = 0;

    for (unsigned i = 0; i < config->upstream_count; i++) {
        const struct upstream_conf *u = &config->upstreams[i];
        uint64_t kept = u->retry_buffer == VALUE_OFF ? 0 : u->retry_buffer;
        response = most(response, u->max_response_header + kept);
    }
    return response;
}

static bool agrees_on_h2(const struct tls_conf *t)
{
    for (unsigned i = 0; i < t->alpn.count; i++)
        if (span_equal(t->alpn.list[i], SPAN("h2")))
            return true;
    return false;
}

static bool speaks_h2(const struct config *config, const struct listener_conf *l)
{
    bool agreed = false;

    for (unsigned i = 0; i < l->tls_count; i++)
        agreed = agreed || agrees_on_h2(&config->tls[l->tls[i]]);
    return hpack_available() && (l->tls_names.count > 0 ? agreed : l->h2c);
}

/* A connection, with a head as long as may be and the exchange it is for; over HTTP/2 with as many
 * of them as it may have streams.  What is in their windows is content: of buffer_memory. */
static uint64_t connection_bytes(const struct config *config, const struct listener_conf *l,
                                 uint64_t response)
{
    uint64_t head = l->limits.head_max + l->limits.fields_max * sizeof(struct field);
    uint64_t one = head + response + sizeof(struct exchange);

    if (!speaks_h2(config, l))
        return one;
    return l->h2_max_streams * one + 2 * head + H2_TABLES;
}

/* All connections there may be, on the listeners where each costs most. */
static uint64_t connections_bytes(const struct config *config)
{
    uint64_t left = config_connections_max(config), bytes = 0, response = response_bytes(config);
    uint64_t below = UINT64_MAX;

    while (left > 0) {
        uint64_t cost = 0, count = 0;
        for (unsigned i = 0; i < config->listener_count; i++) {
            const struct listener_conf *l = &config->listeners[i];
            uint64_t each = connection_bytes(config, l, response);
            uint64_t room = l->max_connections == VALUE_OFF ? left : l->max_connections;
            if (each >= below || each < cost)
                continue;
            count = each == cost && count < left ? count + room : room;
            cost = each;
        }
        if (count == 0)
            break;
        count = count < left ? count : left;
        bytes += count * cost;
        left -= count;
        below = cost;
    }
    return bytes;
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
    return connections_bytes(config) + config_buffer_memory(config) + modules_bytes(config) +
           config->arena.used;
}
