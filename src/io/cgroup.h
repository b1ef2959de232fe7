/* What the control groups that we are in allow us (Linux, version 2).
 *
 * Each group on the way from ours up to the root of what is mounted may set a limit, and the
 * smallest counts.  Files are looked for below `root`, which is "" but in tests.
 */
#ifndef HEADGATE_IO_CGROUP_H
#define HEADGATE_IO_CGROUP_H

#include <stdint.h>

#define CGROUP_NO_LIMIT UINT64_MAX

uint64_t cgroup_cpus(const char *root);   /* rounded up */
uint64_t cgroup_memory(const char *root); /* bytes */

#endif
