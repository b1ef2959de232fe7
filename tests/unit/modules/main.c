/* The modules' own tests: their pure parts. */
#include "tests/unit/suites.h"

Suite *count_suite(void);
Suite *estimate_suite(void);
Suite *event_suite(void);
Suite *split_suite(void);
Suite *state_suite(void);
Suite *trace_suite(void);
Suite *users_suite(void);

int main(void)
{
    static suite_fn *const suites[] = {count_suite, estimate_suite, event_suite, split_suite,
                                       state_suite, trace_suite,    users_suite};

    return suites_run(suites, sizeof suites / sizeof *suites);
}
