/* Answers for people; see ctl_print.h. */
#include "ctl_print.h"

enum { COLUMNS_MAX = 16, GAP = 2 };

struct columns {
    unsigned count;
    unsigned width[COLUMNS_MAX];
    bool number[COLUMNS_MAX]; /* stands to the right */
    int state;                /* which is coloured; -1: none */
};

static struct span take(struct span *rest, char end)
{
    size_t at = span_find(*rest, end);
    struct span first = span_first(*rest, at);

    *rest = at < rest->len ? span_after(*rest, at + 1) : span_after(*rest, at);
    return first;
}

static bool is_row(struct span line)
{
    return span_find(line, '\t') < line.len;
}

/* In characters, if it is UTF-8. */
static unsigned width_of(struct span s)
{
    unsigned n = 0;

    for (size_t i = 0; i < s.len; i++)
        n += ((unsigned char)s.ptr[i] & 0xc0) != 0x80;
    return n;
}

static bool is_number(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!memchr("0123456789.-() ms", s.ptr[i], 17))
            return false;
    return true;
}

static void measure_row(struct columns *c, struct span line, bool head)
{
    for (unsigned i = 0; line.len > 0 && i < COLUMNS_MAX; i++) {
        struct span cell = take(&line, '\t');
        unsigned width = width_of(cell);
        if (i >= c->count) {
            c->count = i + 1;
            c->number[i] = true;
        }
        if (width > c->width[i])
            c->width[i] = width;
        if (head && span_equal(cell, SPAN("STATE")))
            c->state = (int)i;
        c->number[i] = c->number[i] && (head || is_number(cell));
    }
}

static const char *colour_of(struct span state)
{
    static const struct {
        struct span word;
        const char *colour;
    } rows[] = {
        {SPAN_INIT("up"), "\033[32m"},           {SPAN_INIT("draining"), "\033[33m"},
        {SPAN_INIT("unresolved"), "\033[33m"},   {SPAN_INIT("ejected"), "\033[31m"},
        {SPAN_INIT("checked down"), "\033[31m"}, {SPAN_INIT("down"), "\033[31m"},
    };
    struct span word = span_first(state, span_find(state, ','));

    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (span_equal(word, rows[i].word))
            return rows[i].colour;
    return "";
}

static void print_cell(FILE *out, struct span cell, int pad, bool right, const char *colour)
{
    fprintf(out, "%*s%s%.*s%s%*s", right ? pad : 0, "", colour, SPAN_ARG(cell),
            *colour ? "\033[0m" : "", right ? 0 : pad, "");
}

static void print_row(FILE *out, const struct columns *c, struct span line, bool head, bool colours)
{
    for (unsigned i = 0; line.len > 0 && i < COLUMNS_MAX; i++) {
        struct span cell = take(&line, '\t');
        const char *colour = head ? "\033[1m" : (int)i == c->state ? colour_of(cell) : "";
        int pad = (int)(c->width[i] - width_of(cell));
        bool last = i + 1 == c->count;
        print_cell(out, cell, last && !c->number[i] ? 0 : pad, c->number[i], colours ? colour : "");
        if (!last)
            fprintf(out, "%*s", GAP, "");
    }
    putc('\n', out);
}

/* Takes the table off the front. */
static void print_table(FILE *out, struct span *rest, bool colours)
{
    struct columns columns = {.state = -1};
    struct span again = *rest;
    unsigned rows = 0;

    for (struct span line = take(rest, '\n'); is_row(line); line = take(rest, '\n')) {
        measure_row(&columns, line, rows++ == 0);
        if (rest->len == 0 || !is_row(span_first(*rest, span_find(*rest, '\n'))))
            break;
    }
    for (unsigned i = 0; i < rows; i++)
        print_row(out, &columns, take(&again, '\n'), i == 0, colours);
}

void print_answer(FILE *out, struct span text, bool colours)
{
    while (text.len > 0) {
        if (is_row(span_first(text, span_find(text, '\n')))) {
            print_table(out, &text, colours);
            continue;
        }
        struct span line = take(&text, '\n');
        fprintf(out, "%.*s\n", SPAN_ARG(line));
    }
}
