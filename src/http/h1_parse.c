/* HTTP/1 heads.
 *
 * The usual head comes whole and is parsed in one pass, left to right.  One
 * that has not ended yet is remembered by how far it was searched, and
 * parsed again from its start once a verdict is due: when its first line is
 * complete, at the empty line, at a bare LF, or at a limit.  As a verdict is a
 * function of the bytes up to there and of nothing else, it does not matter
 * in which pieces they came.
 */
#include "http/h1_parse.h"

#include "http/chars.h"
#include "http/h1_scan.h"
#include "http/status.h"

#define SEEN(fields, id) ((fields)->seen >> (id)&1)

static enum parse bad(struct h1_parser *p, enum cause cause)
{
    p->cause = cause;
    return PARSE_BAD;
}

/* Remembers that no verdict is due before more bytes come. */
static enum parse more(struct h1_parser *p, struct span head)
{
    p->scanned = (uint32_t)head.len;
    return PARSE_MORE;
}

/* Is a verdict on the field lines due?  Looks at new bytes only, and stays at
 * what it finds. */
static bool fields_due(struct h1_parser *p, struct span head)
{
    const char *at = head.ptr + p->scanned, *end = head.ptr + head.len;

    while ((at = memchr(at, '\n', (size_t)(end - at)))) {
        size_t i = (size_t)(at - head.ptr);
        p->scanned = (uint32_t)i;
        if (i == 0 || at[-1] != '\r' || i == 1 || at[-2] == '\n')
            return true;
        at++;
    }
    p->scanned = (uint32_t)head.len;
    return head.len >= p->limits->head_max;
}

/* And on the first line?  At its start always: garbage is known by its first byte. */
static bool start_due(struct h1_parser *p, struct span head, uint32_t line_max)
{
    if (p->scanned <= 2 || head.len >= p->limits->head_max)
        return true;
    if (memchr(head.ptr + p->scanned, '\n', head.len - p->scanned))
        return true;
    return head.len >= (size_t)line_max + 2;
}

static bool verdict_due(struct h1_parser *p, struct span head, uint32_t line_max)
{
    if (p->scanned == 0)
        return true;
    return p->started ? fields_due(p, head) : start_due(p, head, line_max);
}

/* A first line that is wrong as far as it goes: is that known yet?  It is once
 * its LF is there, or cannot be there any more. */
static enum parse start_failed(struct h1_parser *p, struct span head, struct span line,
                               enum cause cause)
{
    size_t longest = (size_t)p->limits->request_line_max + 2;
    bool limited = cause != CAUSE_upstream_bad_head; /* a status line is as long as it likes */

    if (memchr(line.ptr, '\n', limited && line.len > longest ? longest : line.len))
        return bad(p, cause);
    if (limited && line.len >= longest)
        return bad(p, CAUSE_request_line_too_long);
    if (head.len >= p->limits->head_max)
        return bad(p, CAUSE_header_too_large);
    return more(p, head);
}

/* Without a list to put them in, field lines are read a few at a time. */
static enum h1_lines_end read_lines(struct h1_lines *l)
{
    const struct h1_scanner *scanner = h1_scanner();
    struct field few[8];
    struct fields dropped = {.list = few};
    uint32_t left = l->fields_max;
    enum h1_lines_end answer;

    if (l->fields)
        return scanner->lines(l);
    l->fields = &dropped;
    do {
        dropped.count = 0;
        l->fields_max = left < COUNT_OF(few) ? left : COUNT_OF(few);
        answer = scanner->lines(l);
        left -= dropped.count;
    } while (answer == LINES_FULL && left > 0);
    return answer;
}

/* The first line is good and ends at `at`.  Parses the field lines behind it. */
static enum parse parse_fields(struct h1_parser *p, struct span head, struct h1_lines *l)
{
    size_t start = (size_t)(l->at - head.ptr);

    p->started = true;
    if (p->scanned < start)
        p->scanned = (uint32_t)start;
    switch (read_lines(l)) {
    case LINES_END:
        p->head_bytes = (uint32_t)(l->at - head.ptr);
        return PARSE_DONE;
    case LINES_MORE:
        return head.len >= p->limits->head_max ? bad(p, CAUSE_header_too_large) : more(p, head);
    case LINES_FULL:
        return fields_due(p, head) ? bad(p, CAUSE_too_many_fields) : PARSE_MORE;
    case LINES_BAD:
        break;
    }
    return fields_due(p, head) ? bad(p, CAUSE_bad_header) : PARSE_MORE;
}

static struct h1_lines lines_of(const struct h1_parser *p, struct span rest, struct fields *f)
{
    uint32_t max = p->limits->fields_max;

    if (f && f->max < max)
        max = f->max;
    return (struct h1_lines){rest.ptr, rest.ptr + rest.len, f, max, 0};
}

/* What Connection says (RFC 9110, 7.6.1; RFC 9112, 9.3). */
struct connection {
    bool close, keep_alive, upgrade;
};

static struct connection connection_of(const struct fields *f)
{
    struct connection c = {0};

    if (!SEEN(f, FIELD_CONNECTION))
        return c;
    for (uint32_t i = 0; i < f->count; i++) {
        struct span rest = f->list[i].value, item;
        while (f->list[i].id == FIELD_CONNECTION && field_item(&rest, &item)) {
            c.close |= span_equal_nocase(item, SPAN("close"));
            c.keep_alive |= span_equal_nocase(item, SPAN("keep-alive"));
            c.upgrade |= span_equal_nocase(item, SPAN("upgrade"));
        }
    }
    return c;
}

/* Digits and nothing else; a length is a file offset to everybody behind us,
 * so the top bit stays free (RFC 9110, 8.6). */
static bool parse_length(struct span value, uint64_t *length)
{
    return span_number(value, length) && *length <= INT64_MAX;
}

/* How it is delimited, whatever kind of message it is; framing stays NONE when
 * neither field is there.  RFC 9112, 6.1 and 6.3: both fields, a coding in
 * HTTP/1.0, and a repeated length are refused, even a repetition of the same. */
static enum cause framing_of(const struct fields *f, uint64_t twice, enum http_version version,
                             enum framing *framing, uint64_t *length)
{
    const uint64_t lengths = (uint64_t)1 << FIELD_CONTENT_LENGTH;
    const uint64_t codings = (uint64_t)1 << FIELD_TRANSFER_ENCODING;

    *framing = FRAMING_NONE;
    *length = 0;
    if (!(f->seen & (lengths | codings)))
        return CAUSE_NONE;
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

/* Method, SP, target, SP: the spans, unchecked but for their characters
 * (RFC 9112, 3).  False with a cause; nothing is said about whether the line
 * is complete. */
static bool split_request_line(const char **start, const char *end, struct request *r,
                               enum cause *cause)
{
    const char *at = *start, *target;

    while (at < end && char_is(*at, CHAR_TOKEN))
        at++;
    *cause = CAUSE_bad_request_line;
    if (at == *start || at == end || *at != ' ')
        return false;
    r->method_name = (struct span){*start, (size_t)(at - *start)};
    target = ++at;
    while (at < end && char_is(*at, CHAR_TARGET))
        at++;
    if (at == end)
        return false;
    if (*at != ' ' && *at != '\r' && *at != '\n')
        *cause = CAUSE_bad_target;
    if (at == target || *at != ' ')
        return false;
    r->target_text = (struct span){target, (size_t)(at - target)};
    *start = at + 1;
    return true;
}

/* "HTTP/1.1", in capitals (RFC 9112, 2.3); 0 when it is none, -1 for one that
 * we do not speak. */
static int parse_version(const char *at)
{
    if (memcmp(at, "HTTP/1.", 7) == 0 && (at[7] == '1' || at[7] == '0'))
        return at[7] == '1' ? HTTP_1_1 : HTTP_1_0;
    if (memcmp(at, "HTTP/", 5) == 0 && char_is(at[5], CHAR_DIGIT) && at[6] == '.' &&
        char_is(at[7], CHAR_DIGIT))
        return -1;
    return 0;
}

static bool parse_request_line(const char **at, const char *end, struct request *r,
                               enum cause *cause)
{
    if (!split_request_line(at, end, r, cause))
        return false;
    *cause = CAUSE_bad_request_line;
    if (end - *at < 10 || (*at)[8] != '\r' || (*at)[9] != '\n')
        return false;
    int version = parse_version(*at);
    *at += 10;
    if (version <= 0) {
        *cause = version < 0 ? CAUSE_unknown_version : CAUSE_bad_request_line;
        return false;
    }
    r->version = (enum http_version)version;
    r->method = method_find(r->method_name);
    *cause = CAUSE_bad_target;
    if (!target_parse(&r->target, r->target_text))
        return false;

    /* RFC 9112, 3.2.3 and 3.2.4: each of these two forms has its one method. */
    if ((r->target.form == TARGET_AUTHORITY) != (r->method == METHOD_CONNECT))
        return false;
    return r->target.form != TARGET_ASTERISK || r->method == METHOD_OPTIONS;
}

/* RFC 9112, 3.2: exactly one valid Host in HTTP/1.1; 3.2.2: an absolute
 * target's authority is what counts. */
static enum cause check_host(struct request *r, uint64_t twice)
{
    const struct field *host = fields_get(&r->fields, FIELD_HOST);

    if (twice >> FIELD_HOST & 1)
        return CAUSE_bad_host;
    if (!host && r->version != HTTP_1_0)
        return CAUSE_bad_host;
    if (host && !host_is_valid(host->value))
        return CAUSE_bad_host;
    if (r->target.form == TARGET_ABSOLUTE || r->target.form == TARGET_AUTHORITY)
        r->host = r->target.authority;
    else if (host)
        r->host = host->value;
    return CAUSE_NONE;
}

/* RFC 9110, 10.1.1: 100-continue is all there is to expect; HTTP/1.0 does not
 * know it, and without content there is nothing to continue with. */
static enum cause check_expect(struct request *r)
{
    const struct fields *f = &r->fields;

    if (!SEEN(f, FIELD_EXPECT))
        return CAUSE_NONE;
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

/* What the fields mean together. */
static enum cause check_request(struct request *r, uint64_t twice)
{
    struct connection c = connection_of(&r->fields);
    enum cause cause = check_host(r, twice);

    r->keep_alive = !c.close && (r->version != HTTP_1_0 || c.keep_alive);
    /* RFC 9110, 7.8: Upgrade in HTTP/1.0 is ignored. */
    r->upgrade = c.upgrade && r->version != HTTP_1_0 && SEEN(&r->fields, FIELD_UPGRADE);
    if (!cause)
        cause = framing_of(&r->fields, twice, r->version, &r->framing, &r->content_length);
    if (!cause)
        cause = check_expect(r);
    return cause;
}

enum parse h1_parse_request(struct h1_parser *p, struct span bytes, struct request *r)
{
    struct span head = span_first(bytes, p->limits->head_max);
    const char *at = head.ptr, *end = head.ptr + head.len;
    enum cause cause;

    if (head.len == 0 || !verdict_due(p, head, p->limits->request_line_max))
        return more(p, head);
    *r = (struct request){.fields = {.list = r->fields.list, .max = r->fields.max}};

    /* RFC 9112, 2.2: one empty line is left over from a broken client's content. */
    if (*at == '\r') {
        if (head.len == 1)
            return more(p, head);
        if (at[1] != '\n')
            return bad(p, CAUSE_bad_request_line);
        at += 2;
    }
    struct span line = {at, (size_t)(end - at)};
    if (line.len == 0)
        return head.len >= p->limits->head_max ? bad(p, CAUSE_header_too_large) : more(p, head);
    if (!char_is(*at, CHAR_TOKEN))
        return bad(p, CAUSE_bad_request_line);
    if (!parse_request_line(&at, end, r, &cause))
        return start_failed(p, head, line, cause);
    if ((size_t)(at - line.ptr) > (size_t)p->limits->request_line_max + 2)
        return bad(p, CAUSE_request_line_too_long);

    struct h1_lines l = lines_of(p, (struct span){at, (size_t)(end - at)}, &r->fields);
    enum parse answer = parse_fields(p, head, &l);
    if (answer == PARSE_DONE && (cause = check_request(r, l.twice)))
        return bad(p, cause);
    return answer;
}

/* RFC 9112, 4.  The reason may be missing, with the space before it too: some
 * origins do so, and nothing is ambiguous about it. */
static bool parse_status_line(const char **start, const char *end, struct response *r)
{
    const char *at = *start;

    if (end - at < 14 || at[8] != ' ')
        return false;
    int version = parse_version(at);
    if (version <= 0)
        return false;
    r->version = (enum http_version)version;
    for (int i = 9; i < 12; i++) {
        if (!char_is(at[i], CHAR_DIGIT))
            return false;
        r->status = r->status * 10 + (at[i] - '0');
    }
    if (r->status < 100 || r->status > 599)
        return false;
    at += 12;
    if (*at == ' ') {
        const char *reason = ++at;
        while (at < end && char_is(*at, CHAR_VALUE))
            at++;
        r->reason = (struct span){reason, (size_t)(at - reason)};
    }
    if (end - at < 2 || at[0] != '\r' || at[1] != '\n')
        return false;
    *start = at + 2;
    return true;
}

/* RFC 9112, 6.3, in its order. */
static enum cause check_response(struct response *r, uint64_t twice, enum method method)
{
    struct connection c = connection_of(&r->fields);
    enum cause cause = framing_of(&r->fields, twice, r->version, &r->framing, &r->content_length);

    if (cause)
        return cause;
    r->keep_alive = !c.close && (r->version != HTTP_1_0 || c.keep_alive);
    r->upgrade = c.upgrade && r->version != HTTP_1_0 && SEEN(&r->fields, FIELD_UPGRADE);
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

/* The same mistakes are other causes when an origin makes them. */
static enum parse blame_origin(struct h1_parser *p)
{
    switch (p->cause) {
    case CAUSE_header_too_large:
    case CAUSE_too_many_fields:
        return bad(p, CAUSE_upstream_head_too_large);
    default:
        return bad(p, CAUSE_upstream_bad_head);
    }
}

static enum parse parse_response(struct h1_parser *p, struct span head, enum method method,
                                 struct response *r)
{
    const char *at = head.ptr, *end = head.ptr + head.len;
    enum cause cause;

    if (!char_is(*at, CHAR_TOKEN))
        return bad(p, CAUSE_upstream_bad_head);
    if (!parse_status_line(&at, end, r))
        return start_failed(p, head, head, CAUSE_upstream_bad_head);

    struct h1_lines l = lines_of(p, (struct span){at, (size_t)(end - at)}, &r->fields);
    enum parse answer = parse_fields(p, head, &l);
    if (answer == PARSE_DONE && (cause = check_response(r, l.twice, method)))
        return bad(p, cause);
    return answer;
}

enum parse h1_parse_response(struct h1_parser *p, struct span bytes, enum method request_method,
                             struct response *r)
{
    struct span head = span_first(bytes, p->limits->head_max);

    if (head.len == 0 || !verdict_due(p, head, p->limits->head_max))
        return more(p, head);
    *r = (struct response){.fields = {.list = r->fields.list, .max = r->fields.max}};
    enum parse answer = parse_response(p, head, request_method, r);
    return answer == PARSE_BAD ? blame_origin(p) : answer;
}

/* RFC 9110, 6.5.1: what frames, routes, authenticates, modifies the request or
 * describes the content may not come after it. */
static bool may_trail(enum field_id id)
{
    switch (id) {
    case FIELD_OTHER:
    case FIELD_DATE:
    case FIELD_SERVER:
    case FIELD_VIA:
    case FIELD_ETAG:
    case FIELD_LAST_MODIFIED:
    case FIELD_PROXY_STATUS:
    case FIELD_X_REQUEST_ID:
    case FIELD_TRACEPARENT:
        return true;
    default:
        return false;
    }
}

static void drop_forbidden(struct fields *f, uint32_t from)
{
    uint32_t kept = from;

    for (uint32_t i = from; i < f->count; i++)
        if (may_trail((enum field_id)f->list[i].id))
            f->list[kept++] = f->list[i];
    f->count = kept;
    f->seen = 0;
    for (uint32_t i = 0; i < kept; i++)
        f->seen |= (uint64_t)1 << f->list[i].id;
}

enum parse h1_parse_trailers(struct h1_parser *p, struct span bytes, struct fields *fields)
{
    struct span head = span_first(bytes, p->limits->head_max);
    uint32_t before = fields ? fields->count : 0;

    p->started = true;
    if (head.len == 0 || !verdict_due(p, head, 0))
        return more(p, head);
    struct h1_lines l = lines_of(p, head, fields);
    enum parse answer = parse_fields(p, head, &l);
    if (fields && answer == PARSE_DONE)
        drop_forbidden(fields, before);
    else if (fields)
        fields->count = before;
    return answer;
}
