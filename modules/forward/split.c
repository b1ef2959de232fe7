/* upstream = api 95, api-canary 5: reading it, and choosing for a request. */
#include "modules/forward/forward.h"

#include "base/hash.h"

#include <stdio.h>

enum { WEIGHT_MAX = 10000 };

static const char *const by_words[] = {"request", "client_ip", "header", "cookie"};

/* --- reading -------------------------------------------------------------------------------- */

/* NAME [WEIGHT] */
static bool part_load(struct loading *l, const struct line *line, struct split_part *p)
{
    const struct spans *words = &line->words;
    const char *why;

    *p = (struct split_part){.weight = 1};
    if (!(p->upstream = loading_upstream(l, words->list[0], line->at)))
        return false;
    p->hash = hash_mix(hash_text(loading_name(l)) ^ hash_text(p->upstream->name));
    if (words->count == 1)
        return true;
    if (words->count > 2)
        loading_say_word(l, line, 2, "upstream", "NAME WEIGHT, and nothing behind it");
    else if (value_count(words->list[1], &p->weight, &why) < 0)
        loading_say_word(l, line, 1, "upstream", why);
    else if (p->weight > WEIGHT_MAX)
        loading_say_word(l, line, 1, "upstream", "a weight is at most 10000");
    else
        return true;
    return false;
}

static void upstreams_load(struct loading *l, const struct lines *lines, struct split *s)
{
    bool fine = true;

    if (!(s->parts = arena_alloc(loading_arena(l), lines->count * sizeof *s->parts))) {
        loading_say(l, SEVERITY_ERROR, "upstream", "out of memory");
        return;
    }
    for (unsigned i = 0; i < lines->count; i++) {
        struct split_part *p = &s->parts[s->count];
        if (!part_load(l, &lines->list[i], p)) {
            fine = false;
            continue;
        }
        for (unsigned j = 0; j < s->count; j++)
            if (s->parts[j].upstream == p->upstream) {
                loading_say_word(l, &lines->list[i], 0, "upstream", "it stands there twice");
                fine = false;
            }
        s->sum += p->weight;
        s->count++;
    }
    if (fine && s->sum == 0)
        loading_say(l, SEVERITY_ERROR, "upstream", "all weights are 0: nobody would be asked");
}

/* request, client_ip, header NAME or cookie NAME. */
static void by_load(struct loading *l, const struct line *line, struct split *s)
{
    const struct spans *words = &line->words;
    unsigned by = 0;

    while (by < COUNT_OF(by_words) && !span_equal(words->list[0], span_of(by_words[by])))
        by++;
    s->by = (enum split_by)by;
    bool named = s->by == SPLIT_HEADER || s->by == SPLIT_COOKIE;
    if (by == COUNT_OF(by_words))
        loading_say_word(l, line, 0, "split_by", "request, client_ip, header NAME or cookie NAME");
    else if (named && words->count < 2)
        loading_say_word(l, line, 0, "split_by", "a name follows it");
    else if (words->count > (named ? 2 : 1))
        loading_say_word(l, line, named ? 2 : 1, "split_by", "nothing follows there");
    else if (named && !span_is_token(s->name = words->list[1]))
        loading_say_word(l, line, 1, "split_by", "it is no name");
}

void split_load(struct loading *l, struct forward_conf *conf)
{
    upstreams_load(l, &conf->upstreams, &conf->split);
    by_load(l, &conf->split_by, &conf->split);
}

/* --- choosing ------------------------------------------------------------------------------- */

/* Empty: the request has none. */
static struct span split_key(const struct split *s, const struct exchange *x)
{
    const struct address *a = &x->client;

    switch (s->by) {
    case SPLIT_CLIENT_IP:
        if (a->family != ADDRESS_IPV4 && a->family != ADDRESS_IPV6)
            return (struct span){0};
        return (struct span){(const char *)a->ip, a->family == ADDRESS_IPV4 ? 4 : 16};
    case SPLIT_HEADER:
        return request_header(x, s->name);
    case SPLIT_COOKIE:
        return request_cookie(x, s->name);
    default:
        return (struct span){0};
    }
}

const struct upstream_conf *split_choose(const struct split *s, struct exchange *x)
{
    if (s->count == 1)
        return s->parts[0].upstream;
    struct span key = split_key(s, x);
    unsigned i = key.len > 0 ? split_of_key(s, key)
                             : split_of_draw(s, random_below(&exchange_io(x)->random, s->sum));
    return s->parts[i].upstream;
}
