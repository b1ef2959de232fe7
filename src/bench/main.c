/* headgate-bench: load on an HTTP server, and whether it counted right. */
#include "bench/load.h"
#include "bench/mrc.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>

enum { DESCRIPTORS_SPARE = 64 };

static _Atomic bool interrupted; /* by the first SIGINT or SIGTERM; the second one kills */

static void interrupt(int signal)
{
    (void)signal;
    atomic_store(&interrupted, true);
}

static void signals_watch(void)
{
    struct sigaction action = {.sa_handler = interrupt, .sa_flags = (int)SA_RESETHAND | SA_RESTART};

    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

/* Each connection is a descriptor, and each engine has a few. */
static bool descriptors_suffice(const struct options *o)
{
    uint64_t need = o->connections + o->threads * o->clients * 8 + DESCRIPTORS_SPARE;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= need)
        return true;
    limit.rlim_cur = limit.rlim_max;
    if (limit.rlim_max >= need && setrlimit(RLIMIT_NOFILE, &limit) == 0)
        return true;
    (void)fprintf(stderr,
                  "headgate-bench: %llu connections need %llu descriptors, the limit is %llu "
                  "(ulimit -n)\n",
                  (unsigned long long)o->connections, (unsigned long long)need,
                  (unsigned long long)limit.rlim_max);
    return false;
}

/* "auto" is the best that can be opened here.  NULL after saying why not. */
static const struct io_backend *engine_find(struct span name)
{
    const char *why = "no engine can be opened here";
    const struct io_backend *backend;

    if (!span_equal(name, SPAN("auto"))) {
        backend = io_backend_find(name);
        if (backend && io_backend_usable(backend, &why))
            return backend;
        (void)fprintf(stderr, "headgate-bench: engine %.*s: %s\n", SPAN_ARG(name),
                      backend ? why : "not in this build");
        return NULL;
    }
    for (size_t i = 0; io_backends[i]; i++)
        if (io_backend_usable(io_backends[i], &why))
            return io_backends[i];
    (void)fprintf(stderr, "headgate-bench: %s\n", why);
    return NULL;
}

/* A result that nobody got is none. */
static int said(int code)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    (void)fputs("headgate-bench: the output could not be written\n", stderr);
    return 1;
}

int main(int argc, char **argv)
{
    char why[SERVER_WHY_MAX];
    struct options options;

    switch (options_read(&options, argc, argv)) {
    case OPTIONS_SHOWN:
        return said(0);
    case OPTIONS_BAD:
        return 2;
    case OPTIONS_RUN:
        break;
    }
    struct server server = {.url = options.url, .timeout_ns = options.timeout_ns};
    server.backend = engine_find(options.engine);
    if (!server.backend || !descriptors_suffice(&options))
        return 1;
    signals_watch();
    if (server_find(&server, why) < 0) {
        (void)fprintf(stderr, "headgate-bench: %s\n", why);
        return 1;
    }
    if (options.scenario == SCENARIO_MRC)
        return said(mrc_run(&options, &server, &interrupted));
    return said(load_run(&options, &server, &interrupted));
}
