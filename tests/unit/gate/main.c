/* The gate layer's tests. */
#include "tests/unit/suites.h"

Suite *balance_suite(void);
Suite *config_suite(void);
Suite *health_suite(void);
Suite *idle_suite(void);
Suite *name_suite(void);
Suite *queue_suite(void);
Suite *config_whole_suite(void);
Suite *route_suite(void);
Suite *route_random_suite(void);

int main(void)
{
    static suite_fn *const suites[] = {balance_suite, config_suite,       health_suite,
                                       idle_suite,    config_whole_suite, name_suite,
                                       queue_suite,   route_suite,        route_random_suite};

    return suites_run(suites, sizeof suites / sizeof *suites);
}
