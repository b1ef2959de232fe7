/* HTTP/2 frames as bytes (RFC 9113, 4 and 6): numbers, and nine bytes of header.
 *
 * Reading and writing a header is all there is to a frame; what the frames
 * mean is the session's.
 */
#ifndef HEADGATE_HTTP_H2_FRAME_H
#define HEADGATE_HTTP_H2_FRAME_H

#include "base/span.h"

enum {
    H2_FRAME_HEAD = 9,
    H2_FRAME_MAX = 16384, /* payload we take, and write: the least that everybody takes */
    H2_WINDOW_START = 65535,
    H2_PREFACE = 24,
};
#define H2_WINDOW_MAX  INT32_MAX
#define H2_STREAM_MASK UINT32_C(0x7fffffff)

enum h2_type {
    H2_DATA = 0,
    H2_HEADERS = 1,
    H2_PRIORITY = 2,
    H2_RST_STREAM = 3,
    H2_SETTINGS = 4,
    H2_PUSH_PROMISE = 5,
    H2_PING = 6,
    H2_GOAWAY = 7,
    H2_WINDOW_UPDATE = 8,
    H2_CONTINUATION = 9,
    H2_PRIORITY_UPDATE = 16, /* RFC 9218, 7.1 */
};

enum h2_flag {
    H2_FLAG_ACK = 0x01,
    H2_FLAG_END_STREAM = 0x01,
    H2_FLAG_END_HEADERS = 0x04,
    H2_FLAG_PADDED = 0x08,
    H2_FLAG_PRIORITY = 0x20,
};

enum h2_setting {
    H2_SETTING_HEADER_TABLE_SIZE = 1,
    H2_SETTING_ENABLE_PUSH = 2,
    H2_SETTING_MAX_CONCURRENT_STREAMS = 3,
    H2_SETTING_INITIAL_WINDOW_SIZE = 4,
    H2_SETTING_MAX_FRAME_SIZE = 5,
    H2_SETTING_MAX_HEADER_LIST_SIZE = 6,
    H2_SETTING_ENABLE_CONNECT_PROTOCOL = 8, /* RFC 8441 */
    H2_SETTING_NO_RFC7540_PRIORITIES = 9,   /* RFC 9218 */
};

enum h2_error {
    H2_NO_ERROR = 0,
    H2_PROTOCOL_ERROR = 1,
    H2_INTERNAL_ERROR = 2,
    H2_FLOW_CONTROL_ERROR = 3,
    H2_STREAM_CLOSED = 5,
    H2_FRAME_SIZE_ERROR = 6,
    H2_REFUSED_STREAM = 7,
    H2_CANCEL = 8,
    H2_COMPRESSION_ERROR = 9,
    H2_CONNECT_ERROR = 10,
    H2_ENHANCE_YOUR_CALM = 11,
    H2_HTTP_1_1_REQUIRED = 13,
};

/* What a client says first (RFC 9113, 3.4). */
#define H2_PREFACE_TEXT SPAN("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

struct h2_frame {
    uint32_t len; /* of the payload */
    uint32_t stream;
    uint8_t type, flags;
};

static inline uint32_t h2_get32(const char *at)
{
    const uint8_t *b = (const uint8_t *)at;

    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static inline void h2_put32(char *at, uint32_t n)
{
    at[0] = (char)(n >> 24);
    at[1] = (char)(n >> 16);
    at[2] = (char)(n >> 8);
    at[3] = (char)n;
}

/* From H2_FRAME_HEAD bytes.  The reserved bit is ignored (RFC 9113, 4.1). */
static inline struct h2_frame h2_frame_read(const char *at)
{
    return (struct h2_frame){
        .len = h2_get32(at) >> 8,
        .type = (uint8_t)at[3],
        .flags = (uint8_t)at[4],
        .stream = h2_get32(at + 5) & H2_STREAM_MASK,
    };
}

static inline void h2_frame_write(char *at, struct h2_frame f)
{
    h2_put32(at, f.len << 8 | f.type);
    at[4] = (char)f.flags;
    h2_put32(at + 5, f.stream);
}

#endif
