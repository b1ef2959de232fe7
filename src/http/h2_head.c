/* The field section of an HTTP/2 message; see h2_head.h. */
#include "http/h2_head.h"

#include "base/fail.h"
#include "base/mem.h"
#include "http/chars.h"
#include "http/status.h"

#define BIT(id) ((uint64_t)1 << FIELD_##id)

enum {
    FIELD_OVERHEAD = 32, /* RFC 9113, 6.5.2 */
    BYTES_FIRST = 1024,
    FIELDS_FIRST = 32,
};

enum pseudo {
    PSEUDO_METHOD = 1,
    PSEUDO_SCHEME = 2,
    PSEUDO_AUTHORITY = 4,
    PSEUDO_PATH = 8,
    PSEUDO_PROTOCOL = 16,
    PSEUDO_STATUS = 32,
};

void h2_head_begin(struct h2_head *h, enum h2_section section)
{
    *h = (struct h2_head){
        .section = section,
        .connects = h->connects,
        .priority.urgency = H2_URGENCY_USUAL,
        .size_max = h->size_max,
        .fields_max = h->fields_max,
        .fields = {.list = h->fields.list, .max = h->fields.max},
        .bytes = h->bytes,
        .room = h->room,
    };
}

void h2_head_free(struct h2_head *h)
{
    mem_free(h->bytes);
    mem_free(h->fields.list);
    h->bytes = NULL;
    h->room = 0;
    h->fields = (struct fields){0};
}

/* --- memory ------------------------------------------------------------------------ */

static void move(struct span *s, const char *from, const char *to)
{
    if (s->ptr)
        s->ptr = to + (s->ptr - from);
}

/* Room for n more bytes and one, so that what is empty is somewhere too; what was there may move. */
static int grow(struct h2_head *h, size_t n)
{
    if (n < h->room - h->len)
        return 0;
    size_t room = h->room ? h->room : BYTES_FIRST;
    while (room - h->len <= n)
        room *= 2;
    char *bytes = mem_alloc(room);
    if (!bytes)
        return FAIL_MEMORY;
    if (h->len)
        memcpy(bytes, h->bytes, h->len);
    struct span *pseudo[] = {&h->method, &h->scheme, &h->authority, &h->path, &h->protocol};
    for (size_t i = 0; i < COUNT_OF(pseudo); i++)
        move(pseudo[i], h->bytes, bytes);
    for (uint32_t i = 0; i < h->fields.count; i++) {
        move(&h->fields.list[i].name, h->bytes, bytes);
        move(&h->fields.list[i].value, h->bytes, bytes);
    }
    mem_free(h->bytes);
    h->bytes = bytes;
    h->room = (uint32_t)room;
    return 0;
}

static struct span keep(struct h2_head *h, struct span s)
{
    char *at = h->bytes + h->len;

    if (s.len)
        memcpy(at, s.ptr, s.len);
    h->len += (uint32_t)s.len;
    return (struct span){at, s.len};
}

static int grow_fields(struct h2_head *h)
{
    struct fields *f = &h->fields;
    uint32_t max = f->max ? 2 * f->max : FIELDS_FIRST;

    if (f->count < f->max)
        return 0;
    struct field *list = mem_resize(f->list, max * sizeof *list);
    if (!list)
        return FAIL_MEMORY;
    f->list = list;
    f->max = max;
    return 0;
}

/* --- one field ------------------------------------------------------------------------ */

/* RFC 9113, 8.2.1: a token in lower case. */
static bool name_is_good(struct span name)
{
    for (size_t i = 0; i < name.len; i++)
        if (!char_is(name.ptr[i], CHAR_TOKEN) || (name.ptr[i] >= 'A' && name.ptr[i] <= 'Z'))
            return false;
    return name.len > 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* And no control nor space around it. */
static bool value_is_good(struct span v)
{
    if (v.len > 0 && (is_blank(v.ptr[0]) || is_blank(v.ptr[v.len - 1])))
        return false;
    return span_is_field_value(v);
}

static enum pseudo pseudo_find(struct span name)
{
    static const struct {
        struct span name;
        enum pseudo bit;
    } known[] = {
        {SPAN_INIT(":method"), PSEUDO_METHOD},     {SPAN_INIT(":path"), PSEUDO_PATH},
        {SPAN_INIT(":scheme"), PSEUDO_SCHEME},     {SPAN_INIT(":authority"), PSEUDO_AUTHORITY},
        {SPAN_INIT(":protocol"), PSEUDO_PROTOCOL}, {SPAN_INIT(":status"), PSEUDO_STATUS},
    };

    for (size_t i = 0; i < COUNT_OF(known); i++)
        if (span_equal(known[i].name, name))
            return known[i].bit;
    return 0;
}

/* Three digits (RFC 9113, 8.3.2); 101 is not HTTP/2's (8.6). */
static int status_of(struct span s)
{
    uint64_t n = 0;

    if (s.len != 3 || !span_number(s, &n) || n < 100 || n > 599 || n == 101)
        return 0;
    return (int)n;
}

static void take_pseudo(struct h2_head *h, enum pseudo which, struct span value)
{
    switch (which) {
    case PSEUDO_METHOD:
        h->method = value;
        break;
    case PSEUDO_SCHEME:
        h->scheme = value;
        break;
    case PSEUDO_AUTHORITY:
        h->authority = value;
        break;
    case PSEUDO_PATH:
        h->path = value;
        break;
    case PSEUDO_PROTOCOL:
        h->protocol = value;
        break;
    case PSEUDO_STATUS:
        h->status = status_of(value);
        break;
    }
}

static int add_pseudo(struct h2_head *h, struct span name, struct span value)
{
    unsigned request = PSEUDO_METHOD | PSEUDO_SCHEME | PSEUDO_AUTHORITY | PSEUDO_PATH;
    enum pseudo which = pseudo_find(name);

    if (h->connects)
        request |= PSEUDO_PROTOCOL;
    unsigned allowed = h->section == H2_SECTION_REQUEST    ? request
                       : h->section == H2_SECTION_RESPONSE ? PSEUDO_STATUS
                                                           : 0;
    if (!(allowed & which) || (h->pseudo & which) || h->regular) {
        h->malformed = true; /* RFC 9113, 8.3 */
        return 0;
    }
    if (grow(h, value.len) < 0)
        return FAIL_MEMORY;
    h->pseudo |= (uint8_t)which;
    take_pseudo(h, which, keep(h, value));
    return 0;
}

/* RFC 9113, 8.2.2, and what may come once only. */
static bool field_is_good(struct h2_head *h, enum field_id id, struct span value)
{
    switch (id) {
    case FIELD_CONNECTION:
    case FIELD_KEEP_ALIVE:
    case FIELD_PROXY_CONNECTION:
    case FIELD_TRANSFER_ENCODING:
    case FIELD_UPGRADE:
        return false;
    case FIELD_TE:
        return span_equal_nocase(value, SPAN("trailers"));
    case FIELD_HOST:
        return !(h->fields.seen & BIT(HOST)) || h->section != H2_SECTION_REQUEST;
    case FIELD_CONTENT_LENGTH:
        if (h->section == H2_SECTION_TRAILERS)
            return true; /* and dropped */
        if (h->has_length || !span_number(value, &h->content_length) ||
            h->content_length > INT64_MAX)
            return false;
        h->has_length = true;
        return true;
    default:
        return true;
    }
}

/* Nothing about a section that is refused needs to be kept. */
static bool is_refused(struct h2_head *h, size_t bytes)
{
    h->size += bytes + FIELD_OVERHEAD;
    if (!h->cause && h->size > h->size_max)
        h->cause = CAUSE_header_too_large;
    if (!h->cause && h->fields.count == h->fields_max)
        h->cause = CAUSE_too_many_fields;
    return h->malformed;
}

int h2_head_add(struct h2_head *h, struct span name, struct span value)
{
    bool pseudo = name.len > 0 && name.ptr[0] == ':';

    if (is_refused(h, name.len + value.len))
        return 0;
    if (!value_is_good(value) || (!pseudo && !name_is_good(name))) {
        h->malformed = true;
        return 0;
    }
    if (pseudo)
        return h->size > 2 * (uint64_t)h->size_max ? 0 : add_pseudo(h, name, value);
    h->regular = true;
    enum field_id id = field_find_token(name);
    if (!field_is_good(h, id, value)) {
        h->malformed = true;
        return 0;
    }
    if (h->cause)
        return 0;
    if (h->section == H2_SECTION_TRAILERS && !field_may_trail(id, name))
        return 0;
    if (grow(h, name.len + value.len) < 0 || grow_fields(h) < 0)
        return FAIL_MEMORY;
    if (id == FIELD_COOKIE && h->cookies < 2)
        h->cookies++;
    if (id == FIELD_OTHER && span_equal(name, SPAN("priority")))
        h2_priority_parse(value, &h->priority);
    struct span kept = keep(h, name);
    return fields_pass(&h->fields,
                       &(struct field){kept, keep(h, value), (uint16_t)id, .checked = true});
}

/* --- all of them ------------------------------------------------------------------------ */

/* Into the place of the first. */
static int join_cookies(struct h2_head *h)
{
    struct fields *f = &h->fields;
    struct field *first = NULL;
    size_t bytes = 0;
    uint32_t kept = 0;

    for (uint32_t i = 0; i < f->count; i++)
        bytes += f->list[i].id == FIELD_COOKIE ? f->list[i].value.len + 2 : 0;
    if (grow(h, bytes) < 0)
        return FAIL_MEMORY;
    struct span all = {h->bytes + h->len, 0};
    for (uint32_t i = 0; i < f->count; i++) {
        struct field *from = &f->list[i];
        bool cookie = from->id == FIELD_COOKIE;
        if (cookie) {
            if (first)
                all.len += keep(h, SPAN("; ")).len;
            all.len += keep(h, from->value).len;
        }
        if (cookie && first)
            continue;
        f->list[kept] = *from;
        if (cookie)
            first = &f->list[kept];
        kept++;
    }
    first->value = all;
    f->count = kept;
    return 0;
}

static bool request_is_whole(const struct h2_head *h)
{
    const unsigned all = PSEUDO_METHOD | PSEUDO_SCHEME | PSEUDO_PATH;

    if (!(h->pseudo & PSEUDO_METHOD) || !span_is_token(h->method))
        return false;
    if (h->pseudo & PSEUDO_PROTOCOL) /* RFC 8441, 4 */
        return span_equal(h->method, SPAN("CONNECT")) && (h->pseudo & PSEUDO_AUTHORITY) &&
               (h->pseudo & all) == all && h->path.len > 0 && span_is_token(h->protocol);
    if (span_equal(h->method, SPAN("CONNECT"))) /* RFC 9113, 8.5 */
        return (h->pseudo & (PSEUDO_SCHEME | PSEUDO_PATH | PSEUDO_AUTHORITY)) == PSEUDO_AUTHORITY;
    return (h->pseudo & all) == all && h->path.len > 0 && h->scheme.len > 0;
}

int h2_head_end(struct h2_head *h, bool end)
{
    /* What is too large may lack what its last fields would have said. */
    if (h->section == H2_SECTION_REQUEST && !request_is_whole(h))
        h->malformed = true;
    if (h->section == H2_SECTION_RESPONSE && h->status == 0)
        h->malformed = true;
    if (h->section == H2_SECTION_REQUEST && end && h->content_length > 0)
        h->malformed = true; /* RFC 9113, 8.1.1 */
    if (h->malformed || h->cookies < 2)
        return 0;
    return join_cookies(h);
}

/* RFC 9113, 8.3.1: one host, wherever it is named. */
static enum cause request_host(const struct h2_head *h, struct request *r)
{
    const struct field *host = fields_get(&h->fields, FIELD_HOST);
    bool named = h->pseudo & PSEUDO_AUTHORITY;

    r->host = named ? h->authority : host ? host->value : (struct span){0};
    if (r->host.len == 0 || !host_is_valid(r->host))
        return CAUSE_bad_host;
    return named && host && !span_equal_nocase(host->value, h->authority) ? CAUSE_bad_host
                                                                          : CAUSE_NONE;
}

static enum cause request_target(const struct h2_head *h, struct request *r)
{
    if (!(h->pseudo & PSEUDO_PATH)) {
        r->target_text = h->authority;
        return target_parse(&r->target, h->authority) && r->target.form == TARGET_AUTHORITY
                   ? CAUSE_NONE
                   : CAUSE_bad_target;
    }
    r->target_text = h->path;
    if (!span_equal_nocase(h->scheme, SPAN("http")) && !span_equal_nocase(h->scheme, SPAN("https")))
        return CAUSE_bad_target;
    if (!target_parse(&r->target, h->path))
        return CAUSE_bad_target;
    if (r->target.form == TARGET_ASTERISK && r->method == METHOD_OPTIONS)
        return CAUSE_NONE;
    return r->target.form == TARGET_ORIGIN ? CAUSE_NONE : CAUSE_bad_target;
}

/* RFC 9110, 10.1.1. */
static enum cause request_expect(struct request *r)
{
    const struct field *expect = fields_get(&r->fields, FIELD_EXPECT);

    if (!expect)
        return CAUSE_NONE;
    if (fields_number(&r->fields, FIELD_EXPECT) > 1 ||
        !span_equal_nocase(expect->value, SPAN("100-continue")))
        return CAUSE_expectation_failed;
    r->expects_continue = r->framing == FRAMING_CHUNKED || r->content_length > 0;
    return CAUSE_NONE;
}

enum cause h2_head_request(const struct h2_head *h, bool end, uint32_t path_max, struct request *r)
{
    uint32_t count = h->fields.count < r->fields.max ? h->fields.count : r->fields.max;

    *r = (struct request){
        .version = HTTP_2,
        .method = method_find(h->method),
        .method_name = h->method,
        .protocol = h->protocol,
        .fields = {.list = r->fields.list, .max = r->fields.max},
        .keep_alive = true,
    };
    if (count)
        memcpy(r->fields.list, h->fields.list, count * sizeof *r->fields.list);
    r->fields.count = count;
    r->fields.seen = h->fields.seen;
    if (h->has_length)
        r->framing = FRAMING_LENGTH;
    else
        r->framing = end ? FRAMING_NONE : FRAMING_CHUNKED;
    r->content_length = h->content_length;
    /* RFC 8441, 4: what HTTP/1 asks for with GET and Upgrade. */
    if (h->protocol.ptr) {
        r->method = METHOD_GET;
        r->method_name = SPAN("GET");
        r->framing = FRAMING_NONE;
        r->upgrade = true;
    }
    enum cause cause = request_target(h, r), host = request_host(h, r);
    if (h->cause)
        return h->cause;
    if (h->path.len > path_max)
        return CAUSE_request_line_too_long;
    if (cause || (cause = host))
        return cause;
    return count < h->fields.count ? CAUSE_too_many_fields : request_expect(r);
}

enum cause h2_head_response(const struct h2_head *h, bool end, enum method request_method,
                            struct response *r)
{
    uint32_t count = h->fields.count < r->fields.max ? h->fields.count : r->fields.max;

    *r = (struct response){
        .version = HTTP_2,
        .status = h->status,
        .fields = {.list = r->fields.list, .max = r->fields.max},
        .keep_alive = true,
    };
    if (h->cause || count < h->fields.count)
        return CAUSE_upstream_head_too_large;
    if (count)
        memcpy(r->fields.list, h->fields.list, count * sizeof *r->fields.list);
    r->fields.count = count;
    r->fields.seen = h->fields.seen;
    r->content_length = h->content_length;
    if (end || request_method == METHOD_HEAD || status_has_no_content(r->status))
        r->framing = FRAMING_NONE;
    else
        r->framing = h->has_length ? FRAMING_LENGTH : FRAMING_CHUNKED;
    return CAUSE_NONE;
}

/* --- priorities ------------------------------------------------------------------------ */

static void priority_item(struct span item, struct h2_priority *p)
{
    item = span_first(item, span_find(item, ';')); /* parameters mean nothing */
    if (item.len == 3 && span_starts(item, SPAN("u=")) && item.ptr[2] >= '0' && item.ptr[2] <= '7')
        p->urgency = (uint8_t)(item.ptr[2] - '0');
    else if (span_equal(item, SPAN("i")) || span_equal(item, SPAN("i=?1")))
        p->incremental = true;
    else if (span_equal(item, SPAN("i=?0")))
        p->incremental = false;
}

void h2_priority_parse(struct span text, struct h2_priority *p)
{
    struct span item;

    while (field_item(&text, &item))
        priority_item(item, p);
}
