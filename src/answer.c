/* What answers are made of; see answer.h. */
#include "answer.h"

#include "base/clock.h"
#include "base/utf8.h"

/* The length of the character at the start of text; 0: it is a control, or no UTF-8. */
static size_t character(struct span text)
{
    unsigned char c = (unsigned char)text.ptr[0];

    return c < 0x20 || c == 0x7f ? 0 : utf8_length(text);
}

void put_cell(FILE *out, struct span text)
{
    while (text.len > 0) {
        size_t n = character(text);
        fwrite(n ? text.ptr : "?", 1, n ? n : 1, out);
        text = span_after(text, n ? n : 1);
    }
}

void put_json(FILE *out, struct span text)
{
    putc('"', out);
    while (text.len > 0) {
        size_t n = character(text);
        if (n == 0)
            fprintf(out, "\\u%04x", (unsigned)(unsigned char)text.ptr[0]);
        else if (text.ptr[0] == '"' || text.ptr[0] == '\\')
            fprintf(out, "\\%c", text.ptr[0]);
        else
            fwrite(text.ptr, 1, n, out);
        text = span_after(text, n ? n : 1);
    }
    putc('"', out);
}

void put_name(FILE *out, const char *name)
{
    put_json(out, span_of(name));
    putc(':', out);
}

void put_time(FILE *out, uint64_t wall_ms)
{
    enum { TO_SECONDS = 19 };
    char iso[CLOCK_ISO_LEN];

    clock_iso(iso, wall_ms * NS_PER_MS);
    fprintf(out, "%.*sZ", TO_SECONDS, iso);
}
