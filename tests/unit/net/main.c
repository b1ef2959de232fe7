/* The net layer's tests. */
#include "tests/unit/suites.h"

Suite *dns_suite(void);
Suite *proxy_header_suite(void);
Suite *resolver_suite(void);

int main(void)
{
    static suite_fn *const suites[] = {dns_suite, proxy_header_suite, resolver_suite};

    return suites_run(suites, sizeof suites / sizeof *suites);
}
