/* The time that main and ctl wait by: both do so outside the engine, whose time it is, too. */
#ifndef HEADGATE_MONOTONIC_H
#define HEADGATE_MONOTONIC_H

#include "base/clock.h"

#include <time.h>

static inline uint64_t monotonic_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

#endif
