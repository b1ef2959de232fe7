/* Runs every test against every backend that works here, and writes TAP. */
#include "tests/backends/backends.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SKIPPED = 77, TEST_SECONDS_MAX = 120 };

const struct io_backend *backend;

static int why_fd = -1; /* where a skipped test says why */

void fail_at(const char *file, int line, const char *what)
{
    printf("# %s:%d: %s\n", file, line, what);
    fflush(stdout);
    _exit(EXIT_FAILURE);
}

void fail_equal_at(const char *file, int line, const char *what, int64_t a, int64_t b)
{
    printf("# %s:%d: %s: %" PRId64 ", %" PRId64 "\n", file, line, what, a, b);
    fflush(stdout);
    _exit(EXIT_FAILURE);
}

void skip(const char *why)
{
    (void)!write(why_fd, why, strlen(why));
    _exit(SKIPPED);
}

static int run(const struct test *t)
{
    int status;

    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        alarm(TEST_SECONDS_MAX);
        t->run();
        exit(EXIT_SUCCESS); /* not _exit: a leak checker wants its say */
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        return EXIT_FAILURE;
    if (WIFSIGNALED(status))
        printf("# killed by signal %d\n", WTERMSIG(status));
    return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
}

static bool report(int number, const struct test *t)
{
    char why[200] = "";
    int pipe_fds[2];

    if (pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) < 0)
        return false;
    why_fd = pipe_fds[1];
    int status = run(t);
    (void)!read(pipe_fds[0], why, sizeof why - 1);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    bool ok = status == EXIT_SUCCESS || status == SKIPPED;
    printf("%s %d - %s: %s%s%s\n", ok ? "ok" : "not ok", number, io_backend_name(backend), t->name,
           status == SKIPPED ? " # SKIP " : "", why);
    return ok;
}

static bool wanted(const struct test *t, int argc, char **argv)
{
    return argc < 3 || strstr(t->name, argv[2]);
}

int main(int argc, char **argv)
{
    static const struct test *const suites[] = {promise_tests, accept_tests, stream_tests,
                                                send_file_tests,
                                                pipe_tests,    time_tests,   file_tests,
                                                thread_tests,  listen_tests, limit_tests};
    struct rlimit files;
    int number = 0, failed = 0;

    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    for (size_t b = 0; io_backends[b]; b++) {
        const char *why = NULL;
        backend = io_backends[b];
        if (argc > 1 && strcmp(argv[1], io_backend_name(backend)) != 0)
            continue;
        if (!io_backend_usable(backend, &why)) {
            printf("ok %d - %s # SKIP %s\n", ++number, io_backend_name(backend), why);
            continue;
        }
        for (size_t s = 0; s < COUNT_OF(suites); s++)
            for (const struct test *t = suites[s]; t->name; t++)
                if (wanted(t, argc, argv))
                    failed += !report(++number, t);
    }
    printf("1..%d\n", number);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
