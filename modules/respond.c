/* respond: answers from the configuration. */
#include "gate/module.h"

struct respond_conf {
    uint64_t status;
    struct span type;
    struct template *body;
    struct span body_file;
    struct span content;      /* of body_file */
    struct prepared prepared; /* when it has no variables */
    bool is_prepared;
};

static const struct setting respond_settings[] = {
    {.name = "status",
     .type = SETTING_COUNT,
     .fallback = "200",
     .min = 200,
     .max = 599,
     .offset = SETTING_MEMBER(struct respond_conf, status, uint64_t),
     .help = "The status code."},
    {.name = "type",
     .type = SETTING_TEXT,
     .fallback = "text/plain; charset=utf-8",
     .offset = SETTING_MEMBER(struct respond_conf, type, struct span),
     .help = "The Content-Type of the content."},
    {.name = "body",
     .type = SETTING_TEMPLATE,
     .offset = SETTING_MEMBER(struct respond_conf, body, struct template *),
     .help = "The content."},
    {.name = "body_file",
     .type = SETTING_FILE,
     .offset = SETTING_MEMBER(struct respond_conf, body_file, struct span),
     .help = "A file that holds the content, read with the configuration, at most 1m."},
    {0},
};

static bool is_constant(const struct template *body)
{
    return !body || (body->constant && body->count > 0);
}

static bool has_no_content(uint64_t status)
{
    return status == 204 || status == 205 || status == 304;
}

static void respond_load(struct loading *l, void *conf)
{
    struct respond_conf *r = conf;
    struct prepared *p = &r->prepared;

    if ((r->body || r->body_file.len > 0) && has_no_content(r->status))
        loading_say(l, SEVERITY_ERROR, r->body ? "body" : "body_file",
                    "an answer with status %d has no content (RFC 9110, %s)", (int)r->status,
                    r->status == 205 ? "15.3.6" : "6.4.1");
    else if (r->body && r->body_file.len > 0)
        loading_say(l, SEVERITY_ERROR, "body_file", "body is set too: one of them");
    else if (r->body_file.len > 0)
        loading_read(l, "body_file", r->body_file, 1024 * 1024, &r->content);
    if (!is_constant(r->body))
        return;
    p->status = (int)r->status;
    p->content = r->body ? r->body->parts[0].text : r->content;
    if (p->content.len > 0)
        p->fields[p->count++] = (struct field){
            .name = field_name(FIELD_CONTENT_TYPE), .value = r->type, .id = FIELD_CONTENT_TYPE};
    r->is_prepared = prepared_make(p, loading_arena(l)) == 0;
}

static void respond_answer(struct exchange *x)
{
    const struct respond_conf *r = exchange_conf(x);
    struct span content = r->content;

    if (r->is_prepared) {
        respond_prepared(x, &r->prepared);
        return;
    }
    if (r->body)
        content = template_text(r->body, x);
    if (r->body && !content.ptr) {
        respond_failed(x, CAUSE_out_of_memory);
        return;
    }
    if (content.len > 0)
        response_field(x, FIELD_CONTENT_TYPE, r->type);
    respond(x, (int)r->status, content);
}

static const struct handler respond_handler = {
    .name = "respond",
    .summary = "answer from the configuration",
    .settings = respond_settings,
    .conf_size = sizeof(struct respond_conf),
    .load = respond_load,
    .answer = respond_answer,
    .pure = true,
};

const struct module respond_module = {
    .name = "respond",
    .summary = "answers from the configuration",
    .handlers = (const struct handler *const[]){&respond_handler, NULL},
};
