/* The tests of headgate-bench's parts. */
#include "tests/unit/suites.h"

Suite *histogram_suite(void);
Suite *url_suite(void);
Suite *stats_json_suite(void);
Suite *event_suite(void);
Suite *verdict_suite(void);
Suite *options_suite(void);

int main(void)
{
    static suite_fn *const suites[] = {histogram_suite, url_suite,     stats_json_suite,
                                       event_suite,     verdict_suite, options_suite};

    return suites_run(suites, sizeof suites / sizeof *suites);
}
