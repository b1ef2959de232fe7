/* What every program that plays in a world uses; see story.h. */
#include "tests/sim/story.h"

#include <stdarg.h>
#include <stdlib.h>

static bool causes[CAUSE_COUNT];
bool *story_causes = causes;

struct sim *story_world(const struct telling *t, unsigned faults)
{
    struct sim_options options = {.seed = t->seed, .trace = t->trace};
    struct random dice = {~t->seed};

    /* One seed in four has none, so that what fails there is easy to read. */
    if (random_below(&dice, 4))
        options.faults = faults & (unsigned)random_next(&dice);
    return sim_new(&options);
}

struct address story_address(const char *text)
{
    struct address a;
    int err = address_parse(&a, span_of(text));

    EXPECT(err == 0, "%s", text);
    return a;
}

void story_failed(const char *file, int line, const char *condition, const char *format, ...)
{
    va_list args;

    fprintf(stderr, "# %s:%d: expected %s: ", file, line, condition);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    fflush(NULL);
    abort();
}
