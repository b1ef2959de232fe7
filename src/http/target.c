/* Request targets (RFC 9112, 3.2): which form, and its parts. */
#include "http/target.h"

#include "http/chars.h"

/* Splits "path?query" and checks it byte by byte.  '#' never comes in a target
 * (RFC 9112, 3.2), nor anything but visible ASCII (RFC 3986, 2). */
static bool split_query(struct target *t, struct span s)
{
    size_t i = 0;

    for (; i < s.len && s.ptr[i] != '?'; i++) {
        if (!char_is(s.ptr[i], CHAR_TARGET))
            return false;
        if (s.ptr[i] == '%' && char_escaped(s, i) < 0)
            return false; /* RFC 3986, 2.1 */
    }
    t->path = span_first(s, i);
    if (i == s.len)
        return true;
    t->has_query = true;
    t->query = span_after(s, i + 1);
    for (i++; i < s.len; i++)
        if (!char_is(s.ptr[i], CHAR_TARGET))
            return false;
    return true;
}

/* RFC 9112, 3.2.2.  Only the schemes we serve; others, userinfo and an empty
 * host are refused (RFC 9110, 4.2.1, 4.2.4). */
static bool parse_absolute(struct target *t, struct span text, size_t colon)
{
    struct span rest = span_after(text, colon + 3);
    size_t len = 0;

    t->form = TARGET_ABSOLUTE;
    t->scheme = span_first(text, colon);
    if (!span_equal_nocase(t->scheme, SPAN("http")) && !span_equal_nocase(t->scheme, SPAN("https")))
        return false;
    while (len < rest.len && rest.ptr[len] != '/' && rest.ptr[len] != '?')
        len++;
    t->authority = span_first(rest, len);
    if (len == 0 || !host_is_valid(t->authority))
        return false;
    rest = span_after(rest, len);
    if (!split_query(t, rest))
        return false;
    if (t->path.len == 0)
        t->path = SPAN("/"); /* RFC 9110, 4.2.3 */
    return true;
}

/* RFC 9112, 3.2.3: a host and a port, both. */
static bool parse_authority(struct target *t, struct span text)
{
    t->form = TARGET_AUTHORITY;
    t->authority = text;
    return host_is_valid(text) && span_find(text, ':') < text.len &&
           char_is(text.ptr[text.len - 1], CHAR_DIGIT);
}

bool target_parse(struct target *t, struct span text)
{
    *t = (struct target){.form = TARGET_ORIGIN};
    if (text.len == 0)
        return false;
    if (text.ptr[0] == '/')
        return split_query(t, text);
    if (span_equal(text, SPAN("*"))) {
        t->form = TARGET_ASTERISK;
        t->path = text;
        return true;
    }
    size_t colon = span_find(text, ':');
    if (span_starts(span_after(text, colon), SPAN("://")))
        return parse_absolute(t, text, colon);
    return parse_authority(t, text);
}
