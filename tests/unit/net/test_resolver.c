/* The resolver of this build, where a process has no descriptor left. */
#include "tests/unit/suites.h"

#include "base/clock.h"
#include "base/fail.h"
#include "net/lookup.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { DESCRIPTORS = 100, WAKE = 2 };

static atomic_uint told;

static void tell(void)
{
    atomic_fetch_add(&told, 1);
}

static struct lookup *ask(struct resolver *r, struct lookup *l)
{
    struct lookup *taken;

    r->ask(r, l);
    while (!(taken = r->take(r)))
        nanosleep(&(struct timespec){.tv_nsec = NS_PER_MS}, NULL);
    ck_assert_ptr_eq(taken, l);
    return taken;
}

/* All that the process may have but as many. */
static unsigned take_descriptors(int fds[DESCRIPTORS], unsigned but)
{
    struct rlimit limit;
    unsigned n = 0;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = DESCRIPTORS;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    while (n < DESCRIPTORS && (fds[n] = open("/dev/null", O_RDONLY)) >= 0)
        n++;
    ck_assert_uint_gt(n, but);
    for (; but > 0; but--)
        close(fds[--n]);
    return n;
}

/* Its own two are all there are: it neither asks somebody else than it was told to, nor stays
 * without an answer when there are more again. */
static void begins_again(const char *servers)
{
    struct resolver *r = resolver_new(tell);
    struct lookup l = {.name = "localhost", .family = ADDRESS_IPV4};
    int fds[DESCRIPTORS];

    ck_assert_ptr_nonnull(r);
    ck_assert(r->set(r, &(struct resolver_options){servers, NS_PER_S}));
    unsigned n = take_descriptors(fds, WAKE);
    ask(r, &l);
    ck_assert_int_eq(l.fail, FAIL_MEMORY);
    ck_assert_msg(strstr(l.why, "cannot be set up"), "%s", l.why);
    while (n > 0)
        close(fds[--n]);
    ask(r, &l);
    ck_assert_int_eq(l.fail, 0);
    ck_assert_uint_eq(l.count, 1);
    ck_assert_uint_eq(atomic_load(&told), 2);
    ck_assert(r->free(r));
}

START_TEST(the_systems_servers_are_read_when_there_are_descriptors)
{
    if (resolver_library)
        begins_again(NULL);
}
END_TEST

START_TEST(servers_of_its_own_are_asked_when_there_are_descriptors)
{
    if (resolver_library)
        begins_again("127.0.0.1:1");
}
END_TEST

Suite *resolver_suite(void);
Suite *resolver_suite(void)
{
    Suite *s = suite_create("net/resolver");
    TCase *t = tcase_create("descriptors");

    tcase_add_test(t, the_systems_servers_are_read_when_there_are_descriptors);
    tcase_add_test(t, servers_of_its_own_are_asked_when_there_are_descriptors);
    suite_add_tcase(s, t);
    return s;
}
