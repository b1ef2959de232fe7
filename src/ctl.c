/* headgate ctl; see ctl.h.
 *
 * It reads no more of the configuration than where the socket is, so that it
 * works with files that have mistakes: finding them is what reload is for.
 */
#include "ctl.h"

#include "conf/conf.h"
#include "control.h"
#include "ctl_ask.h"
#include "ctl_print.h"
#include "ctl_wait.h"

#include <getopt.h>
#include <stdlib.h>
#include <unistd.h>

enum { OPTION_JSON = 256, OPTION_WAIT };

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'}, {"socket", required_argument, NULL, 's'},
    {"json", no_argument, NULL, OPTION_JSON}, {"wait", required_argument, NULL, OPTION_WAIT},
    {"help", no_argument, NULL, 'h'},         {0},
};

static const char usage[] =
    "usage: headgate ctl [-c FILE | -s SOCKET] [--json] [--wait TIME] COMMAND\n"
    "       upstream [GROUP]               show groups and their servers\n"
    "       upstream GROUP SERVER drain    no new requests; what has begun, and sticky\n"
    "                                      sessions, may finish\n"
    "       upstream GROUP SERVER down     none at all\n"
    "       upstream GROUP SERVER up       as the configuration says\n"
    "       upstream GROUP SERVER weight=N its share; 0: no new requests\n"
    "       stats                          what has been counted\n"
    "       reload                         read the configuration again\n"
    "       --wait TIME                    with drain and down: until nothing is in flight\n"
    "                                      there, or so long: exit code 1\n"
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
    if (!conf.sections && d.errors > 0) /* the file is not there, or nothing can be read of it */
        return NULL;
    fprintf(stderr,
            "headgate ctl: %s names no control socket: set \"control = FILE\" in [server] and "
            "restart headgate, or say -s SOCKET\n",
            file);
    return NULL;
}

/* --- the answer ------------------------------------------------------------------------------ */

static bool colours_for(FILE *out)
{
    const char *no = getenv("NO_COLOR"), *terminal = getenv("TERM");

    return isatty(fileno(out)) && !(no && *no) && terminal && strcmp(terminal, "dumb") != 0;
}

static int written(FILE *out, int code)
{
    if (fflush(out) == 0 && !ferror(out))
        return code;
    fputs("headgate ctl: the answer could not be written\n", stderr);
    return EXIT_FAILED;
}

static int show(const struct ctl_answer *answer, bool json)
{
    FILE *out = json || answer->code == EXIT_FINE ? stdout : stderr;

    if (json)
        fwrite(answer->body.ptr, 1, answer->body.len, out);
    else
        print_answer(out, answer->body, colours_for(out));
    return written(out, answer->code);
}

/* --- the command line --------------------------------------------------------------------------
 */

/* The words with blanks between, and the end of the line.  NULL, or what is wrong with it. */
static const char *line_of(char **words, int count, bool json, char line[CONTROL_LINE_MAX + 2],
                           size_t *len)
{
    *len = (size_t)snprintf(line, CONTROL_LINE_MAX + 2, "%s", json ? "json" : "");
    for (int i = 0; i < count; i++) {
        if (strchr(words[i], '\n'))
            return "a command is one line: no word of it may have a line break";
        if (*len + strlen(words[i]) + 1 > CONTROL_LINE_MAX)
            return "the command is too long";
        *len += (size_t)sprintf(line + *len, "%s%s", *len ? " " : "", words[i]);
    }
    line[(*len)++] = '\n';
    return NULL;
}

/* Whether it is a command at all, in the words of who would be asked. */
static int line_check(struct span line, bool json)
{
    struct ctl_answer answer = {.code = EXIT_FINE};
    size_t len = 0;
    struct command c = {.line = span_first(line, line.len - 1),
                        .out = open_memstream(&answer.text, &len)};

    if (!c.out)
        return EXIT_FINE; /* who is asked will say it */
    command_read(&c);
    command_end(&c);
    answer.body = (struct span){answer.text, len};
    if (c.stage == COMMAND_DONE) {
        answer.code = EXIT_USAGE;
        show(&answer, json);
    }
    free(answer.text);
    return answer.code;
}

struct arguments {
    const char *file, *path;
    bool json;
    uint64_t wait_ns; /* 0: not at all */
    char **words;
    int count;
};

/* Only behind drain and down there is anything to wait for. */
static bool may_wait(const struct arguments *a)
{
    const char *action = a->words[a->count - 1];

    return a->count >= 4 && (strcmp(action, "drain") == 0 || strcmp(action, "down") == 0);
}

/* The exit code, or -1: there is something to ask. */
static int arguments_read(struct arguments *a, int argc, char **argv)
{
    const char *why;
    int c;

    while ((c = getopt_long(argc, argv, "c:s:h", options, NULL)) != -1) {
        switch (c) {
        case 'c':
            a->file = optarg;
            break;
        case 's':
            a->path = optarg;
            break;
        case OPTION_JSON:
            a->json = true;
            break;
        case OPTION_WAIT:
            if (value_duration(span_of(optarg), &a->wait_ns, &why) < 0) {
                fprintf(stderr, "headgate ctl: --wait %s: %s\n", optarg, why);
                return EXIT_USAGE;
            }
            break;
        case 'h':
            fputs(usage, stdout);
            return written(stdout, EXIT_FINE);
        default:
            fputs(usage, stderr);
            return EXIT_USAGE;
        }
    }
    a->words = argv + optind;
    a->count = argc - optind;
    if (a->count == 0) {
        fprintf(stderr, "headgate ctl: a command is missing\n%s", usage);
        return EXIT_USAGE;
    }
    if (a->wait_ns > 0 && !may_wait(a)) {
        fputs("headgate ctl: --wait goes with drain and down\n", stderr);
        return EXIT_USAGE;
    }
    return -1;
}

static int ask(const struct arguments *a, const char *path, struct span line)
{
    struct ctl_answer answer;

    if (!ctl_ask(path, line, &answer))
        return EXIT_FAILED;
    int code = show(&answer, a->json);
    free(answer.text);
    if (code != EXIT_FINE || a->wait_ns == 0)
        return code;
    return ctl_wait(path, span_of(a->words[1]), span_of(a->words[a->count - 2]), a->wait_ns);
}

int ctl(int argc, char **argv)
{
    struct arguments a = {.file = HEADGATE_CONF};
    struct arena arena = {0};
    char line[CONTROL_LINE_MAX + 2];
    size_t len;
    int code = arguments_read(&a, argc, argv);

    if (code >= 0)
        return code;
    const char *why = line_of(a.words, a.count, a.json, line, &len);
    if (why) {
        fprintf(stderr, "headgate ctl: %s\n", why);
        return EXIT_USAGE;
    }
    if ((code = line_check((struct span){line, len}, a.json)) != EXIT_FINE)
        return code;
    const char *path = a.path ? a.path : socket_of(a.file, &arena);
    code = path ? ask(&a, path, (struct span){line, len}) : EXIT_FAILED;
    arena_free(&arena);
    return code;
}
