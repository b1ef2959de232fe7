/* Content through a flow: small pieces are copied, large ones handed on. */
#include "base/flow.h"
#include "tests/bench/bench.h"

#include <stdlib.h>

enum { PIECES = 4096, ROUNDS = 100, SMALL = 100, LARGE = 16384, LIMIT = 65536 };

static struct buf_pool pool;
static struct flow from, to;
static char bytes[LARGE];

static void write_small(unsigned i)
{
    (void)i;
    if (flow_write(&from, (struct span){bytes, SMALL}) != SMALL)
        abort();
    flow_take(&from, SMALL);
}

static struct slice large(void)
{
    struct buf *b = buf_get(&pool);

    if (!b)
        abort();
    return (struct slice){b, b->base, LARGE};
}

static void give_large(unsigned i)
{
    (void)i;
    if (!flow_give(&from, large()))
        abort();
    buf_unref(flow_pop(&from, LARGE).buf);
}

static void move_large(unsigned i)
{
    (void)i;
    if (!flow_give(&from, large()) || flow_move(&to, &from) || to.bytes != LARGE)
        abort();
    flow_take(&to, LARGE);
}

static void move_small(unsigned i)
{
    (void)i;
    if (flow_write(&from, (struct span){bytes, SMALL}) != SMALL || flow_move(&to, &from) ||
        to.bytes != SMALL)
        abort();
    flow_take(&to, SMALL);
}

int main(void)
{
    buf_pool_init(&pool, LARGE, 16, NULL);
    flow_init(&from, &pool, LIMIT);
    flow_init(&to, &pool, LIMIT);
    bench_report("flow", "write and take, copied", bench_best(write_small, PIECES, ROUNDS, NULL),
                 SMALL, "moved");
    bench_report("flow", "give and pop, by reference", bench_best(give_large, PIECES, ROUNDS, NULL),
                 LARGE, "moved");
    bench_report("flow", "from flow to flow, copied", bench_best(move_small, PIECES, ROUNDS, NULL),
                 SMALL, "moved");
    bench_report("flow", "from flow to flow, by reference",
                 bench_best(move_large, PIECES, ROUNDS, NULL), LARGE, "moved");
    flow_clear(&from);
    flow_clear(&to);
    buf_pool_free(&pool);
    return 0;
}
