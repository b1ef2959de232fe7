/* What answers of the control socket are made of: cells of tables, and JSON. */
#ifndef HEADGATE_ANSWER_H
#define HEADGATE_ANSWER_H

#include "base/span.h"

#include <stdio.h>

/* Text for a cell: nothing in it ends the cell or the line.  Both are UTF-8, whatever text is. */
void put_cell(FILE *out, struct span text);

/* A string with its quotes; and "name": before a value. */
void put_json(FILE *out, struct span text);
void put_name(FILE *out, const char *name);

/* "2026-11-29T01:02:03Z" */
void put_time(FILE *out, uint64_t wall_ms);

#endif
