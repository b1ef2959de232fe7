/* An event of the challenge, step by step: reading, hashing, summing, counting.
 *
 * The events are those of headgate-bench: 75,000 users, round and round. */
#include "modules/1mrc/count.h"
#include "modules/1mrc/event.h"
#include "tests/bench/bench.h"

#include <stdio.h>
#include <stdlib.h>

enum { USERS = 75000, ROUNDS = 20, EVENT_MAX = 64 };

static const struct hash_key key = {{1, 2}};
static char (*events)[EVENT_MAX];
static struct span *contents;
static struct event *read_events;
static struct user_hash *hashes;
static struct count count;

static void read_one(unsigned i)
{
    if (event_read(contents[i], NULL, EVENT_MAX, &read_events[i]))
        abort();
}

static void hash_one(unsigned i)
{
    hashes[i] = user_hash(&key, read_events[i].user);
}

static void sum_one(unsigned i)
{
    exact_add(&count.sum, read_events[i].value);
}

static void count_one(unsigned i)
{
    count_event(&count, hashes[i], read_events[i].value);
}

static void all_of_one(unsigned i)
{
    struct event e;

    if (event_read(contents[i], NULL, EVENT_MAX, &e))
        abort();
    count_event(&count, user_hash(&key, e.user), e.value);
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
    double read = 0;

    events = bench_alloc(USERS, sizeof *events);
    contents = bench_alloc(USERS, sizeof *contents);
    read_events = bench_alloc(USERS, sizeof *read_events);
    hashes = bench_alloc(USERS, sizeof *hashes);
    if (count_init(&count, 0, 1, 1000000, never) < 0)
        return 1;
    for (unsigned i = 0; i < USERS; i++) {
        int n =
            snprintf(events[i], EVENT_MAX, "{\"userId\":\"user_%u\",\"value\":%u.5}", i, i % 1000);
        contents[i] = (struct span){events[i], (size_t)n};
        read += (double)n / USERS;
    }
    bench_report("event", "read one", bench_best(read_one, USERS, ROUNDS, NULL), read, "read");
    bench_report("event", "hash its user", bench_best(hash_one, USERS, ROUNDS, NULL),
                 (double)read_events[USERS - 1].user.len, "read");
    bench_report("event", "sum its value", bench_best(sum_one, USERS, ROUNDS, NULL), sizeof(double),
                 "read");
    bench_report("event", "count, the user known", bench_best(count_one, USERS, ROUNDS, NULL), 0,
                 "kept");
    bench_report("event", "read, hash and count", bench_best(all_of_one, USERS, ROUNDS, NULL), read,
                 "read");
    count_free(&count);
    free(events);
    free(contents);
    free(read_events);
    free(hashes);
    return 0;
}
