/* The life of an exchange, from its head to its log record; see exchange.h. */
#include "gate/exchange.h"

#include "base/mem.h"
#include "gate/access_log.h"
#include "gate/client.h"
#include "gate/edit.h"
#include "gate/module.h"
#include "gate/secure.h"
#include "gate/worker_own.h"
#include "http/h1_write.h"
#include "http/status.h"

enum {
    FLOW_LIMIT = 64 * 1024,
    EXCHANGE_ARENA_MAX = 4 * 1024 * 1024,
    PREPARED_LINES = 128, /* status and length */
    PREPARED_MAX = 512,   /* longer ones are not worth it */
};

/* The order of the members decides what a new exchange has to clear. */
#define CLEARED offsetof(struct exchange, peer)

struct exchange *exchange_new(struct worker *w, struct generation *g,
                              const struct listener_conf *listener)
{
    struct exchange *x = slab_get(&w->exchanges_slab, NULL);

    if (!x)
        return NULL;
    mem_clear(x, CLEARED);
    x->worker = w;
    x->listener = listener;
    x->generation = generation_use(g);
    x->config = x->generation->config;
    x->file = -1;
    x->arena.used_max = EXCHANGE_ARENA_MAX;
    x->request.fields.list = x->request_fields;
    x->request.fields.max = REQUEST_FIELDS_INLINE;
    if (listener->limits.fields_max > REQUEST_FIELDS_INLINE) {
        struct field *more =
            arena_alloc(&x->arena, listener->limits.fields_max * sizeof(struct field));
        if (more) {
            x->request.fields.list = more;
            x->request.fields.max = listener->limits.fields_max;
        }
    }
    x->response.fields.list = x->response_fields;
    x->response.fields.max = RESPONSE_FIELDS_INLINE;
    x->match.route = NULL;
    x->match.captures = 0;
    x->match.methods_other = 0;
    flow_init(&x->request_content, &w->io->bufs, FLOW_LIMIT);
    flow_init(&x->response_content, &w->io->bufs, FLOW_LIMIT);
    return x;
}

static void exchange_discard(void *item)
{
    struct exchange *x = item;

    arena_free(&x->arena);
}

void exchanges_drain(struct worker *w)
{
    slab_drain(&w->exchanges_slab, exchange_discard);
}

/* --- beginning ------------------------------------------------------------------ */

static struct route_query exchange_query(const struct exchange *x)
{
    return (struct route_query){
        .listener = x->listener->index,
        .host = x->host,
        .path = x->path.normal,
        .method = x->request.method,
        .method_name = x->request.method_name,
        .request = &x->request,
        .query = x->request.target.query,
    };
}

/* These belong to no route (RFC 9110, 9.3.6 and 9.3.8). */
static bool method_never(enum method m)
{
    return m == METHOD_CONNECT || m == METHOD_TRACE;
}

static char *allow_put(char *to, const char *begin, struct span name)
{
    if (to > begin) {
        memcpy(to, ", ", 2);
        to += 2;
    }
    memcpy(to, name.ptr, name.len);
    return to + name.len;
}

/* "GET, HEAD, PURGE": what the routes would take that hold but for the method. */
static struct span allow_text(struct exchange *x)
{
    struct route_query q = exchange_query(x);
    struct route_methods methods;
    size_t room = 128; /* all of METHOD_LIST */

    router_methods(x->config->router, &q, &methods);
    for (unsigned i = 0; i < methods.count; i++)
        room += methods.names[i].len + 2;
    char *text = arena_alloc(&x->arena, room), *end = text;
    if (!text)
        return (struct span){0};
    for (unsigned m = METHOD_OTHER + 1; m < METHOD_COUNT; m++)
        if ((methods.bits & (1u << m)) && !method_never((enum method)m))
            end = allow_put(end, text, method_name((enum method)m));
    for (unsigned i = 0; i < methods.count; i++)
        end = allow_put(end, text, methods.names[i]);
    return (struct span){text, (size_t)(end - text)};
}

static enum cause exchange_find_host(struct exchange *x)
{
    struct span port;

    if (x->request.host.len == 0)
        return CAUSE_NONE;
    if (x->request.host_name_len > 0) {
        struct span name = span_first(x->request.host, x->request.host_name_len);
        x->host = host_name_normalise(name, x->host_scratch);
        return CAUSE_NONE;
    }
    if (!host_parse(x->request.host, x->host_scratch, &x->host, &port))
        return CAUSE_bad_host;
    return CAUSE_NONE;
}

static enum cause exchange_find_path(struct exchange *x)
{
    switch (path_normalise(&x->path, x->request.target.path, &x->arena)) {
    case PATH_OK:
        return CAUSE_NONE;
    case PATH_BAD:
        return CAUSE_bad_path;
    default:
        return CAUSE_out_of_memory;
    }
}

static enum cause exchange_find_route(struct exchange *x)
{
    struct route_query q = exchange_query(x);

    if (method_never(q.method))
        return CAUSE_method_not_allowed;
    router_find(x->config->router, &q, &x->match);
    x->route = x->match.route;
    if (!x->route)
        return x->match.methods_other ? CAUSE_method_not_allowed : CAUSE_no_route;
    if (x->path.has_encoded_slash && !x->route->encoded_slash_pass)
        return CAUSE_bad_path;
    return CAUSE_NONE;
}

static enum cause exchange_check_content(struct exchange *x)
{
    uint64_t max = x->route->max_body;

    if (max == VALUE_OFF || x->request.framing != FRAMING_LENGTH)
        return CAUSE_NONE;
    return x->request.content_length > max ? CAUSE_content_too_large : CAUSE_NONE;
}

static enum cause exchange_prepare(struct exchange *x)
{
    enum cause cause;

    client_find(x);
    if (x->request.method == METHOD_CONNECT) /* has no path */
        return CAUSE_method_not_allowed;
    if ((cause = exchange_find_host(x)))
        return cause;
    if (x->tls && secure_misdirected(x)) {
        x->close_after = secure_outlived(x);
        return CAUSE_misdirected;
    }
    if (x->request.target.form == TARGET_ASTERISK)
        return CAUSE_NONE;
    if ((cause = exchange_find_path(x)) || (cause = exchange_find_route(x)) ||
        (cause = exchange_check_content(x)))
        return cause;
    const struct handler *handler = x->route->handler;
    if (handler->state_size && !(x->state = arena_zalloc(&x->arena, handler->state_size)))
        return CAUSE_out_of_memory;
    return CAUSE_NONE;
}

/* Nothing but the lack of a route is the matter. */
static bool exchange_unserved(const struct exchange *x, enum cause cause)
{
    return !x->route && !method_never(x->request.method) &&
           (cause == CAUSE_no_route || cause == CAUSE_method_not_allowed);
}

void exchange_begin(struct exchange *x)
{
    worker_counted(&x->worker->stats.requests);
    enum cause cause = exchange_prepare(x);

    x->tls_set = NULL; /* the listener's, which may have another when its turn comes again */
    if (x->listener->https_redirect && exchange_unserved(x, cause) && secure_redirect(x))
        return;
    if (cause == CAUSE_method_not_allowed)
        respond_failed_with(x, cause, FIELD_ALLOW, allow_text(x));
    else if (cause)
        respond_failed(x, cause);
    else if (x->request.target.form == TARGET_ASTERISK) /* RFC 9110, 9.3.7: OPTIONS * */
        respond(x, 204, (struct span){0});
}

void exchange_answer(struct exchange *x)
{
    if (x->response_state == RESPONSE_ENDED || !x->route || x->broken)
        return;
    x->engaged = true;
    x->route->handler->answer(x);
}

int exchange_keep(struct exchange *x)
{
    const char *from = x->head.ptr;
    size_t len = x->head.len;

    if (x->head_kept)
        return 0;
    struct span copy = arena_copy(&x->arena, x->head);
    if (!copy.ptr)
        return FAIL_MEMORY;
    x->head_kept = true;
    x->head = copy;
    request_rebase(&x->request, from, len, copy.ptr);
    /* A template of one variable is that variable's own bytes, and the response
     * may have to wait for room on the wire. */
    response_rebase(&x->response, from, len, copy.ptr);
    struct span *also[] = {&x->host, &x->path.normal, &x->request_id, &x->content};
    for (size_t i = 0; i < COUNT_OF(also); i++)
        if (also[i]->ptr >= from && also[i]->ptr < from + len)
            also[i]->ptr = copy.ptr + (also[i]->ptr - from);
    for (unsigned i = 0; i < x->match.captures; i++) {
        struct span *value = &x->match.capture[i].value;
        if (value->ptr >= from && value->ptr < from + len)
            value->ptr = copy.ptr + (value->ptr - from);
    }
    return 0;
}

static void handler_ended(struct exchange *x)
{
    if (x->engaged && x->route->handler->ended)
        x->route->handler->ended(x);
    x->engaged = false;
}

void exchange_end(struct exchange *x)
{
    struct worker *w = x->worker;

    handler_ended(x);
    if (x->owner) { /* else it never began, as there was no whole head, or is no client's */
        if (x->cause)
            worker_counted(&w->stats.causes[x->cause]);
        unsigned class = (unsigned)x->response.status / 100;
        worker_counted(&w->stats.responses[class < 6 ? class : 0]);
        if (w->log)
            access_log_exchange(w, x);
    }
    flow_clear(&x->request_content);
    flow_clear(&x->response_content);
    arena_reset(&x->arena);
    generation_done(w, x->generation);
    slab_put(&w->exchanges_slab, x, exchange_discard);
}

void exchange_wake(struct exchange *x)
{
    owner_wake(x->owner);
}

struct io *exchange_io(const struct exchange *x)
{
    return x->worker->io;
}

void *exchange_worker_state(const struct exchange *x)
{
    return x->worker->module_states[x->route->module_index];
}

/* --- the request's content ------------------------------------------------------- */

void request_content_want(struct exchange *x)
{
    if (x->content_wanted)
        return;
    x->content_wanted = true;
    if (!x->request_content.ended)
        owner_wake(x->owner);
}

/* Room for at least n more bytes behind what was gathered. */
static bool whole_grow(struct exchange *x, size_t n, size_t max)
{
    size_t need = x->whole.len + n;

    if (need <= x->whole_room)
        return true;
    size_t room = x->request.framing == FRAMING_LENGTH ? (size_t)x->request.content_length : 1024;
    while (room < need)
        room *= 2;
    if (room > max)
        room = max;
    char *at = arena_alloc(&x->arena, room);
    if (!at)
        return false;
    if (x->whole.len)
        memcpy(at, x->whole.ptr, x->whole.len);
    x->whole.ptr = at;
    x->whole_room = room;
    return true;
}

enum whole request_content_whole(struct exchange *x, size_t max, struct span *content)
{
    struct flow *f = &x->request_content;

    if (x->request.framing == FRAMING_NONE) {
        *content = (struct span){0};
        return WHOLE_READY;
    }
    if (x->request.framing == FRAMING_LENGTH && x->request.content_length > max) {
        respond_failed(x, CAUSE_content_too_large);
        return WHOLE_REFUSED;
    }
    if (!x->content_wanted && x->carrier->content_at_hand(x, content))
        return WHOLE_READY;
    request_content_want(x);
    bool took = !flow_empty(f);
    while (!flow_empty(f)) {
        struct span piece = flow_peek(f);
        if (piece.len > max - x->whole.len) {
            respond_failed(x, CAUSE_content_too_large);
            return WHOLE_REFUSED;
        }
        if (!whole_grow(x, piece.len, max)) {
            respond_failed(x, CAUSE_out_of_memory);
            return WHOLE_REFUSED;
        }
        memcpy((char *)(uintptr_t)x->whole.ptr + x->whole.len, piece.ptr, piece.len);
        x->whole.len += piece.len;
        flow_take(f, (uint32_t)piece.len);
    }
    if (f->fail) {
        respond_failed(x, CAUSE_client_truncated);
        return WHOLE_REFUSED;
    }
    if (!flow_done(f)) {
        if (took) /* there is room again */
            owner_wake(x->owner);
        return WHOLE_WAIT;
    }
    *content = x->whole;
    return WHOLE_READY;
}

/* --- the response ----------------------------------------------------------------- */

/* The connection writes these itself. */
static bool field_is_framing(enum field_id id)
{
    switch (id) {
    case FIELD_CONTENT_LENGTH:
    case FIELD_TRANSFER_ENCODING:
    case FIELD_CONNECTION:
    case FIELD_KEEP_ALIVE:
    case FIELD_TRAILER:
    case FIELD_PROXY_CONNECTION:
        return true;
    default:
        return false;
    }
}

/* Room for more fields than most responses have. */
static int response_fields_grow(struct exchange *x)
{
    struct fields *f = &x->response.fields;
    struct field *more = arena_alloc(&x->arena, 2 * f->max * sizeof *more);

    if (!more || f->max >= 1024)
        return FAIL_FULL;
    memcpy(more, f->list, f->count * sizeof *more);
    f->list = more;
    f->max *= 2;
    return 0;
}

int response_field_passed(struct exchange *x, const struct field *f)
{
    int err;

    if (field_is_framing((enum field_id)f->id))
        return FAIL_BAD;
    if (x->response.fields.count == x->response.fields.max && (err = response_fields_grow(x)) < 0)
        return err;
    return fields_pass(&x->response.fields, f);
}

static int response_add(struct exchange *x, enum field_id id, struct span name, struct span value)
{
    return response_field_passed(x, &(struct field){name, value, (uint16_t)id, .checked = true});
}

int response_field(struct exchange *x, enum field_id id, struct span value)
{
    return span_is_field_value(value) ? response_add(x, id, field_name(id), value) : FAIL_BAD;
}

int response_field_named(struct exchange *x, struct span name, struct span value)
{
    if (!span_is_token(name) || !span_is_field_value(value))
        return FAIL_BAD;
    return response_add(x, field_find(name), name, value);
}

static void response_begin(struct exchange *x, int status)
{
    x->response.status = status;
    x->response_state = RESPONSE_STARTED;
    if (x->route && x->route->response_edits.count > 0)
        edits_apply(&x->route->response_edits, x, &x->response.fields);
    if (x->tls)
        secure_response(x);
}

void respond(struct exchange *x, int status, struct span content)
{
    response_begin(x, status);
    x->content = content;
    x->content_known = true;
    x->content_length = content.len;
    x->response_state = RESPONSE_ENDED;
}

static size_t prepared_lines(const struct prepared *p, char *at, size_t room)
{
    size_t len = h1_write_status(at, room, p->status);

    for (unsigned i = 0; i < p->count; i++)
        len += h1_write_field(at + len, room - len, p->fields[i].name, p->fields[i].value);
    return len + h1_write_length(at + len, room - len, p->content.len);
}

int prepared_make(struct prepared *p, struct arena *arena)
{
    char room[PREPARED_MAX];
    size_t need = PREPARED_LINES;

    for (unsigned i = 0; i < p->count; i++) {
        const struct field *f = &p->fields[i];
        if (!span_is_token(f->name) || !span_is_field_value(f->value) ||
            field_is_framing((enum field_id)f->id))
            return FAIL_BAD;
        need += f->name.len + f->value.len + 4;
    }
    p->lines = (struct span){0};
    if (need > sizeof room || status_has_no_content(p->status)) /* not said as the others */
        return 0;
    p->lines = arena_copy(arena, (struct span){room, prepared_lines(p, room, sizeof room)});
    return p->lines.ptr ? 0 : FAIL_MEMORY;
}

void respond_prepared(struct exchange *x, const struct prepared *p)
{
    if (p->lines.len > 0 && x->carrier->lines && x->route->response_edits.count == 0)
        x->head_lines = p->lines;
    else
        for (unsigned i = 0; i < p->count; i++)
            response_field_passed(x, &p->fields[i]);
    respond(x, p->status, p->content);
}

void respond_file(struct exchange *x, int status, int fd, uint64_t offset, uint64_t len)
{
    response_begin(x, status);
    x->file = fd;
    x->file_offset = offset;
    x->file_left = len;
    x->content_known = true;
    x->content_length = len;
    x->response_state = RESPONSE_ENDED;
}

void respond_start(struct exchange *x, int status, uint64_t length)
{
    response_begin(x, status);
    x->content_known = length != VALUE_OFF;
    x->content_length = x->content_known ? length : 0;
}

void respond_end(struct exchange *x)
{
    if (x->response_state != RESPONSE_STARTED)
        return;
    x->response_state = RESPONSE_ENDED;
    flow_end(&x->response_content);
}

void respond_interim(struct exchange *x, int status, const struct fields *fields)
{
    if (!response_started(x) && x->request.version >= HTTP_1_1)
        x->carrier->interim(x, status, fields);
}

static const struct error_page *error_page_find(const struct error_pages *pages, int status)
{
    for (unsigned i = 0; i < pages->count; i++)
        if (pages->list[i].status == status)
            return &pages->list[i];
    return NULL;
}

static const struct error_page *exchange_error_page(const struct exchange *x, int status)
{
    return error_page_find(x->route ? &x->route->error_pages : &x->config->server.error_pages,
                           status);
}

/* RFC 9209: only for what a proxy has to say. */
static void respond_proxy_status(struct exchange *x, const struct cause_row *row)
{
    if (row->proxy_error.len == 0)
        return;
    struct span value = arena_print(&x->arena, "headgate; error=%.*s; details=\"%.*s\"",
                                    SPAN_ARG(row->proxy_error), SPAN_ARG(row->name));
    if (value.ptr)
        response_field(x, FIELD_PROXY_STATUS, value);
}

/* What an origin had begun to say, of which the client has heard nothing. */
static void response_forget(struct exchange *x)
{
    struct flow *content = &x->response_content;

    x->response.fields.count = 0;
    x->response.fields.seen = 0;
    x->passed_on = false;
    x->trailers = (struct fields){0};
    flow_clear(content);
    content->ended = false;
    content->fail = 0;
}

/* An answer of our own: what the handler had put together is dropped. */
static void respond_error(struct exchange *x, enum cause cause, struct span reason,
                          enum field_id id, struct span value)
{
    const struct cause_row *row = cause_row(cause);

    if (!x->cause)
        x->cause = cause;
    if (response_started(x) || row->status == 0) {
        x->broken = true;
        owner_wake(x->owner);
        return;
    }
    response_forget(x);
    if (id != FIELD_OTHER)
        response_field(x, id, value);
    respond_proxy_status(x, row);
    const struct error_page *page = exchange_error_page(x, row->status);
    if (page) {
        response_field(x, FIELD_CONTENT_TYPE, page->type);
        respond(x, row->status, page->body);
        return;
    }
    response_field(x, FIELD_CONTENT_TYPE, SPAN("text/plain; charset=utf-8"));
    struct span text = arena_join(&x->arena, reason, SPAN("\n"));
    respond(x, row->status, text.ptr ? text : (struct span){0});
}

void respond_reason(struct exchange *x, enum cause cause, struct span reason)
{
    respond_error(x, cause, reason, FIELD_OTHER, (struct span){0});
}

/* What a client is told: the cause, and what that means. */
static struct span failure_text(struct exchange *x, const struct cause_row *row)
{
    struct span phrase = status_phrase(row->status);

    return arena_print(&x->arena, "%d %.*s: %.*s\n%s", row->status, SPAN_ARG(phrase),
                       SPAN_ARG(row->name), row->meaning);
}

void respond_failed_with(struct exchange *x, enum cause cause, enum field_id id, struct span value)
{
    bool says = !response_started(x);

    respond_error(x, cause, says ? failure_text(x, cause_row(cause)) : (struct span){0}, id, value);
}

void respond_failed(struct exchange *x, enum cause cause)
{
    respond_failed_with(x, cause, FIELD_OTHER, (struct span){0});
}

void exchange_give_up(struct exchange *x, enum cause cause)
{
    handler_ended(x);
    respond_failed(x, cause);
}
