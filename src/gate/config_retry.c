/* retry_on: what is tried again. */
#include "gate/loading.h"

static const char *const reasons[] = {"connect", "unprocessed", "reset", "timeout"};

static void say(struct loading *l, const struct line *line, const char *why)
{
    diagnostics_say(l->d, SEVERITY_ERROR, line->at, "retry_on: \"%.*s\": %s",
                    SPAN_ARG(span_first(line->text, 60)), why);
}

static void statuses_load(struct loading *l, const struct line *line, struct retry_on *on)
{
    struct ranges ranges;
    const char *why;
    int err = value_ranges(&l->config->arena, line->words.list[0], &ranges, &why);

    if (err == FAIL_MEMORY) {
        diagnostics_memory(l->d);
        return;
    }
    if (err < 0) {
        say(l, line, why);
        return;
    }
    for (unsigned i = 0; i < ranges.count; i++) {
        const struct range *r = &ranges.list[i];
        if (r->from < RETRY_STATUS_MIN || r->to > RETRY_STATUS_MAX) {
            say(l, line, "statuses that say that something failed are from 400 to 599");
            return;
        }
        for (unsigned status = r->from; status <= r->to; status++)
            retry_status_add(on, status);
    }
}

static void reason_load(struct loading *l, const struct line *line, struct retry_on *on)
{
    struct span word = line->words.list[0];

    if (word.len > 0 && word.ptr[0] >= '0' && word.ptr[0] <= '9') {
        statuses_load(l, line, on);
        return;
    }
    for (unsigned i = 0; i < COUNT_OF(reasons); i++)
        if (span_equal(word, span_of(reasons[i]))) {
            on->reasons |= UINT64_C(1) << i;
            return;
        }
    diagnostics_say(
        l->d, SEVERITY_ERROR, line->at,
        "retry_on: \"%.*s\" is none of connect, unprocessed, reset, timeout, a status, off%s",
        SPAN_ARG(span_first(word, 60)), did_you_mean(l, word, reasons, COUNT_OF(reasons)));
}

void loading_retry_on(struct loading *l, const struct lines *lines, struct retry_on *on)
{
    *on = (struct retry_on){0};
    for (unsigned i = 0; i < lines->count; i++)
        if (lines->list[i].words.count == 1)
            reason_load(l, &lines->list[i], on);
        else
            say(l, &lines->list[i], "commas stand between");
}
