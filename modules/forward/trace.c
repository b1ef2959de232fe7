/* W3C Trace Context, level 1: "00-" 32 digits "-" 16 digits "-" 2 digits.
 *
 * The gateway takes no part in a trace: it hands on what is valid, and may begin
 * one.  Versions to come are longer, but begin like this one.
 */
#include "modules/forward/forward.h"

enum { TRACE_ID = 3, PARENT_ID = 36, FLAGS = 53 };

static const char digits[] = "0123456789abcdef";

static bool all_hex(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!((s.ptr[i] >= '0' && s.ptr[i] <= '9') || (s.ptr[i] >= 'a' && s.ptr[i] <= 'f')))
            return false;
    return true;
}

static bool all_zero(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] != '0')
            return false;
    return true;
}

bool trace_is_valid(struct span value)
{
    const char *at = value.ptr;

    if (value.len < TRACE_LEN || at[2] != '-' || at[PARENT_ID - 1] != '-' || at[FLAGS - 1] != '-')
        return false;
    struct span version = {at, 2}, trace = {at + TRACE_ID, 32}, parent = {at + PARENT_ID, 16};
    if (!all_hex(version) || !all_hex(trace) || !all_hex(parent) ||
        !all_hex((struct span){at + FLAGS, 2}))
        return false;
    if (span_equal(version, SPAN("ff")) || all_zero(trace) || all_zero(parent))
        return false;
    return value.len == TRACE_LEN || (!span_equal(version, SPAN("00")) && at[TRACE_LEN] == '-');
}

static char *put_number(char *at, uint64_t n)
{
    for (int shift = 60; shift >= 0; shift -= 4)
        *at++ = digits[n >> shift & 15];
    return at;
}

/* Sampled: whoever has the gateway begin traces wants them recorded, and most samplers
 * do as the parent says. */
void trace_write(char out[TRACE_LEN], const uint64_t numbers[3])
{
    char *at = out;

    memcpy(at, "00-", 3);
    at = put_number(put_number(at + 3, numbers[0]), numbers[1] ? numbers[1] : 1);
    *at++ = '-';
    at = put_number(at, numbers[2] ? numbers[2] : 1);
    memcpy(at, "-01", 3);
}
