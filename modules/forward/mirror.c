/* `mirror = NAME PERCENT`: which requests are copied, and to whom. */
#include "modules/forward/forward.h"

enum { ALL = 100000 }; /* of SETTING_PERCENT */

void forward_mirror_load(struct loading *l, struct forward_conf *conf)
{
    const struct line *line = &conf->mirror_line;
    const char *why = "the name of an upstream, and a percentage";

    if (line->words.count == 0)
        return;
    if (line->words.count != 2 || value_percent(line->words.list[1], &conf->mirror_share, &why) < 0)
        loading_say_line(l, SEVERITY_ERROR, line, "mirror: %s", why);
    else if (conf->mirror_share > ALL)
        loading_say_line(l, SEVERITY_ERROR, line, "mirror: more than 100%%");
    conf->mirror = loading_upstream(l, line->words.list[0], line->at);
}

void forward_mirror(struct exchange *x, const struct forward_conf *conf, struct leg *leg)
{
    if (random_below(&exchange_io(x)->random, ALL) < conf->mirror_share)
        mirror_begin(leg, conf->mirror);
}
