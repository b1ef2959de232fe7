/* Where requests go: http://HOST[:PORT][/PATH][?QUERY].
 *
 * The path is sent as it was written; only what could not stand in a request
 * line is refused.
 */
#include "url.h"

static int refuse(const char **why, const char *sentence)
{
    *why = sentence;
    return FAIL_BAD;
}

/* Bytes that end a request line, or would be read as something else there. */
static bool target_is_plain(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] <= ' ' || (unsigned char)s.ptr[i] >= 0x7f || s.ptr[i] == '#')
            return false;
    return true;
}

static bool host_is_plain(struct span s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = ascii_lower(s.ptr[i]);
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || memchr("-._:%", c, 5)))
            return false;
    }
    return s.len > 0 && s.len <= URL_HOST_MAX;
}

/* Splits HOST, [IPv6] and either with :PORT; no_port is left empty. */
static bool authority_split(struct span authority, struct span *host, struct span *port)
{
    *port = (struct span){0};
    if (authority.len > 0 && authority.ptr[0] == '[') {
        size_t close = span_find(authority, ']');
        if (close == authority.len)
            return false;
        *host = (struct span){authority.ptr + 1, close - 1};
        struct span rest = span_after(authority, close + 1);
        if (rest.len == 0)
            return true;
        *port = span_after(rest, 1);
        return rest.ptr[0] == ':' && port->len > 0;
    }
    size_t colon = span_find(authority, ':');
    *host = span_first(authority, colon);
    if (colon == authority.len)
        return span_find(*host, '%') == host->len;
    *port = span_after(authority, colon + 1);
    return port->len > 0 && span_find(*port, ':') == port->len;
}

int url_parse(struct url *url, struct span text, const char **why)
{
    struct span host, port, rest = text;
    uint64_t number = 80;
    size_t end = 0;

    *url = (struct url){.text = text};
    if (text.len >= 8 && span_equal_nocase(span_first(text, 8), SPAN("https://")))
        return refuse(why, "https is not spoken here, only http://");
    if (text.len < 7 || !span_equal_nocase(span_first(text, 7), SPAN("http://")))
        return refuse(why, "a URL begins with http://");
    rest = span_after(rest, 7);
    while (end < rest.len && rest.ptr[end] != '/' && rest.ptr[end] != '?')
        end++;
    url->authority = span_first(rest, end);
    url->target = span_after(rest, end);
    if (!authority_split(url->authority, &host, &port) || !host_is_plain(host))
        return refuse(why, "the host is not well formed");
    if (port.len > 0 && (!span_number(port, &number) || number < 1 || number > 65535))
        return refuse(why, "a port is a number from 1 to 65535");
    if (!target_is_plain(url->target))
        return refuse(why, "the path has a blank, a control, a '#' or a byte beyond ASCII in it");
    if (url->target.len > 0 && url->target.ptr[0] == '?')
        return refuse(why, "a query needs a path before it");
    if (url->target.len == 0)
        url->target = SPAN("/");
    memcpy(url->host, host.ptr, host.len);
    url->port = (uint16_t)number;
    return 0;
}
