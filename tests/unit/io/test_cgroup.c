/* Limits of control groups, read from files that look like the kernel's. */
#include "io/cgroup.h"
#include "tests/unit/suites.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[] = "cgroup.XXXXXX";

/* A file below the root, and the folders above it. */
static void put(const char *name, const char *text)
{
    char path[256];

    snprintf(path, sizeof path, "%s%s", root, name);
    for (char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

static int gone(const char *path, const struct stat *st, int flag, struct FTW *at)
{
    (void)st;
    (void)flag;
    (void)at;
    return remove(path);
}

static void setup(void)
{
    strcpy(root + sizeof root - 7, "XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
}

static void teardown(void)
{
    nftw(root, gone, 8, FTW_DEPTH | FTW_PHYS);
}

START_TEST(without_groups_there_is_no_limit)
{
    ck_assert_uint_eq(cgroup_cpus(root), CGROUP_NO_LIMIT);
    ck_assert_uint_eq(cgroup_memory(root), CGROUP_NO_LIMIT);
}
END_TEST

START_TEST(the_smallest_limit_on_the_way_up_counts)
{
    put("/proc/self/cgroup", "2:cpu:/old\n0::/system.slice/x.service\n");
    put("/sys/fs/cgroup/system.slice/x.service/cpu.max", "350000 100000\n");
    put("/sys/fs/cgroup/system.slice/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/system.slice/x.service/memory.max", "max\n");
    put("/sys/fs/cgroup/system.slice/memory.max", "1048576\n");
    put("/sys/fs/cgroup/memory.max", "2097152\n");
    put("/sys/fs/cgroup/system.slice/other/memory.max", "1\n");
    ck_assert_uint_eq(cgroup_cpus(root), 4);
    ck_assert_uint_eq(cgroup_memory(root), 1048576);
    put("/sys/fs/cgroup/cpu.max", "50000 100000\n");
    ck_assert_uint_eq(cgroup_cpus(root), 1);
}
END_TEST

START_TEST(a_group_that_is_the_mounts_root_is_found_there)
{
    static const char *const groups[] = {"0::/\n", "0::/docker/abc\n", "0::/../../x\n", ""};

    put("/sys/fs/cgroup/cpu.max", "200000 100000\n");
    put("/sys/fs/cgroup/memory.max", "4096\n");
    put("/sys/fs/memory.max", "1\n");
    for (unsigned i = 0; i < 4; i++) {
        put("/proc/self/cgroup", groups[i]);
        ck_assert_uint_eq(cgroup_cpus(root), 2);
        ck_assert_uint_eq(cgroup_memory(root), 4096);
    }
}
END_TEST

Suite *cgroup_suite(void);

Suite *cgroup_suite(void)
{
    Suite *s = suite_create("cgroup");
    TCase *t = tcase_create("cgroup");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, without_groups_there_is_no_limit);
    tcase_add_test(t, the_smallest_limit_on_the_way_up_counts);
    tcase_add_test(t, a_group_that_is_the_mounts_root_is_found_there);
    suite_add_tcase(s, t);
    return s;
}
