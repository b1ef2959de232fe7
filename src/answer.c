/* What answers are made of; see answer.h. */
#include "answer.h"

#include "base/clock.h"

static bool is_control(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7f;
}

void put_cell(FILE *out, struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        putc(is_control(text.ptr[i]) ? '?' : text.ptr[i], out);
}

void put_json(FILE *out, struct span text)
{
    putc('"', out);
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (is_control(c))
            fprintf(out, "\\u%04x", (unsigned)(unsigned char)c);
        else if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else
            putc(c, out);
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
