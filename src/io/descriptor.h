/* Plain descriptors and what the machine offers: for main and the gate, before
 * and beside the engine. */
#ifndef HEADGATE_IO_DESCRIPTOR_H
#define HEADGATE_IO_DESCRIPTOR_H

#include "base/address.h"
#include "base/span.h"

/* Opened for appending, made when it is not there, mode 0640.  Never waits: FAIL_NO_READER is a
 * named pipe that nobody has open. */
MUST_USE int descriptor_append(const char *path, int *fd);
MUST_USE int descriptor_copy(int fd, int *copy);
/* The same, of a file that is not there yet, not even as a link that leads
 * elsewhere; -1: it is there, or cannot be made. */
int descriptor_create(const char *path, unsigned mode);
void descriptor_close(int fd);

/* Whether that would go well, told without a trace: nothing is made, and no pipe opened, whose
 * reader would take our leaving for the end. */
MUST_USE int descriptor_may_append(const char *path);
MUST_USE int descriptor_may_create(const char *path); /* or take the place of what is there */
MUST_USE int descriptor_may_listen(const char *path); /* also if a socket is there already */

/* Which file a name leads to now, so that it is removed later only if it still does. */
struct descriptor_mark {
    uint64_t device, inode; /* 0, 0: none */
};
void descriptor_mark(const char *path, struct descriptor_mark *mark);
void descriptor_remove(const char *path, const struct descriptor_mark *mark);

void descriptor_write(int fd, const char *text, size_t len); /* all of it, or what goes */

/* 0, 1 and 2 are open, if only to nowhere: else a socket could become stdout. */
void descriptor_standard(void);

void descriptor_pause(uint64_t ns); /* sleeps */

/* Raises the limit of open descriptors to what is allowed; returns it. */
uint64_t descriptor_limit(void);

/* Whether it is an address of this machine's: some port of it can be had. */
MUST_USE int machine_address(const struct address *a);

unsigned machine_cpus(void);   /* in the affinity mask, at most the cgroups' quota rounded up */
uint64_t machine_memory(void); /* bytes: the cgroups' limit or the machine's */

#endif
