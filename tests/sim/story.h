/* Stories: whole programs played in the simulator, a seed at a time.
 *
 * A story makes its world, plays it to the end and returns the hash of all
 * that happened.  What it expects is an assertion: a story that fails takes
 * its process with it, and main.c, which runs each in its own, says which
 * seed that was.
 */
#ifndef HEADGATE_TESTS_SIM_STORY_H
#define HEADGATE_TESTS_SIM_STORY_H

#include "http/cause.h"
#include "io/backend.h"
#include "io/sim.h"

struct telling {
    uint64_t seed;
    FILE *trace; /* NULL: none */
};

struct story {
    const char *name;
    const char *promise;
    uint64_t (*tell)(const struct telling *t);
    unsigned weight; /* its share of the seeds; 0 is 1 */
};

/* Tables that end with a row without a name. */
extern const struct story causes_stories[], checks_stories[], ends_stories[], relay_stories[],
    serve_stories[], forward_stories[], gate_stories[], h2_stories[], h2_origin_stories[],
    io_stories[], mrc_stories[], names_stories[], passes_stories[], static_stories[],
    steer_stories[], upstream_stories[];

/* A world for this telling; which faults there are is up to the seed. */
struct sim *story_world(const struct telling *t, unsigned faults);

struct address story_address(const char *text);

/* Which causes exchanges ended with, in any world so far; main.c shares it among its processes. */
extern bool *story_causes; /* CAUSE_COUNT */

void story_failed(const char *file, int line, const char *condition, const char *format, ...)
    __attribute__((format(printf, 4, 5), noreturn));

#define EXPECT(condition, ...)                                                                     \
    ((condition) ? (void)0 : story_failed(__FILE__, __LINE__, #condition, __VA_ARGS__))

#endif
