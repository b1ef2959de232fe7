/* Runs a layer's suites under Check and writes TAP, which `make check` reads.
 *
 * CK_FORK=no helps in a debugger.
 */
#ifndef HEADGATE_TESTS_SUITES_H
#define HEADGATE_TESTS_SUITES_H

#include <check.h>
#include <stdlib.h>

typedef Suite *suite_fn(void);

static inline int suites_run(suite_fn *const suites[], size_t count)
{
    SRunner *runner = srunner_create(suites[0]());

    for (size_t i = 1; i < count; i++)
        srunner_add_suite(runner, suites[i]());
    srunner_set_tap(runner, "-");
    srunner_run_all(runner, CK_SILENT);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
