/* Where a client is sent: respond_redirect() of exchange.h. */
#include "gate/exchange.h"

/* "//host" would lead to another host; to browsers a backslash is a slash, and
 * a tab is nothing at all. */
static struct span on_this_host(struct exchange *x, struct span to)
{
    size_t n = 1;

    if (to.len == 0 || to.ptr[0] != '/')
        return to;
    while (n < to.len && (to.ptr[n] == '/' || to.ptr[n] == '\\' || to.ptr[n] == '\t'))
        n++;
    return n == 1 ? to : arena_join(&x->arena, SPAN("/"), span_after(to, n));
}

/* What no URI has as it is (RFC 3986, 2), whoever wrote it: a client's line
 * breaks would be fields of ours. */
static bool is_uri_byte(char c)
{
    return c > 0x20 && c < 0x7f && !strchr("\"<>\\^`{|}", c);
}

static struct span uri_encode(struct arena *arena, struct span s)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t bad = 0, n = 0;

    for (size_t i = 0; i < s.len; i++)
        bad += !is_uri_byte(s.ptr[i]);
    if (bad == 0)
        return s;
    char *out = arena_alloc(arena, s.len + 2 * bad);
    for (size_t i = 0; out && i < s.len; i++) {
        uint8_t byte = (uint8_t)s.ptr[i];
        if (is_uri_byte(s.ptr[i])) {
            out[n++] = s.ptr[i];
            continue;
        }
        out[n++] = '%';
        out[n++] = hex[byte >> 4];
        out[n++] = hex[byte & 15];
    }
    return (struct span){out, n};
}

void respond_redirect(struct exchange *x, int status, struct span to)
{
    to = uri_encode(&x->arena, on_this_host(x, to));
    if (to.ptr && to.len == 0) /* variables of the request that are not there */
        respond_reason(x, CAUSE_bad_target, SPAN("the request does not say where to"));
    else if (!to.ptr || response_field(x, FIELD_LOCATION, to) < 0)
        respond_failed(x, CAUSE_out_of_memory);
    else
        respond(x, status, (struct span){0});
}
