/* What the kernel offers and the oldest liburing we build with (2.3) cannot name.
 *
 * Constants and layouts of the kernel's interface, which never change once
 * released.  Whether a kernel really has one is found out by uring_probe.c,
 * by trying it, never by its version.
 */
#ifndef HEADGATE_IO_URING_FEATURES_H
#define HEADGATE_IO_URING_FEATURES_H

#include <liburing.h>
#include <stdint.h>
#include <sys/syscall.h>

/* liburing 2.6 and later ask for this one themselves: there is no index array then. */
#ifndef IORING_SETUP_NO_SQARRAY
#define IORING_SETUP_NO_SQARRAY (1U << 16)
#endif

/* Linux 6.17: a multishot receive that ends by itself after this many bytes.
 * The field is called optlen there and shares its place with file_index. */
static inline void uring_sqe_set_total(struct io_uring_sqe *sqe, uint32_t bytes)
{
    sqe->file_index = bytes;
}

/* Linux 6.5: how much of a file is in the page cache. */
#ifndef __NR_cachestat
#define __NR_cachestat 451
#endif
struct uring_cachestat_range {
    uint64_t offset, len;
};
struct uring_cachestat {
    uint64_t cached, dirty, writeback, evicted, recently_evicted; /* pages */
};

#endif
