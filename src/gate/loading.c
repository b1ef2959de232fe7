/* What modules and the parts of a configuration ask while it is read. */
#include "gate/loading.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

void *loading_zalloc(struct loading *l, size_t size)
{
    void *at = arena_zalloc(&l->config->arena, size);

    if (!at)
        diagnostics_memory(l->d);
    return at;
}

struct conf_section *sections_of(struct conf_section *from, const char *type)
{
    while (from && !span_equal(from->type, span_of(type)))
        from = from->next;
    return from;
}

unsigned sections_count(const struct config *config, const char *type)
{
    unsigned n = 0;

    for (struct conf_section *s = sections_of(config->conf.sections, type); s;
         s = sections_of(s->next, type))
        n++;
    return n;
}

const char *did_you_mean(struct loading *l, struct span written, const char *const *words,
                         size_t count)
{
    const char *close = suggest(written, words, count);
    struct span text = {0};

    if (close)
        text = arena_print(l->d->arena, "; did you mean \"%s\"?", close);
    return text.ptr ? text.ptr : "";
}

const struct handler *handler_find(const struct loading *l, struct span name,
                                   const struct module **module)
{
    for (const struct module *const *m = l->modules; *m; m++)
        for (const struct handler *const *h = (*m)->handlers; h && *h; h++)
            if (span_equal(name, span_of((*h)->name))) {
                *module = *m;
                return *h;
            }
    return NULL;
}

/* --- for modules ------------------------------------------------------------ */

struct config *loading_config(struct loading *l)
{
    return l->config;
}

struct arena *loading_arena(struct loading *l)
{
    return &l->config->arena;
}

struct span loading_name(const struct loading *l)
{
    return l->section->name;
}

void loading_say(struct loading *l, enum severity severity, const char *key, const char *format,
                 ...)
{
    char text[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    diagnostics_say(l->d, severity, conf_at(l->section, key), "%s%s%s", key ? key : "",
                    key ? ": " : "", text);
}

bool loading_say_word(struct loading *l, const struct line *line, unsigned word, const char *key,
                      const char *why)
{
    diagnostics_say(l->d, SEVERITY_ERROR, line->places[word], "%s: \"%.*s\": %s", key,
                    SPAN_ARG(span_first(line->words.list[word], 60)), why);
    return false;
}

static bool file_failed(struct loading *l, struct position at, const char *key, struct span path,
                        const char *why)
{
    diagnostics_say(l->d, SEVERITY_ERROR, at, "%s: %.*s: %s", key, SPAN_ARG(path), why);
    return false;
}

static struct file_read *file_find(struct loading *l, struct span path)
{
    struct file_read *f = l->files;

    while (f && !span_equal(f->path, path))
        f = f->next;
    return f;
}

bool loading_file(struct loading *l, struct position at, const char *key, struct span path,
                  size_t max, struct span *content)
{
    const struct source *source = l->config->conf.source;
    struct file_read *f = file_find(l, path);
    char *name;

    if (!f) {
        if (!(f = loading_zalloc(l, sizeof *f)))
            return false;
        if (!(name = arena_text(&l->config->arena, path))) {
            diagnostics_memory(l->d);
            return false;
        }
        int err = source->read(source->data, &l->config->arena, name, &f->content);
        if (err < 0)
            return file_failed(l, at, key, path, fail_text(err));
        f->path = path;
        f->next = l->files;
        l->files = f;
    }
    if (f->content.len > max) {
        char why[64];
        snprintf(why, sizeof why, "%zu bytes; at most %zu", f->content.len, max);
        return file_failed(l, at, key, path, why);
    }
    *content = f->content;
    return true;
}

bool loading_read(struct loading *l, const char *key, struct span path, size_t max,
                  struct span *content)
{
    return loading_file(l, conf_at(l->section, key), key, path, max, content);
}

void *loading_module_conf(const struct loading *l)
{
    return l->module_conf;
}

const struct spans *loading_paths(const struct loading *l)
{
    return l->paths;
}

/* "/v1" is at the start of /v1, /v1/x and /v1/x/y, not of /v10. */
static bool begins_with(struct span path, struct span prefix)
{
    return span_starts(path, prefix) && (path.len == prefix.len || path.ptr[prefix.len] == '/' ||
                                         prefix.ptr[prefix.len - 1] == '/');
}

bool loading_check_prefix(struct loading *l, const char *key, struct span prefix)
{
    bool fine = true;

    for (unsigned i = 0; prefix.len > 0 && i < l->paths->count; i++) {
        if (begins_with(l->paths->list[i], prefix))
            continue;
        loading_say(l, SEVERITY_ERROR, key, "path %.*s does not begin with %.*s",
                    SPAN_ARG(l->paths->list[i]), SPAN_ARG(prefix));
        fine = false;
    }
    return fine;
}

void loading_check_folder(struct loading *l, const char *key, struct span path)
{
    const struct source *source = l->config->conf.source;
    struct source_look look;
    char *name;

    if (!source->look)
        return;
    if (!(name = arena_text(&l->config->arena, path))) {
        diagnostics_memory(l->d);
        return;
    }
    int err = source->look(source->data, name, &look);
    if (err == 0 && !S_ISDIR(look.mode))
        err = FAIL_NOT_DIR;
    if (err < 0)
        loading_say(l, SEVERITY_WARNING, key, "%s: %s", name, fail_text(err));
}

const struct upstream_conf *loading_upstream(struct loading *l, struct span name,
                                             struct position at)
{
    const struct upstream_conf *found = config_upstream(l->config, name);
    const char *words[256];
    unsigned count = 0;

    if (found)
        return found;
    for (; count < l->config->upstream_count && count < COUNT_OF(words); count++)
        words[count] = arena_text(l->d->arena, l->config->upstreams[count].name);
    diagnostics_say(l->d, SEVERITY_ERROR, at, "there is no [upstream %.*s]%s", SPAN_ARG(name),
                    did_you_mean(l, name, words, count));
    return NULL;
}

void loading_route(struct loading *l, const struct default_route *route)
{
    struct route_asked *asked = loading_zalloc(l, sizeof *asked);

    if (!asked)
        return;
    *asked = (struct route_asked){.module = l->module, .section = l->section, .route = *route};
    *l->asked_last = asked;
    l->asked_last = &asked->next;
}
