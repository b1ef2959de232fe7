/* Answers for people: tables in columns, states in colours. */
#ifndef HEADGATE_CTL_PRINT_H
#define HEADGATE_CTL_PRINT_H

#include "base/span.h"

#include <stdio.h>

/* Lines with tabs that follow each other are a table, the first of which names
 * its columns; other lines are as they are. */
void print_answer(FILE *out, struct span text, bool colours);

#endif
