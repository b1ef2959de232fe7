#include "tests/fuzz/fuzz_h1.h"

const char *const fuzz_corpus[] = {"http/responses.txt", NULL};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return fuzz_h1(FEED_RESPONSE, data, size);
}
