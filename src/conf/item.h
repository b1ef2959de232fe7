/* Values as items of words, as the type of their setting splits them.
 *
 * Between the words of a value and the member it fills: filling and printing
 * both go through here, so that what is printed is read the same.
 */
#ifndef HEADGATE_CONF_ITEM_H
#define HEADGATE_CONF_ITEM_H

#include "conf/word.h"

struct item {
    struct item *next;
    const struct conf_value *value;
    struct word *words; /* at least one; exactly one but for SETTING_LINE, LIST and LINES */
    unsigned count;
};

bool setting_is_list(const struct setting *setting);   /* the key may repeat, commas separate */
bool setting_repeats(const struct setting *setting);   /* the key may repeat */
bool setting_is_line(const struct setting *setting);   /* LINE, LIST or LINES */

/* The items of one value, in order; files in them are resolved.  False: some
 * were refused, and that was said, or there was no memory. */
MUST_USE bool items_read(struct item **first, const struct conf *conf,
                         const struct setting *setting, const struct conf_value *value,
                         struct diagnostics *d);

/* How to write a value of these items; ptr NULL: no memory. */
struct span items_print(struct arena *arena, const struct setting *setting,
                        const struct item *first);

#endif
