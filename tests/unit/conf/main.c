/* The conf layer's tests. */
#include "tests/unit/suites.h"

Suite *syntax_suite(void);
Suite *value_suite(void);

int main(void)
{
    static suite_fn *const suites[] = {syntax_suite, value_suite};

    return suites_run(suites, sizeof suites / sizeof *suites);
}
