/* A source in memory; see fake.h. */
#include "tests/unit/conf/fake.h"

#include "base/fail.h"

#include <fnmatch.h>
#include <stdlib.h>

static int fake_source_read(void *data, struct arena *arena, const char *path, struct span *text)
{
    struct fake *f = data;

    (void)arena;
    for (size_t i = 0; i < FAKE_FILES_MAX && f->files[i].path; i++)
        if (strcmp(f->files[i].path, path) == 0) {
            *text = f->files[i].text;
            return 0;
        }
    return FAIL_NOT_FOUND;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(((const struct span *)a)->ptr, ((const struct span *)b)->ptr);
}

static int fake_glob(void *data, struct arena *arena, const char *pattern, struct spans *paths)
{
    struct fake *f = data;

    *paths = (struct spans){.list = arena_alloc(arena, FAKE_FILES_MAX * sizeof *paths->list)};
    if (!paths->list)
        return FAIL_MEMORY;
    for (size_t i = 0; i < FAKE_FILES_MAX && f->files[i].path; i++)
        if (fnmatch(pattern, f->files[i].path, FNM_PATHNAME) == 0)
            paths->list[paths->count++] = span_of(f->files[i].path);
    qsort(paths->list, paths->count, sizeof *paths->list, by_bytes);
    return 0;
}

static const char *fake_environment(void *data, const char *name)
{
    struct fake *f = data;

    for (size_t i = 0; i < COUNT_OF(f->variables) && f->variables[i][0]; i++)
        if (strcmp(f->variables[i][0], name) == 0)
            return f->variables[i][1];
    return NULL;
}

void fake_init(struct fake *f)
{
    *f = (struct fake){.source = {.read = fake_source_read,
                                  .glob = fake_glob,
                                  .environment = fake_environment,
                                  .data = f}};
    f->d.arena = &f->said;
}

void fake_free(struct fake *f)
{
    arena_free(&f->arena);
    arena_free(&f->said);
}

void fake_file(struct fake *f, const char *path, struct span text)
{
    size_t i = 0;

    while (f->files[i].path)
        i++;
    f->files[i] = (struct fake_file){path, text};
}

void fake_variable(struct fake *f, const char *name, const char *value)
{
    size_t i = 0;

    while (f->variables[i][0])
        i++;
    f->variables[i][0] = name;
    f->variables[i][1] = value;
}

void fake_read(struct fake *f)
{
    conf_read(&f->conf, &f->arena, &f->source, "a.ini", &f->d);
}

void printed_line(void *data, struct span text)
{
    struct printed *p = data;
    struct span all = arena_print(p->arena, "%.*s%.*s\n", SPAN_ARG(p->text), SPAN_ARG(text));

    p->text = all.ptr ? all : p->text;
}

const char *fake_said(struct fake *f)
{
    struct printed p = {&f->said, SPAN("")};

    diagnostics_print(&f->d, printed_line, &p);
    return p.text.ptr;
}
