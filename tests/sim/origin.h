/* Origins that do what the path asks for: /WHAT/ID/BYTES.
 *
 * So a request says itself how its origin will behave, and a retry meets the
 * same; and whoever gets an answer knows whether it is the one to that request.
 */
#ifndef HEADGATE_TESTS_SIM_ORIGIN_H
#define HEADGATE_TESTS_SIM_ORIGIN_H

#include "tests/sim/visitor.h"

enum { ORIGIN_IDS = 512 };

/* name, may be asked when all must go well, status the client gets, what it is */
#define ORIGIN_LIST(ROW)                                                                           \
    ROW(length, 1, 200, "an answer with a length")                                                 \
    ROW(chunked, 1, 200, "in chunks, with a trailer")                                              \
    ROW(until_close, 1, 200, "until the connection ends")                                          \
    ROW(last, 1, 200, "with Connection: close")                                                    \
    ROW(slow, 1, 200, "in pieces, with gaps")                                                      \
    ROW(early, 1, 200, "answers as soon as the head is there, and reads on")                       \
    ROW(interim, 1, 200, "103 before 200")                                                         \
    ROW(nothing, 1, 204, "without content")                                                        \
    ROW(half_close, 1, 200, "says FIN behind the answer")                                          \
    ROW(early_close, 0, 200, "answers before it read the content, and closes")                     \
    ROW(reset_before, 0, 502, "resets instead of an answer")                                       \
    ROW(close_before, 0, 502, "closes instead of an answer")                                       \
    ROW(reset_in_head, 0, 502, "resets in the middle of the head")                                 \
    ROW(reset_in_content, 0, 200, "resets in the middle of the content")                           \
    ROW(close_in_content, 0, 200, "closes in the middle of the content")                           \
    ROW(close_in_chunk, 0, 200, "closes in the middle of a chunk")                                 \
    ROW(bad_chunk, 0, 200, "a chunk size that is none")                                            \
    ROW(bad_chunk_end, 0, 200, "a chunk that does not end where it should")                        \
    ROW(garbage, 0, 502, "not HTTP")                                                               \
    ROW(two_lengths, 0, 502, "a length and chunks")                                                \
    ROW(large_head, 0, 502, "a head larger than allowed")                                          \
    ROW(silent, 0, 504, "never answers")                                                           \
    ROW(stuck, 0, 200, "answers half, and then nothing more")                                      \
    ROW(once_reset, 0, 200, "resets the first time, answers the second")                           \
    ROW(then_close, 0, 200, "answers, and closes without having said so")                          \
    ROW(extra, 0, 200, "says more than the answer")                                                \
    ROW(tunnel, 0, 101, "switches to websocket, and echoes")                                       \
    ROW(events, 0, 200, "an event stream: a line, an hour's silence but five minutes, a line")     \
    ROW(grpc, 0, 200, "the same as gRPC")                                                          \
    ROW(unwell, 0, 503, "503, of its own")                                                         \
    ROW(check, 0, 200, "whatever its health says")                                                          \
    ROW(once_503, 0, 200, "says 503 the first time, answers the second")

#define ORIGIN_ENUM(name, calm, status, text) ORIGIN_##name,
enum origin_what { ORIGIN_LIST(ORIGIN_ENUM) ORIGIN_COUNT };
#undef ORIGIN_ENUM

#define ORIGIN_SILENCE_NS (55 * 60 * NS_PER_S)

struct origin_row {
    const char *name;
    bool calm;
    int status;
};
extern const struct origin_row origin_rows[ORIGIN_COUNT];

struct origin_visit; /* a connection to it */

struct origins {
    struct sim *sim;
    struct sim_origin servers[4];
    unsigned count;
    enum origin_what meets[4];  /* what all requests to it get; ORIGIN_COUNT: what they ask for */
    enum origin_what health[4]; /* what all checks get */
    unsigned checks[4];
    struct origin_visit *visits;
    uint64_t patience;          /* ends connections that idle so long; 0: never */
    unsigned ended_late;        /* so many were */
    unsigned heads[ORIGIN_IDS]; /* how often a request of this id came */
    unsigned whole[ORIGIN_IDS]; /* with all of its content */
    uint64_t left_max;          /* ms; 0: nobody says X-Left */
    uint64_t left[ORIGIN_IDS];  /* what it said last */
    unsigned asked[4];          /* requests, by server */
    unsigned where[ORIGIN_IDS]; /* the server that a request of this id came to last */
};

void origins_open(struct origins *o, struct sim *sim);
struct sim_origin *origins_add(struct origins *o, const char *address);
void origins_visit(struct origins *o, struct sim_peer *peer); /* has just been accepted */
uint64_t origins_heard(const struct origins *o);              /* bytes, on all connections */
void origins_part(struct origins *o, unsigned server);        /* ends its connections */
void origins_close(struct origins *o);

#endif
