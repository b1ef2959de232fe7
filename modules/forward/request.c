/* The request as the origin gets it: hop-by-hop fields go, Via and the
 * forwarded fields come (RFC 9110, 7.6). */
#include "modules/forward/forward.h"

#include <stdio.h>

enum { OWN_VIAS_MAX = 8, EXTRA_FIELDS = 16 };

static const char HEX[] = "0123456789ABCDEF";

/* --- the target ----------------------------------------------------------------------------- */

/* Values put together by a template, ready to stand in a request line: what
 * could end it or begin a fragment is escaped, escapes are left alone. */
static struct span path_encode(struct arena *arena, struct span s)
{
    char *at = arena_alloc(arena, 3 * s.len + 1);
    size_t n = 0;

    for (size_t i = 0; at && i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c > 0x20 && c < 0x7f && c != '#') {
            at[n++] = (char)c;
            continue;
        }
        at[n++] = '%';
        at[n++] = HEX[c >> 4];
        at[n++] = HEX[c & 15];
    }
    return (struct span){at, n};
}

static struct span strip(struct span path, struct span prefix)
{
    while (prefix.len > 0 && prefix.ptr[prefix.len - 1] == '/')
        prefix.len--;
    if (prefix.len == 0 || !span_starts(path, prefix))
        return path;
    struct span rest = span_after(path, prefix.len);
    if (rest.len == 0)
        return SPAN("/");
    return rest.ptr[0] == '/' ? rest : path;
}

/* What the variables of a template bring is held to the rules for what clients
 * send: no dot segments, and encoded slashes only where the route passes them. */
static bool rewritten_is_safe(struct exchange *x, struct span path)
{
    struct path p;

    if (path_normalise(&p, span_first(path, span_find(path, '?')), &x->arena) != PATH_OK)
        return false;
    return !p.had_dots && (!p.has_encoded_slash || x->route->encoded_slash_pass);
}

struct span forward_path(struct exchange *x, const struct forward_conf *conf)
{
    const struct target *t = &x->request.target;
    struct span path = t->path;

    if (t->form == TARGET_ASTERISK)
        return path;
    if (conf->rewrite) {
        struct span given = template_target(conf->rewrite, x);
        path = path_encode(&x->arena, given);
        if (path.len == 0 || !rewritten_is_safe(x, path))
            return (struct span){0};
        if (!path.ptr || span_find(path, '?') < path.len) /* it brings its own query */
            return path;
    } else {
        /* What was matched is what is served: with dot segments, the normal form. */
        if (x->path.had_dots || conf->strip_prefix.len > 0)
            path = x->path.normal;
        path = strip(path, conf->strip_prefix);
    }
    if (!t->has_query)
        return path;
    return arena_join(&x->arena, arena_join(&x->arena, path, SPAN("?")), t->query);
}

/* --- fields ------------------------------------------------------------------------------------
 */

static bool connection_names(const struct exchange *x, struct span name)
{
    return x->request.fields.seen & (UINT64_C(1) << FIELD_CONNECTION) &&
           fields_has_item(&x->request.fields, FIELD_CONNECTION, name);
}

/* traced: there is a traceparent that may pass; tracestate says nothing without. */
static bool field_passes(const struct exchange *x, const struct field *f, bool traced)
{
    enum field_id id = (enum field_id)f->id;

    if (field_hop_by_hop(id))
        return false;
    switch (id) {
    case FIELD_HOST:
    case FIELD_CONTENT_LENGTH:
    case FIELD_EXPECT:
    case FIELD_VIA:
    case FIELD_X_REQUEST_ID:
    case FIELD_HTTP2_SETTINGS:
    case FIELD_FORWARDED: /* ours are added; a stranger's word is nobody's */
    case FIELD_X_FORWARDED_FOR:
    case FIELD_X_FORWARDED_PROTO:
    case FIELD_X_FORWARDED_HOST:
        return false;
    case FIELD_TRACEPARENT:
        if (!traced)
            return false;
        break;
    case FIELD_OTHER:
        if (!traced && f->name.len == 10 && span_equal_nocase(f->name, SPAN("tracestate")))
            return false;
        break;
    default:
        break;
    }
    return !connection_names(x, f->name) && !field_is_disguised(f);
}

/* Several are none (W3C Trace Context, 3.2.1). */
static bool trace_passes(const struct exchange *x, const struct forward_conf *conf)
{
    const struct fields *fields = &x->request.fields;
    const struct field *f = fields_get(fields, FIELD_TRACEPARENT);

    return f && conf->traceparent != TRACE_OFF && fields_number(fields, FIELD_TRACEPARENT) == 1 &&
           trace_is_valid(f->value);
}

static int trace_begin(struct exchange *x, struct fields *out)
{
    struct random *random = &exchange_io(x)->random;
    const uint64_t numbers[] = {random_next(random), random_next(random), random_next(random)};
    char *text = arena_alloc(&x->arena, TRACE_LEN);

    if (!text)
        return FAIL_MEMORY;
    trace_write(text, numbers);
    return fields_add(out, FIELD_TRACEPARENT, field_name(FIELD_TRACEPARENT),
                      (struct span){text, TRACE_LEN});
}

/* A malformed hop would swallow ours: it is left out, and with it what stands before, which
 * would be taken for its neighbour's word. */
static struct span forwarded_append(struct exchange *x, enum field_id id, struct span ours)
{
    struct span all = {0};

    for (unsigned i = 0; x->peer_trusted && i < x->request.fields.count; i++) {
        const struct field *f = &x->request.fields.list[i];
        if (f->id != id)
            continue;
        struct span hops = field_hops(f);
        if (hops.len < f->value.len)
            all = (struct span){0};
        if (hops.len > 0)
            all = all.len ? arena_print(&x->arena, "%.*s, %.*s", SPAN_ARG(all), SPAN_ARG(hops))
                          : hops;
    }
    return all.len ? arena_print(&x->arena, "%.*s, %.*s", SPAN_ARG(all), SPAN_ARG(ours)) : ours;
}

/* Our own words, and what the request's head has said, which was looked at when it came. */
static int add(struct fields *f, enum field_id id, struct span value)
{
    return fields_pass(f, &(struct field){field_name(id), value, (uint16_t)id, .checked = true});
}

static struct span ip_text(struct exchange *x, const struct address *a)
{
    char text[ADDRESS_TEXT_MAX];

    if (a->family == ADDRESS_UNIX)
        return SPAN("unknown");
    return arena_copy(&x->arena, (struct span){text, address_print_ip(a, text)});
}

/* Did a field that is not told on say who the client is? */
static bool client_is_told(const struct exchange *x, enum field_id id)
{
    return !exchange_hops_told(x, id) && x->client.family != ADDRESS_UNIX &&
           !address_equal(&x->client, &x->peer);
}

static int add_x_forwarded(struct exchange *x, struct fields *out)
{
    struct span hops = ip_text(x, &x->peer);

    if (exchange_hops_told(x, FIELD_X_FORWARDED_FOR))
        hops = forwarded_append(x, FIELD_X_FORWARDED_FOR, hops);
    else if (client_is_told(x, FIELD_X_FORWARDED_FOR))
        hops =
            arena_print(&x->arena, "%.*s, %.*s", SPAN_ARG(ip_text(x, &x->client)), SPAN_ARG(hops));
    int err = hops.ptr ? add(out, FIELD_X_FORWARDED_FOR, hops) : FAIL_MEMORY;
    if (err == 0)
        err = add(out, FIELD_X_FORWARDED_PROTO, exchange_scheme_told(x));
    struct span host = exchange_host_told(x);
    if (err == 0 && host.len > 0)
        err = add(out, FIELD_X_FORWARDED_HOST, host);
    return err;
}

/* An element of Forwarded. */
static struct span element(struct exchange *x, const struct address *a, struct span scheme,
                           struct span host)
{
    const char *format = a->family == ADDRESS_IPV6 ? "for=\"[%.*s]\";proto=%.*s%s%.*s%s"
                                                   : "for=%.*s;proto=%.*s%s%.*s%s";

    return arena_print(&x->arena, format, SPAN_ARG(ip_text(x, a)), SPAN_ARG(scheme),
                       host.len ? ";host=\"" : "", SPAN_ARG(host), host.len ? "\"" : "");
}

static int add_rfc7239(struct exchange *x, struct fields *out)
{
    struct span hops = element(x, &x->peer, x->carrier->scheme, x->request.host);

    if (exchange_hops_told(x, FIELD_FORWARDED))
        hops = forwarded_append(x, FIELD_FORWARDED, hops);
    else if (client_is_told(x, FIELD_FORWARDED))
        hops = arena_print(
            &x->arena, "%.*s, %.*s",
            SPAN_ARG(element(x, &x->client, exchange_scheme_told(x), exchange_host_told(x))),
            SPAN_ARG(hops));
    return hops.ptr ? add(out, FIELD_FORWARDED, hops) : FAIL_MEMORY;
}

static int add_forwarded(struct exchange *x, const struct forward_conf *conf, struct fields *out)
{
    int err = 0;

    if (conf->forwarded == FORWARDED_X || conf->forwarded == FORWARDED_BOTH)
        err = add_x_forwarded(x, out);
    if (err == 0 && (conf->forwarded == FORWARDED_RFC7239 || conf->forwarded == FORWARDED_BOTH))
        err = add_rfc7239(x, out);
    return err;
}

static bool is_own_via(struct span item)
{
    struct span own = SPAN(" headgate");

    return item.len > own.len && span_equal(span_after(item, item.len - own.len), own);
}

/* RFC 9110, 7.6.3.  False: the request has been here too often. */
static bool add_via(struct exchange *x, struct fields *out, int *err)
{
    struct span ours = x->request.version == HTTP_1_0 ? SPAN("1.0 headgate")
                       : x->request.version == HTTP_2 ? SPAN("2.0 headgate")
                                                      : SPAN("1.1 headgate");
    unsigned own = 0;

    for (unsigned i = 0; i < x->request.fields.count; i++) {
        const struct field *f = &x->request.fields.list[i];
        struct span rest = f->value, item;
        if (f->id != FIELD_VIA)
            continue;
        while (field_item(&rest, &item))
            own += is_own_via(item);
        *err = fields_pass(out, f);
        if (*err < 0)
            return true;
    }
    *err = add(out, FIELD_VIA, ours);
    return own <= OWN_VIAS_MAX;
}

/* What a template's variables bring may be nothing, and leave no name: ":80", ".example.com". */
static bool host_is_named(struct span host)
{
    return host.len > 0 && host.ptr[0] != ':' && host.ptr[0] != '.';
}

static enum cause forward_host(struct exchange *x, const struct forward_conf *conf,
                               struct leg_request *out, struct span *host)
{
    *host = x->request.host;
    if (conf->host_header) {
        *host = template_text(conf->host_header, x);
        if (!host->ptr)
            return CAUSE_out_of_memory;
        out->servers_host =
            span_equal(conf->host_header->source, SPAN("server")) || !host_is_named(*host);
        if (out->servers_host) /* its name takes this place when it is chosen */
            *host = SPAN("");
    }
    return host_is_valid(*host) ? CAUSE_NONE : CAUSE_bad_host;
}

enum cause forward_request(struct exchange *x, const struct forward_conf *conf,
                           struct leg_request *out)
{
    uint32_t max = x->request.fields.count + EXTRA_FIELDS + x->route->request_edits.count;
    struct fields *fields = &out->fields;
    int err = 0;

    *fields =
        (struct fields){.list = arena_alloc(&x->arena, max * sizeof(struct field)), .max = max};
    out->method = x->request.method_name;
    out->target = forward_path(x, conf);
    out->upgrade = forward_upgrade(x, conf);
    if (!fields->list)
        return CAUSE_out_of_memory;
    if (!out->target.ptr)
        return CAUSE_bad_path;
    if (x->request.protocol.len > 0 && out->upgrade.len == 0)
        return CAUSE_upgrade_not_allowed;
    struct span host;
    enum cause cause = forward_host(x, conf, out, &host);
    if (cause)
        return cause;
    bool traced = trace_passes(x, conf);
    err = add(fields, FIELD_HOST, host.ptr ? host : SPAN(""));
    for (unsigned i = 0; err == 0 && i < x->request.fields.count; i++) {
        const struct field *f = &x->request.fields.list[i];
        if (field_passes(x, f, traced))
            err = fields_pass(fields, f);
    }
    if (err == 0 && x->request.protocol.len)
        err = forward_websocket_key(x, out);
    if (err == 0 && !traced && conf->traceparent == TRACE_START)
        err = trace_begin(x, fields);
    if (err == 0)
        err = add_forwarded(x, conf, fields);
    struct span id = exchange_request_id(x);
    if (err == 0 && id.len > 0)
        err = add(fields, FIELD_X_REQUEST_ID, id);
    if (err == 0 && !add_via(x, fields, &err))
        return CAUSE_loop_detected;
    if (err < 0)
        return CAUSE_out_of_memory;
    edits_apply(&x->route->request_edits, x, fields);
    if (conf->deadline_header.len > 0 && deadline_add(x, conf, out) < 0)
        return CAUSE_out_of_memory;
    return CAUSE_NONE;
}
