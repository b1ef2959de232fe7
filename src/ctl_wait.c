/* Until nothing is in flight at a server; see ctl_wait.h. */
#include "ctl_wait.h"

#include "control.h"
#include "ctl_ask.h"
#include "io/descriptor.h"
#include "monotonic.h"

#include <stdio.h>
#include <stdlib.h>

#define LOOK_NS (100 * NS_PER_MS)

/* What is under way at a server, as an answer has it. */
struct shown {
    bool there; /* at all */
    bool known; /* a worker may not have said it in time */
    uint64_t in_flight;
};

static struct span take(struct span *rest, char end)
{
    size_t at = span_find(*rest, end);
    struct span first = span_first(*rest, at);

    *rest = at < rest->len ? span_after(*rest, at + 1) : span_after(*rest, at);
    return first;
}

static struct span cell(struct span row, int column)
{
    struct span s = take(&row, '\t');

    while (column-- > 0)
        s = take(&row, '\t');
    return s;
}

static int column_of(struct span head, struct span name)
{
    for (int i = 0; head.len > 0; i++)
        if (span_equal(take(&head, '\t'), name))
            return i;
    return 0;
}

/* A name has a row for each of its addresses, which follows it in parentheses. */
static bool is_row_of(struct span shown, struct span server)
{
    return span_starts(shown, server) &&
           (shown.len == server.len || span_starts(span_after(shown, server.len), SPAN(" (")));
}

static struct shown look(struct span table, struct span server)
{
    struct span head = take(&table, '\n');
    int name = column_of(head, SPAN("SERVER")), count = column_of(head, SPAN("IN FLIGHT"));
    struct shown shown = {.known = true};
    uint64_t n = 0;

    while (table.len > 0) {
        struct span row = take(&table, '\n');
        if (!is_row_of(cell(row, name), server))
            continue;
        shown.there = true;
        shown.known = shown.known && span_number(cell(row, count), &n);
        shown.in_flight += n;
    }
    return shown;
}

/* False: it was said why there is nothing to go by.  What is not said is not nothing: whoever
 * waits stops a server then. */
static bool ask(const char *path, struct span line, struct span server, struct shown *shown)
{
    struct ctl_answer answer;

    if (!ctl_ask(path, line, &answer))
        return false;
    bool fine = answer.code == EXIT_FINE;
    if (fine)
        *shown = look(answer.body, server);
    else
        fprintf(stderr, "headgate ctl: %.*s", SPAN_ARG(answer.body));
    free(answer.text);
    if (fine && !shown->there)
        fprintf(stderr,
                "headgate ctl: %.*s is not in the answer, perhaps after a reload: what is in "
                "flight there is not known\n",
                SPAN_ARG(server));
    return fine && shown->there;
}

int ctl_wait(const char *path, struct span group, struct span server, uint64_t ns)
{
    uint64_t began = monotonic_ns();
    struct shown shown;
    char line[CONTROL_LINE_MAX + 2]; /* a longer name was not taken as a command */
    int len = snprintf(line, sizeof line, "upstream %.*s\n", SPAN_ARG(group));

    for (;;) {
        if (!ask(path, (struct span){line, (size_t)len}, server, &shown))
            return EXIT_FAILED;
        if (shown.known && shown.in_flight == 0)
            return EXIT_FINE;
        if (monotonic_ns() - began >= ns)
            break;
        descriptor_pause(LOOK_NS);
    }
    fprintf(stderr, "headgate ctl: %.*s still has requests in flight\n", SPAN_ARG(server));
    return EXIT_FAILED;
}
