/* How much memory a configuration may come to need, for -t. */
#include "gate/config.h"
#include "gate/exchange.h"

#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t most(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* As many as there will be descriptors for. */
static uint64_t connections_max(const struct config *config)
{
    struct rlimit limit;

    if (config->server.max_connections != VALUE_AUTO)
        return config->server.max_connections;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 1024;
    uint64_t descriptors = limit.rlim_max > 512 ? limit.rlim_max - 512 : 1;
    return config->upstream_count ? descriptors / 2 : descriptors;
}

/* Of the machine, or what its cgroup leaves of it. */
static uint64_t memory_bytes(void)
{
    uint64_t bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    FILE *file = fopen("/sys/fs/cgroup/memory.max", "r");
    unsigned long long limit;

    if (file && fscanf(file, "%llu", &limit) == 1)
        bytes = least(bytes, limit);
    if (file)
        fclose(file);
    return bytes;
}

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

uint64_t config_worst_case_bytes(const struct config *config)
{
    uint64_t content = config->server.buffer_memory == VALUE_AUTO ? memory_bytes() / 4
                                                                  : config->server.buffer_memory;

    return connections_max(config) * connection_bytes(config) + content + config->arena.used;
}
