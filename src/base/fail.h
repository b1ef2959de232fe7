/* The ways a function can fail, below HTTP.
 *
 * A function that can fail returns 0 or one of these, negative.  errno does
 * not leave src/io and src/net.  How an *exchange* failed, as an operator
 * sees it, is another list: http/cause.h.
 */
#ifndef HEADGATE_BASE_FAIL_H
#define HEADGATE_BASE_FAIL_H

#define FAIL_LIST(ROW)                                                                            \
    ROW(NONE, 0, "no failure")                                                                    \
    ROW(MEMORY, -1, "out of memory")                                                              \
    ROW(CLOSED, -2, "closed by the peer")                                                         \
    ROW(RESET, -3, "connection reset")                                                            \
    ROW(TIMEOUT, -4, "timed out")                                                                 \
    ROW(CANCELLED, -5, "cancelled")                                                               \
    ROW(REFUSED, -6, "connection refused")                                                        \
    ROW(UNREACHABLE, -7, "unreachable")                                                           \
    ROW(IN_USE, -8, "already in use")                                                             \
    ROW(ACCESS, -9, "permission denied")                                                          \
    ROW(NOT_FOUND, -10, "not found")                                                              \
    ROW(FULL, -11, "a limit is reached")                                                          \
    ROW(DESCRIPTORS, -12, "no descriptors left")                                                  \
    ROW(BAD, -13, "not well formed")                                                              \
    ROW(UNSUPPORTED, -14, "not supported here")                                                   \
    ROW(IO, -15, "input or output error")                                                         \
    ROW(NO_SPACE, -16, "no space left on the device")                                             \
    ROW(EXISTS, -17, "already exists")                                                            \
    ROW(NOT_DIR, -18, "not a directory")                                                          \
    ROW(IS_DIR, -19, "is a directory")                                                            \
    ROW(LOOP, -20, "too many or forbidden links")                                                 \
    ROW(NOT_FILE, -21, "not a regular file")                                                      \
    ROW(NO_READER, -22, "a pipe that nobody reads")

#define FAIL_ENUM(name, number, text) FAIL_##name = (number),
enum fail { FAIL_LIST(FAIL_ENUM) };
#undef FAIL_ENUM

/* A short phrase for people; never NULL. */
const char *fail_text(int fail);

/* The enum fail nearest to an errno value (0 stays 0).  For src/io and src/net. */
int fail_from_errno(int error);

#endif
