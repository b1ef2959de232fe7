/* A fuzz target is one function, as libFuzzer wants it; replay.c plays corpus and
 * mutations through the same function without libFuzzer. */
#ifndef HEADGATE_TESTS_FUZZ_FUZZ_H
#define HEADGATE_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Files below tests/data to begin with, ended by NULL; those of messages hold many. */
extern const char *const fuzz_corpus[];

/* How many replay.c plays unless it is told, where that is fewer than usual. */
extern const unsigned fuzz_mutations;

#endif
