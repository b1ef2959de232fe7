/* Nanoseconds per event, step by step: reading, hashing, summing, counting.
 *
 * The events are those of headgate-bench: 75,000 users, round and round.  The
 * best of several rounds counts.
 */
#include "modules/1mrc/count.h"
#include "modules/1mrc/event.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { USERS = 75000, ROUNDS = 20, EVENT_MAX = 64 };

static const struct hash_key key = {{1, 2}};
static char (*events)[EVENT_MAX];
static struct span *contents;
static struct event *read_events;
static struct user_hash *hashes;
static struct count count;

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void read_one(int i)
{
    if (event_read(contents[i], NULL, EVENT_MAX, &read_events[i]))
        abort();
}

static void hash_one(int i)
{
    hashes[i] = user_hash(&key, read_events[i].user);
}

static void sum_one(int i)
{
    exact_add(&count.sum, read_events[i].value);
}

static void count_one(int i)
{
    count_event(&count, hashes[i], read_events[i].value);
}

static void all_of_one(int i)
{
    struct event e;

    if (event_read(contents[i], NULL, EVENT_MAX, &e))
        abort();
    count_event(&count, user_hash(&key, e.user), e.value);
}

static void measure(const char *what, void (*step)(int i))
{
    double best = 1e9;

    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start = now_ns();
        for (int i = 0; i < USERS; i++)
            step(i);
        double ns = (double)(now_ns() - start) / USERS;
        best = ns < best ? ns : best;
    }
    printf("%-28s %6.1f ns\n", what, best);
}

static void never(struct count *from, unsigned to, struct count_message *m)
{
    (void)from;
    (void)to;
    (void)m;
    abort();
}

int main(void)
{
    events = calloc(USERS, sizeof *events);
    contents = calloc(USERS, sizeof *contents);
    read_events = calloc(USERS, sizeof *read_events);
    hashes = calloc(USERS, sizeof *hashes);
    if (!events || !contents || !read_events || !hashes ||
        count_init(&count, 0, 1, 1000000, never) < 0)
        return 1;
    for (int i = 0; i < USERS; i++) {
        int n =
            snprintf(events[i], EVENT_MAX, "{\"userId\":\"user_%d\",\"value\":%d.5}", i, i % 1000);
        contents[i] = (struct span){events[i], (size_t)n};
    }
    measure("read an event", read_one);
    measure("hash a user", hash_one);
    measure("add to the exact sum", sum_one);
    measure("count (user known)", count_one);
    measure("read, hash and count", all_of_one);
    count_free(&count);
    free(events);
    free(contents);
    free(read_events);
    free(hashes);
    return 0;
}
