/* Origins that speak HTTP/2: /WHAT/ID/BYTES, as those of origin.h, with a few ways of their own.
 *
 * Their framing is the program's session, seen from the other side; what it
 * reads and says is held to others' in tests/unit/http.  What they watch is the
 * gateway: that it keeps to windows and limits that change, and what it
 * makes of streams that are refused.
 */
#ifndef HEADGATE_TESTS_SIM_ORIGIN_H2_H
#define HEADGATE_TESTS_SIM_ORIGIN_H2_H

#include "tests/sim/origin.h"

/* name, whether the answer comes whole, what it is */
#define H2_ORIGIN_LIST(ROW)                                                                        \
    ROW(length, 1, "an answer with a length")                                                      \
    ROW(chunked, 1, "without, and a trailer")                                                      \
    ROW(nothing, 1, "without content")                                                             \
    ROW(interim, 1, "103 before 200")                                                              \
    ROW(early, 1, "answers as soon as the head is there, and reads on")                            \
    ROW(refused, 1, "the first time the stream is refused")                                        \
    ROW(going, 1, "the first time GOAWAY says that it was not looked at")                          \
    ROW(reset_before, 0, "a reset instead of an answer")                                           \
    ROW(reset_in_content, 0, "a reset in the middle of the content")                               \
    ROW(hang_up, 0, "the connection ends in the middle of the content")                            \
    ROW(garbage, 0, "bytes that are no frame")                                                     \
    ROW(silent, 0, "never answers")

#define H2_ORIGIN_ENUM(name, whole, text) H2_ORIGIN_##name,
enum h2_origin_what { H2_ORIGIN_LIST(H2_ORIGIN_ENUM) H2_ORIGIN_COUNT };
#undef H2_ORIGIN_ENUM

struct h2_origin_row {
    const char *name;
    bool whole;
};
extern const struct h2_origin_row h2_origin_rows[H2_ORIGIN_COUNT];

struct h2_visit;

struct h2_origins {
    struct sim *sim;
    struct sim_origin servers[2];
    unsigned count;
    struct h2_visit *visits;
    bool restless; /* SETTINGS come again and again */
    bool tolerant; /* memory fails */
    bool late;     /* credits do */
    bool slow;     /* they read little at a time */
    bool over_toy; /* and it is "TLS" */
    bool either;   /* some connections are HTTP/1: by ... */
    struct origins h1;
    unsigned heads[ORIGIN_IDS], whole[ORIGIN_IDS];
    unsigned h1_visits, h2_visits;
};

void h2_origins_open(struct h2_origins *o, struct sim *sim);
void h2_origins_add(struct h2_origins *o, const char *address);
void h2_origins_cut(struct h2_origins *o); /* resets its connections */
void h2_origins_close(struct h2_origins *o);

#endif
