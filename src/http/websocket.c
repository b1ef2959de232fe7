/* Sec-WebSocket-Accept; see websocket.h.
 *
 * The base64 of a SHA-1: of 60 bytes, so always of two blocks.  Nothing secret depends on it.
 */
#include "http/websocket.h"

#include <assert.h>

enum { BLOCK = 64, DIGEST = 20 };

static uint32_t rotate(uint32_t x, unsigned by)
{
    return x << by | x >> (32 - by);
}

static void expand(const uint8_t *block, uint32_t w[80])
{
    for (unsigned i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
               (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (unsigned i = 16; i < 80; i++)
        w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
}

/* RFC 3174, 6.1. */
static void digest_block(uint32_t h[5], const uint8_t *block)
{
    static const uint32_t k[] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
    uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];

    expand(block, w);
    for (unsigned i = 0; i < 80; i++) {
        uint32_t f = i < 20   ? (b & c) | (~b & d)
                     : i < 40 ? b ^ c ^ d
                     : i < 60 ? (b & c) | (b & d) | (c & d)
                              : b ^ c ^ d;
        uint32_t t = rotate(a, 5) + f + e + w[i] + k[i / 20];
        e = d;
        d = c;
        c = rotate(b, 30);
        b = a;
        a = t;
    }
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
    h[4] += e;
}

/* RFC 4648, 4: 20 bytes are 28 characters, the last of them padding. */
static void encode(const uint8_t bytes[DIGEST + 1], char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (unsigned i = 0; i < DIGEST + 1; i += 3) {
        uint32_t three = (uint32_t)bytes[i] << 16 | (uint32_t)bytes[i + 1] << 8 | bytes[i + 2];
        for (unsigned n = 0; n < 4; n++)
            *out++ = digits[three >> (18 - 6 * n) & 63];
    }
    out[-1] = '=';
}

bool websocket_accept(struct span key, char out[WEBSOCKET_ACCEPT])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    enum { TEXT = WEBSOCKET_KEY + sizeof guid - 1 };
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    uint8_t blocks[2 * BLOCK] = {0}, bytes[DIGEST + 1] = {0};

    static_assert(TEXT == 60, "two blocks, with what ends them");
    if (key.len != WEBSOCKET_KEY)
        return false;
    memcpy(blocks, key.ptr, WEBSOCKET_KEY);
    memcpy(blocks + WEBSOCKET_KEY, guid, sizeof guid - 1);
    blocks[TEXT] = 0x80;
    blocks[2 * BLOCK - 2] = TEXT * 8 >> 8;
    blocks[2 * BLOCK - 1] = TEXT * 8 & 0xff;
    digest_block(h, blocks);
    digest_block(h, blocks + BLOCK);
    for (unsigned i = 0; i < DIGEST; i++)
        bytes[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
    encode(bytes, out);
    return true;
}
