/* headgate: arguments, load, check, serve.  See headgate(8). */
#include "config.h"

#include "ctl.h"
#include "gate/config.h"
#include "gate/module.h"
#include "http/h2_hpack.h"
#include "io/descriptor.h"
#include "io/io.h"
#include "modules/modules_table.h"
#include "net/lookup.h"
#include "rehearsal.h"
#include "serve.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

enum { EXIT_FINE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

enum { OPTION_HELP_SETTINGS = 256 };

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"test", no_argument, NULL, 't'},
    {"print", no_argument, NULL, 'T'},
    {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},
    {"help-settings", no_argument, NULL, OPTION_HELP_SETTINGS},
    {0},
};

static const char usage[] =
    "usage: headgate [-c FILE]             serve\n"
    "       headgate -t [-c FILE]          check the configuration, run its tests\n"
    "       headgate -T [-c FILE]          print it as it is in effect\n"
    "       headgate --help-settings       print every setting\n"
    "       headgate ctl COMMAND           steer one that runs; headgate ctl -h says how\n"
    "       headgate -V | -h               version and features | this help\n";

static void print_line(void *file, struct span line)
{
    fwrite(line.ptr, 1, line.len, file);
    if (line.len == 0 || line.ptr[line.len - 1] != '\n')
        fputc('\n', file);
}

static int version(void)
{
    const char *why;

    printf("headgate %s\n", PACKAGE_VERSION);
    for (unsigned i = 0; io_backends[i]; i++) {
        bool usable = io_backend_usable(io_backends[i], &why);
        printf("engine   %s%s%s\n", io_backend_name(io_backends[i]), usable ? "" : ": ",
               usable ? "" : why);
    }
    for (unsigned i = 0; modules_table[i]; i++)
        printf("module   %s: %s\n", modules_table[i]->name, modules_table[i]->summary);
#ifdef HAVE_URING
    printf("feature  io_uring, built with liburing %s\n", URING_VERSION);
#endif
#ifdef TLS_VERSION
    printf("feature  tls, built with %s\n", TLS_VERSION);
#endif
    if (resolver_library)
        printf("feature  names followed in DNS, built with %s\n", resolver_library);
    printf("feature  http/1.1\n");
    if (hpack_available())
        printf("feature  http/2, HPACK by nghttp2\n");
    return EXIT_FINE;
}

/* What it is loaded for: -T, to serve, -t. */
enum purpose { TO_PRINT, TO_SERVE, TO_CHECK };

/* Everything that is wrong with it goes to stderr.  NULL when it may not be used. */
static struct config *load(const char *path, struct arena *arena, enum purpose purpose)
{
    struct diagnostics d = {.arena = arena};
    struct config *config = config_load(path, &source_disk, modules_table, &d);

    if (config && d.errors == 0 &&
        (purpose == TO_CHECK || (purpose == TO_SERVE && config->server.tests_required)))
        config_run_tests(config, &d);
    if (config && purpose == TO_CHECK)
        rehearse(config, &d);
    diagnostics_print(&d, print_line, stderr);
    if (d.errors > 0) {
        config_free(config);
        return NULL;
    }
    return config;
}

static void print_bytes(uint64_t bytes)
{
    static const char *const units[] = {"b", "k", "m", "g", "t"};
    unsigned unit = 0;
    double n = (double)bytes;

    while (n >= 1024 && unit + 1 < COUNT_OF(units)) {
        n /= 1024;
        unit++;
    }
    printf("%.4g%s", n, units[unit]);
}

static void print_count(unsigned n, const char *noun, const char *after)
{
    printf("%u %s%s%s", n, noun, n == 1 ? "" : "s", after);
}

static int check(const char *path)
{
    struct arena arena = {0};
    struct config *config = load(path, &arena, TO_CHECK);

    if (config) {
        printf("%s: fine: ", path);
        print_count(config->listener_count, "listener", ", ");
        print_count(config->route_count, "route", ", ");
        print_count(config->upstream_count, "upstream", ", ");
        print_count(config->test_count, "test", " passed\n");
        config_tls_readers(config, print_line, stdout);
        printf("worst case: ");
        print_bytes(config_worst_case_bytes(config));
        printf(" of memory, when every connection and buffer is in use\n");
        config_free(config);
    }
    arena_free(&arena);
    return config ? EXIT_FINE : EXIT_FAILED;
}

/* What it says, whether or not it does what its tests expect. */
static int print(const char *path)
{
    struct arena arena = {0};
    struct config *config = load(path, &arena, TO_PRINT);

    if (config) {
        config_print(config, print_line, stdout);
        config_free(config);
    }
    arena_free(&arena);
    return config ? EXIT_FINE : EXIT_FAILED;
}

/* Whoever tells it to reload, or to open its logs anew, while it reads a long configuration must
 * not end it: serve() hears of that. */
static void signals_wait(void)
{
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGUSR1);
    sigaddset(&signals, SIGUSR2);
    sigprocmask(SIG_BLOCK, &signals, NULL);
}

static int run(const char *path)
{
    struct arena arena = {0};

    signals_wait();
    struct config *config = load(path, &arena, TO_SERVE);

    arena_free(&arena);
    return config ? serve(config) : EXIT_FAILED;
}

/* Who asked for it must not take silence, or half of it, for all there is to say. */
static int said(int code)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    fputs("headgate: the output could not be written\n", stderr);
    return code == EXIT_FINE ? EXIT_FAILED : code;
}

int main(int argc, char **argv)
{
    const char *path = HEADGATE_CONF;
    int mode = 0, c;

    descriptor_standard();
    if (argc > 1 && strcmp(argv[1], "ctl") == 0)
        return ctl(argc - 1, argv + 1);
    while ((c = getopt_long(argc, argv, "c:tTVh", options, NULL)) != -1) {
        switch (c) {
        case 'c':
            path = optarg;
            break;
        case 't':
        case 'T':
        case 'V':
        case OPTION_HELP_SETTINGS:
            if (mode != 0 && mode != c) {
                fprintf(stderr, "headgate: only one of -t, -T, -V and --help-settings\n%s", usage);
                return EXIT_USAGE;
            }
            mode = c;
            break;
        case 'h':
            fputs(usage, stdout);
            return said(EXIT_FINE);
        default:
            fputs(usage, stderr);
            return EXIT_USAGE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "headgate: unexpected argument \"%s\"\n%s", argv[optind], usage);
        return EXIT_USAGE;
    }
    switch (mode) {
    case 't':
        return said(check(path));
    case 'T':
        return said(print(path));
    case 'V':
        return said(version());
    case OPTION_HELP_SETTINGS:
        config_help(modules_table, print_line, stdout);
        return said(EXIT_FINE);
    default:
        return run(path);
    }
}
