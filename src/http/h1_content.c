/* HTTP/1 content: where it is among the bytes, and where it ends.
 *
 * The framing of chunks is read byte by byte and kept in a state, so nothing
 * of it has to be kept by the caller; only a trailer section is, which is
 * parsed as the fields of a head are.
 */
#include "http/h1_content.h"

#include "http/chars.h"

/* What is expected next (RFC 9112, 7.1). */
enum {
    CHUNK_SIZE_FIRST, /* a hexadecimal digit */
    CHUNK_SIZE,       /* another, or what ends the size */
    CHUNK_BLANK,      /* ';' after blanks: the BWS before an extension */
    CHUNK_EXTENSION,  /* anything but a control, to CR */
    CHUNK_SIZE_LF,
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    CHUNK_TRAILERS,
    CHUNK_ENDED,
};

enum { SIZE_DIGITS_MAX = 16, SIZE_LINE_MAX = 256 };

void h1_content_init(struct h1_content *c, enum framing framing, uint64_t content_length,
                     const struct h1_limits *trailer_limits, struct fields *trailers)
{
    *c = (struct h1_content){
        .framing = framing,
        .remaining = framing == FRAMING_LENGTH ? content_length : 0,
        .fields = trailers,
    };
    h1_parser_init(&c->trailers, trailer_limits);
}

/* Hexadecimal digits only: no sign, no "0x", no blank, and not so many that they
 * overflow; the result is a file offset to others, so the top bit stays free. */
static bool size_digit(struct h1_content *c, char byte)
{
    if (!char_is(byte, CHAR_HEX) || c->line > SIZE_DIGITS_MAX || c->remaining >> 59)
        return false;
    c->remaining = c->remaining << 4 | char_hex(byte);
    c->state = CHUNK_SIZE;
    return true;
}

/* Trailing blanks without an extension are not in the grammar. */
static bool after_size(struct h1_content *c, char byte)
{
    if (byte == ';')
        c->state = CHUNK_EXTENSION;
    else if (byte == ' ' || byte == '\t')
        c->state = CHUNK_BLANK;
    else
        return false;
    return true;
}

/* One byte of framing; false when it may not stand here. */
static bool chunk_byte(struct h1_content *c, char byte)
{
    if (c->state <= CHUNK_SIZE_LF && ++c->line > SIZE_LINE_MAX)
        return false;
    switch (c->state) {
    case CHUNK_SIZE_FIRST:
        return size_digit(c, byte);
    case CHUNK_SIZE:
        if (char_is(byte, CHAR_HEX))
            return size_digit(c, byte);
        if (byte != '\r')
            return after_size(c, byte);
        c->state = CHUNK_SIZE_LF;
        return true;
    case CHUNK_BLANK:
        return after_size(c, byte);
    case CHUNK_EXTENSION:
        if (byte == '\r')
            c->state = CHUNK_SIZE_LF;
        return byte == '\r' || char_is(byte, CHAR_VALUE);
    case CHUNK_SIZE_LF:
        c->state = c->remaining > 0 ? CHUNK_DATA : CHUNK_TRAILERS;
        return byte == '\n';
    case CHUNK_DATA_CR:
        c->state = CHUNK_DATA_LF;
        return byte == '\r';
    case CHUNK_DATA_LF:
        c->state = CHUNK_SIZE_FIRST;
        c->line = 0;
        return byte == '\n';
    default:
        return false;
    }
}

/* As much of what remains as is at hand; the caller says how much of it he took. */
static size_t at_hand(const struct h1_content *c, size_t bytes)
{
    return bytes < c->remaining ? bytes : (size_t)c->remaining;
}

static enum parse next_trailers(struct h1_content *c, struct span bytes, struct h1_piece *piece,
                                enum cause *cause)
{
    enum parse answer = h1_parse_trailers(&c->trailers, bytes, c->fields);

    if (answer == PARSE_DONE) {
        piece->skip += c->trailers.head_bytes;
        c->state = CHUNK_ENDED;
    } else if (answer == PARSE_BAD) {
        *cause = c->trailers.cause;
    }
    return answer;
}

static enum parse next_chunked(struct h1_content *c, struct span bytes, struct h1_piece *piece,
                               enum cause *cause)
{
    for (; piece->skip < bytes.len; piece->skip++) {
        if (c->state == CHUNK_DATA && c->remaining == 0)
            c->state = CHUNK_DATA_CR;
        if (c->state == CHUNK_DATA) {
            piece->content = at_hand(c, bytes.len - piece->skip);
            return PARSE_MORE;
        }
        if (c->state >= CHUNK_TRAILERS)
            break;
        if (!chunk_byte(c, bytes.ptr[piece->skip])) {
            *cause = CAUSE_bad_chunk;
            return PARSE_BAD;
        }
    }
    if (c->state == CHUNK_TRAILERS)
        return next_trailers(c, span_after(bytes, piece->skip), piece, cause);
    return c->state == CHUNK_ENDED ? PARSE_DONE : PARSE_MORE;
}

enum parse h1_content_next(struct h1_content *c, struct span bytes, struct h1_piece *piece,
                           enum cause *cause)
{
    *piece = (struct h1_piece){0};
    *cause = CAUSE_NONE;
    switch (c->framing) {
    case FRAMING_NONE:
        return PARSE_DONE;
    case FRAMING_LENGTH:
        if (c->remaining == 0)
            return PARSE_DONE;
        piece->content = at_hand(c, bytes.len);
        return PARSE_MORE;
    case FRAMING_CHUNKED:
        return next_chunked(c, bytes, piece, cause);
    case FRAMING_CLOSE:
    case FRAMING_TUNNEL:
        break;
    }
    piece->content = bytes.len;
    return PARSE_MORE;
}

uint64_t h1_content_sure(const struct h1_content *c)
{
    switch (c->framing) {
    case FRAMING_LENGTH:
        return c->remaining;
    case FRAMING_CHUNKED:
        return c->state == CHUNK_DATA ? c->remaining : 0;
    case FRAMING_CLOSE:
        return UINT64_MAX;
    default:
        return 0;
    }
}

bool h1_content_ended(const struct h1_content *c)
{
    if (c->framing == FRAMING_CHUNKED)
        return c->state == CHUNK_ENDED;
    return c->remaining == 0;
}

size_t h1_chunk_head(char out[H1_CHUNK_HEAD_MAX], uint64_t bytes)
{
    static const char digits[] = "0123456789abcdef";
    unsigned bits = 4;
    size_t n = 0;

    while (bits < 64 && bytes >> bits)
        bits += 4;
    while (bits > 0) {
        bits -= 4;
        out[n++] = digits[bytes >> bits & 15];
    }
    out[n++] = '\r';
    out[n++] = '\n';
    return n;
}
