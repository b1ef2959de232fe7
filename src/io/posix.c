/* What the backends of POSIX systems share; see posix.h. */
#include "io/posix.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#ifdef __linux__
#include <linux/openat2.h>
#include <sys/syscall.h>
#endif

/* --- addresses -------------------------------------------------------------- */

static socklen_t sockaddr_unix(struct sockaddr_un *un, const struct address *a)
{
    socklen_t len = (socklen_t)offsetof(struct sockaddr_un, sun_path) + a->path_len;

    *un = (struct sockaddr_un){.sun_family = AF_UNIX};
    static_assert(sizeof un->sun_path > ADDRESS_PATH_MAX, "a path and its terminator fit");
    memcpy(un->sun_path, a->path, a->path_len);
    /* An abstract name is exactly as long as we say, a path is terminated. */
    return a->path_len > 0 && a->path[0] != '\0' ? len + 1 : len;
}

socklen_t posix_sockaddr(struct sockaddr_storage *out, const struct address *a)
{
    struct sockaddr_in *in = (struct sockaddr_in *)out;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;

    switch (a->family) {
    case ADDRESS_IPV4:
        *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(a->port)};
        memcpy(&in->sin_addr, a->ip, sizeof in->sin_addr);
        return sizeof *in;
    case ADDRESS_IPV6:
        *in6 = (struct sockaddr_in6){
            .sin6_family = AF_INET6, .sin6_port = htons(a->port), .sin6_scope_id = a->scope};
        memcpy(&in6->sin6_addr, a->ip, sizeof in6->sin6_addr);
        return sizeof *in6;
    case ADDRESS_UNIX:
        return sockaddr_unix((struct sockaddr_un *)out, a);
    default:
        return 0;
    }
}

static void address_unix(struct address *out, const struct sockaddr_un *un, socklen_t len)
{
    socklen_t start = (socklen_t)offsetof(struct sockaddr_un, sun_path);
    size_t n = len > start ? len - start : 0;

    out->family = ADDRESS_UNIX;
    if (n > 0 && un->sun_path[0] != '\0')
        n = strnlen(un->sun_path, n);
    if (n > ADDRESS_PATH_MAX)
        n = ADDRESS_PATH_MAX;
    memcpy(out->path, un->sun_path, n);
    out->path_len = (uint8_t)n;
}

void posix_address(struct address *out, const struct sockaddr_storage *from, socklen_t len)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)from;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)from;

    *out = (struct address){0};
    if (len < (socklen_t)sizeof from->ss_family)
        return;
    switch (from->ss_family) {
    case AF_INET:
        out->family = ADDRESS_IPV4;
        out->port = ntohs(in->sin_port);
        memcpy(out->ip, &in->sin_addr, sizeof in->sin_addr);
        break;
    case AF_INET6:
        out->family = ADDRESS_IPV6;
        out->port = ntohs(in6->sin6_port);
        out->scope = in6->sin6_scope_id;
        memcpy(out->ip, &in6->sin6_addr, sizeof in6->sin6_addr);
        break;
    case AF_UNIX:
        address_unix(out, (const struct sockaddr_un *)from, len);
        break;
    default:
        break;
    }
}

void posix_local(struct io *io, const struct io_sock *sock, struct address *a)
{
    struct sockaddr_storage name;
    socklen_t len = sizeof name;

    (void)io;
    if (getsockname(sock->fd, (struct sockaddr *)&name, &len) == 0)
        posix_address(a, &name, len);
}

/* --- sockets ------------------------------------------------------------------ */

enum { UNSENT_MAX = 256 * 1024 };

static int stream_socket(uint8_t family, int *fd)
{
    static const int domains[] = {
        [ADDRESS_IPV4] = AF_INET, [ADDRESS_IPV6] = AF_INET6, [ADDRESS_UNIX] = AF_UNIX};

    if (family == ADDRESS_NONE || family > ADDRESS_UNIX)
        return FAIL_BAD;
    *fd = socket(domains[family], SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return *fd < 0 ? fail_from_errno(errno) : 0;
}

static void socket_flag(int fd, int level, int name, int value)
{
    /* These options exist for the families they are set on, so this cannot fail. */
    (void)setsockopt(fd, level, name, &value, sizeof value);
}

/* The kernel would take megabytes for a slow peer, and then nothing for so long
 * that the peer seems dead although it reads: what it has not sent yet is
 * bounded, so that bytes move here when they move there. */
static void tcp_flags(int fd)
{
    socket_flag(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    socket_flag(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT_MAX);
}

int posix_stream(const struct address *to, int *fd)
{
    int err = stream_socket(to->family, fd);

    if (err == 0 && to->family != ADDRESS_UNIX)
        tcp_flags(*fd);
    return err;
}

/* A file that a dead process left behind, and nothing else, is removed. */
static bool remove_stale(const struct sockaddr_un *un, socklen_t len)
{
    struct stat st;
    int fd;

    if (un->sun_path[0] == '\0' || lstat(un->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode) ||
        stream_socket(ADDRESS_UNIX, &fd) < 0)
        return false;
    bool stale = connect(fd, (const struct sockaddr *)un, len) < 0 && errno == ECONNREFUSED;
    close(fd);
    return stale && unlink(un->sun_path) == 0;
}

static int bind_unix(int fd, const struct io_listen *spec, const struct sockaddr_un *un,
                     socklen_t len)
{
    bool file = un->sun_path[0] != '\0';

    /* Before it has a name, so that it is never open to more than the mode
     * says; and again after, because the umask has taken its part. */
    if (file && spec->unix_mode && fchmod(fd, spec->unix_mode) < 0)
        return fail_from_errno(errno);
    if (bind(fd, (const struct sockaddr *)un, len) < 0 &&
        (errno != EADDRINUSE || !remove_stale(un, len) ||
         bind(fd, (const struct sockaddr *)un, len) < 0))
        return fail_from_errno(errno);
    if (file && spec->unix_mode && chmod(un->sun_path, spec->unix_mode) < 0)
        return fail_from_errno(errno);
    return 0;
}

static int bind_socket(int fd, const struct io_listen *spec)
{
    struct sockaddr_storage name;
    socklen_t len = posix_sockaddr(&name, &spec->at);

    if (spec->at.family == ADDRESS_UNIX)
        return bind_unix(fd, spec, (const struct sockaddr_un *)&name, len);
    socket_flag(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (spec->reuse_port)
        socket_flag(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (spec->at.family == ADDRESS_IPV6)
        socket_flag(fd, IPPROTO_IPV6, IPV6_V6ONLY, spec->v6_only);
    tcp_flags(fd);
    return bind(fd, (const struct sockaddr *)&name, len) < 0 ? fail_from_errno(errno) : 0;
}

int posix_listen(void *world, const struct io_listen *spec, int *out)
{
    int fd;
    int err = stream_socket(spec->at.family, &fd);

    (void)world;
    if (err < 0)
        return err;
    if ((err = bind_socket(fd, spec)) == 0 &&
        listen(fd, spec->backlog > 0 ? spec->backlog : SOMAXCONN) < 0)
        err = fail_from_errno(errno);
    if (err < 0) {
        close(fd);
        return err;
    }
    *out = fd;
    return 0;
}

void posix_listen_close(void *world, int fd)
{
    (void)world;
    close(fd);
}

bool posix_accept_passing(int error)
{
    switch (error) {
    case EINTR:
    case ECONNABORTED:
    case EPERM: /* a firewall's rule */
    case EPROTO:
    case ENOPROTOOPT:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
#ifdef ENONET
    case ENONET:
#endif
        return true;
    default:
        return false;
    }
}

void posix_linger_none(int fd)
{
    struct linger none = {.l_onoff = 1, .l_linger = 0};

    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
}

/* --- files -------------------------------------------------------------------- */

static void file_outcome(struct io_file *f, ssize_t n)
{
    f->op.fail = n < 0 ? (int8_t)fail_from_errno(errno) : 0;
    f->op.count = n < 0 ? 0 : (uint32_t)n;
}

static struct io_stat stat_of(const struct stat *st)
{
    return (struct io_stat){
        .size = (uint64_t)st->st_size,
        .inode = st->st_ino,
        .device = st->st_dev,
        .mtime_ns = (int64_t)st->st_mtim.tv_sec * (int64_t)NS_PER_S + st->st_mtim.tv_nsec,
        .mode = st->st_mode,
        .regular = S_ISREG(st->st_mode),
        .directory = S_ISDIR(st->st_mode),
    };
}

static int file_stat(struct io_file *f)
{
    struct stat st;

    if (fstat(f->fd, &st) < 0)
        return -1;
    f->stat = stat_of(&st);
    return 0;
}

static int file_look(struct io_file *f, int dir)
{
    struct stat st;

    if (fstatat(dir, f->path, &st, 0) < 0)
        return -1;
    f->stat = stat_of(&st);
    return 0;
}

/* O_NONBLOCK matters only to a FIFO or a device lying about: opening must not hang. */
static int open_flags(unsigned flags)
{
    int how = O_CLOEXEC | O_NOCTTY | O_NONBLOCK;

    if (flags & IO_OPEN_WRITE)
        how |= O_WRONLY | O_CREAT | O_TRUNC;
    if (flags & IO_OPEN_DIR)
        how |= O_DIRECTORY;
    return how;
}

/* The kernel follows the path itself and refuses the step that leads out: no
 * check of ours could be as quick as a rename.  EAGAIN says there was one. */
static int open_confined(int dir, const char *path, unsigned flags)
{
#ifdef SYS_openat2
    struct open_how how = {.flags = (unsigned)open_flags(flags),
                           .mode = flags & IO_OPEN_WRITE ? 0600 : 0,
                           .resolve = RESOLVE_NO_MAGICLINKS};
    long fd = -1;

    if (flags & IO_OPEN_BENEATH)
        how.resolve |= RESOLVE_BENEATH;
    if (flags & IO_OPEN_NO_LINKS)
        how.resolve |= RESOLVE_NO_SYMLINKS;
    for (int tries = 0; tries < 8; tries++) {
        fd = syscall(SYS_openat2, dir, path, &how, sizeof how);
        if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
            break;
    }
    return (int)fd;
#else
    (void)dir, (void)path, (void)flags;
    errno = ENOSYS;
    return -1;
#endif
}

static int file_open(struct io_file *f, int dir)
{
    if (f->flags & (IO_OPEN_BENEATH | IO_OPEN_NO_LINKS))
        f->fd = open_confined(dir, f->path, f->flags);
    else
        f->fd = openat(dir, f->path, open_flags(f->flags), 0600);
    if (f->fd < 0)
        return -1;
    if (file_stat(f) == 0)
        return 0;
    int error = errno;
    close(f->fd);
    f->fd = -1;
    errno = error;
    return -1;
}

static ssize_t file_write_all(const struct io_file *f)
{
    uint32_t done = 0;

    while (done < f->len) {
        const char *at = (const char *)f->base + done;
        ssize_t n = f->offset == IO_OFFSET_END
                        ? write(f->fd, at, f->len - done)
                        : pwrite(f->fd, at, f->len - done, (off_t)(f->offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -1 : (ssize_t)done;
        done += (uint32_t)n;
    }
    return (ssize_t)done;
}

static ssize_t file_read(const struct io_file *f)
{
    ssize_t n;

    do
        n = pread(f->fd, f->base, f->len, (off_t)f->offset);
    while (n < 0 && errno == EINTR);
    return n;
}

void posix_file(struct io_file *f)
{
    int dir = f->dir < 0 ? AT_FDCWD : f->dir;

    switch (f->call) {
    case IO_FILE_OPEN:
        file_outcome(f, file_open(f, dir));
        break;
    case IO_FILE_STAT:
        file_outcome(f, file_stat(f));
        break;
    case IO_FILE_LOOK:
        file_outcome(f, file_look(f, dir));
        break;
    case IO_FILE_READ:
        file_outcome(f, file_read(f));
        break;
    case IO_FILE_WRITE:
        file_outcome(f, file_write_all(f));
        break;
    case IO_FILE_SYNC:
        file_outcome(f, fsync(f->fd));
        break;
    case IO_FILE_RENAME:
        file_outcome(f, renameat(dir, f->path, dir, f->path_to));
        break;
    default:
        f->op.fail = FAIL_UNSUPPORTED;
        break;
    }
}

/* --- names -------------------------------------------------------------------- */

static int resolve_fail(int error)
{
    switch (error) {
    case EAI_AGAIN:
        return FAIL_TIMEOUT;
    case EAI_MEMORY:
        return FAIL_MEMORY;
    case EAI_SYSTEM:
        return fail_from_errno(errno);
    case EAI_NONAME:
#ifdef EAI_NODATA
    case EAI_NODATA:
#endif
        return FAIL_NOT_FOUND;
    default:
        return FAIL_IO;
    }
}

/* Systems without /etc/hosts, such as fresh containers, may not know it. */
static void resolve_localhost(struct io_resolve *r)
{
    struct address found[2];
    unsigned n = address_localhost(span_of(r->host), found);

    for (unsigned i = 0; i < n; i++) {
        if (r->family != ADDRESS_NONE && r->family != found[i].family)
            continue;
        found[i].port = r->port;
        r->found[r->count++] = found[i];
        r->work.op.fail = 0;
    }
}

void posix_resolve(struct io_resolve *r)
{
    static const int families[] = {
        [ADDRESS_NONE] = AF_UNSPEC, [ADDRESS_IPV4] = AF_INET, [ADDRESS_IPV6] = AF_INET6};
    struct addrinfo *list = NULL;

    r->count = 0;
    r->work.op.fail = FAIL_BAD;
    if (r->family > ADDRESS_IPV6)
        return;
    struct addrinfo hints = {.ai_family = families[r->family], .ai_socktype = SOCK_STREAM};
    int error = getaddrinfo(r->host, NULL, &hints, &list);
    if (error != 0) {
        r->work.op.fail = (int8_t)resolve_fail(error);
        resolve_localhost(r);
        return;
    }
    for (struct addrinfo *i = list; i && r->count < IO_RESOLVE_MAX; i = i->ai_next) {
        struct sockaddr_storage name = {0};
        memcpy(&name, i->ai_addr, i->ai_addrlen);
        posix_address(&r->found[r->count], &name, i->ai_addrlen);
        r->found[r->count++].port = r->port;
    }
    freeaddrinfo(list);
    r->work.op.fail = r->count > 0 ? 0 : FAIL_NOT_FOUND;
}

/* --- the rest ----------------------------------------------------------------- */

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

uint64_t posix_monotonic_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

void posix_clock(struct io *io)
{
    io->now_ns = clock_ns(CLOCK_MONOTONIC);
#ifdef CLOCK_REALTIME_COARSE
    io->wall_ns = clock_ns(CLOCK_REALTIME_COARSE); /* good for 4 ms, and cheap */
#else
    io->wall_ns = clock_ns(CLOCK_REALTIME);
#endif
}

void posix_block_sigpipe(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}
