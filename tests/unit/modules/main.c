/* The modules' own tests: their pure parts. */
#include "tests/unit/suites.h"

Suite *event_suite(void);

int main(void)
{
    static suite_fn *const suites[] = {event_suite};

    return suites_run(suites, sizeof suites / sizeof *suites);
}
