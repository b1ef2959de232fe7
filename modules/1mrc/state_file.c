/* Temporary file, fsync, rename, fsync of the directory. */
#include "modules/1mrc/state_file.h"

#include "base/fail.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static int failed(void)
{
    return fail_from_errno(errno);
}

static int put_to_file(void *data, const void *bytes, size_t len)
{
    const char *at = bytes;
    int fd = *(const int *)data;

    while (len > 0) {
        ssize_t n = write(fd, at, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return failed();
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

/* All of it, or nothing: a part would take what a full disk has left. */
static int write_file(const char *path, const struct state *state)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0)
        return failed();
    int err = state_write(state, put_to_file, &fd);
    if (err == 0 && fsync(fd) < 0)
        err = failed();
    if (close(fd) < 0 && err == 0)
        err = failed();
    if (err < 0)
        (void)unlink(path);
    return err;
}

/* Cuts the path. */
static const char *directory_of(char *path)
{
    char *slash = strrchr(path, '/');

    if (slash)
        *slash = '\0';
    return slash == path ? "/" : slash ? path : ".";
}

int state_file_may_save(const char *path)
{
    size_t size = strlen(path) + 1;
    char *copy = mem_alloc(size);

    if (!copy)
        return FAIL_MEMORY;
    memcpy(copy, path, size);
    int err = access(directory_of(copy), W_OK | X_OK) < 0 ? failed() : 0;
    mem_free(copy);
    return err;
}

/* Makes the rename last: it is the directory that changed. */
static int sync_directory(char *path)
{
    int fd = open(directory_of(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return failed();
    int err = fsync(fd) < 0 ? failed() : 0;
    close(fd);
    return err;
}

int state_file_save(const char *path, const struct state *state)
{
    size_t room = strlen(path) + sizeof ".new";
    char *fresh = mem_alloc(room);

    if (!fresh)
        return FAIL_MEMORY;
    snprintf(fresh, room, "%s.new", path);
    int err = write_file(fresh, state);
    if (err == 0 && rename(fresh, path) < 0) {
        err = failed();
        (void)unlink(fresh);
    }
    if (err == 0)
        err = sync_directory(fresh);
    mem_free(fresh);
    return err;
}

static int read_all(int fd, char *to, size_t len)
{
    while (len > 0) {
        ssize_t n = read(fd, to, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? failed() : FAIL_IO; /* shorter than it said */
        to += n;
        len -= (size_t)n;
    }
    return 0;
}

int state_file_load(const char *path, struct span *content)
{
    struct stat stat;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), err = 0; /* no pipe is waited for */
    char *bytes = NULL;

    if (fd < 0)
        return failed();
    if (fstat(fd, &stat) < 0)
        err = failed();
    else if (!S_ISREG(stat.st_mode))
        err = FAIL_NOT_FILE;
    else if (!(bytes = mem_alloc((size_t)stat.st_size)))
        err = FAIL_MEMORY;
    else
        err = read_all(fd, bytes, (size_t)stat.st_size);
    close(fd);
    if (err < 0)
        mem_free(bytes);
    else
        *content = (struct span){bytes, (size_t)stat.st_size};
    return err;
}
