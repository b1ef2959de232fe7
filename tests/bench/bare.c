/* The command line, the engine and accepting of both floors; see bare.h. */
#include "tests/bench/bare.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EXIT_USAGE = 2, DESCRIPTORS_SPARE = 64, SOCKETS_MAX = 100000 };

static void accepting(struct owner *owner)
{
    struct bare *b = container_of(owner, struct bare, owner);

    for (unsigned i = 0; i < BARE_ACCEPTS; i++) {
        struct io_accept *a = &b->accepts[i];
        if (io_take(&a->op) && a->op.fail == 0)
            b->opened(b, a->fd);
        if (!io_busy(&a->op))
            io_accept(b->io, a, &b->listener);
    }
}

static uint32_t sockets_max(void)
{
    struct rlimit limit = {0};

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return SOCKETS_MAX;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur > SOCKETS_MAX + DESCRIPTORS_SPARE)
        return SOCKETS_MAX;
    return (uint32_t)limit.rlim_cur - DESCRIPTORS_SPARE;
}

static int failed(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    return EXIT_FAILURE;
}

/* Port 0 asks for any free one, so the kernel is asked which it was. */
static void say_where(const struct bare *b, int fd)
{
    struct address at = b->at;
    struct sockaddr_in name = {0};
    socklen_t len = sizeof name;
    char text[ADDRESS_TEXT_MAX];

    if (at.family == ADDRESS_IPV4 && getsockname(fd, (struct sockaddr *)&name, &len) == 0)
        at.port = ntohs(name.sin_port);
    printf("%.*s\n", (int)address_print(&at, text), text);
    fflush(stdout);
}

static int serve(struct bare *b, const struct io_backend *backend)
{
    struct io_options options = {.sockets_max = sockets_max()};
    struct io_listen spec = {.at = b->at, .backlog = 4096, .unix_mode = 0600};
    const char *why = "";
    int fd;
    int err = io_open(&b->io, backend, &options, &why);

    if (err < 0)
        return failed(io_backend_name(backend), why);
    err = io_listen(backend, NULL, &spec, &fd);
    if (err < 0)
        return failed("listen", fail_text(err));
    say_where(b, fd);
    owner_init(&b->owner, &b->io->owners, accepting);
    for (unsigned i = 0; i < BARE_ACCEPTS; i++)
        b->accepts[i].op.owner = &b->owner;
    b->listener.fd = -1;
    io_adopt(b->io, &b->listener, fd);
    owner_wake(&b->owner);
    for (;;)
        io_turn(b->io, TIME_NEVER);
}

int bare_run(struct bare *b, int argc, char **argv)
{
    const struct io_backend *backend = io_backends[0];
    bool bad = false;
    int name;

    while ((name = getopt(argc, argv, b->options)) != -1) {
        if (name == 'e')
            backend = io_backend_find(span_of(optarg));
        else if (name == '?')
            bad = true;
        else
            b->option(b, name, optarg);
    }
    bad = bad || optind == argc || address_parse(&b->at, span_of(argv[optind])) < 0 ||
          (optind + 1 < argc && address_parse(&b->origin, span_of(argv[optind + 1])) < 0);
    if (bad || !b->begin(b)) {
        fprintf(stderr, "usage: %s\n", b->usage);
        return EXIT_USAGE;
    }
    if (!backend)
        return failed("engine", "there is none of that name");
    return serve(b, backend);
}
