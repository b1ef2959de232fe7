/* The HTTP layer's tests. */
#include "tests/unit/suites.h"

Suite *field_suite(void);
Suite *h1_suite(void);
Suite *h2_suite(void);
Suite *path_suite(void);
Suite *target_suite(void);

int main(void)
{
    static suite_fn *const suites[] = {field_suite, target_suite, path_suite, h1_suite, h2_suite};

    return suites_run(suites, sizeof suites / sizeof *suites);
}
