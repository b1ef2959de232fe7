/* From an item of a value to what its type makes of it. */
#ifndef HEADGATE_CONF_TYPE_H
#define HEADGATE_CONF_TYPE_H

#include "conf/item.h"

struct filling {
    struct conf *conf;
    const struct setting *setting;
    struct diagnostics *d;
};

struct type_row {
    /* False: refused, or no memory, and that was said. */
    bool (*fill)(struct filling *f, const struct item *item, void *out);
    size_t size; /* of what it fills: a member, or an element of a list */
};

extern const struct type_row type_rows[]; /* by enum setting_type */

#endif
