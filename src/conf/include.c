/* Files, and those that they include when they have ended. */
#include "conf/reading.h"

#include "base/fail.h"

enum { LEVELS_MAX = 8 };

static void read_file(struct reading *r, const struct file *file);

static const struct file *already_read(const struct reading *r, const char *name)
{
    for (const struct file *f = r->files; f; f = f->next)
        if (strcmp(f->name, name) == 0)
            return f;
    return NULL;
}

static bool is_includer(const struct file *file, const struct file *of)
{
    for (; of; of = of->includer)
        if (of == file)
            return true;
    return false;
}

static void include_one(struct reading *r, const struct file *by, const struct include *include,
                        struct span path)
{
    struct file *file = arena_zalloc(r->conf->arena, sizeof *file);
    const char *name = arena_text(r->conf->arena, path);

    if (!file || !name) {
        diagnostics_memory(r->d);
        return;
    }
    const struct file *before = already_read(r, name);
    if (before) {
        diagnostics_say(r->d, SEVERITY_ERROR, include->at, "include: %s %s", name,
                        is_includer(before, by) ? "includes itself" : "is included twice");
        return;
    }
    if (by->level == LEVELS_MAX) {
        diagnostics_say(r->d, SEVERITY_ERROR, include->at, "include: more than %d levels",
                        LEVELS_MAX);
        return;
    }
    *file = (struct file){r->files, by, name, include->at, by->level + 1};
    r->files = file;
    read_file(r, file);
}

static bool is_pattern(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] == '*' || s.ptr[i] == '?' || s.ptr[i] == '[')
            return true;
    return false;
}

static void include_all(struct reading *r, const struct file *by, const struct include *include)
{
    const struct source *source = r->conf->source;
    struct arena *arena = r->conf->arena;
    struct span path = conf_join(arena, by->name, include->pattern);
    char *text = path.ptr ? arena_text(arena, path) : NULL;
    struct spans found = {0};

    if (!text) {
        diagnostics_memory(r->d);
        return;
    }
    if (!is_pattern(include->pattern)) {
        include_one(r, by, include, path);
        return;
    }
    int err = source->glob ? source->glob(source->data, arena, text, &found) : 0;
    if (err == FAIL_MEMORY)
        diagnostics_memory(r->d);
    else if (err < 0)
        diagnostics_say(r->d, SEVERITY_ERROR, include->at, "include: %s: %s", text, fail_text(err));
    for (unsigned i = 0; err == 0 && i < found.count; i++)
        include_one(r, by, include, found.list[i]);
}

static bool read_text(struct reading *r, const struct file *file, struct span *text)
{
    const struct source *source = r->conf->source;
    int err = source->read(source->data, r->conf->arena, file->name, text);

    if (err == 0)
        return true;
    if (err == FAIL_MEMORY)
        diagnostics_memory(r->d);
    else if (file->included.file)
        diagnostics_say(r->d, SEVERITY_ERROR, file->included, "include: %s: %s", file->name,
                        fail_text(err));
    else
        diagnostics_say(r->d, SEVERITY_ERROR, (struct position){0}, "%s: %s", file->name,
                        fail_text(err));
    return false;
}

static void read_file(struct reading *r, const struct file *file)
{
    struct feeding f = {.r = r, .file = file, .last = &f.includes};
    struct text_line *lines;
    struct span text;

    if (!read_text(r, file, &text))
        return;
    diagnostics_file(r->d, file->name);
    if (!text_split(&lines, r->conf->arena, file->name, text, r->d)) {
        diagnostics_memory(r->d);
        return;
    }
    feed(&f, lines);
    for (const struct include *i = f.includes; i; i = i->next)
        include_all(r, file, i);
}

void conf_read(struct conf *conf, struct arena *arena, const struct source *source,
               const char *path, struct diagnostics *d)
{
    struct reading r = {.conf = conf, .d = d, .last = &conf->sections};
    struct file *file = arena_zalloc(arena, sizeof *file);

    *conf = (struct conf){.arena = arena, .source = source};
    struct span name = conf_join(arena, "", span_of(path));
    if (!file || !name.ptr || !(file->name = arena_text(arena, name))) {
        diagnostics_memory(d);
        return;
    }
    conf->path = file->name;
    r.files = file;
    read_file(&r, file);
}
