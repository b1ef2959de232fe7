/* The file with the process's number; see pid_file.h.
 *
 * A setting that names another file by mistake must not cost that file: what
 * is no number, on a line of its own, is nobody's pid file.
 */
#include "pid_file.h"

#include "base/fail.h"
#include "base/log.h"
#include "io/descriptor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* The one that was written, whatever a reload says; empty: none. */
static char written[PATH_MAX];

enum content { NOT_THERE, CANNOT_BE_READ, A_NUMBER, SOMETHING_ELSE };

/* An empty one is a pid file, too: what is left of ours where we might not remove it. */
static enum content read_number(const char *name, uint64_t *number)
{
    char text[32];
    int fd = open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);

    descriptor_close(fd);
    if (n < 0)
        return CANNOT_BE_READ;
    struct span line = {text, (size_t)n};
    if (n > 0 && text[n - 1] == '\n')
        line.len--;
    line = span_trim(line);
    return line.len == 0 || span_number(line, number) ? A_NUMBER : SOMETHING_ELSE;
}

static enum content look(const char *name, uint64_t *number)
{
    struct stat st;

    *number = 0;
    if (lstat(name, &st) < 0)
        return errno == ENOENT ? NOT_THERE : CANNOT_BE_READ;
    if (S_ISLNK(st.st_mode)) /* goes, and costs nobody anything: it is not followed */
        return A_NUMBER;
    return S_ISREG(st.st_mode) ? read_number(name, number) : SOMETHING_ELSE;
}

static bool name_of(struct span path, char name[PATH_MAX])
{
    return snprintf(name, PATH_MAX, "%.*s", SPAN_ARG(path)) < PATH_MAX;
}

static const char no_number[] = "what is there holds no process number";

int pid_file_may_write(struct span path, const char **why)
{
    char name[PATH_MAX];
    uint64_t number;
    enum content content = name_of(path, name) ? look(name, &number) : CANNOT_BE_READ;

    *why = content == SOMETHING_ELSE ? no_number : "what is there cannot be read";
    return content == SOMETHING_ELSE ? FAIL_BAD : content == CANNOT_BE_READ ? FAIL_ACCESS : 0;
}

/* Written while we may still write everywhere; given away with the identity, so
 * that it can be emptied where it cannot be removed. */
int pid_file_write(struct span path)
{
    char text[32];
    uint64_t number;
    int fd = -1;

    if (path.len == 0)
        return -1;
    enum content content = name_of(path, written) ? look(written, &number) : CANNOT_BE_READ;
    if (content == SOMETHING_ELSE)
        log_say(LOG_WARNING, "pid_file %s is not written: %s", written, no_number);
    /* Made anew: the user may have put a link there that leads to root's files. */
    else if (content == NOT_THERE || (content == A_NUMBER && unlink(written) == 0))
        fd = descriptor_create(written, 0644);
    if (fd < 0 && content != SOMETHING_ELSE)
        log_say(LOG_WARNING, "pid_file %s cannot be written", written);
    if (fd < 0)
        written[0] = '\0';
    else
        descriptor_write(fd, text, (size_t)snprintf(text, sizeof text, "%ld\n", (long)getpid()));
    return fd;
}

void pid_file_remove(void)
{
    uint64_t number;

    if (!written[0])
        return;
    enum content content = look(written, &number);
    bool ours = content == A_NUMBER && number == (uint64_t)getpid();
    if (content == CANNOT_BE_READ || (ours && unlink(written) < 0 && truncate(written, 0) < 0))
        log_say(LOG_WARNING, "pid_file %s cannot be removed", written);
}
