/* headgate ctl; see ctl.h.
 *
 * It reads no more of the configuration than where the socket is, so that it
 * works with files that have mistakes: finding them is what reload is for.
 */
#include "ctl.h"

#include "conf/conf.h"
#include "control.h"
#include "ctl_print.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { EXIT_FINE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };
enum { OPTION_JSON = 256 };
enum { ANSWER_MS = 120 * 1000 }; /* a reload may have names to resolve */

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"socket", required_argument, NULL, 's'},
    {"json", no_argument, NULL, OPTION_JSON},
    {"help", no_argument, NULL, 'h'},
    {0},
};

static const char usage[] =
    "usage: headgate ctl [-c FILE | -s SOCKET] [--json] COMMAND\n"
    "       upstream [GROUP]               show groups and their servers\n"
    "       upstream GROUP SERVER drain    no new requests; what has begun, and sticky\n"
    "                                      sessions, may finish\n"
    "       upstream GROUP SERVER down     none at all\n"
    "       upstream GROUP SERVER up       as the configuration says\n"
    "       upstream GROUP SERVER weight=N its share; 0: no new requests\n"
    "       stats                          what has been counted\n"
    "       reload                         read the configuration again\n"
    "       -h                             this help\n"
    "What is ordered holds until a restart; see headgate-ctl(1).\n";

/* --- where it is ------------------------------------------------------------------------------ */

struct place {
    struct span control;
};

static void print_line(void *file, struct span line)
{
    fprintf(file, "headgate ctl: %.*s\n", SPAN_ARG(line));
}

/* NULL: there is none, and that was said. */
static const char *socket_of(const char *file, struct arena *arena)
{
    static const struct setting table[] = {
        {.name = "control",
         .type = SETTING_FILE,
         .flags = SETTING_OFF,
         .offset = SETTING_MEMBER(struct place, control, struct span)},
        {0},
    };
    struct diagnostics d = {.arena = arena};
    struct place place = {0};
    struct conf conf = {0};

    conf_read(&conf, arena, &source_disk, file, &d);
    for (struct conf_section *s = conf.sections; s; s = s->next)
        if (span_equal(s->type, SPAN("server")))
            conf_fill(&conf, s, NULL, table, &place, &d);
    if (place.control.len > 0)
        return arena_text(arena, place.control);
    diagnostics_print(&d, print_line, stderr);
    fprintf(stderr,
            "headgate ctl: %s names no control socket: set \"control = FILE\" in [server] and "
            "restart headgate, or say -s SOCKET\n",
            file);
    return NULL;
}

/* --- asking ------------------------------------------------------------------------------------
 */

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

/* --- the answer ------------------------------------------------------------------------------ */

static bool colours_for(FILE *out)
{
    const char *no = getenv("NO_COLOR"), *terminal = getenv("TERM");

    return isatty(fileno(out)) && !(no && *no) && terminal && strcmp(terminal, "dumb") != 0;
}

static int show(struct span answer, bool json)
{
    size_t end = span_find(answer, '\n');
    struct span word = span_first(answer, end);
    int code = span_equal(word, SPAN("ok"))        ? EXIT_FINE
               : span_equal(word, SPAN("refused")) ? EXIT_FAILED
               : span_equal(word, SPAN("usage"))   ? EXIT_USAGE
                                                   : -1;

    if (code < 0 || end == answer.len) {
        fputs("headgate ctl: headgate ended, or is busy, and has not answered\n", stderr);
        return EXIT_FAILED;
    }
    answer = span_after(answer, end + 1);
    FILE *out = json || code == EXIT_FINE ? stdout : stderr;
    if (json)
        fwrite(answer.ptr, 1, answer.len, out);
    else
        print_answer(out, answer, colours_for(out));
    if (fflush(out) != 0) {
        fputs("headgate ctl: the answer could not be written\n", stderr);
        return EXIT_FAILED;
    }
    return code;
}

static int ask(const char *path, struct span line, bool json)
{
    char *text = NULL;
    size_t len = 0;
    int fd = reach(path), code = EXIT_FAILED;
    FILE *to = fd < 0 ? NULL : open_memstream(&text, &len);

    if (!to) {
        if (fd >= 0)
            close(fd);
        return EXIT_FAILED;
    }
    say(fd, line.ptr, line.len); /* who refuses it may have answered already */
    bool heard = hear(fd, to);
    fclose(to);
    close(fd);
    if (heard)
        code = show((struct span){text, len}, json);
    else
        fprintf(stderr, "headgate ctl: no answer within %d s\n", ANSWER_MS / 1000);
    free(text);
    return code;
}

/* The words with blanks between, and the end of the line.  False: too long, or a word that
 * would end it. */
static bool line_of(char **words, int count, bool json, char line[CONTROL_LINE_MAX + 2],
                    size_t *len)
{
    *len = (size_t)snprintf(line, CONTROL_LINE_MAX + 2, "%s", json ? "json" : "");
    for (int i = 0; i < count; i++) {
        if (strchr(words[i], '\n') || *len + strlen(words[i]) + 1 > CONTROL_LINE_MAX)
            return false;
        *len += (size_t)sprintf(line + *len, "%s%s", *len ? " " : "", words[i]);
    }
    line[(*len)++] = '\n';
    return true;
}

int ctl(int argc, char **argv)
{
    const char *file = HEADGATE_CONF, *path = NULL;
    struct arena arena = {0};
    char line[CONTROL_LINE_MAX + 2];
    bool json = false;
    size_t len;
    int c;

    while ((c = getopt_long(argc, argv, "c:s:h", options, NULL)) != -1) {
        switch (c) {
        case 'c':
            file = optarg;
            break;
        case 's':
            path = optarg;
            break;
        case OPTION_JSON:
            json = true;
            break;
        case 'h':
            fputs(usage, stdout);
            return EXIT_FINE;
        default:
            fputs(usage, stderr);
            return EXIT_USAGE;
        }
    }
    if (optind == argc) {
        fprintf(stderr, "headgate ctl: a command is missing\n%s", usage);
        return EXIT_USAGE;
    }
    if (!line_of(argv + optind, argc - optind, json, line, &len)) {
        fputs("headgate ctl: the command is too long\n", stderr);
        return EXIT_USAGE;
    }
    if (!path)
        path = socket_of(file, &arena);
    int code = path ? ask(path, (struct span){line, len}, json) : EXIT_FAILED;
    arena_free(&arena);
    return code;
}
