/* sticky: COOKIE [max_age=D] [insecure] */
#include "gate/loading.h"

#include "gate/sticky.h"
#include "http/chars.h"

#include <stdio.h>

static bool max_age_load(struct loading *l, const struct line *line, unsigned word,
                         struct span text, uint64_t *seconds)
{
    const char *why;
    uint64_t ns;

    if (value_duration(text, &ns, &why) < 0) {
        loading_say_word(l, line, word, "sticky", why);
        return false;
    }
    if (ns % NS_PER_S != 0) {
        loading_say_word(l, line, word, "sticky", "whole seconds: a cookie counts no others");
        return false;
    }
    *seconds = ns / NS_PER_S;
    return true;
}

/* RFC 6265bis, 4.1.3: names that browsers take as a promise. */
static bool promises_security(struct span name)
{
    return span_starts(name, SPAN("__Host-")) || span_starts(name, SPAN("__Secure-"));
}

void loading_sticky(struct loading *l, const struct line *line, struct upstream_conf *u)
{
    static const char *const options[] = {"max_age=", "insecure"};
    struct arena *arena = &l->config->arena;
    const struct span max_age = SPAN("max_age=");
    uint64_t seconds = 0;
    bool secure = true;

    if (line->words.count == 0)
        return;
    struct span name = line->words.list[0];
    if (!span_is_token(name))
        loading_say_word(l, line, 0, "sticky", "is no name for a cookie");
    for (unsigned i = 1; i < line->words.count; i++) {
        struct span word = line->words.list[i];
        if (span_equal(word, SPAN("insecure")))
            secure = false;
        else if (span_starts(word, max_age))
            max_age_load(l, line, i, span_after(word, max_age.len), &seconds);
        else
            diagnostics_say(l->d, SEVERITY_ERROR, line->places[i],
                            "sticky: there is no option \"%.*s\"%s", SPAN_ARG(word),
                            did_you_mean(l, span_first(word, span_find(word, '=') + 1), options,
                                         COUNT_OF(options)));
    }
    if (!secure && promises_security(name))
        loading_say_word(l, line, 0, "sticky", "browsers refuse it with insecure");
    struct sticky_conf *sticky = loading_zalloc(l, sizeof *sticky);
    char age[40] = "";
    if (seconds > 0)
        snprintf(age, sizeof age, "; Max-Age=%llu", (unsigned long long)seconds);
    struct span attributes =
        arena_print(arena, "; Path=/; HttpOnly; SameSite=Lax%s%s", secure ? "; Secure" : "", age);
    if (!sticky || !attributes.ptr) {
        diagnostics_memory(l->d);
        return;
    }
    *sticky = (struct sticky_conf){.cookie = name, .attributes = attributes};
    u->sticky = sticky;
}
