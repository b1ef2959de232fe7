/* The io layer's tests, as far as no backend is needed: those are in tests/backends. */
#include "config.h"

#include "tests/unit/suites.h"

Suite *cgroup_suite(void);
Suite *wheel_suite(void);
Suite *mailbox_suite(void);
Suite *uring_suite(void);
Suite *uring_chaos_suite(void);
Suite *uring_limits_suite(void);

int main(void)
{
    static suite_fn *const suites[] = {
        cgroup_suite, wheel_suite,       mailbox_suite,
#ifdef HAVE_URING
        uring_suite,  uring_chaos_suite, uring_limits_suite,
#endif
    };

    return suites_run(suites, sizeof suites / sizeof *suites);
}
