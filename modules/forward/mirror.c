/* `mirror = NAME PERCENT`: which requests are copied, and to whom. */
#include "modules/forward/forward.h"

enum { ALL = 100000 }; /* of SETTING_PERCENT */

void forward_mirror_load(struct loading *l, struct forward_conf *conf)
{
    const struct line *line = &conf->mirror_line;
    const char *why;

    if (line->words.count == 0)
        return;
    if (line->words.count < 2)
        loading_say_word(l, line, 0, "mirror", "behind the upstream stands a percentage");
    else if (value_percent(line->words.list[1], &conf->mirror_share, &why) < 0)
        loading_say_word(l, line, 1, "mirror", why);
    if (line->words.count > 2)
        loading_say_word(l, line, 2, "mirror", "NAME PERCENT, and nothing behind it");
    conf->mirror = loading_upstream(l, line->words.list[0], line->at);
}

void forward_mirror(struct exchange *x, const struct forward_conf *conf, struct leg *leg)
{
    if (random_below(&exchange_io(x)->random, ALL) < conf->mirror_share)
        mirror_begin(leg, conf->mirror);
}
