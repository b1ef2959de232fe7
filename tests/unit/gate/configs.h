/* What the tests of configurations share: modules to configure, and a file in
 * memory, a.ini, that is read with them. */
#ifndef HEADGATE_TESTS_GATE_CONFIGS_H
#define HEADGATE_TESTS_GATE_CONFIGS_H

#include "gate/module.h"
#include "tests/unit/conf/fake.h"

#include <check.h>

struct plain_conf {
    uint64_t status;
    struct span text;
    struct template *note;
};

extern const struct handler plain, counted;
extern const struct module *const modules[];
extern struct fake fake;

void configs_setup(void);
void configs_teardown(void); /* every handler that was loaded is unloaded */

/* a.ini with this text. */
struct config *load(const char *text);
struct config *load_fine(const char *text); /* nothing may be said */

#define ck_assert_span_eq(got, want)                                                               \
    do {                                                                                           \
        struct span s_ = (got);                                                                    \
        ck_assert_msg(span_equal(s_, span_of(want)), "\"%.*s\" is not \"%s\"", SPAN_ARG(s_),       \
                      want);                                                                       \
    } while (0)

#define LISTENER "[listener a]\nlisten = :80\n"

#endif
