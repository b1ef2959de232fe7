/* Plain descriptors and what the machine offers; see descriptor.h. */
#include "io/descriptor.h"

#include "base/clock.h"
#include "base/fail.h"
#include "io/cgroup.h"
#include "io/posix.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int descriptor_append(const char *path, int *fd)
{
    /* Opening a pipe must not wait for a reader; writing to it then waits, as to a file. */
    *fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
    if (*fd < 0)
        return errno == ENXIO ? FAIL_NO_READER : fail_from_errno(errno);
    if (fcntl(*fd, F_SETFL, O_APPEND) == 0)
        return 0;
    int err = fail_from_errno(errno);
    close(*fd);
    *fd = -1;
    return err;
}

int descriptor_copy(int fd, int *copy)
{
    *copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return *copy < 0 ? fail_from_errno(errno) : 0;
}

int descriptor_create(const char *path, unsigned mode)
{
    return open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, (mode_t)mode);
}

int descriptor_may_create(const char *path)
{
    const char *slash = strrchr(path, '/');
    char folder[PATH_MAX] = ".";
    size_t len = slash ? (size_t)(slash - path) + 1 : 0; /* with its slash: a file is no folder */

    if (len >= sizeof folder)
        return FAIL_BAD;
    if (len > 0) {
        memcpy(folder, path, len);
        folder[len] = '\0';
    }
    return access(folder, W_OK | X_OK) < 0 ? fail_from_errno(errno) : 0;
}

/* Opening follows a link that leads to nothing yet: false if it is none, or leads too far. */
static bool follow(char name[PATH_MAX])
{
    char to[PATH_MAX];
    ssize_t len = readlink(name, to, sizeof to);
    const char *slash = strrchr(name, '/');
    size_t folder = len > 0 && to[0] != '/' && slash ? (size_t)(slash - name) + 1 : 0;

    if (len <= 0 || folder + (size_t)len >= PATH_MAX)
        return false;
    memcpy(name + folder, to, (size_t)len);
    name[folder + (size_t)len] = '\0';
    return true;
}

int descriptor_may_append(const char *path)
{
    char name[PATH_MAX];
    struct stat st;

    if (snprintf(name, sizeof name, "%s", path) >= (int)sizeof name)
        return FAIL_BAD;
    while (stat(name, &st) < 0) /* a circle of links is ELOOP */
        if (errno != ENOENT)
            return fail_from_errno(errno);
        else if (!follow(name))
            return descriptor_may_create(name);
    if (S_ISDIR(st.st_mode))
        return FAIL_IS_DIR;
    if (S_ISSOCK(st.st_mode))
        return FAIL_NOT_FILE;
    return access(name, W_OK) < 0 ? fail_from_errno(errno) : 0;
}

int descriptor_may_listen(const char *path)
{
    struct stat st;

    if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
        return FAIL_IN_USE;
    return descriptor_may_create(path);
}

void descriptor_standard(void)
{
    int fd;

    while ((fd = open("/dev/null", O_RDWR)) >= 0 && fd <= 2)
        ;
    if (fd > 2)
        close(fd);
}

void descriptor_close(int fd)
{
    if (fd >= 0)
        close(fd);
}

void descriptor_mark(const char *path, struct descriptor_mark *mark)
{
    struct stat st;

    *mark = (struct descriptor_mark){0};
    if (lstat(path, &st) == 0)
        *mark = (struct descriptor_mark){st.st_dev, st.st_ino};
}

void descriptor_remove(const char *path, const struct descriptor_mark *mark)
{
    struct descriptor_mark now;

    descriptor_mark(path, &now);
    if (mark->inode != 0 && now.inode == mark->inode && now.device == mark->device)
        (void)unlink(path); /* we may have become somebody who must not */
}

void descriptor_write(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, text, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        text += n;
        len -= (size_t)n;
    }
}

void descriptor_pause(uint64_t ns)
{
    struct timespec t = {(time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S)};

    nanosleep(&t, NULL);
}

uint64_t descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 1024;
    if (limit.rlim_cur < limit.rlim_max) {
        rlim_t had = limit.rlim_cur;
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
            limit.rlim_cur = had;
    }
    return limit.rlim_cur;
}

int machine_address(const struct address *a)
{
    struct sockaddr_storage name;
    struct address some_port = *a;
    int fd;

    some_port.port = 0;
    socklen_t len = posix_sockaddr(&name, &some_port);
    int err = posix_stream(&some_port, &fd);
    if (err < 0)
        return err;
    if (bind(fd, (const struct sockaddr *)&name, len) < 0 && errno != EADDRINUSE)
        err = fail_from_errno(errno);
    close(fd);
    return err;
}

unsigned machine_cpus(void)
{
    uint64_t most = cgroup_cpus("");
    cpu_set_t set;
    unsigned cpus = 1;

    if (sched_getaffinity(0, sizeof set, &set) == 0)
        cpus = (unsigned)CPU_COUNT(&set);
    if (most < cpus)
        cpus = (unsigned)most;
    return cpus > 0 ? cpus : 1;
}

uint64_t machine_memory(void)
{
    uint64_t all = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t limit = cgroup_memory("");

    return limit < all ? limit : all;
}
