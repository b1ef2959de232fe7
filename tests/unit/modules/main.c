/* The modules' own tests: their pure parts. */
#include "tests/unit/suites.h"

Suite *count_suite(void);
Suite *estimate_suite(void);
Suite *event_suite(void);
Suite *state_suite(void);
Suite *users_suite(void);

int main(void)
{
    static suite_fn *const suites[] = {count_suite, estimate_suite, event_suite, state_suite,
                                       users_suite};

    return suites_run(suites, sizeof suites / sizeof *suites);
}
