/* Files, globs and the environment of the system, for conf_read(). */
#include "conf/conf.h"

#include "base/fail.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MAX = 64 << 20, PIPE_WAIT_MS = 2000 };

/* A pipe may be read as a file, but is not waited for without end: a reload is
 * held up by it, and SIGTERM behind that. */
static bool may_be_read(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, PIPE_WAIT_MS) > 0;
}

static int read_all(int fd, struct arena *arena, struct span *text)
{
    struct stat st;
    size_t size = 16384, len = 0;

    if (fstat(fd, &st) < 0)
        return fail_from_errno(errno);
    if (S_ISDIR(st.st_mode))
        return FAIL_IS_DIR;
    if (st.st_size > FILE_MAX)
        return FAIL_FULL;
    if (st.st_size > 0)
        size = (size_t)st.st_size + 1;
    char *bytes = arena_alloc(arena, size);
    for (;;) {
        if (!bytes)
            return FAIL_MEMORY;
        ssize_t n = read(fd, bytes + len, size - len);
        if (n < 0 && (errno == EINTR || (errno == EAGAIN && may_be_read(fd))))
            continue;
        if (n < 0)
            return fail_from_errno(errno);
        if (n == 0 && len == 0 && S_ISFIFO(st.st_mode)) /* it has no writer */
            return FAIL_TIMEOUT;
        if (n == 0)
            break;
        len += (size_t)n;
        if (len < size)
            continue;
        /* It grew, or it is a pipe. */
        if (size >= FILE_MAX)
            return FAIL_FULL;
        char *larger = arena_alloc(arena, size * 2);
        if (larger)
            memcpy(larger, bytes, len);
        bytes = larger;
        size *= 2;
    }
    *text = (struct span){bytes, len};
    return 0;
}

static int disk_read(void *data, struct arena *arena, const char *path, struct span *text)
{
    (void)data;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return fail_from_errno(errno);
    int err = read_all(fd, arena, text);
    close(fd);
    return err;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int disk_glob(void *data, struct arena *arena, const char *pattern, struct spans *paths)
{
    glob_t found = {0};
    int err = 0;

    (void)data;
    *paths = (struct spans){0};
    int answer = glob(pattern, GLOB_NOSORT, NULL, &found);
    if (answer != 0 && answer != GLOB_NOMATCH)
        err = answer == GLOB_NOSPACE ? FAIL_MEMORY : FAIL_IO;
    if (answer == 0) {
        qsort(found.gl_pathv, found.gl_pathc, sizeof *found.gl_pathv, by_bytes);
        paths->list = arena_alloc(arena, found.gl_pathc * sizeof *paths->list);
        for (size_t i = 0; paths->list && i < found.gl_pathc; i++) {
            paths->list[i] = arena_copy(arena, span_of(found.gl_pathv[i]));
            if (!paths->list[i].ptr)
                paths->list = NULL;
            else
                paths->count++;
        }
        err = paths->list ? 0 : FAIL_MEMORY;
    }
    globfree(&found);
    return err;
}

static const char *disk_environment(void *data, const char *name)
{
    (void)data;
    return getenv(name);
}

static bool from_sockaddr(struct address *a, const struct sockaddr *from)
{
    *a = (struct address){0};
    if (from->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)from;
        a->family = ADDRESS_IPV4;
        memcpy(a->ip, &in->sin_addr, 4);
    } else if (from->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)from;
        a->family = ADDRESS_IPV6;
        a->scope = in6->sin6_scope_id;
        memcpy(a->ip, &in6->sin6_addr, 16);
    }
    return a->family != ADDRESS_NONE;
}

static int disk_resolve(void *data, struct arena *arena, const char *host, struct address **list,
                        unsigned *count)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    unsigned n = 0;

    (void)data;
    *count = 0;
    int answer = getaddrinfo(host, NULL, &hints, &found);
    if (answer != 0 && (*list = arena_alloc(arena, 2 * sizeof **list)) &&
        (*count = address_localhost(span_of(host), *list)) > 0)
        return 0;
    if (answer != 0)
        return answer == EAI_MEMORY ? FAIL_MEMORY : FAIL_NOT_FOUND;
    for (const struct addrinfo *a = found; a; a = a->ai_next)
        n++;
    if ((*list = arena_alloc(arena, n * sizeof **list)))
        for (const struct addrinfo *a = found; a; a = a->ai_next)
            *count += from_sockaddr(&(*list)[*count], a->ai_addr);
    freeaddrinfo(found);
    return *list ? 0 : FAIL_MEMORY;
}

static struct span disk_folder(void *data, struct arena *arena)
{
    char path[PATH_MAX];

    (void)data;
    return getcwd(path, sizeof path) ? arena_copy(arena, span_of(path)) : (struct span){0};
}

static int disk_look(void *data, const char *path, struct source_look *look)
{
    struct stat st;

    (void)data;
    if (stat(path, &st) < 0)
        return fail_from_errno(errno);
    *look = (struct source_look){.device = (uint64_t)st.st_dev,
                                 .inode = (uint64_t)st.st_ino,
                                 .size = (uint64_t)st.st_size,
                                 .mtime_ns = (int64_t)st.st_mtim.tv_sec * (int64_t)NS_PER_S +
                                             st.st_mtim.tv_nsec,
                                 .uid = st.st_uid,
                                 .gid = st.st_gid,
                                 .mode = st.st_mode};
    return 0;
}

static int disk_identity(void *data, const char *user, const char *group,
                         struct source_identity *who)
{
    const struct passwd *pw = user ? getpwnam(user) : NULL;
    const struct group *gr = group ? getgrnam(group) : NULL;
    int count = SOURCE_GROUPS_MAX;

    (void)data;
    if ((user && !pw) || (group && !gr))
        return FAIL_NOT_FOUND;
    who->uid = pw ? pw->pw_uid : geteuid();
    gid_t gid = gr ? gr->gr_gid : pw ? pw->pw_gid : getegid();
    if (pw && getgrouplist(pw->pw_name, gid, who->groups, &count) < 0)
        count = SOURCE_GROUPS_MAX; /* there are more */
    else if (!pw && (count = 1 + getgroups(SOURCE_GROUPS_MAX - 1, who->groups + 1)) < 1)
        count = 1;
    if (!pw)
        who->groups[0] = gid;
    who->group_count = (unsigned)count;
    return 0;
}

bool identity_has_group(const struct source_identity *who, uint32_t gid)
{
    for (unsigned i = 0; i < who->group_count; i++)
        if (who->groups[i] == gid)
            return true;
    return false;
}

const struct source source_disk = {
    .read = disk_read,
    .glob = disk_glob,
    .environment = disk_environment,
    .resolve = disk_resolve,
    .folder = disk_folder,
    .look = disk_look,
    .identity = disk_identity,
};
