/* What the command line asks for. */
#include "config.h"

#include "options.h"

#include "base/clock.h"
#include "base/number.h"
#include "bench/event.h"
#include "http/field.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

enum {
    CONNECTIONS_MAX = 1000000,
    THREADS_MAX = 256,
    PIPELINE_MAX = 4096,
};

static const char USAGE[] =
    "usage: headgate-bench 1mrc URL [-n EVENTS] [-c CONNECTIONS] [-t THREADS] [--users N]\n"
    "                      [--prefix P] [--clients N] [--no-verify]\n"
    "       headgate-bench load URL --rate R|max [-d TIME | -n REQUESTS] [-c CONNECTIONS]\n"
    "                      [-t THREADS] [-X METHOD] [-H FIELD]... [--body TEXT] [--close]\n"
    "                      [--slo LIMITS]\n"
    "       both:          [--pipeline N] [--engine auto|uring|epoll] [--timeout TIME]\n"
    "                      [--json] [-q]\n"
    "       headgate-bench -h | -V\n";

enum { /* options without a letter */
       OPTION_PIPELINE = 256,
       OPTION_USERS,
       OPTION_PREFIX,
       OPTION_CLIENTS,
       OPTION_NO_VERIFY,
       OPTION_ENGINE,
       OPTION_TIMEOUT,
       OPTION_JSON,
       OPTION_RATE,
       OPTION_BODY,
       OPTION_CLOSE,
       OPTION_SLO,
};

static const struct option long_options[] = {
    {"pipeline", required_argument, NULL, OPTION_PIPELINE},
    {"users", required_argument, NULL, OPTION_USERS},
    {"prefix", required_argument, NULL, OPTION_PREFIX},
    {"clients", required_argument, NULL, OPTION_CLIENTS},
    {"no-verify", no_argument, NULL, OPTION_NO_VERIFY},
    {"engine", required_argument, NULL, OPTION_ENGINE},
    {"timeout", required_argument, NULL, OPTION_TIMEOUT},
    {"json", no_argument, NULL, OPTION_JSON},
    {"rate", required_argument, NULL, OPTION_RATE},
    {"body", required_argument, NULL, OPTION_BODY},
    {"close", no_argument, NULL, OPTION_CLOSE},
    {"slo", required_argument, NULL, OPTION_SLO},
    {"requests", required_argument, NULL, 'n'},
    {"connections", required_argument, NULL, 'c'},
    {"threads", required_argument, NULL, 't'},
    {"duration", required_argument, NULL, 'd'},
    {"method", required_argument, NULL, 'X'},
    {"header", required_argument, NULL, 'H'},
    {"quiet", no_argument, NULL, 'q'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {0},
};

static bool complain(const char *format, ...) PRINTF_LIKE(1, 2);
static bool complain(const char *format, ...)
{
    va_list args;

    (void)fputs("headgate-bench: ", stderr);
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fputc('\n', stderr);
    return false;
}

/* --- values ---------------------------------------------------------------------- */

bool options_duration(struct span text, uint64_t *ns)
{
    static const struct {
        struct span unit;
        double ns;
    } units[] = {
        {SPAN_INIT("ns"), 1},  {SPAN_INIT("us"), 1e3}, {SPAN_INIT("ms"), 1e6},
        {SPAN_INIT("s"), 1e9}, {SPAN_INIT("m"), 60e9}, {SPAN_INIT("h"), 3600e9},
    };
    double number;
    size_t used;

    if (number_read(text, &used, &number) < 0 || number < 0)
        return false;
    for (size_t i = 0; i < COUNT_OF(units); i++) {
        double value = number * units[i].ns;
        if (!span_equal(span_after(text, used), units[i].unit) || value > 1e18)
            continue;
        *ns = (uint64_t)value;
        return true;
    }
    return false;
}

static bool slo_left(struct slo *slo, struct span left)
{
    size_t used;

    if (span_equal(left, SPAN("max"))) {
        slo->kind = SLO_MAX;
        return true;
    }
    if (span_equal(left, SPAN("mean"))) {
        slo->kind = SLO_MEAN;
        return true;
    }
    slo->kind = SLO_PERCENTILE;
    if (left.len < 2 || left.ptr[0] != 'p')
        return false;
    left = span_after(left, 1);
    return number_read(left, &used, &slo->percent) == 0 && used == left.len && slo->percent > 0 &&
           slo->percent <= 100;
}

bool options_slo(struct options *o, struct span text)
{
    for (;;) {
        size_t end = span_find(text, ',');
        struct span one = span_trim(span_first(text, end));
        size_t less = span_find(one, '<');
        struct slo slo = {.text = one};

        if (o->slo_count == SLOS_MAX || less == one.len)
            return false;
        if (!slo_left(&slo, span_trim(span_first(one, less))) ||
            !options_duration(span_trim(span_after(one, less + 1)), &slo.limit_ns))
            return false;
        o->slo[o->slo_count++] = slo;
        if (end == text.len)
            return true;
        text = span_after(text, end + 1);
    }
}

static bool read_count(const char *what, const char *text, uint64_t max, uint64_t *out)
{
    if (span_number(span_of(text), out) && *out >= 1 && *out <= max)
        return true;
    return complain("%s: a number from 1 to %llu, not \"%s\"", what, (unsigned long long)max, text);
}

static bool read_duration(const char *what, const char *text, uint64_t *out)
{
    if (options_duration(span_of(text), out) && *out > 0)
        return true;
    return complain("%s: a time like 500ms, 10s or 2m, not \"%s\"", what, text);
}

static bool read_rate(struct options *o, const char *text)
{
    double *out = &o->rate;
    size_t used;

    o->closed = strcmp(text, "max") == 0;
    if (o->closed)
        return true;
    if (number_read(span_of(text), &used, out) == 0 && text[used] == '\0' && *out >= 0.001 &&
        *out <= 1e9)
        return true;
    return complain("--rate: requests per second, from 0.001 to 1000000000, or max, not \"%s\"",
                    text);
}

/* It is put between quotes as it is, and must not end them. */
static bool read_prefix(const char *text, struct span *out)
{
    *out = span_of(text);
    if (out->len == 0 || out->len > EVENT_PREFIX_MAX)
        return complain("--prefix: 1 to %d bytes", EVENT_PREFIX_MAX);
    for (size_t i = 0; i < out->len; i++)
        if ((unsigned char)text[i] < ' ' || (unsigned char)text[i] > '~' || text[i] == '"' ||
            text[i] == '\\')
            return complain("--prefix: printable ASCII without quotes and backslashes");
    return true;
}

static bool read_method(struct options *o, const char *text)
{
    o->method_name = span_of(text);
    o->method = method_find(o->method_name);
    if (!span_is_token(o->method_name) || o->method == METHOD_CONNECT)
        return complain("-X: a method, not \"%s\"", text);
    return true;
}

static bool read_field(struct options *o, const char *text)
{
    struct span line = span_of(text);
    size_t colon = span_find(line, ':');

    if (o->field_count == FIELD_LINES_MAX)
        return complain("-H: at most %d fields", FIELD_LINES_MAX);
    if (colon == line.len || !span_is_token(span_first(line, colon)) ||
        !span_is_field_value(span_trim(span_after(line, colon + 1))))
        return complain("-H: a field like \"Name: value\", not \"%s\"", text);
    switch (field_find(span_first(line, colon))) {
    case FIELD_CONTENT_LENGTH:
    case FIELD_TRANSFER_ENCODING:
    case FIELD_CONNECTION:
        return complain("-H: %.*s is written by headgate-bench itself", (int)colon, text);
    default:
        o->fields[o->field_count++] = text;
        return true;
    }
}

/* --- the line as a whole ----------------------------------------------------------- */

enum { FOR_MRC = 1, FOR_LOAD = 2, FOR_BOTH = 3 };

static int option_scope(int option)
{
    switch (option) {
    case OPTION_USERS:
    case OPTION_PREFIX:
    case OPTION_CLIENTS:
    case OPTION_NO_VERIFY:
        return FOR_MRC;
    case OPTION_RATE:
    case OPTION_BODY:
    case OPTION_CLOSE:
    case OPTION_SLO:
    case 'd':
    case 'X':
    case 'H':
        return FOR_LOAD;
    default:
        return FOR_BOTH;
    }
}

static bool read_option(struct options *o, int option, const char *value)
{
    switch (option) {
    case 'n':
        return read_count("-n", value, UINT64_C(1) << EVENTS_MAX_BITS, &o->requests);
    case 'c':
        return read_count("-c", value, CONNECTIONS_MAX, &o->connections);
    case 't':
        return read_count("-t", value, THREADS_MAX, &o->threads);
    case 'd':
        return read_duration("-d", value, &o->duration_ns);
    case 'X':
        return read_method(o, value);
    case 'H':
        return read_field(o, value);
    case 'q':
        return o->quiet = true;
    case OPTION_PIPELINE:
        return read_count("--pipeline", value, PIPELINE_MAX, &o->pipeline);
    case OPTION_USERS:
        return read_count("--users", value, UINT64_C(1) << EVENTS_MAX_BITS, &o->users);
    case OPTION_PREFIX:
        return read_prefix(value, &o->prefix);
    case OPTION_CLIENTS:
        return read_count("--clients", value, THREADS_MAX, &o->clients);
    case OPTION_NO_VERIFY:
        o->verify = false;
        return true;
    case OPTION_ENGINE:
        o->engine = span_of(value);
        return strcmp(value, "auto") == 0 || strcmp(value, "uring") == 0 ||
               strcmp(value, "epoll") == 0 ||
               complain("--engine: auto, uring or epoll, not \"%s\"", value);
    case OPTION_TIMEOUT:
        return read_duration("--timeout", value, &o->timeout_ns);
    case OPTION_JSON:
        return o->json = true;
    case OPTION_RATE:
        return read_rate(o, value);
    case OPTION_BODY:
        o->content = span_of(value);
        return true;
    case OPTION_CLOSE:
        return o->close = true;
    case OPTION_SLO:
        return options_slo(o, span_of(value)) ||
               complain("--slo: limits like p99<5ms,max<1s, not \"%s\"", value);
    default:
        return false; /* getopt has said what is wrong */
    }
}

static bool read_scenario(struct options *o, const char *word)
{
    if (strcmp(word, "1mrc") == 0)
        o->scenario = SCENARIO_MRC;
    else if (strcmp(word, "load") == 0)
        o->scenario = SCENARIO_LOAD;
    else
        return complain("no scenario \"%s\"; there are 1mrc and load", word);
    return true;
}

static bool read_words(struct options *o, char **words, int count)
{
    const char *why;

    if (count == 0)
        return complain("which scenario, 1mrc or load?");
    if (!read_scenario(o, words[0]))
        return false;
    if (count != 2)
        return complain(count < 2 ? "a URL is missing" : "one URL only");
    if (url_parse(&o->url, span_of(words[1]), &why) < 0)
        return complain("%s: %s", words[1], why);
    return true;
}

static bool fits_together(struct options *o, int scopes_used, const char *const *names)
{
    int scope = o->scenario == SCENARIO_MRC ? FOR_MRC : FOR_LOAD;
    uint64_t crews = o->threads * (o->scenario == SCENARIO_MRC ? o->clients : 1);

    if (scopes_used & ~scope)
        return complain("%s does not go with %s", names[scope == FOR_MRC],
                        scope == FOR_MRC ? "1mrc" : "load");
    if (scope == FOR_LOAD && o->rate == 0 && !o->closed)
        return complain("load needs --rate, in requests per second, or max");
    if (o->connections == 0)
        o->connections = scope == FOR_MRC ? 1000 : 100;
    if (o->requests == 0 && scope == FOR_MRC)
        o->requests = 1000000;
    if (o->connections < crews)
        return complain("fewer connections (%llu) than threads (%llu)",
                        (unsigned long long)o->connections, (unsigned long long)crews);
    return true;
}

enum options_result options_read(struct options *o, int argc, char **argv)
{
    const char *names[2] = {"", ""}; /* an option that only 1mrc takes, one that only load does */
    int option, used = 0;
    bool ok = true;

    *o = (struct options){
        .engine = SPAN("auto"),
        .threads = 1,
        .pipeline = 1,
        .timeout_ns = 10 * NS_PER_S,
        .users = 75000,
        .clients = 1,
        .verify = true,
        .duration_ns = 10 * NS_PER_S,
        .method = METHOD_GET,
        .method_name = SPAN("GET"),
    };
    optind = 0; /* from the beginning, also when called twice */
    while (ok && (option = getopt_long(argc, argv, "n:c:t:d:X:H:qhV", long_options, NULL)) != -1) {
        if (option == 'h') {
            (void)fputs(USAGE, stdout);
            return OPTIONS_SHOWN;
        }
        if (option == 'V') {
            puts("headgate-bench " PACKAGE_VERSION);
            return OPTIONS_SHOWN;
        }
        ok = read_option(o, option, optarg);
        int scope = option_scope(option);
        if (ok && scope != FOR_BOTH) {
            used |= scope;
            names[scope == FOR_LOAD] =
                argv[optind - 1] == optarg ? argv[optind - 2] : argv[optind - 1];
        }
    }
    if (ok && read_words(o, argv + optind, argc - optind) && fits_together(o, used, names))
        return OPTIONS_RUN;
    (void)fputs(USAGE, stderr);
    return OPTIONS_BAD;
}
