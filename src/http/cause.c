/* The table of causes, from the list in the header. */
#include "http/cause.h"

#include <assert.h>

#define CAUSE_ROW(id, status, proxy, meaning, advice)                                              \
    [CAUSE_##id] = {SPAN_INIT(#id), status, SPAN_INIT(proxy), meaning, advice},
static const struct cause_row rows[CAUSE_COUNT] = {
    [CAUSE_NONE] = {SPAN_INIT(""), 0, SPAN_INIT(""), "no failure", ""}, CAUSE_LIST(CAUSE_ROW)};
#undef CAUSE_ROW

const struct cause_row *cause_row(enum cause c)
{
    assert((unsigned)c < CAUSE_COUNT);
    return &rows[c];
}
