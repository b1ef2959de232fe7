/* Limits of control groups; see cgroup.h.
 *
 * /proc/self/cgroup names our group by its path below the mount, as "0::/system.slice/x.service".
 * In a container the mount often shows that group as its root: then what the path names is not
 * there, and the root's files say it.
 */
#include "io/cgroup.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#define MOUNT "/sys/fs/cgroup"

enum { LINE_MAX_LEN = PATH_MAX + 8 };

/* The first number or two of a small file of the kernel's; "max" is none. */
static int numbers_in(const char *path, unsigned long long *a, unsigned long long *b)
{
    FILE *file = fopen(path, "re");
    int n;

    if (!file)
        return 0;
    n = fscanf(file, "%llu %llu", a, b);
    fclose(file);
    return n < 0 ? 0 : n;
}

/* Our group's path, "" for the root.  One outside of our namespace begins with "/..", and is not
 * to be found below the mount. */
static void group_find(const char *root, char group[LINE_MAX_LEN])
{
    char name[PATH_MAX], line[LINE_MAX_LEN];
    FILE *file = NULL;

    group[0] = '\0';
    if (snprintf(name, sizeof name, "%s/proc/self/cgroup", root) < (int)sizeof name)
        file = fopen(name, "re");
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "0::/", 4) == 0 && !strstr(line, "/.."))
            memcpy(group, line + 3, strlen(line + 3) + 1);
    }
    if (file)
        fclose(file);
}

static uint64_t cpus_in(const char *path)
{
    unsigned long long quota = 0, period = 0;

    if (numbers_in(path, &quota, &period) != 2 || quota == 0 || period == 0)
        return CGROUP_NO_LIMIT;
    return quota / period + (quota % period > 0);
}

static uint64_t memory_in(const char *path)
{
    unsigned long long limit = 0, unused;

    return numbers_in(path, &limit, &unused) >= 1 ? limit : CGROUP_NO_LIMIT;
}

/* The smallest that a file of this name says, from our group up. */
static uint64_t smallest(const char *root, const char *file, uint64_t (*limit_in)(const char *path))
{
    char group[LINE_MAX_LEN], path[PATH_MAX];
    uint64_t least = CGROUP_NO_LIMIT;
    char *end = group;

    group_find(root, group);
    do {
        if (snprintf(path, sizeof path, "%s" MOUNT "%s/%s", root, group, file) < (int)sizeof path) {
            uint64_t limit = limit_in(path);
            least = limit < least ? limit : least;
        }
        if ((end = strrchr(group, '/')))
            *end = '\0';
    } while (end);
    return least;
}

uint64_t cgroup_cpus(const char *root)
{
    return smallest(root, "cpu.max", cpus_in);
}

uint64_t cgroup_memory(const char *root)
{
    return smallest(root, "memory.max", memory_in);
}
