/* The base layer's tests. */
#include "tests/unit/suites.h"

Suite *address_suite(void);
Suite *exact_suite(void);
Suite *flow_suite(void);
Suite *number_suite(void);
Suite *slab_suite(void);

int main(void)
{
    static suite_fn *const suites[] = {address_suite, exact_suite, flow_suite, number_suite,
                                       slab_suite};

    return suites_run(suites, sizeof suites / sizeof *suites);
}
