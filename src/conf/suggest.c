/* "did you mean": the closest of some words by edit distance. */
#include "conf/conf.h"

enum { SUGGEST_LENGTH_MAX = 48 };

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Insertions, deletions, replacements and swaps of neighbours, without case
 * (Damerau and Levenshtein, restricted). */
static unsigned distance(struct span a, struct span b)
{
    unsigned rows[3][SUGGEST_LENGTH_MAX + 1];
    unsigned *two = rows[0], *one = rows[1], *now = rows[2];

    for (unsigned j = 0; j <= b.len; j++)
        one[j] = j;
    for (unsigned i = 1; i <= a.len; i++) {
        now[0] = i;
        for (unsigned j = 1; j <= b.len; j++) {
            char x = ascii_lower(a.ptr[i - 1]), y = ascii_lower(b.ptr[j - 1]);
            now[j] = least(least(one[j], now[j - 1]) + 1, one[j - 1] + (x != y));
            if (i > 1 && j > 1 && x == ascii_lower(b.ptr[j - 2]) && y == ascii_lower(a.ptr[i - 2]))
                now[j] = least(now[j], two[j - 2] + 1);
        }
        unsigned *oldest = two;
        two = one;
        one = now;
        now = oldest;
    }
    return one[b.len];
}

const char *suggest(struct span written, const char *const *words, size_t count)
{
    const char *closest = NULL;
    unsigned best = (unsigned)(written.len < 3 ? 1 : written.len / 3 + 1);

    if (written.len > SUGGEST_LENGTH_MAX)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        struct span word = span_of(words[i]);
        if (word.len == 0 || word.len > SUGGEST_LENGTH_MAX)
            continue;
        unsigned n = distance(written, word);
        if (n > best || n >= word.len || (closest && n == best))
            continue;
        closest = words[i];
        best = n;
    }
    return closest;
}
