/* Heads to bytes.
 *
 * No field is written that a reader could take for more than it is: every name
 * must be a token, every value free of controls.
 */
#include "http/h1_write.h"

#include "http/chars.h"
#include "http/field_slots.h"
#include "http/status.h"

size_t h1_write_status(char *at, size_t room, int status)
{
    struct span line = status_line(status);
    char unknown[] = "HTTP/1.1 000 Unknown\r\n";

    if (line.len == 0) {
        if (status < 100 || status > 999)
            return 0;
        unknown[9] = (char)('0' + status / 100);
        unknown[10] = (char)('0' + status / 10 % 10);
        unknown[11] = (char)('0' + status % 10);
        line = (struct span){unknown, sizeof unknown - 1};
    }
    if (line.len > room)
        return 0;
    span_put(at, line);
    return line.len;
}

static char *put_field(char *at, struct span name, struct span value)
{
    at = span_put(at, name);
    at = span_put(at, SPAN(": "));
    at = span_put(at, value);
    return span_put(at, SPAN("\r\n"));
}

static size_t field_bytes(struct span name, struct span value)
{
    return name.len + value.len + 4;
}

size_t h1_write_field(char *at, size_t room, struct span name, struct span value)
{
    size_t need = field_bytes(name, value);

    if (need > room || !span_is_token(name) || !span_is_field_value(value))
        return 0;
    put_field(at, name, value);
    return need;
}

size_t h1_write_length(char *at, size_t room, uint64_t content_length)
{
    char digits[20];
    size_t first = sizeof digits;

    do {
        digits[--first] = (char)('0' + content_length % 10);
        content_length /= 10;
    } while (content_length > 0);

    struct span value = {digits + first, sizeof digits - first};
    size_t need = field_bytes(SPAN("Content-Length"), value);
    if (need > room)
        return 0;
    put_field(at, SPAN("Content-Length"), value);
    return need;
}

size_t h1_fields_bytes(const struct fields *fields)
{
    size_t bytes = 0;

    for (uint32_t i = 0; i < fields->count; i++)
        bytes += field_bytes(fields->list[i].name, fields->list[i].value);
    return bytes;
}

/* The names we know need no look. */
static bool is_name(const struct field *f)
{
    return f->name.ptr == field_names[f->id].ptr ? f->id != FIELD_OTHER : span_is_token(f->name);
}

static bool is_good(const struct field *f)
{
    return f->checked || (is_name(f) && span_is_field_value(f->value));
}

/* Does it stand in memory as put_field() would write it, but perhaps for the end of the line? */
static bool is_line(const struct field *f)
{
    const char *colon = f->name.ptr + f->name.len;

    return f->checked && f->value.ptr == colon + 2 && colon[0] == ':' && colon[1] == ' ';
}

/* The lines from *at on that stand one behind the other, without the last CRLF; goes past them. */
static struct span lines_at(const struct field **at, const struct field *end)
{
    const struct field *f = *at;
    const char *begin = f->name.ptr, *stop;

    do {
        stop = f->value.ptr + f->value.len;
        f++;
    } while (f < end && f->name.ptr == stop + 2 && is_line(f));
    *at = f;
    return (struct span){begin, (size_t)(stop - begin)};
}

/* All or nothing: looks at every field before it writes the first. */
size_t h1_write_fields(char *at, size_t room, const struct fields *fields)
{
    const struct field *f = fields->list, *const end = f + fields->count;
    size_t need = 0;

    for (; f < end; f++) {
        need += field_bytes(f->name, f->value);
        if (!is_good(f))
            return 0;
    }
    if (need > room)
        return 0;
    for (f = fields->list; f < end;) {
        if (is_line(f)) {
            at = span_put(at, lines_at(&f, end));
            at = span_put(at, SPAN("\r\n"));
        } else {
            at = put_field(at, f->name, f->value);
            f++;
        }
    }
    return need;
}
