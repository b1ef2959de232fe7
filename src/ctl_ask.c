/* One question through the control socket; see ctl_ask.h. */
#include "ctl_ask.h"

#include "control.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { ANSWER_MS = 120 * 1000 }; /* a reload may have names to resolve */

static void say_why(const char *path, int error)
{
    switch (error) {
    case ENOENT:
        fprintf(stderr,
                "headgate ctl: %s is not there: headgate is not running, or its control setting "
                "has changed since it was started\n",
                path);
        break;
    case ECONNREFUSED:
        fprintf(stderr, "headgate ctl: nobody answers at %s: headgate is not running\n", path);
        break;
    case EACCES:
    case EPERM:
        fprintf(stderr,
                "headgate ctl: %s: permission denied: only root and the user that headgate runs "
                "as may steer it\n",
                path);
        break;
    default:
        fprintf(stderr, "headgate ctl: %s: %s\n", path, strerror(error));
    }
}

/* -1: nobody is there, and that was said. */
static int reach(const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t len = strlen(path);

    if (len > CONTROL_PATH_MAX) {
        fprintf(stderr, "headgate ctl: a socket's path has at most %d bytes\n", CONTROL_PATH_MAX);
        return -1;
    }
    memcpy(to.sun_path, path, len);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&to, sizeof to) == 0)
        return fd;
    say_why(path, errno);
    if (fd >= 0)
        close(fd);
    return -1;
}

/* False: it went away, or takes too long. */
static bool say(int fd, const char *line, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, line, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        line += n;
        len -= (size_t)n;
    }
    return true;
}

/* All there is to the end of the stream; false: it took too long, or there is no memory. */
static bool hear(int fd, FILE *to)
{
    char piece[16384];

    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, ANSWER_MS) == 0)
            return false;
        ssize_t n = recv(fd, piece, sizeof piece, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return true;
        if (fwrite(piece, 1, (size_t)n, to) != (size_t)n)
            return false;
    }
}

static int code_of(struct span word)
{
    static const struct {
        struct span word;
        int code;
    } rows[] = {
        {SPAN_INIT("ok"), EXIT_FINE},
        {SPAN_INIT("refused"), EXIT_FAILED},
        {SPAN_INIT("usage"), EXIT_USAGE},
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (span_equal(word, rows[i].word))
            return rows[i].code;
    return -1;
}

static bool answer_read(struct ctl_answer *answer, size_t len)
{
    struct span all = {answer->text, len};
    size_t end = span_find(all, '\n');

    answer->code = code_of(span_first(all, end));
    if (answer->code < 0 || end == all.len) {
        fputs("headgate ctl: headgate ended, or is busy, and has not answered\n", stderr);
        return false;
    }
    answer->body = span_after(all, end + 1);
    return true;
}

bool ctl_ask(const char *path, struct span line, struct ctl_answer *answer)
{
    size_t len = 0;
    int fd = reach(path);

    *answer = (struct ctl_answer){.text = NULL};
    FILE *to = fd < 0 ? NULL : open_memstream(&answer->text, &len);
    if (!to) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    say(fd, line.ptr, line.len); /* who refuses it may have answered already */
    bool heard = hear(fd, to);
    fclose(to);
    close(fd);
    if (!heard)
        fprintf(stderr, "headgate ctl: no answer within %d s\n", ANSWER_MS / 1000);
    if (heard && answer_read(answer, len))
        return true;
    free(answer->text);
    return false;
}
