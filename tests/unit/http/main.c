/* The HTTP layer's tests. */
#include "config.h"
#include "tests/unit/suites.h"

Suite *field_suite(void);
Suite *h1_suite(void);
Suite *h2_suite(void);
Suite *h2_heads_suite(void);
Suite *h2_peers_suite(void);
Suite *path_suite(void);
Suite *target_suite(void);
Suite *websocket_suite(void);

int main(void)
{
    static suite_fn *const suites[] = {
        field_suite, target_suite,   path_suite, h1_suite, websocket_suite,
#ifdef HAVE_HTTP2
        h2_suite,    h2_heads_suite, h2_peers_suite,
#endif
    };

    return suites_run(suites, sizeof suites / sizeof *suites);
}
