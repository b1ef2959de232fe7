/* The rules of RFC 9112 that take more than one line of a head to tell: which
 * host is meant, how the content is delimited, whether the connection stays.
 */
#include "http/h1_rules.h"

#include "http/status.h"

#define BIT(id)      ((uint64_t)1 << FIELD_##id)
#define FRAMING_BITS (BIT(CONTENT_LENGTH) | BIT(TRANSFER_ENCODING))

/* What Connection says (RFC 9110, 7.6.1; RFC 9112, 9.3). */
struct connection {
    bool close, keep_alive, upgrade;
};

static void connection_add(struct connection *c, struct span value)
{
    struct span item;

    while (field_item(&value, &item)) {
        c->close |= span_equal_nocase(item, SPAN("close"));
        c->keep_alive |= span_equal_nocase(item, SPAN("keep-alive"));
        c->upgrade |= span_equal_nocase(item, SPAN("upgrade"));
    }
}

static struct connection connection_of(const struct fields *f)
{
    struct connection c = {0};

    if (!(f->seen & BIT(CONNECTION)))
        return c;
    for (uint32_t i = 0; i < f->count; i++) {
        if (f->list[i].id != FIELD_CONNECTION)
            continue;
        if (span_equal(f->list[i].value, SPAN("keep-alive")))
            c.keep_alive = true; /* nearly always */
        else
            connection_add(&c, f->list[i].value);
    }
    return c;
}

/* Digits and nothing else; a length is a file offset to everybody behind us,
 * so the top bit stays free (RFC 9110, 8.6). */
static bool parse_length(struct span value, uint64_t *length)
{
    return span_number(value, length) && *length <= INT64_MAX;
}

/* How it is delimited when one of the two fields is there, whatever kind of
 * message it is.  RFC 9112, 6.1 and 6.3: both fields, a coding in
 * HTTP/1.0, and a repeated length are refused, even a repetition of the same. */
static enum cause framing_of(const struct fields *f, uint64_t twice, enum http_version version,
                             enum framing *framing, uint64_t *length)
{
    const uint64_t lengths = BIT(CONTENT_LENGTH), codings = BIT(TRANSFER_ENCODING);

    if (!(f->seen & codings)) {
        *framing = FRAMING_LENGTH;
        if ((twice & lengths) || !parse_length(fields_get(f, FIELD_CONTENT_LENGTH)->value, length))
            return CAUSE_bad_framing;
        return CAUSE_NONE;
    }
    if ((f->seen & lengths) || version == HTTP_1_0)
        return CAUSE_bad_framing;
    *framing = FRAMING_CHUNKED;
    if (!(twice & codings) &&
        span_equal_nocase(fields_get(f, FIELD_TRANSFER_ENCODING)->value, SPAN("chunked")))
        return CAUSE_NONE;

    /* Not simply "chunked": is it a list that at least ends in it, once? */
    bool last = false, others = false;
    for (uint32_t i = 0; i < f->count; i++) {
        struct span rest = f->list[i].value, item;
        while (f->list[i].id == FIELD_TRANSFER_ENCODING && field_item(&rest, &item)) {
            if (last)
                return CAUSE_bad_framing;
            last = span_equal_nocase(item, SPAN("chunked"));
            others |= !last;
        }
    }
    return last && others ? CAUSE_unknown_coding : CAUSE_bad_framing;
}

/* Quick for names, which the scanner has measured; what it does not know,
 * host_is_valid() does. */
static bool check_host_value(struct request *r, struct span s, size_t name_len)
{
    if (name_len == 0 || (name_len < s.len && s.ptr[name_len] != ':'))
        return host_is_valid(s);
    r->host_name_len = (uint8_t)name_len;
    return name_len == s.len || host_port_is_valid(span_after(s, name_len + 1));
}

/* RFC 9112, 3.2: exactly one valid Host in HTTP/1.1; 3.2.2: an absolute
 * target's authority is what counts. */
static enum cause check_host(struct request *r, const struct h1_lines *l)
{
    const struct fields *f = &r->fields;
    const struct field *host = f->list; /* it usually comes first (RFC 9110, 7.2) */

    if (f->count == 0 || host->id != FIELD_HOST)
        host = fields_get(f, FIELD_HOST);
    if (l->twice & BIT(HOST))
        return CAUSE_bad_host;
    if (!host && r->version != HTTP_1_0)
        return CAUSE_bad_host;
    if (host && !check_host_value(r, host->value, l->host_name_len))
        return CAUSE_bad_host;
    if (r->target.form == TARGET_ABSOLUTE || r->target.form == TARGET_AUTHORITY) {
        r->host = r->target.authority;
        r->host_name_len = 0;
    } else if (host) {
        r->host = host->value;
    }
    return CAUSE_NONE;
}

/* RFC 9110, 10.1.1: 100-continue is all there is to expect; HTTP/1.0 does not
 * know it, and without content there is nothing to continue with. */
static enum cause check_expect(struct request *r)
{
    const struct fields *f = &r->fields;

    for (uint32_t i = 0; i < f->count; i++) {
        struct span rest = f->list[i].value, item;
        while (f->list[i].id == FIELD_EXPECT && field_item(&rest, &item))
            if (!span_equal_nocase(item, SPAN("100-continue")))
                return CAUSE_expectation_failed;
    }
    r->expects_continue =
        r->version != HTTP_1_0 && (r->framing == FRAMING_CHUNKED || r->content_length > 0);
    return CAUSE_NONE;
}

/* What the fields beside Host change. */
static enum cause check_rest(struct request *r, uint64_t twice)
{
    const struct fields *f = &r->fields;
    struct connection c = connection_of(f);
    enum cause cause = CAUSE_NONE;

    r->keep_alive = !c.close && (r->version != HTTP_1_0 || c.keep_alive);
    /* RFC 9110, 7.8: Upgrade in HTTP/1.0 is ignored. */
    r->upgrade = c.upgrade && r->version != HTTP_1_0 && (f->seen & BIT(UPGRADE));
    if (f->seen & FRAMING_BITS)
        cause = framing_of(f, twice, r->version, &r->framing, &r->content_length);
    if (!cause && (f->seen & BIT(EXPECT)))
        cause = check_expect(r);
    return cause;
}

enum cause h1_check_request(struct request *r, const struct h1_lines *l)
{
    enum cause cause = check_host(r, l);

    r->keep_alive = r->version != HTTP_1_0;
    if (cause || !(r->fields.seen & (FRAMING_BITS | BIT(CONNECTION) | BIT(EXPECT))))
        return cause;
    return check_rest(r, l->twice);
}

/* RFC 9112, 6.3, in its order. */
enum cause h1_check_response(struct response *r, const struct h1_lines *l, enum method method)
{
    const struct fields *f = &r->fields;
    struct connection c = connection_of(f);
    enum cause cause = CAUSE_NONE;

    if (f->seen & FRAMING_BITS)
        cause = framing_of(f, l->twice, r->version, &r->framing, &r->content_length);
    if (cause)
        return cause;
    r->keep_alive = !c.close && (r->version != HTTP_1_0 || c.keep_alive);
    r->upgrade = c.upgrade && r->version != HTTP_1_0 && (f->seen & BIT(UPGRADE));
    if (r->status == 101 || (method == METHOD_CONNECT && r->status / 100 == 2)) {
        r->framing = FRAMING_TUNNEL;
        r->keep_alive = false;
    } else if (status_has_no_content(r->status)) {
        /* One that announces content all the same may be followed by it:
         * not a connection to use again (RFC 9110, 8.6; RFC 9112, 6.1). */
        if (r->status != 304 && (r->framing == FRAMING_CHUNKED || r->content_length > 0))
            r->keep_alive = false;
        r->framing = FRAMING_NONE;
    } else if (method == METHOD_HEAD) {
        r->framing = FRAMING_NONE;
    } else if (r->framing == FRAMING_NONE) {
        r->framing = FRAMING_CLOSE;
        r->keep_alive = false;
    }
    return CAUSE_NONE;
}
