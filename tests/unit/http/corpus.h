/* Reads the files of tests/data: texts with escapes, so that every byte shows.
 *
 * \r \n \t \0 \\ and \xHH stand for one byte each.
 */
#ifndef HEADGATE_TESTS_HTTP_CORPUS_H
#define HEADGATE_TESTS_HTTP_CORPUS_H

#include "base/span.h"

/* The whole file below tests/data, never NULL: a missing one fails the test. */
struct span corpus_read(const char *name);
void corpus_free(struct span file);

/* The next line without its end; false at the end of the file. */
bool corpus_line(struct span *rest, struct span *line);

/* What is before `by`, which is taken off too; all when it does not occur. */
struct span corpus_cut(struct span *rest, char by);

/* Writes the bytes that `text` stands for; returns how many, at most text.len. */
size_t corpus_unescape(char *out, struct span text);

#endif
