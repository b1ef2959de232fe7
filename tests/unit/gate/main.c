/* The gate layer's tests. */
#include "tests/unit/suites.h"

Suite *route_suite(void);

int main(void)
{
    static suite_fn *const suites[] = {route_suite};

    return suites_run(suites, sizeof suites / sizeof *suites);
}
