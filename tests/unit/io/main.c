/* The io layer's tests, as far as no backend is needed: those are in tests/backends. */
#include "tests/unit/suites.h"

Suite *wheel_suite(void);
Suite *mailbox_suite(void);

int main(void)
{
    static suite_fn *const suites[] = {wheel_suite, mailbox_suite};

    return suites_run(suites, sizeof suites / sizeof *suites);
}
