/* Runs a layer's suites under Check and writes TAP, which `make check` reads.
 *
 * CK_FORK=no helps in a debugger.
 */
#ifndef HEADGATE_TESTS_SUITES_H
#define HEADGATE_TESTS_SUITES_H

#include <check.h>
#include <stdlib.h>

typedef Suite *suite_fn(void);

/* Check notes every assertion that holds with a write to a file, to say of a test that dies how
 * far it came.  In a loop that is most of the time a test takes, and says nothing new.  The linker
 * puts this in its way; weak, as a test may include this too. */
void __real__mark_point(const char *file, int line);
void __wrap__mark_point(const char *file, int line) __attribute__((weak));
void __wrap__mark_point(const char *file, int line)
{
    static const char *last_file;
    static int last_line;

    if (line == last_line && file == last_file)
        return;
    last_file = file;
    last_line = line;
    __real__mark_point(file, line);
}

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
