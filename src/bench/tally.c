/* What came of the requests. */
#include "tally.h"

#include "base/span.h"

static const struct {
    const char *name, *meaning;
} rows[] = {
#define TROUBLE_ROW(id, name, meaning) {name, meaning},
    TROUBLE_LIST(TROUBLE_ROW)
#undef TROUBLE_ROW
};

const char *trouble_name(enum trouble kind)
{
    return rows[kind].name;
}

const char *trouble_meaning(enum trouble kind)
{
    return rows[kind].meaning;
}

void tally_merge(struct tally *t, const struct tally *other)
{
    histogram_merge(&t->latency, &other->latency);
    histogram_merge(&t->late, &other->late);
    t->good += other->good;
    for (unsigned i = 0; i < COUNT_OF(t->status); i++)
        t->status[i] += other->status[i];
    for (unsigned i = 0; i < TROUBLE_COUNT; i++)
        t->trouble[i] += other->trouble[i];
    t->connects += other->connects;
    t->reconnects += other->reconnects;
    t->bytes_in += other->bytes_in;
    t->bytes_out += other->bytes_out;
}

uint64_t tally_troubles(const struct tally *t)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < TROUBLE_COUNT; i++)
        sum += t->trouble[i];
    return sum;
}
