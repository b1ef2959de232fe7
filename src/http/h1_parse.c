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
#include "http/h1_rules.h"
#include "http/h1_scan.h"

static enum parse bad(struct h1_parser *p, enum cause cause)
{
    p->cause = cause;
    return PARSE_BAD;
}

/* h1_parser.scanned is a number of bytes, and whether the first line among them is
 * complete and good: one number, so that it is all a caller has to keep. */
static const uint32_t STARTED = UINT32_C(1) << 31;

static uint32_t scanned_bytes(const struct h1_parser *p)
{
    return p->scanned & ~STARTED;
}

static void scanned_set(struct h1_parser *p, size_t bytes)
{
    p->scanned = (p->scanned & STARTED) | (uint32_t)bytes;
}

/* No more of the bytes than a head may have. */
static struct span head_of(const struct h1_parser *p, struct span bytes)
{
    return span_first(bytes, p->limits->head_max < STARTED ? p->limits->head_max : STARTED - 1);
}

static bool head_full(const struct h1_parser *p, struct span head)
{
    return head.len >= p->limits->head_max || head.len >= STARTED - 1;
}

/* Remembers that no verdict is due before more bytes come. */
static enum parse more(struct h1_parser *p, struct span head)
{
    scanned_set(p, head.len);
    return PARSE_MORE;
}

/* Is a verdict on the field lines due?  Looks at new bytes only, and stays at
 * what it finds. */
static bool fields_due(struct h1_parser *p, struct span head)
{
    const char *at = head.ptr + scanned_bytes(p), *end = head.ptr + head.len;

    while ((at = memchr(at, '\n', (size_t)(end - at)))) {
        size_t i = (size_t)(at - head.ptr);
        scanned_set(p, i);
        if (i == 0 || at[-1] != '\r' || i == 1 || at[-2] == '\n')
            return true;
        at++;
    }
    scanned_set(p, head.len);
    return head_full(p, head);
}

/* And on the first line?  At its start always: garbage is known by its first byte. */
static bool start_due(struct h1_parser *p, struct span head, uint32_t line_max)
{
    uint32_t scanned = scanned_bytes(p);

    if (scanned <= 2 || head_full(p, head))
        return true;
    if (memchr(head.ptr + scanned, '\n', head.len - scanned))
        return true;
    return head.len >= (size_t)line_max + 2;
}

static bool verdict_due(struct h1_parser *p, struct span head, uint32_t line_max)
{
    return p->scanned & STARTED ? fields_due(p, head) : start_due(p, head, line_max);
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
    if (head_full(p, head))
        return bad(p, CAUSE_header_too_large);
    return more(p, head);
}

/* Without a list to put them in, field lines are read a few at a time. */
static enum h1_lines_end drop_lines(struct h1_lines *l)
{
    struct field few[8];
    struct fields dropped = {.list = few};
    uint32_t left = l->fields_max;
    enum h1_lines_end answer;

    l->fields = &dropped;
    do {
        dropped.count = 0;
        l->fields_max = left < COUNT_OF(few) ? left : COUNT_OF(few);
        answer = h1_scanner()->lines(l);
        left -= dropped.count;
    } while (answer == LINES_FULL && left > 0);
    return answer;
}

/* The first line is good, the field lines from `start` on are not: wrong, too many or
 * not yet complete. */
static enum parse fields_failed(struct h1_parser *p, struct span head, const char *start,
                                enum h1_lines_end why)
{
    size_t before = (size_t)(start - head.ptr);

    p->scanned |= STARTED;
    if (scanned_bytes(p) < before)
        scanned_set(p, before);
    if (why == LINES_MORE)
        return head_full(p, head) ? bad(p, CAUSE_header_too_large) : more(p, head);
    if (!fields_due(p, head))
        return PARSE_MORE;
    return bad(p, why == LINES_FULL ? CAUSE_too_many_fields : CAUSE_bad_header);
}

static inline enum parse parse_fields(struct h1_parser *p, struct span head, struct h1_lines *l)
{
    const char *start = l->at;
    enum h1_lines_end answer = l->fields ? h1_scanner()->lines(l) : drop_lines(l);

    if (answer != LINES_END)
        return fields_failed(p, head, start, answer);
    p->head_bytes = (uint32_t)(l->at - head.ptr);
    return PARSE_DONE;
}

/* The lines of head from `at` on. */
static struct h1_lines lines_of(const struct h1_parser *p, struct span head, const char *at,
                                struct fields *f)
{
    uint32_t max = p->limits->fields_max;

    if (f && f->max < max)
        max = f->max;
    return (struct h1_lines){head.ptr, at, head.ptr + head.len, f, max, 0, 0};
}

/* Behind the method and its SP (RFC 9112, 3.1); NULL when there is none. */
static const char *parse_method(const char *at, const char *end, struct request *r)
{
    const char *start = at;

    if (end - at > 4 && memcmp(at, "GET ", 4) == 0) {
        r->method = METHOD_GET;
        r->method_name = (struct span){at, 3};
        return at + 4;
    }
    if (end - at > 5 && memcmp(at, "POST ", 5) == 0) {
        r->method = METHOD_POST;
        r->method_name = (struct span){at, 4};
        return at + 5;
    }
    while (at < end && char_is(*at, CHAR_TOKEN))
        at++;
    if (at == start || at == end || *at != ' ')
        return NULL;
    r->method_name = (struct span){start, (size_t)(at - start)};
    r->method = method_find(r->method_name);
    return at + 1;
}

/* Most targets are a path, perhaps with a query, and have no escapes in the path: then
 * the marks say all there is to know. */
static bool parse_target(struct request *r, struct span text, const char *mark)
{
    struct target *t = &r->target;
    size_t path_len = (size_t)(mark - text.ptr);

    r->target_text = text;
    if (*text.ptr != '/' || (path_len < text.len && *mark == '%'))
        return target_parse(t, text);
    t->path = span_first(text, path_len);
    if (path_len < text.len) {
        t->has_query = true;
        t->query = span_after(text, path_len + 1);
    }
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

/* Part by part: cleared as a whole it becomes a string instruction, which takes
 * longer than parsing a short head. */
static void request_clear(struct request *r)
{
    r->method = METHOD_OTHER;
    r->method_name = (struct span){0};
    r->version = HTTP_1_1;
    r->protocol = r->target_text = (struct span){0};
    r->target = (struct target){0};
    r->host = (struct span){0};
    r->fields.count = 0;
    r->fields.seen = 0;
    r->framing = FRAMING_NONE;
    r->content_length = 0;
    r->expects_continue = r->keep_alive = r->upgrade = false;
    r->host_name_len = 0;
}

/* Method, SP, target, SP, version, CRLF (RFC 9112, 3).  False with a cause;
 * nothing is said about whether the line is complete. */
static bool parse_request_line(struct span head, const char **start, struct request *r,
                               enum cause *cause)
{
    const char *end = head.ptr + head.len, *target = parse_method(*start, end, r);

    *cause = CAUSE_bad_request_line;
    if (!target || target == end)
        return false;
    struct h1_target_marks m = h1_scanner()->target(head.ptr, target, end);
    const char *at = m.stop;
    if (at == end)
        return false;
    if (*at != ' ') {
        if (*at != '\r' && *at != '\n')
            *cause = CAUSE_bad_target;
        return false;
    }
    if (at == target)
        return false;
    at++;
    if (end - at < 10 || memcmp(at + 8, "\r\n", 2) != 0)
        return false;
    int version = memcmp(at, "HTTP/1.1", 8) == 0 ? HTTP_1_1 : parse_version(at);
    if (version <= 0) {
        *cause = version < 0 ? CAUSE_unknown_version : CAUSE_bad_request_line;
        return false;
    }
    r->version = (enum http_version)version;
    *start = at + 10;
    *cause = CAUSE_bad_target;
    if (!parse_target(r, (struct span){target, (size_t)(m.stop - target)}, m.mark))
        return false;

    /* RFC 9112, 3.2.3 and 3.2.4: each of these two forms has its one method. */
    if (r->method == METHOD_GET || r->method == METHOD_POST)
        return r->target.form <= TARGET_ABSOLUTE;
    if ((r->target.form == TARGET_AUTHORITY) != (r->method == METHOD_CONNECT))
        return false;
    return r->target.form != TARGET_ASTERISK || r->method == METHOD_OPTIONS;
}

enum parse h1_parse_request(struct h1_parser *p, struct span bytes, struct request *r)
{
    struct span head = head_of(p, bytes);
    const char *at = head.ptr, *end = head.ptr + head.len;
    enum cause cause;

    if (head.len == 0 || (p->scanned > 0 && !verdict_due(p, head, p->limits->request_line_max)))
        return more(p, head);
    request_clear(r);

    /* RFC 9112, 2.2: one empty line is left over from a broken client's content. */
    if (*at == '\r') {
        if (head.len == 1)
            return more(p, head);
        if (at[1] != '\n')
            return bad(p, CAUSE_bad_request_line);
        at += 2;
        if (at == end)
            return head_full(p, head) ? bad(p, CAUSE_header_too_large) : more(p, head);
    }
    struct span line = {at, (size_t)(end - at)};
    if (!parse_request_line(head, &at, r, &cause))
        return char_is(*line.ptr, CHAR_TOKEN) ? start_failed(p, head, line, cause)
                                              : bad(p, CAUSE_bad_request_line);
    if ((size_t)(at - line.ptr) > (size_t)p->limits->request_line_max + 2)
        return bad(p, CAUSE_request_line_too_long);

    struct h1_lines l = lines_of(p, head, at, &r->fields);
    enum parse answer = parse_fields(p, head, &l);
    if (answer == PARSE_DONE && (cause = h1_check_request(r, &l)))
        return bad(p, cause);
    return answer;
}

/* What is before the next blank, which is dropped; empty where there is none. */
static struct span word_take(struct span *rest)
{
    struct span word = span_first(*rest, span_find(*rest, ' '));

    if (word.len == rest->len)
        return (struct span){0};
    *rest = span_after(*rest, word.len + 1);
    return word;
}

bool h1_is_foreign(struct span bytes)
{
    struct span rest = span_first(bytes, span_find(bytes, '\r'));
    struct span method = word_take(&rest), target = word_take(&rest);

    if (method.len == 0 || method_find(method) != METHOD_OTHER)
        return false;
    for (size_t i = 0; i < method.len; i++)
        if (!char_is(method.ptr[i], CHAR_TOKEN))
            return false;
    for (size_t i = 0; i < target.len; i++)
        if (target.ptr[i] == '/' || target.ptr[i] == ':' || target.ptr[i] == '*')
            return false;
    return target.len > 0 && rest.len > 0 && span_find(rest, ' ') == rest.len &&
           !span_equal_nocase(span_first(rest, 4), SPAN("HTTP"));
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

    struct h1_lines l = lines_of(p, head, at, &r->fields);
    enum parse answer = parse_fields(p, head, &l);
    if (answer == PARSE_DONE && (cause = h1_check_response(r, &l, method)))
        return bad(p, cause);
    return answer;
}

enum parse h1_parse_response(struct h1_parser *p, struct span bytes, enum method request_method,
                             struct response *r)
{
    struct span head = head_of(p, bytes);

    if (head.len == 0 || (p->scanned > 0 && !verdict_due(p, head, p->limits->head_max)))
        return more(p, head);
    *r = (struct response){.fields = {.list = r->fields.list, .max = r->fields.max}};
    enum parse answer = parse_response(p, head, request_method, r);
    return answer == PARSE_BAD ? blame_origin(p) : answer;
}

static void drop_forbidden(struct fields *f, uint32_t from)
{
    uint32_t kept = from;

    for (uint32_t i = from; i < f->count; i++)
        if (field_may_trail((enum field_id)f->list[i].id, f->list[i].name))
            f->list[kept++] = f->list[i];
    f->count = kept;
    f->seen = 0;
    for (uint32_t i = 0; i < kept; i++)
        f->seen |= (uint64_t)1 << f->list[i].id;
}

enum parse h1_parse_trailers(struct h1_parser *p, struct span bytes, struct fields *fields)
{
    struct span head = head_of(p, bytes);
    uint32_t before = fields ? fields->count : 0;

    if (head.len == 0 || (p->scanned > 0 && !fields_due(p, head)))
        return more(p, head);
    struct h1_lines l = lines_of(p, head, head.ptr, fields);
    enum parse answer = parse_fields(p, head, &l);
    if (fields && answer == PARSE_DONE)
        drop_forbidden(fields, before);
    else if (fields)
        fields->count = before;
    return answer;
}
