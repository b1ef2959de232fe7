/* An HTTP/2 session played from a line of text, for tables of tests.
 *
 * What the peer says is written as words, one frame between two ';':
 *
 *   headers ID [end] [open] [pad=N] [prio=ID] [FIELD...]   a field is NAME=VALUE; none: a GET
 *   more ID [open] [FIELD...]                    CONTINUATION
 *   data ID LEN [end] [pad=N]
 *   rst ID CODE, window ID N, settings [ID=N ...], ack, ping TEXT, pong TEXT, goaway ID CODE
 *   priority ID ON, update ID TEXT                (PRIORITY_UPDATE)
 *   frame TYPE FLAGS ID [HEX]                    anything
 *   raw HEX, hello                               bytes; preface and SETTINGS
 *
 * and what the caller does begins with '!':
 *
 *   !respond ID STATUS [end], !send ID LEN [end], !reset ID CODE, !credit ID LEN, !drain,
 *   !trail ID, !auto (each content is credited when it comes), !refuse
 *
 * What happens is written down the same way: events in lower case, frames that
 * the session sent in capitals.
 */
#ifndef HEADGATE_TESTS_H2_SCRIPT_H
#define HEADGATE_TESTS_H2_SCRIPT_H

#include "http/h2_session.h"

enum { PLAY_MAX = 8192, PLAY_STREAMS = 64 };

struct play {
    struct h2_session session;
    struct h2_stream streams[PLAY_STREAMS];
    unsigned stream_count;
    char *in; /* what the peer says and was not read */
    size_t in_len, in_room;
    size_t piece; /* bytes of it that are read at once; 0: all */
    uint64_t now;
    bool automatic, refusing;
    struct hpack peer; /* the peer's decoder of what we send */
    char text[PLAY_MAX];
    size_t text_len;
    uint32_t content; /* of content_id, not yet written down */
    uint32_t content_id;
};

void play_begin(struct play *p, const struct h2_limits *limits, size_t piece);
void play_end(struct play *p);

/* Plays the script; what happened is in p->text. Begins with a hello unless told not to. */
void play(struct play *p, const char *script);
void play_bytes(struct play *p, struct span bytes);

/* A line of a table: a script, and the text that comes of it however it is cut into pieces.
 * `bare`: without a hello before. */
struct play_row {
    const char *name, *script, *want;
};

/* What comes of mistakes. */
#define FAILS(last, code)       "failed " code " h2_protocol_error; GOAWAY " last " " code
#define PROTOCOL(last)          FAILS(last, "PROTOCOL_ERROR")
#define SIZE(last)              FAILS(last, "FRAME_SIZE_ERROR")
#define CLOSED(last)            FAILS(last, "STREAM_CLOSED")
#define RESETS(id, code, cause) "reset " id " " code " " cause "; RST " id " " code
#define MALFORMED(id)           RESETS(id, "PROTOCOL_ERROR", "h2_malformed")

void play_row(const struct play_row *row, const struct h2_limits *limits, bool bare);
void play_rows(const struct play_row *rows, size_t count);

/* Bytes of frames, for more than a script can say: appended to out, of room `room`. */
size_t script_bytes(const char *script, char *out, size_t room);

extern const struct h2_limits play_limits;

#endif
