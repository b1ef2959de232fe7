/* The modules this binary was built with, in the order of modules.list; NULL
 * ends them.  configure writes the table; main hands it to gate, which
 * therefore knows no module by name. */
#ifndef HEADGATE_MODULES_TABLE_H
#define HEADGATE_MODULES_TABLE_H

struct module;

extern const struct module *const modules_table[];

#endif
