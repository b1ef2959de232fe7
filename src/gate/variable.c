/* What ${...} stands for in an exchange. */
#include "gate/exchange.h"
#include "gate/secure.h"
#include "gate/worker_own.h"

static struct span variable_number(struct exchange *x, unsigned n)
{
    return arena_print(&x->arena, "%u", n);
}

static struct span variable_address(struct exchange *x, const struct address *a)
{
    char text[ADDRESS_TEXT_MAX];

    return arena_copy(&x->arena, (struct span){text, address_print_ip(a, text)});
}

struct span exchange_uri(struct exchange *x)
{
    const struct target *t = &x->request.target;

    if (!t->has_query)
        return t->path;
    /* They lie side by side in the target, but for the '?'. */
    if (t->path.ptr + t->path.len + 1 == t->query.ptr)
        return (struct span){t->path.ptr, t->path.len + 1 + t->query.len};
    return arena_join(&x->arena, arena_join(&x->arena, t->path, SPAN("?")), t->query);
}

static struct span variable_capture(const struct exchange *x, struct span name)
{
    for (unsigned i = 0; i < x->match.captures; i++)
        if (span_equal(x->match.capture[i].name, name))
            return x->match.capture[i].value;
    return (struct span){0};
}

struct span request_header(const struct exchange *x, struct span name)
{
    const struct field *f = fields_find(&x->request.fields, name);

    return f ? f->value : (struct span){0};
}

/* RFC 6265, 4.2.1: pairs separated by "; ". */
bool cookie_next(const struct exchange *x, struct cookie_walk *walk, struct span *name,
                 struct span *value)
{
    const struct fields *fields = &x->request.fields;

    for (;;) {
        while (walk->rest.len == 0) {
            if (walk->field >= fields->count)
                return false;
            const struct field *f = &fields->list[walk->field++];
            if (f->id == FIELD_COOKIE)
                walk->rest = f->value;
        }
        size_t end = span_find(walk->rest, ';');
        struct span pair = span_trim(span_first(walk->rest, end));
        walk->rest =
            end < walk->rest.len ? span_after(walk->rest, end + 1) : (struct span){0};
        size_t equal = span_find(pair, '=');
        if (equal == pair.len)
            continue;
        *name = span_first(pair, equal);
        *value = span_after(pair, equal + 1);
        return true;
    }
}

struct span request_cookie(const struct exchange *x, struct span name)
{
    struct cookie_walk walk = {0};
    struct span found, value;

    while (cookie_next(x, &walk, &found, &value))
        if (span_equal(found, name))
            return value;
    return (struct span){0};
}

static struct span variable_query(struct exchange *x, struct span name)
{
    struct span value;

    if (!query_find(x->request.target.query, name, &value))
        return (struct span){0};
    return percent_decode(&x->arena, value, true);
}

static struct span variable_value(const struct template_part *p, struct exchange *x)
{
    switch (p->variable) {
    case VARIABLE_client_ip:
        return variable_address(x, &x->client);
    case VARIABLE_client_port:
        return x->client.port ? variable_number(x, x->client.port) : (struct span){0};
    case VARIABLE_request_id:
        return exchange_request_id(x);
    case VARIABLE_method:
        return x->request.method_name;
    case VARIABLE_scheme:
        return exchange_scheme(x);
    case VARIABLE_host:
        return exchange_host(x);
    case VARIABLE_path:
        return x->path.normal;
    case VARIABLE_query:
        return x->request.target.query;
    case VARIABLE_uri:
        return exchange_uri(x);
    case VARIABLE_route:
        return x->route ? x->route->name : (struct span){0};
    case VARIABLE_listener:
        return x->listener->name;
    case VARIABLE_upstream:
        return x->upstream;
    case VARIABLE_path_name:
        return variable_capture(x, p->text);
    case VARIABLE_query_name:
        return variable_query(x, p->text);
    case VARIABLE_header_name:
        return request_header(x, p->text);
    case VARIABLE_cookie_name:
        return request_cookie(x, p->text);
    case VARIABLE_tls_version:
        return secure_fact(x, TLS_FACT_VERSION);
    case VARIABLE_tls_cipher:
        return secure_fact(x, TLS_FACT_CIPHER);
    case VARIABLE_tls_sni:
        return secure_fact(x, TLS_FACT_SNI);
    case VARIABLE_client_cert_subject:
        return secure_fact(x, TLS_FACT_CERT_SUBJECT);
    case VARIABLE_client_cert_sha256:
        return secure_fact(x, TLS_FACT_CERT_SHA256);
    case VARIABLE_client_cert_verified:
        return secure_fact(x, TLS_FACT_CERT_VERIFIED);
    default:
        return (struct span){0};
    }
}

static struct span part_text(const struct template_part *p, struct exchange *x)
{
    struct span s = p->text;

    if (p->variable) {
        s = variable_value(p, x);
        if (s.len == 0)
            s = p->fallback;
    }
    return s;
}

/* False: no memory. */
static bool text_append(struct exchange *x, struct span *text, struct span s)
{
    if (text->len == 0 && s.len > 0)
        *text = s;
    else if (s.len > 0)
        *text = arena_join(&x->arena, *text, s);
    return text->ptr != NULL;
}

struct span template_text(const struct template *t, struct exchange *x)
{
    struct span text = SPAN("");

    for (unsigned i = 0; i < t->count; i++)
        if (!text_append(x, &text, part_text(&t->parts[i], x)))
            return (struct span){0};
    return text;
}

struct span template_target(const struct template *t, struct exchange *x)
{
    struct span text = SPAN("");
    bool in_query = false;

    for (unsigned i = 0; i < t->count; i++) {
        const struct template_part *p = &t->parts[i];
        struct span s = part_text(p, x);
        bool may_begin = p->variable == VARIABLE_NONE || p->variable == VARIABLE_uri;
        in_query = in_query || (may_begin && span_find(s, '?') < s.len);
        for (size_t mark; !in_query && (mark = span_find(s, '?')) < s.len;) {
            if (!text_append(x, &text, span_first(s, mark)) || !text_append(x, &text, SPAN("%3F")))
                return (struct span){0};
            s = span_after(s, mark + 1);
        }
        if (!text_append(x, &text, s))
            return (struct span){0};
    }
    return text;
}

/* --- X-Request-Id --------------------------------------------------------------------- */

enum { REQUEST_ID_BYTES = 16, REQUEST_ID_MAX = 128 };

static bool request_id_usable(struct span id)
{
    if (id.len == 0 || id.len > REQUEST_ID_MAX)
        return false;
    for (size_t i = 0; i < id.len; i++)
        if (id.ptr[i] <= 0x20 || id.ptr[i] >= 0x7f || id.ptr[i] == '"' || id.ptr[i] == '\\')
            return false;
    return true;
}

/* Eight hexadecimal digits at once: a nibble in each byte, then 39 more where it is a letter. */
static void put_hex(char at[8], uint32_t bits)
{
    uint64_t n = bits;

    n = (n | n << 16) & UINT64_C(0x0000ffff0000ffff);
    n = (n | n << 8) & UINT64_C(0x00ff00ff00ff00ff);
    n = (n | n << 4) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    uint64_t letters = (n + UINT64_C(0x0606060606060606)) >> 4 & UINT64_C(0x0101010101010101);
    n += UINT64_C(0x3030303030303030) + letters * 39;
    memcpy(at, &n, sizeof n);
}

struct span exchange_request_id(struct exchange *x)
{
    enum request_id_mode mode = x->route ? x->route->request_id : REQUEST_ID_TRUST;

    if (x->request_id.len > 0 || mode == REQUEST_ID_OFF)
        return x->request_id;
    const struct field *f = fields_get(&x->request.fields, FIELD_X_REQUEST_ID);
    if (mode == REQUEST_ID_TRUST && x->peer_trusted && f && request_id_usable(f->value)) {
        x->request_id = f->value;
        return x->request_id;
    }
    char *text = arena_alloc(&x->arena, 2 * REQUEST_ID_BYTES);
    if (!text)
        return (struct span){0};
    for (unsigned i = 0; i < 2 * REQUEST_ID_BYTES; i += 16) {
        uint64_t bits = random_next(&x->worker->io->random);
        put_hex(text + i, (uint32_t)bits);
        put_hex(text + i + 8, (uint32_t)(bits >> 32));
    }
    x->request_id = (struct span){text, 2 * REQUEST_ID_BYTES};
    return x->request_id;
}
