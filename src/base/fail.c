/* Names of failures, and where they come from on POSIX systems. */
#include "base/fail.h"

#include <errno.h>

const char *fail_text(int fail)
{
    switch (fail) {
#define FAIL_CASE(name, number, text)                                                              \
    case number:                                                                                   \
        return text;
        FAIL_LIST(FAIL_CASE)
#undef FAIL_CASE
    default:
        return "unknown failure";
    }
}

int fail_from_errno(int error)
{
    switch (error) {
    case 0:
        return 0;
    case ENOMEM:
    case ENOBUFS:
        return FAIL_MEMORY;
    case EPIPE:
    case ECONNRESET:
    case ECONNABORTED:
    case ENOTCONN:
        return FAIL_RESET;
    case ETIMEDOUT:
        return FAIL_TIMEOUT;
    case ECANCELED:
        return FAIL_CANCELLED;
    case ECONNREFUSED:
        return FAIL_REFUSED;
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ENETDOWN:
    case EHOSTDOWN:
    case EADDRNOTAVAIL:
        return FAIL_UNREACHABLE;
    case EADDRINUSE:
        return FAIL_IN_USE;
    case EACCES:
    case EPERM:
    case EROFS:
    case ENXIO: /* a file's name that is a socket's or a device's */
        return FAIL_ACCESS;
    case ENOENT:
        return FAIL_NOT_FOUND;
    case EMFILE:
    case ENFILE:
        return FAIL_DESCRIPTORS;
    case EINVAL:
    case ENAMETOOLONG:
        return FAIL_BAD;
    case ENOSYS:
    case EOPNOTSUPP:
    case EAFNOSUPPORT:
    case EPROTONOSUPPORT:
        return FAIL_UNSUPPORTED;
    case ENOSPC:
    case EDQUOT:
        return FAIL_NO_SPACE;
    case EEXIST:
        return FAIL_EXISTS;
    case ENOTDIR:
        return FAIL_NOT_DIR;
    case EISDIR:
        return FAIL_IS_DIR;
    case ELOOP:
    case EXDEV:
        return FAIL_LOOP;
    default:
        return FAIL_IO;
    }
}
