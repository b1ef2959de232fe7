/* Until nothing is in flight at a server; see ctl_wait.h. */
#include "ctl_wait.h"

#include "ctl_ask.h"
#include "io/descriptor.h"
#include "monotonic.h"

#include <stdio.h>
#include <stdlib.h>

#define LOOK_NS (100 * NS_PER_MS)

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

/* UINT64_MAX: it is not known, because a worker has not said it in time. */
static uint64_t in_flight(struct span table, struct span server)
{
    struct span head = take(&table, '\n');
    int name = column_of(head, SPAN("SERVER")), count = column_of(head, SPAN("IN FLIGHT"));
    uint64_t all = 0, n;

    while (table.len > 0) {
        struct span row = take(&table, '\n');
        if (!is_row_of(cell(row, name), server))
            continue;
        if (!span_number(cell(row, count), &n))
            return UINT64_MAX;
        all += n;
    }
    return all;
}

int ctl_wait(const char *path, struct span group, struct span server, uint64_t ns)
{
    uint64_t began = monotonic_ns(), n;
    struct ctl_answer answer;
    char line[128];
    int len = snprintf(line, sizeof line, "upstream %.*s\n", SPAN_ARG(group));

    if (len < 0 || (size_t)len >= sizeof line)
        return EXIT_FAILED;
    for (;;) {
        if (!ctl_ask(path, (struct span){line, (size_t)len}, &answer))
            return EXIT_FAILED;
        bool fine = answer.code == EXIT_FINE;
        n = fine ? in_flight(answer.body, server) : UINT64_MAX;
        if (!fine) /* what is not said is not nothing: whoever waits stops a server then */
            fprintf(stderr, "headgate ctl: %.*s", SPAN_ARG(answer.body));
        free(answer.text);
        if (n == 0)
            return EXIT_FINE;
        if (!fine)
            return EXIT_FAILED;
        if (monotonic_ns() - began >= ns)
            break;
        descriptor_pause(LOOK_NS);
    }
    fprintf(stderr, "headgate ctl: %.*s still has requests in flight\n", SPAN_ARG(server));
    return EXIT_FAILED;
}
